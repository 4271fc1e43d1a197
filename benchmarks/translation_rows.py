"""What the systems of the review are here: rows of its tables, baselines, and what is varied.

The tables are 5 and 6 of Yi, Walia, Babyn: Generative adversarial network in medical imaging, 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class System:
    """A row of a table of the review.

    Attributes:
        table: 5 or 6.
        method: who.
        what: from what to what.
        preset: what trains it here; empty where there is none.
    """

    table: int
    method: str
    what: str
    preset: str = ""


SYSTEMS = (
    System(5, "Nie 2017, 2018", "MR to CT; 3T to 7T, a cascade"),
    System(5, "Emami 2018", "MR to CT of the brain"),
    System(5, "Jin 2018a", "CT to MR of the brain, pairs and unpaired together", "t1-to-t2-mixed"),
    System(5, "Chartsias 2017", "MR to CT of the heart and back", "mr-to-ct-cycle"),
    System(5, "Zhang 2018c", "MR to CT of the heart, shapes kept", "hippocampus-shape"),
    System(5, "Huo 2017", "MR to CT of the spleen, target without labels"),
    System(5, "Hiasa 2018", "MR to CT of the hip, gradients kept"),
    System(5, "Wolterink 2017a", "MR to CT of the brain, unpaired", "mr-to-ct-cycle"),
    System(5, "Bi 2017", "CT to PET of the thorax"),
    System(5, "Ben-Cohen 2018", "CT to PET of the liver, hot regions blended"),
    System(5, "Armanious 2018", "PET to CT"),
    System(5, "Wei 2018", "MR to PET, a cascade"),
    System(5, "Choi & Lee 2017", "PET to MR of the brain"),
    System(5, "Hou 2017", "synthetic to real histology, a segmentor in the loop"),
    System(5, "Mahmood 2017", "real to synthetic endoscopy"),
    System(5, "Zhang 2018b", "X-ray to DRR, a frozen segmentor"),
    System(5, "Chen 2018a", "X-ray of one site to another's, a frozen segmentor"),
    System(5, "Dar 2018a", "T1 to T2 and back", "t1-to-t2-cycle"),
    System(5, "Yang 2018b", "T1 to T2 and back", "t1-to-t2"),
    System(5, "Welander 2018", "T1 to T2, CycleGAN beside UNIT", "t1-to-t2-unit"),
    System(5, "Yu 2018", "T1 to FLAIR, 3D"),
    System(5, "Olut 2018", "T1 and T2 to MRA"),
    System(5, "Bentaieb 2018", "stain to stain, a classifier in the loop"),
    System(5, "Zanjani 2018", "stain to stain, by a code"),
    System(5, "Shaban 2018", "stain to stain, unpaired"),
    System(5, "Bayramoglu 2017a", "hyperspectral to H&E"),
    System(6, "Jin 2018b", "a nodule into what stands around it"),
    System(6, "Mok & Chung 2018", "tumour maps to MR, coarse to fine"),
    System(6, "Hu 2017b", "a probe's position to ultrasound"),
    System(6, "Tom & Sheet 2018", "tissue maps to intravascular ultrasound"),
    System(6, "Zhao 2017", "vessels to fundus", "vessels-to-fundus"),
    System(6, "Guibas 2017", "vessels to fundus, vessels generated"),
    System(6, "Costa 2017a", "vessels to fundus, vessels segmented", "vessels-to-fundus"),
    System(6, "Costa 2017b", "vessels to fundus, vessels of an autoencoder"),
    System(6, "Appan 2018", "vessels and lesions to fundus"),
    System(6, "Senaras 2018", "nuclei to histology"),
    System(6, "Galbusera 2018", "one view of the spine to another"),
)


@dataclass(frozen=True)
class Variant:
    """A preset with other settings, trained beside it."""

    name: str
    preset: str
    settings: Sequence[str]


# pix2pix with the generator and the number of steps of t1-to-t2-cycle: what differs is the pairs.
VARIANTS = (
    Variant(
        "t1-to-t2, CycleGAN's generator",
        "t1-to-t2",
        (
            "generator=resnet",
            "generator_settings={blocks: 6}",
            "width=16",
            "critic_width=16",
            "steps={adversarial: 1500}",
            "every=100",
        ),
    ),
    Variant("t1-to-t2, no adversarial term", "t1-to-t2", ("loss.adversarial=0",)),
    Variant("hippocampus-shape, shapes not kept", "hippocampus-shape", ("loss.shape=0",)),
)


# What finds labels in translations: the segmentor of real targets, trained on their labels alone.
JUDGE = Variant(
    "segmentor of real targets",
    "hippocampus-shape",
    (
        "segmentors=[target]",
        "segmentor=before",
        "loss.shape=0",
        "steps={segmentation: 1000, adversarial: 0}",
    ),
)


@dataclass(frozen=True)
class Relation:
    """One row beside another, and what the review states of the two.

    Attributes:
        title: what is compared.
        task: of both rows.
        first: a row.
        second: another.
        states: by measure, whether the first is said to have more (+1) or less (-1) of it, or
            about as much (0).
        says: in words, and by whom.
    """

    title: str
    task: str
    first: str
    second: str
    states: dict[str, int]
    says: str


RELATIONS = (
    Relation(
        "Paired against unpaired",
        "t1-to-t2",
        "t1-to-t2, CycleGAN's generator",
        "t1-to-t2-cycle",
        {"PSNR": 1, "SSIM": 1, "perceptual": -1},
        "Where pairs are registered they are worth more than none; where they are not, Wolterink "
        "2017a found the reverse. One generator, as many steps.",
    ),
    Relation(
        "Pairs and unpaired images together against unpaired ones",
        "t1-to-t2",
        "t1-to-t2-mixed",
        "t1-to-t2-cycle",
        {"PSNR": 1, "SSIM": 1, "perceptual": -1},
        "Jin 2018a: both together are better than unpaired images alone.",
    ),
    Relation(
        "Pairs and unpaired images together against pairs",
        "t1-to-t2",
        "t1-to-t2-mixed",
        "t1-to-t2, CycleGAN's generator",
        {"PSNR": 1, "SSIM": 1, "perceptual": -1},
        "Jin 2018a: both together are better than pairs alone. Here the unpaired images are those "
        "of the pairs: there is nothing more to see.",
    ),
    Relation(
        "With the adversarial term against without it",
        "t1-to-t2",
        "t1-to-t2",
        "t1-to-t2, no adversarial term",
        {"sharpness": 1, "perceptual": -1, "PSNR": -1},
        "An adversarial term makes images sharper, and their error greater (sections 3.1 and 3.2.2 "
        "of the review).",
    ),
    Relation(
        "CycleGAN against UNIT",
        "t1-to-t2",
        "t1-to-t2-cycle",
        "t1-to-t2-unit",
        {"PSNR": 0, "SSIM": 0, "MI": 0},
        "Welander 2018: about equal.",
    ),
    Relation(
        "Shape consistency on against off",
        "second-contrast",
        "hippocampus-shape",
        "hippocampus-shape, shapes not kept",
        {"Dice": 1},
        "Zhang 2018c: with it translated images keep their shapes, which a segmentor of real "
        "images then finds.",
    ),
)


def by_squares(preset: Any) -> Any | None:
    """A preset's generator trained on its pairs by squared error alone; None where it has none.

    The critic is there and moves nothing, so it is small. A generator that maps both ways becomes
    that of pix2pix alone; UNIT's encoders and decoders have no such form, and CycleGAN's generator
    stands in for them.
    """
    from ganatomy import registry

    model: Any = registry.model_class(preset.model)
    from synthesis.cyclegan import CycleGAN
    from synthesis.pix2pix import Pix2Pix
    from synthesis.unit import UNIT

    own = dict(preset.hyperparameters)
    weights = {**model.default_weights, **own.get("term_weights", {}), "generator/adversarial": 0.0}
    silent = {name: 0.0 for name in weights if name.startswith("generator/")}
    if issubclass(model, Pix2Pix):
        path = preset.model
        kept = {**own, "critic_width": 4, "scales": 1}
    elif issubclass(model, (CycleGAN, UNIT)):
        path = registry.preset("t1-to-t2").model
        names = ("target_channels", "width", "generator", "generator_settings")
        kept = {name: own[name] for name in names if name in own}
        kept = {"generator": "resnet", "dropout": 0.0, "critic_width": 4, "critic_depth": 2, **kept}
        if issubclass(model, UNIT):
            kept["generator_settings"] = {"blocks": 6}
        silent = {name: 0.0 for name in silent if name in Pix2Pix.default_weights}
        silent["generator/adversarial"] = 0.0
    else:
        return None
    kept["term_weights"] = {**silent, "generator/l2": 100.0}
    rate = own.get("optimizers", {}).get("generator")
    if rate:
        kept["optimizers"] = {"generator": rate}
    said = {role: preset.roles[role] for role in ("scan", "target")}
    by_role = {role: own for role, own in preset.by_role.items() if role in said}
    return preset.model_copy(
        update={
            "name": f"{preset.name}-l2",
            "model": path,
            "hyperparameters": kept,
            "roles": said,
            "by_role": by_role,
        }
    )
