"""The scans that detectors are compared on: what to train on, what to measure on, and how.

Everything comes from a folder of public collections (`--data`); nothing is shipped. Tables are
written as CSV files beside the models, so that a row of the results can be made again by hand.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    from PIL import Image

    files = sorted((root / "mednist" / "ChestCT").glob("*.jpeg"))[:700]
    images = {file: read_grey(file) for file in files}

    def write(file: Path, array: np.ndarray, out: Path) -> Path:
        scan = out.with_suffix(".png")
        Image.fromarray(np.clip(np.rint(array), 0, 255).astype(np.uint8)).save(scan)
        return scan

    return _planted(
        "Planted lesions in chest CT",
        "chest CT slices of MedNIST, none of which is known to be healthy",
        images,
        folder,
        write,
        sizes=(0.12, 0.25),
        unit="of the side",
        settings=PLAIN,
    )


def planted_mr(root: Path, folder: Path) -> Task:
    """Lesions planted in half of the T1 volumes (Decathlon, hippocampus) that are measured on."""
    import nibabel as nib

    load: Any = nib.load
    files = sorted((root / "hippocampus-mr").glob("images/*.nii.gz"))
    images = {file: np.asarray(load(file).dataobj, np.float32) for file in files}

    def write(file: Path, array: np.ndarray, out: Path) -> Path:
        scan = out.with_suffix(".nii.gz")
        nib.save(nib.Nifti1Image(array.astype(np.float32), load(file).affine), scan)
        return scan

    return _planted(
        "Planted lesions in brain MR",
        "T1 volumes about the hippocampus (Medical Segmentation Decathlon; one a patient)",
        images,
        folder,
        write,
        sizes=(4.0, 10.0),
        unit="mm",
        settings=(*PLAIN, "normalise=percentile"),
    )


def lesion_mr(root: Path, folder: Path) -> Task:
    """The outlined tumour of one brain; trained on slices of other people without a tumour."""
    import nibabel as nib
    from PIL import Image

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
            Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(file)
        sick = int(mask[number].any())
        rows.append((files[0], sick, "", "tumour" if sick else "none", files[1].resolve()))
    healthy = sorted((root / "brain-tumour-mr" / "notumor").glob("*.jpg"))
    return Task(
        "An outlined brain tumour",
        f"Trained on {len(healthy)} slices of brains called free of tumour (Nickparvar 2021: many "
        "scanners, T1, T2, FLAIR and some CT, a few with lesions of another kind); measured on "
        f"{len(rows)} slices (T1 with contrast, 6.5 mm) of one patient, {len(shown)} of them "
        "through the tumour. One patient says how a method may behave, not how well it does; "
        "intervals over slices.",
        _write(folder / "train.csv", [(p, 0, "", "none") for p in healthy]),
        _write(folder / "test.csv", rows),
        BRAIN,
        0.25,
        ("linear", "aae", "caae", "vae", "fanogan", "planted", "density"),
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
    **dict.fromkeys(("mednist", "mednist-hard", "planted-mr", "planted-ct"), _PLAIN),
    "lesion-mr": "none of this comparison. Margin and border are switched off, and maps count "
    f"within the head. {_KEPT}, as are equalisation, alignment and normalisation.",
}

# Slices of the tumour's volume beyond it that are measured on.
BEYOND = 3
# Pictures of any contrast and framing; residuals count within the head.
BRAIN = ("size=[64,64]", "margin=0", "border=0", "mask=body")


def _planted(
    name: str,
    what: str,
    images: Mapping[Path, np.ndarray],
    folder: Path,
    write: Callable[[Path, np.ndarray, Path], Path],
    *,
    sizes: tuple[float, float],
    unit: str,
    settings: Sequence[str],
) -> Task:
    """A quarter of the scans is measured on, every second of these with a lesion."""
    from ganatomy.measures.planting import KINDS, plant_lesion

    draw = np.random.default_rng(0)
    files = [list(images)[i] for i in draw.permutation(len(images))]
    held = len(files) // 4
    (folder / "scans").mkdir(exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rows: list[tuple[Any, ...]] = []
    for number, file in enumerate(files[:held]):
        image = images[file]
        if number % 2 == 0:
            rows.append((file, 0, "", "none", ""))
            continue
        kind = KINDS[(number // 2) % len(KINDS)]
        size = draw.uniform(*sizes) * (1 if unit == "mm" else min(image.shape))
        donor = padded(images[files[draw.integers(held, len(files))]], image.shape)
        lesion = plant_lesion(
            image, kind, size, number, within=inside(image), strength=1.0,
            donor=donor if kind == "foreign" else None,
        )  # fmt: skip
        stem = f"{file.name.partition('.')[0]}-{kind}"
        scan = write(file, lesion.image, folder / "scans" / stem)
        mask = write(file, 255.0 * lesion.mask, folder / "masks" / stem)
        rows.append((scan, 1, "", kind, mask.resolve()))
    return Task(
        name,
        f"Trained on {len(files) - held} {what}; measured on {held} others, half of them with one "
        f"planted lesion ({', '.join(KINDS)}; {sizes[0]:g} to {sizes[1]:g} {unit}). Lesions are "
        "made, not real: this says how small a change is seen, nothing of disease.",
        _write(folder / "train.csv", [(p, 0, "", "none") for p in files[held:]]),
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


def padded(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """An image cut or repeated at its borders to a shape."""
    image = image[tuple(slice(n) for n in shape)]
    return np.pad(image, [(0, n - m) for n, m in zip(shape, image.shape, strict=True)], "edge")


def read_grey(file: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("L"), np.float32)


def _write(file: Path, rows: Sequence[tuple[Any, ...]]) -> Path:
    """A CSV of (scan, label, patient, kind, mask); patients and masks only where all are known."""
    columns = ["scan", "label", "patient", "kind", "mask"][: len(rows[0])]
    known = all(row[2] for row in rows)
    with open(file, "w", newline="") as lines:
        write = csv.writer(lines)
        for row in (columns, *([row[0].resolve(), *row[1:]] for row in rows)):
            write.writerow([cell for place, cell in enumerate(row) if known or place != 2])
    return file
