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
        differs: what the row leaves out of what the review has of it; empty where nothing.
    """

    table: int
    method: str
    what: str
    preset: str = ""
    differs: str = ""


SYSTEMS = (
    System(5, "Nie 2017, 2018", "MR to CT; 3T to 7T, a cascade", "t1-to-t2-cascade"),
    System(5, "Emami 2018", "MR to CT of the brain", "t1-to-t2-resnet"),
    System(5, "Jin 2018a", "CT to MR of the brain, pairs and unpaired together", "t1-to-t2-mixed"),
    System(5, "Chartsias 2017", "MR to CT of the heart and back", "mr-to-ct-cycle"),
    System(5, "Zhang 2018c", "MR to CT of the heart, shapes kept", "hippocampus-shape"),
    System(5, "Huo 2017", "MR to CT of the spleen, target without labels", "hippocampus-synseg"),
    System(5, "Hiasa 2018", "MR to CT of the hip, gradients kept", "mr-to-ct-gradient"),
    System(5, "Wolterink 2017a", "MR to CT of the brain, unpaired", "mr-to-ct-cycle"),
    System(5, "Bi 2017", "CT to PET of the thorax", "mr-labels-to-uptake"),
    System(
        5,
        "Ben-Cohen 2018",
        "CT to PET of the liver, hot regions blended",
        "mr-to-uptake-blended",
        "no lesions are looked for in what is made",
    ),
    System(5, "Armanious 2018", "PET to CT", "uptake-to-mr-medgan"),
    System(5, "Wei 2018", "MR to PET, a cascade", "mr-to-uptake"),
    System(
        5,
        "Choi & Lee 2017",
        "PET to MR of the brain",
        "uptake-to-mr",
        "no uptake of regions is measured by what is made (M22)",
    ),
    System(
        5,
        "Hou 2017",
        "synthetic to real histology, a segmentor in the loop",
        "speckle-to-hippocampus-segmented",
        "no picture says the style that is wanted, and how well the segmentor does is not measured",
    ),
    System(5, "Mahmood 2017", "real to synthetic endoscopy", "real-to-synthetic"),
    System(5, "Zhang 2018b", "X-ray to DRR, a frozen segmentor", "hippocampus-frozen"),
    System(
        5, "Chen 2018a", "X-ray of one site to another's, a frozen segmentor", "hippocampus-masks"
    ),
    System(5, "Dar 2018a", "T1 to T2 and back", "t1-to-t2-cycle"),
    System(
        5,
        "Yang 2018b",
        "T1 to T2 and back",
        "t1-to-t2",
        "one way alone; neither segmentation (M25) nor registration (M26) of what is made is "
        "measured",
    ),
    System(5, "Welander 2018", "T1 to T2, CycleGAN beside UNIT", "t1-to-t2-unit"),
    System(5, "Yu 2018", "T1 to FLAIR, 3D", "t1-to-flair-volume"),
    System(5, "Olut 2018", "T1 and T2 to MRA", "t1-t2-to-t1-post"),
    System(5, "Bentaieb 2018", "stain to stain, a classifier in the loop", "stain-classified"),
    System(
        5,
        "Zanjani 2018",
        "stain to stain, by a code",
        "grey-to-fundus-code",
        "no self-regularisation (L11): a grey scan has not the channels of its translation",
    ),
    System(5, "Shaban 2018", "stain to stain, unpaired", "stain-cycle"),
    System(5, "Bayramoglu 2017a", "hyperspectral to H&E", "bands-to-fundus"),
    System(6, "Jin 2018b", "a nodule into what stands around it", "hippocampus-hole"),
    System(
        6, "Mok & Chung 2018", "tumour maps to MR, coarse to fine", "labels-to-hippocampus-fine"
    ),
    System(6, "Hu 2017b", "a probe's position to ultrasound", "position-to-ct"),
    System(
        6, "Tom & Sheet 2018", "tissue maps to intravascular ultrasound", "speckle-to-hippocampus"
    ),
    System(
        6,
        "Zhao 2017",
        "vessels to fundus",
        "vessels-to-fundus",
        "without the variant that transfers a style",
    ),
    System(6, "Guibas 2017", "vessels to fundus, vessels generated", "hippocampus-pairs"),
    System(6, "Costa 2017a", "vessels to fundus, vessels segmented", "fundus-to-vessels"),
    System(
        6,
        "Costa 2017b",
        "vessels to fundus, vessels of an autoencoder",
        "hippocampus-pairs-autoencoder",
    ),
    System(6, "Appan 2018", "vessels and lesions to fundus", "lesions-to-fundus"),
    System(6, "Senaras 2018", "nuclei to histology", "labels-to-hippocampus"),
    System(
        6,
        "Galbusera 2018",
        "one view of the spine to another",
        "labels-to-hippocampus",
        "pix2pix alone, without CycleGAN: the training of Senaras 2018",
    ),
)


@dataclass(frozen=True)
class Variant:
    """A preset with other settings, trained beside it."""

    name: str
    preset: str
    settings: Sequence[str]


VARIANTS = (
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
        "t1-to-t2-resnet",
        "t1-to-t2-cycle",
        {"PSNR": 1, "SSIM": 1, "perceptual": -1},
        "Where pairs are registered they are worth more than none; where they are not, Wolterink "
        "2017a found the reverse. One generator and as many steps, of pairs at a constant rate.",
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
        "t1-to-t2-resnet",
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
    from synthesis.inpainting import Inpainting
    from synthesis.pix2pix import Pix2Pix
    from synthesis.unit import UNIT
    from synthesis.unpaired import UnpairedGAN

    base: Any = registry.model_class(registry.preset("t1-to-t2").model)
    own = dict(preset.hyperparameters)
    weights = {**model.default_weights, **own.get("term_weights", {}), "generator/adversarial": 0.0}
    silent = {name: 0.0 for name in weights if name.startswith("generator/")}
    steps = preset.training.steps
    if model is Pix2Pix or model is Inpainting:
        path = preset.model
        kept = {**own, "critic_width": 4, "scales": 1}
    elif issubclass(model, Pix2Pix):
        # What the model has beside a generator goes; the steps of all its stages are kept.
        path = registry.preset("t1-to-t2").model
        known = registry.settings_of(base)
        kept = {n: value for n, value in own.items() if n in known} | {"critic_width": 4}
        steps = {"adversarial": sum(steps.values())}
    elif issubclass(model, (CycleGAN, UNIT, UnpairedGAN)):
        path = registry.preset("t1-to-t2").model
        names = ("target_channels", "width", "generator", "generator_settings")
        kept = {name: own[name] for name in names if name in own}
        kept = {"generator": "resnet", "dropout": 0.0, "critic_width": 4, "critic_depth": 2, **kept}
        if issubclass(model, UNIT):
            kept["generator_settings"] = {"blocks": 6}
    else:
        return None
    if path != preset.model:
        silent = {name: 0.0 for name in silent if name in base.default_weights}
        silent["generator/adversarial"] = 0.0
    if kept.get("cascade", 1) == 1:  # there are no drafts to weigh
        silent.pop("generator/draft", None)
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
            "training": preset.training.model_copy(update={"steps": steps}),
        }
    )
