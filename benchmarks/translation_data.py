"""Real scans that translation is measured on: what to train on, what to measure on, and how.

Everything comes from a folder of public collections (`--data`); nothing is shipped. Tables are
written as CSV files beside the models, so that a row of the results can be made again by hand. A
table has a column for every role that a preset of its task may ask for; what a preset does not ask
for it does not see.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Fold:
    """What a model is trained on and what it is measured on, CSVs of different patients.

    Attributes:
        made: what says whether simulated scans are the same as before; empty for real ones.
    """

    train: Path
    test: Path
    made: str = ""


@dataclass(frozen=True)
class Task:
    """One comparison.

    Attributes:
        name: of its table in the docs.
        says: what was trained on and measured on, for the docs.
        folds: each trains a model of its own; a row holds the images of all of them.
        paired: whether every scan that is measured on has a target to be compared with.
        taught: whether those that are trained on have.
        images: what one image is: a "slice" of a volume, a whole "volume", a "picture", a "plane"
            through a volume, or the "hole" of a volume that a model fills.
        labels: the column of labels of the scans, which a frozen segmentor of real targets is to
            find in translations.
    """

    name: str
    says: str
    folds: Sequence[Fold]
    paired: bool = True
    taught: bool = True
    images: str = "picture"
    labels: str = ""


PATIENTS = ("PGBM-002", "PGBM-003")
HEADS = (
    "22 slices each: a model is trained on one and measured on the slices of the other, and the "
    "reverse; 44 slices of two patients. **Two patients say how methods compare, not how well they "
    "do on a third**; intervals are over slices."
)
HELD_OUT = 0.3  # of what is known by pictures alone


def contrasts(root: Path, folder: Path, target: str = "t2") -> Task:
    """Two heads with registered series: a model of either patient, measured on the other."""

    def table(name: str, patient: str) -> Path:
        scan, other = (root / "brain-mr-dicom" / patient / kind for kind in ("t1", target))
        row = {"scan": scan, "target": other, "unpaired_scan": scan, "unpaired_target": other}
        return write(folder / f"{name}-{patient}.csv", [{**row, "patient": patient}])

    tables = {patient: (table("train", patient), table("test", patient)) for patient in PATIENTS}
    one, other = PATIENTS
    kind = target.upper()
    return Task(
        f"{kind} from T1 MR of the head",
        f"Brain-Tumor-Progression: registered T1 and {kind} series of two patients with "
        f"glioblastoma. {HEADS} Models without pairs see the same slices of T1 and {kind}, in an "
        "order of their own.",
        [Fold(tables[one][0], tables[other][1]), Fold(tables[other][0], tables[one][1])],
        images="slice",
    )


def vessels(root: Path, folder: Path, back: bool = False) -> Task:
    """CHASE_DB1 by child: both eyes of six to train on, of four others to measure on."""
    source = root / "retina-vessels"
    rows = []
    for path in sorted((source / "images").glob("*.jpg")):
        ends = [source / "vessels" / f"{path.stem}.png", path]
        first, second = reversed(ends) if back else ends
        rows.append({"scan": first, "target": second, "patient": path.stem[:-1]})
    children = sorted({row["patient"] for row in rows})
    order = np.random.default_rng(0).permutation(len(children))
    held = {children[place] for place in order[:4]}
    return Task(
        "Maps of vessels from fundus photographs"
        if back
        else "Fundus photographs from maps of vessels",
        f"CHASE_DB1: maps of vessels drawn on photographs of both eyes of {len(children)} "
        f"children; trained on {len(children) - len(held)} of them, measured on the "
        f"{2 * len(held)} photographs of {len(held)} others; intervals over children.",
        [
            Fold(
                write(folder / "train.csv", [r for r in rows if r["patient"] not in held]),
                write(folder / "test.csv", [r for r in rows if r["patient"] in held]),
            )
        ],
    )


def mr_to_ct(root: Path, folder: Path) -> Task:
    """Pictures of heads in MR and in CT, of different people and without pairs."""
    scans = split(sorted((root / "brain-tumour-mr" / "notumor").glob("*.jpg")))
    targets = split(sorted((root / "mednist" / "HeadCT").glob("*.jpeg"))[:500])
    return Task(
        "CT from MR of the head, without pairs",
        f"Pictures of heads: MR without a tumour (Nickparvar 2021, several contrasts and scanners, "
        f"with some CT) and CT (MedNIST). Trained on {len(scans[1])} and {len(targets[1])}, "
        f"measured on {len(scans[0])} and {len(targets[0])} others. No pairs and no patients are "
        "known, slices of one may be on both sides: only sets are compared, and nothing here says "
        "that a made CT is that of its MR.",
        [streams(folder, scans, targets)],
        paired=False,
        taught=False,
    )


def sick_to_healthy(root: Path, folder: Path) -> Task:
    """Brain MR with tumours to brain MR without."""
    source = root / "brain-tumour-mr"
    kinds = [
        split(sorted((source / kind).glob("*.jpg")))
        for kind in ("glioma", "meningioma", "pituitary")
    ]
    scans = tuple([path for kind in kinds for path in kind[place]] for place in (0, 1))
    targets = split(sorted((source / "notumor").glob("*.jpg")))
    return Task(
        "Healthy brain MR from brain MR with tumours, without pairs",
        f"Nickparvar 2021: pictures with glioma, meningioma or pituitary tumour, and without. "
        f"Trained on {len(scans[1])} and {len(targets[1])}, measured on {len(scans[0])} and "
        f"{len(targets[0])} others. The two come from **other scanners**: to go from one set to "
        "the other is to change the scanner as well, and a small distance proves nothing about "
        "tumours. No pairs and no patients are known: only sets are compared.",
        [streams(folder, (scans[0], scans[1]), targets)],
        paired=False,
        taught=False,
    )


def hippocampus(root: Path, folder: Path) -> Task:
    """Crops of hippocampi from maps of their labels; every fifth subject is measured on."""
    source = root / "hippocampus-mr"
    rows = [
        {
            "scan": source / "labels" / path.name,
            "target": path,
            "patient": path.name.partition(".")[0],
        }
        for path in sorted((source / "images").glob("*.nii.gz"))
    ]
    return Task(
        "Hippocampus MR from maps of its labels",
        "Medical Segmentation Decathlon, task 4: T1 crops of 180 subjects, two labels. Measured "
        "on every fifth subject, trained on the others; intervals over subjects.",
        [by_fifths(folder, rows)],
        images="volume",
    )


def hole(root: Path, folder: Path) -> Task:
    """The middle of crops of hippocampi, from what is around it."""
    rows = [
        {"scan": path, "target": path, "patient": path.name.partition(".")[0]}
        for path in sorted((root / "hippocampus-mr" / "images").glob("*.nii.gz"))
    ]
    return Task(
        "The middle of hippocampus MR from what is around it",
        "Medical Segmentation Decathlon, task 4: T1 crops of 180 subjects, every fifth measured "
        "on. Errors are of the voxels of the hole alone, on the model's grid; *the scan itself* is "
        "the hole filled with the mean of the rim around it; intervals over subjects.",
        [by_fifths(folder, rows)],
        images="hole",
    )


def split(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """A share of the files to measure on, and the others."""
    order = np.random.default_rng(0).permutation(len(files))
    held = set(order[: round(HELD_OUT * len(files))].tolist())
    return (
        [file for place, file in enumerate(files) if place in held],
        [file for place, file in enumerate(files) if place not in held],
    )


def streams(
    folder: Path, scans: tuple[list[Path], list[Path]], targets: tuple[list[Path], list[Path]]
) -> Fold:
    """Tables of two columns that have nothing to do with each other; of each (test, train)."""
    files = []
    for name, own, other in zip(("test", "train"), scans, targets, strict=True):
        rows = [
            {"scan": scan or "", "target": target or ""} for scan, target in zip_longest(own, other)
        ]
        files.append(write(folder / f"{name}.csv", rows))
    return Fold(files[1], files[0])


def by_fifths(folder: Path, rows: Sequence[Mapping[str, Path | str]]) -> Fold:
    """Every fifth row to measure on, the others to train on."""
    return Fold(
        write(folder / "train.csv", [r for n, r in enumerate(rows) if n % 5]),
        write(folder / "test.csv", [r for n, r in enumerate(rows) if not n % 5]),
    )


def write(file: Path, rows: Sequence[Mapping[str, Path | str]]) -> Path:
    """A CSV whose paths are whole; a cell that a row lacks is empty."""
    with open(file, "w", newline="") as lines:
        table = csv.DictWriter(
            lines, list(dict.fromkeys(k for row in rows for k in row)), restval=""
        )
        table.writeheader()
        table.writerows(
            {k: v.resolve() if isinstance(v, Path) else v for k, v in row.items()} for row in rows
        )
    return file
