"""The scans that detectors are compared on: what to train on, what to measure on, and how.

Everything comes from a folder of public collections (`--data`); nothing is shipped. Tables are
written as CSV files beside the models, so that a row of the results can be made again by hand.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# Names of files in Kermany 2018: `person12_virus_34.jpeg`, `IM-0147-0001.jpeg`, `NORMAL2-IM-…`.
PATIENT = re.compile(r"(person\d+|(?:NORMAL2-)?IM-\d+)")


@dataclass(frozen=True)
class Task:
    """One comparison.

    Attributes:
        name: of its table in the docs.
        says: what was trained on and measured on, for the docs.
        train: healthy scans, a CSV.
        test: labelled scans of others, a CSV.
        settings: over every preset's own, `key=value`.
        steps: share of a preset's steps that is trained.
        detectors: the methods that are compared, or all.
    """

    name: str
    says: str
    train: Path
    test: Path
    settings: Sequence[str] = ()
    steps: float = 1.0
    detectors: Sequence[str] = ()


def chest(root: Path, folder: Path) -> Task:
    """Kermany 2018: 1,147 healthy radiographs; 194 healthy and 250 with pneumonia of others."""
    source = root / "chest-xray"
    rows = [
        (path, int(path.parent.name != "normal"), patient_of(path), _kind(path))
        for path in sorted((source / "validation").glob("*/*.jpeg"))
    ]
    healthy = sorted((source / "train" / "normal").glob("*.jpeg"))
    return Task(
        "Chest radiographs",
        "Kermany 2018: trained on healthy radiographs of children, measured on healthy ones and "
        "on pneumonia, of other patients; intervals over patients.",
        _write(folder / "train.csv", [(p, 0, patient_of(p), "normal") for p in healthy]),
        _write(folder / "test.csv", rows),
    )


def mednist(root: Path, folder: Path, healthy: str, others: Sequence[str], name: str) -> Task:
    """MedNIST: one class is healthy, others are abnormal; it names no patients."""
    source = root / "mednist"

    def of(kind: str) -> list[Path]:
        return sorted((source / kind).glob("*.jpeg"))

    rows = [(p, 0, "", healthy) for p in of(healthy)[1000:1250]]
    share = 250 // len(others)
    rows += [(p, 1, "", kind) for kind in others for p in of(kind)[1000 : 1000 + share]]
    return Task(
        name,
        f"MedNIST: {healthy} is trained on and stands for healthy; abnormal: {', '.join(others)}. "
        "No patients are known; intervals over scans.",
        _write(folder / "train.csv", [(p, 0, "", healthy) for p in of(healthy)[:1000]]),
        _write(folder / "test.csv", rows),
        PLAIN,
        0.25,
    )


# Pictures that are framed alike and were not exposed by hand.
PLAIN = ("equalise=null", "align=false", "margin=0", "border=0", "normalise=range")


def planted_ct(root: Path, folder: Path) -> Task:
    """Lesions planted in half of the chest CT slices of MedNIST that are measured on."""
    found = ((file, read_grey(file)) for file in (root / "mednist" / "ChestCT").glob("*.jpeg"))
    room = {file: image for file, image in sorted(found) if inside(image).mean() > 0.45}
    return _planted(
        "Planted lesions in chest CT",
        "chest CT slices of MedNIST, none of which is known to be healthy",
        dict(list(room.items())[:700]),
        folder,
        sizes=(0.1, 0.2),
        settings=PLAIN,
        organ=inside,
    )


def planted_mr(root: Path, folder: Path) -> Task:
    """Lesions planted in half of the brain MR slices that are measured on."""
    files = _without_tumour(root)
    return _planted(
        "Planted lesions in brain MR",
        f"slices of brains called free of tumour ({NICKPARVAR})",
        {file: read_grey(file) for file in files},
        folder,
        sizes=(0.08, 0.2),
        settings=BRAIN,
        organ=brain,
    )


def lesion_mr(root: Path, folder: Path) -> Task:
    """The outlined tumour of one brain; trained on slices of other people without a tumour."""
    import nibabel as nib

    def slices(file: Path) -> np.ndarray:
        """As pictures of the scanner's console: front at the top, the patient's right at left."""
        load: Any = nib.load
        right_front_up: Any = nib.as_closest_canonical(load(file))
        return np.asarray(right_front_up.dataobj)[::-1, ::-1].transpose(2, 1, 0)

    source = root / "brain-lesion-mr"
    scan, mask = slices(source / "scan.nii.gz"), slices(source / "lesion.nii.gz") > 0
    low, high = np.percentile(scan, (0.5, 99.5))
    grey = np.clip((scan - low) / (high - low), 0, 1)
    shown = np.flatnonzero(mask.any((1, 2)))
    rows: list[tuple[Any, ...]] = []
    for number in range(shown[0] - BEYOND, shown[-1] + BEYOND + 1):
        files = [folder / f"{what}-{number:02d}.png" for what in ("scan", "mask")]
        for file, image in zip(files, (grey[number], mask[number]), strict=True):
            write_grey(file, 255.0 * image)
        sick = int(mask[number].any())
        rows.append((files[0], sick, "", "tumour" if sick else "none", files[1].resolve()))
    healthy = held_out(_without_tumour(root))[1]
    return Task(
        "An outlined brain tumour",
        f"Trained on {len(healthy)} slices of brains called free of tumour ({NICKPARVAR}), the "
        f"networks of the planted lesions in brain MR; measured on {len(rows)} slices (T1 with "
        f"contrast, 6.5 mm) of one patient, {len(shown)} of them through the tumour. One patient "
        "says how a method may behave, not how well it does; intervals over slices.",
        _write(folder / "train.csv", [(p, 0, "", "none") for p in healthy]),
        _write(folder / "test.csv", rows),
        BRAIN,
        0.25,
    )


# Which settings saw labels, where the presets' own sentence, on radiographs, does not hold.
_KEPT = (
    "Numbers of steps (a quarter of them is trained), layers and the centring of maps are the "
    "presets', chosen on labelled radiographs"
)
_PLAIN = (
    "none of this comparison. Margin, border, equalisation and alignment are switched off, and "
    f"values are normalised as such pictures are stored. {_KEPT}."
)
LABELS = {
    **dict.fromkeys(("mednist", "mednist-hard", "planted-ct"), _PLAIN),
    **dict.fromkeys(
        ("planted-mr", "lesion-mr"),
        "the 12 mm that the brain mask is peeled by, chosen on the outlined tumour. Margin, "
        f"border, equalisation and alignment are switched off. {_KEPT}.",
    ),
}

# Slices of the tumour's volume beyond it that are measured on.
BEYOND = 3
# The brain mask of a slice leaves a rim of skull and scalp, which is odder than any lesion.
PEELED = 12.0  # mm
# Pictures of any contrast and framing; residuals count within the brain.
BRAIN = (
    "size=[64,64]",
    "margin=0",
    "border=0",
    "equalise=null",
    "align=false",
    "mask=brain",
    f"mask_erosion={PEELED}",
    "smooth=0.03",
)
NICKPARVAR = (
    "Nickparvar 2021: many scanners, T1, T2, FLAIR and some CT, a few with lesions of another kind"
)


@cache
def _without_tumour(root: Path) -> list[Path]:
    """Brain slices on which enough of the brain is found to look for a lesion in."""
    files = sorted((root / "brain-tumour-mr" / "notumor").glob("*.jpg"))
    return [file for file in files if brain(read_grey(file)).mean() > 0.1]


def held_out(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """A quarter of the files to measure on, and the others."""
    order = np.random.default_rng(0).permutation(len(files))
    parts = np.split(order, [len(files) // 4])
    held, others = ([files[place] for place in part] for part in parts)
    return held, others


def _planted(
    name: str,
    what: str,
    images: Mapping[Path, np.ndarray],
    folder: Path,
    *,
    sizes: tuple[float, float],
    settings: Sequence[str],
    organ: Callable[[np.ndarray], np.ndarray],
) -> Task:
    """A quarter of the pictures is measured on, every second of these with a lesion."""
    from ganatomy.measures.planting import KINDS, plant_lesion

    held, others = held_out(list(images))
    draw = np.random.default_rng(1)
    rows: list[tuple[Any, ...]] = []
    for number, file in enumerate(held):
        image = images[file]
        if number % 2 == 0:
            rows.append((file, 0, "", "none", ""))
            continue
        kind = KINDS[(number // 2) % len(KINDS)]
        size = draw.uniform(*sizes) * min(image.shape)
        donor = padded(images[others[draw.integers(len(others))]], image.shape)
        lesion = plant_lesion(
            image, kind, size, number, within=organ(image), strength=1.0,
            donor=donor if kind == "foreign" else None,
        )  # fmt: skip
        # Brighter than all else, a lesion would change how the whole picture is normalised, and be
        # told by that.
        shown = np.rint(np.clip(lesion.image, image.min(), image.max()))
        # A row of results is known by the names of its scans: other lesions have other names.
        content = hashlib.sha256(shown.tobytes() + lesion.mask.tobytes()).hexdigest()[:8]
        name_of = f"{file.stem}-{kind}-{content}.png"
        scan = write_grey(folder / "scans" / name_of, shown)
        mask = write_grey(folder / "masks" / name_of, 255.0 * lesion.mask)
        rows.append((scan, 1, "", kind, mask.resolve()))
    return Task(
        name,
        f"Trained on {len(others)} {what}; measured on {len(held)} others, half of them with one "
        f"planted lesion ({', '.join(KINDS)}; {sizes[0]:g} to {sizes[1]:g} of the shorter side). "
        "No patients are known: slices of one may be on both sides; intervals over slices. "
        "Lesions are made, not real: this says how small a change is seen, nothing of disease.",
        _write(folder / "train.csv", [(p, 0, "", "none") for p in others]),
        _write(folder / "test.csv", rows),
        settings,
        0.25,
    )


def tasks(root: Path, folder: Path, names: Iterable[str]) -> dict[str, Task]:
    """The named comparisons."""
    makers: dict[str, Any] = {
        "chest-xray": lambda at: chest(root, at),
        "mednist": lambda at: mednist(
            root,
            at,
            "HeadCT",
            ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand"),
            "MedNIST, head CT against all others",
        ),
        "mednist-hard": lambda at: mednist(
            root, at, "ChestCT", ("AbdomenCT",), "MedNIST, chest CT against abdomen CT"
        ),
        "planted-mr": lambda at: planted_mr(root, at),
        "planted-ct": lambda at: planted_ct(root, at),
        "lesion-mr": lambda at: lesion_mr(root, at),
    }
    found = {}
    for name in names or makers:
        at = folder / name
        at.mkdir(parents=True, exist_ok=True)
        found[name] = makers[name](at)
    return found


def patient_of(path: Path) -> str:
    match = PATIENT.match(path.name)
    if match is None:
        raise ValueError(f"{path}: not a name of Kermany 2018")
    return match[1]


def _kind(path: Path) -> str:
    return next((kind for kind in ("bacteria", "virus") if kind in path.name), "normal")


def inside(image: np.ndarray) -> np.ndarray:
    """Where the body is; what it is not has one value, with little noise."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter

    apart = gaussian_filter(np.abs(image - np.median(image)), min(image.shape) / 32)
    return np.asarray(binary_fill_holes(apart > 0.1 * np.percentile(apart, 99)))


