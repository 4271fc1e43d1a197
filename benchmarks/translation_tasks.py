"""The tasks that translation presets are measured on, by name, and those of simulated scans.

Tasks of real scans are in `translation_data`. A simulation's files lie in a folder that is called
by what its module says, so that another simulation makes other files and other rows.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from benchmarks.translation_data import (
    HEADS,
    Fold,
    Task,
    contrasts,
    hippocampus,
    hole,
    mr_to_ct,
    sick_to_healthy,
    vessels,
    write,
)

# Which task each preset is measured on. A preset without one stands in the docs as not measured.
PRESETS = {
    "t1-to-t2": "t1-to-t2",
    "t1-to-t2-resnet": "t1-to-t2",
    "t1-to-t2-cascade": "t1-to-t2",
    "t1-to-t2-cycle": "t1-to-t2",
    "t1-to-t2-mixed": "t1-to-t2",
    "t1-to-t2-unit": "t1-to-t2",
    "t1-to-flair-volume": "t1-to-flair",
    "t1-t2-to-t1-post": "contrasts-to-post",
    "missing-flair": "four-contrasts",
    "vessels-to-fundus": "vessels-to-fundus",
    "fundus-to-vessels": "fundus-to-vessels",
    "lesions-to-fundus": "lesions",
    "bands-to-fundus": "bands",
    "stain-cycle": "stains",
    "stain-classified": "stains",
    "grey-to-fundus-code": "stains-by-code",
    "real-to-synthetic": "real-to-synthetic",
    "labels-to-hippocampus": "labels-to-hippocampus",
    "labels-to-hippocampus-fine": "labels-to-hippocampus",
    "labels-to-hippocampus-spade": "labels-to-hippocampus",
    "hippocampus-pairs": "labels-to-hippocampus",
    "hippocampus-pairs-autoencoder": "labels-to-hippocampus",
    "speckle-to-hippocampus": "speckle-to-mr",
    "speckle-to-hippocampus-segmented": "speckle-to-mr",
    "hippocampus-hole": "hole",
    "hippocampus-shape": "second-contrast",
    "hippocampus-shape-3d": "second-contrast",
    "hippocampus-synseg": "second-contrast",
    "hippocampus-frozen": "second-contrast",
    "hippocampus-masks": "second-contrast",
    "mr-to-uptake": "mr-to-uptake",
    "mr-to-uptake-blended": "mr-to-uptake",
    "mr-labels-to-uptake": "mr-and-labels-to-uptake",
    "uptake-to-mr": "uptake-to-mr",
    "uptake-to-mr-medgan": "uptake-to-mr",
    "position-to-ct": "positions",
    "mr-to-ct-cycle": "mr-to-ct",
    "mr-to-ct-gradient": "mr-to-ct",
    "sick-to-healthy-cycle": "sick-to-healthy",
}
# Labels that a system is published to do without, and that its tables here would give it.
WITHOUT = {
    "hippocampus-synseg": ("target_labels",),
    "hippocampus-frozen": ("scan_labels",),
    "hippocampus-masks": ("scan_labels",),
}


def second_contrast(root: Path, folder: Path) -> Task:
    """A simulated contrast of hippocampi, learned without pairs and measured on pairs."""
    from benchmarks import second_contrast as simulation

    at, made = simulated(simulation, folder)
    if not (at / "test.csv").exists():
        simulation.write(root / "hippocampus-mr", at)
    return Task(
        "A simulated second contrast of hippocampi",
        "Medical Segmentation Decathlon, task 4: T1 crops, and the same crops as a **simulated** "
        "second contrast (`python -m benchmarks.second_contrast` says how). Every fifth subject is "
        "measured on; of the others one gives its T1 and the next its second contrast, so that "
        "nobody has both; intervals over subjects.",
        [Fold(at / "train.csv", at / "test.csv", made)],
        taught=False,
        images="volume",
        labels="scan_labels",
    )


def pairs(root: Path, folder: Path, name: str, title: str, says: str, images: str) -> Task:
    """Pairs that `benchmarks.simulated_pairs` makes; of the two heads both are measured on."""
    from benchmarks import simulated_pairs as simulation

    at, made = simulated(simulation, folder)
    tables = [at / "train.csv", at / "test.csv"]
    if not tables[1].exists():
        simulation.make(name, root, at)
    train, test = tables
    folds = [Fold(train, test, made)]
    if images == "slice":
        folds.append(Fold(test, train, made))
    maker = simulation.MAKERS[name]
    told = " ".join((maker.__doc__ or "").split())
    return Task(title, f"{says} {told}", folds, images=images)


def stains(root: Path, folder: Path, kind: str = "stain") -> Task:
    """Fundus photographs in other colours, or drawn ones, of children without pairs."""
    from benchmarks import stains as simulation

    at, made = simulated(simulation, folder.with_name("stains"))
    if not (at / "drawn-test.csv").exists():
        simulation.write(root / "retina-vessels", at)
    whose = (
        "CHASE_DB1, children divided in three: those of scans, those of targets, those that are "
        "measured on, both eyes of each"
    )
    if kind == "drawn":
        title = "Drawn fundi from photographs"
        says = f"{whose}; what is drawn is **simulated** of the outlines of vessels."
    else:
        title = "Fundus photographs in their own colours, from those of three laboratories"
        says = (
            f"{whose}; the laboratories' colours are **simulated** and vary on what is no tissue."
        )
    says += " `python -m benchmarks.stains` says how; intervals over children."
    train = at / f"{kind}-train.csv"
    if kind == "self":
        kind, title = "stain", f"{title}, by a code"
        says += " A model learns from photographs as they are, their grey values as scans."
        rows = [{"scan": p, "target": p} for p in _photographs(at / "stain-self.csv")]
        train = write(folder / "train.csv", rows)
        return Task(title, says, [Fold(train, at / "stain-test.csv", made)])
    return Task(title, says, [Fold(train, at / f"{kind}-test.csv", made)], taught=False)


def _photographs(table: Path) -> list[Path]:
    with open(table, newline="") as lines:
        paths = [table.parent / row["scan"] for row in csv.DictReader(lines)]
    return [path for path in paths if path.parent.name == "photographs"]


def simulated(simulation: ModuleType, folder: Path) -> tuple[Path, str]:
    """A folder for what a module simulates, another one after each change of it; and its name."""
    assert simulation.__file__ is not None
    made = hashlib.sha256(Path(simulation.__file__).read_bytes()).hexdigest()[:8]
    at = folder / made
    at.mkdir(parents=True, exist_ok=True)
    return at, made


CROPS = (
    "Medical Segmentation Decathlon, task 4: T1 crops of 180 subjects, every fifth measured on; "
    "intervals over subjects."
)
FUNDI = "CHASE_DB1: both eyes of ten children, two of whom are measured on; intervals over eyes."
OF_HEADS = f"Brain-Tumor-Progression: two patients with glioblastoma, {HEADS}"
TASKS: Mapping[str, Callable[[Path, Path], Task]] = {
    "t1-to-t2": contrasts,
    "t1-to-flair": partial(contrasts, target="flair"),
    "contrasts-to-post": partial(
        pairs,
        name="contrasts-to-post",
        title="T1 after contrast medium from T1 and T2",
        says=OF_HEADS,
        images="slice",
    ),
    "four-contrasts": partial(
        pairs,
        name="four-contrasts",
        title="The contrast that is missing, from all others",
        says=f"{OF_HEADS} *The scan itself* is the mean of all four, of which one is the target: "
        "no fair baseline.",
        images="slice",
    ),
    "vessels-to-fundus": vessels,
    "fundus-to-vessels": partial(vessels, back=True),
    "lesions": partial(
        pairs,
        name="lesions",
        title="Fundus photographs from maps of vessels and lesions",
        says=FUNDI,
        images="picture",
    ),
    "bands": partial(
        pairs,
        name="bands",
        title="Fundus photographs from spectral bands",
        says=FUNDI,
        images="picture",
    ),
    "stains": stains,
    "stains-by-code": partial(stains, kind="self"),
    "real-to-synthetic": partial(stains, kind="drawn"),
    "labels-to-hippocampus": hippocampus,
    "speckle-to-mr": partial(
        pairs,
        name="speckle-to-mr",
        title="Hippocampus MR from simulated speckle",
        says=CROPS,
        images="volume",
    ),
    "hole": hole,
    "second-contrast": second_contrast,
    "mr-to-uptake": partial(
        pairs,
        name="mr-to-uptake",
        title="Simulated uptake from MR",
        says=CROPS,
        images="volume",
    ),
    "mr-and-labels-to-uptake": partial(
        pairs,
        name="mr-and-labels-to-uptake",
        title="Simulated uptake from MR and labels",
        says=CROPS,
        images="volume",
    ),
    "uptake-to-mr": partial(
        pairs,
        name="uptake-to-mr",
        title="MR from simulated uptake",
        says=CROPS,
        images="volume",
    ),
    "positions": partial(
        pairs,
        name="positions",
        title="CT of a plane from where it lies",
        says="TotalSegmentator's reference CT of one trunk; intervals over planes.",
        images="plane",
    ),
    "mr-to-ct": mr_to_ct,
    "sick-to-healthy": sick_to_healthy,
}


def tasks(root: Path, folder: Path, names: Iterable[str]) -> dict[str, Task]:
    """The named comparisons, all where none is named; their tables are written below `folder`."""
    found = {}
    for name in names or TASKS:
        at = folder / name
        at.mkdir(parents=True, exist_ok=True)
        found[name] = TASKS[name](root, at)
    return found
