"""What is compared in the ablation: which networks, how trained, and how they score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anogan.standard_scores import StandardScores


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        what: its name in the table.
        trained: the preset whose networks are trained.
        reference: the row that it is compared with.
        settings: over the preset's own, to train with.
        like: another preset, whose model and postprocessing the trained networks are put into.
        after: settings over that, without training.
        rule: how members' scores are joined, a name of `RULES`; of an ensemble.
        members: of an ensemble.
    """

    what: str
    trained: str = ""
    reference: str | None = None
    settings: tuple[str, ...] = ()
    like: str = ""
    after: tuple[str, ...] = ()
    rule: str = ""
    members: tuple[Variant, ...] = ()


@dataclass(frozen=True)
class Part:
    """One table: its heading, what it asks, and its rows."""

    title: str
    says: str
    variants: Sequence[Variant]


def ranks(healthy: np.ndarray) -> Callable[[Any], np.ndarray]:
    """The normal quantile of a score's rank among n healthy ones, (r + 1) / (n + 2)."""
    from scipy.stats import norm

    healthy = np.sort(healthy)

    def of(scores: Any) -> np.ndarray:
        below = np.searchsorted(healthy, scores, side="left")
        upto = np.searchsorted(healthy, scores, side="right")
        return norm.ppf(((below + upto) / 2 + 1) / (len(healthy) + 2))

    return of