def brain(image: np.ndarray) -> np.ndarray:
    """Where the brain is, as models of BRAIN see it; nowhere where none is found."""
    from ganatomy.scans.masks import find_mask

    try:
        return find_mask(image, "brain", None, PEELED)
    except ValueError:
        return np.zeros(image.shape, bool)


def padded(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image cut or repeated at its borders to a shape."""
    image = image[tuple(slice(n) for n in shape)]
    return np.pad(image, [(0, n - m) for n, m in zip(shape, image.shape, strict=True)], "edge")


def read_grey(file: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("L"), np.float32)


def write_grey(file: Path, image: np.ndarray) -> Path:
    """A picture of an image [H, W] in 0 to 255."""
    from PIL import Image

    file.parent.mkdir(exist_ok=True)
    Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(file)
    return file


def _write(file: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    """A CSV of (scan, label, patient, kind, mask); patients and masks only where all are known."""
    columns = ["scan", "label", "patient", "kind", "mask"][: len(rows[0])]
    known = all(row[2] for row in rows)
    with open(file, "w", newline="") as lines:
        write = csv.writer(lines)
        for row in (columns, *([row[0].resolve(), *row[1:]] for row in rows)):
            write.writerow([cell for place, cell in enumerate(row) if known or place != 2])
    return file