def standardised(healthy: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Standard deviations of healthy scores above their mean, without a logarithm."""
    mean, spread = healthy.mean(), healthy.std(ddof=1)
    return lambda scores: (np.asarray(scores) - mean) / spread


# How scores of unlike detectors become comparable: from a member's healthy scores to a function.
RULES: dict[str, Callable[[np.ndarray], Callable[[Any], np.ndarray]]] = {
    "logarithms": StandardScores,
    "standardised": standardised,
    "ranks": ranks,
}

LINEAR, AAE, CAAE = "linear", "aae-chest-xray", "caae-chest-xray"
VAE, VAEGAN, FANOGAN = "vae-chest-xray", "vaegan-chest-xray", "fanogan-chest-xray"
DENSITY, PLANTED = "density-chest-xray", "planted-chest-xray"

# The planted detector is the network whose features the density is of, trained alike.
NETWORK_OF_PLANTED = Variant("planted", DENSITY, like=PLANTED)
ENSEMBLE = {
    "linear": Variant("linear", LINEAR),
    "f-AnoGAN": Variant("f-AnoGAN", FANOGAN),
    "constrained AAE": Variant("constrained AAE", CAAE),
    "density": Variant("density", DENSITY),
    "planted": NETWORK_OF_PLANTED,
}


def parts() -> dict[str, Part]:
    """The tables by name, the cheapest first."""
    return {
        "scores": Part(
            "From residual to score",
            "One thing changed of how the same networks' residual becomes a score; nothing is "
            "trained for it.",
            _scores(),
        ),
        "ensemble": Part(
            "Detectors together",
            "Linear, f-AnoGAN, constrained AAE, density and planted together, by how their scores "
            "are made comparable, and without one of them.",
            _ensembles(),
        ),
        "density": Part(
            "Densities of features",
            "Of the planted network's features, and of those of f-AnoGAN's critic and encoder; "
            "each density is fitted anew, the networks are the same.",
            _densities(),
        ),
        "constraint": Part(
            "The constraint of the adversarial autoencoder",
            "That an image and its reconstruction have the same code.",
            [Variant("AAE", AAE), Variant("… constrained", CAAE, "AAE")],
        ),
        "restoration": Part(
            "Reconstruction or restoration",
            "The same VAE: its reconstruction, or descent on the image under a total-variation "
            "prior of weight λ.",
            _restorations(),
        ),
        "preprocessing": Part(
            "Preprocessing",
            "One thing left out; the networks are trained on what is left.",
            _preprocessing(),
        ),
    }  # fmt: skip


def _scores() -> list[Variant]:
    changes = {
        "not measured from the healthy mean": "centre=false",
        "not blurred": "smooth=0",
        "nothing of the border left out": "border=0",
        "not by what healthy scans show": "healthy_map=false",
        "its paper's score": "score=paper",
    }
    full = {"linear": LINEAR, "constrained AAE": CAAE, "f-AnoGAN": FANOGAN}
    rows = []
    for name, trained in full.items():
        rows.append(Variant(name, trained))
        rows += [
            Variant(f"{name}, {what}", trained, name, after=(setting,))
            for what, setting in changes.items()
        ]
    for name, trained in {"VAE": VAE, "VAE-GAN": VAEGAN}.items():
        rows.append(Variant(name, trained))
        what = "not measured from the healthy mean"
        rows.append(Variant(f"{name}, {what}", trained, name, after=(changes[what],)))
    for name, like in {"density": "", "planted": PLANTED}.items():
        rows.append(Variant(name, DENSITY, like=like))
        what = f"{name}, measured from the healthy mean"
        rows.append(Variant(what, DENSITY, name, like=like, after=("centre=true",)))
    return rows


def _ensembles() -> list[Variant]:
    every = tuple(ENSEMBLE.values())
    whole = "standard scores of logarithms (as it is)"
    rows = [
        Variant(whole, rule="logarithms", members=every),
        Variant("standard scores", reference=whole, rule="standardised", members=every),
        Variant("normal quantiles of ranks", reference=whole, rule="ranks", members=every),
    ]
    for name in ENSEMBLE:
        rest = tuple(one for other, one in ENSEMBLE.items() if other != name)
        rows.append(Variant(f"… without {name}", reference=whole, rule="logarithms", members=rest))
    rows.append(Variant("linear alone", LINEAR, whole))
    return rows


def _densities() -> list[Variant]:
    own = "planted network, layer up_3, Gaussian (the preset's)"
    rows = [
        Variant(own, DENSITY),
        Variant("… nearest neighbours", DENSITY, own, after=("density=neighbours",)),
        Variant("… its paper's score, of the whole", DENSITY, own, after=("score=paper",)),
    ]
    for layer in ("down_2", "down_3", "bottom", "up_2", "up_1"):
        rows.append(Variant(f"… layer {layer}", DENSITY, own, after=(f"layer={layer}",)))
    critic = "f-AnoGAN's critic, layer block_2_out, Gaussian"
    rows += [
        Variant(f"f-AnoGAN's {what}", FANOGAN, ref, like="gan-density-chest-xray", after=after)
        for what, ref, after in (
            ("critic, layer block_2_out, Gaussian", None, ()),
            ("critic, nearest neighbours", critic, ("density=neighbours",)),
            ("encoder, Gaussian", critic, ("source=encoder",)),
            ("encoder, nearest neighbours", critic, ("source=encoder", "density=neighbours")),
        )
        for after in [("encoding=izi_f", *after)]
    ]
    return rows


def _restorations() -> list[Variant]:
    rows = []
    for score, ending in (("map", ""), ("paper", ", its paper's score")):
        own = f"reconstruction{ending}"
        rows.append(Variant(own, VAE, after=(f"score={score}",)))
        for value in (0.1, 1, 3, 10):
            after = (f"variation={value:g}", f"score={score}")
            what = f"restoration, λ {value:g}{ending}"
            rows.append(Variant(what, VAE, own, like="vae-restoration-chest-xray", after=after))
    return rows


def _preprocessing() -> list[Variant]:
    changes = {
        "not equalised": "equalise=null",
        "no margin cut off": "margin=0",
        "not aligned": "align=false",
    }
    rows = []
    for name, trained in {"linear": LINEAR, "AAE": AAE}.items():
        rows.append(Variant(name, trained))
        rows += [
            Variant(f"{name}, {what}", trained, name, settings=(setting,))
            for what, setting in changes.items()
        ]
        if trained == LINEAR:
            for count in (0, 8):
                after = (f"components={count}",)
                rows.append(Variant(f"{name}, {count} components", trained, name, after=after))
    return rows
