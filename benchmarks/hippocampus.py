"""Hippocampi of other subjects: how well the presets bring them together, beside other programs.

    python -m benchmarks hippocampus [--quick]

The collection's crops are laid centre on centre on one grid. Every fifth subject is measured on,
every tenth (of the others) is there to choose settings on, the rest are trained on.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks import harness, trained
from benchmarks.harness import Result, Row

# ITK's threads, before it is loaded: one, as all others have.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

QUESTION = "How well do two people's hippocampi come to lie on each other?"
SOURCE = harness.ROOT.parent / "shared" / "data" / "hippocampus-mr"
GRID = (40, 56, 40)
PRESETS = ("hippocampus-deformable", "hippocampus-deformable-labels")
COLUMNS = ("fixed", "moving", "fixed_labels", "moving_labels", "patient")
PAIRS = 40
SHOWN = {"dice": "", "hd95_mm": "mm", "folds": "", "log_jacobian_deviation": ""}


def measure(quick: bool) -> Result:
    from registration.evaluation import OWN, evaluate
    from registration.pairs import read_pairs
    from registration.registrar import Registrar

    trained.threads(1)
    work = trained.folder() / "hippocampus"
    train, chosen, measured = subjects()
    table = written(work / "train.csv", [(name, name) for name in train])
    pairs = written(work / "pairs.csv", drawn(measured, PAIRS))
    written(work / "choosing.csv", drawn(chosen, PAIRS // 2))
    result = Result()
    for preset in PRESETS[:1] if quick else PRESETS:
        registrar = Registrar.load(model(preset, table, work, quick))
        listed = read_pairs([str(pairs)])[: 2 if quick else None]
        others = preset == PRESETS[0]
        scores = evaluate(registrar, listed, work / preset, others=others).scores
        for method in dict.fromkeys(scores["method"]):
            if method == OWN:
                name = preset
            elif method.endswith("alone"):
                name = f"{preset}, {method}"
            elif others:
                name = method
            else:
                continue
            result.rows += rows(name, scores[scores["method"] == method])
    result.notes = [
        f"{len(train)} subjects to train on, {PAIRS} pairs of {len(measured)} others, T1 at 1 mm "
        f"on {'×'.join(map(str, GRID))} voxels, centre on centre; a pair may be a left and a right "
        "one. Labels (anterior, posterior) are warped by nearest neighbours; intervals over pairs' "
        "fixed subjects. One training each.",
        "Everything on one thread, seconds by the clock. SimpleITK and ANTs as in "
        "`registration.baselines`, not tuned; the cross-correlation of ANTs with a radius of 2 to "
        "full resolution.",
    ]
    return result


def rows(name: str, scores: Any) -> list[Row]:
    """What a table says of one method's pairs."""
    from registration.evaluation import measures_of

    found, count = measures_of(scores), f"{len(scores)} pairs"
    made = []
    for what, unit in SHOWN.items():
        value, low, high = (found[what][end] for end in ("value", "low", "high"))
        made.append(Row(f"{name}: {what}", unit, value, low, high, count))
    least, times = float(scores["dice"].min()), scores["seconds"].to_numpy(float)
    ends = float(times.min()), float(times.max())
    made.append(Row(f"{name}: lowest dice", "", least, least, least, count))
    return [*made, Row(f"{name}: time", "s", float(np.median(times)), *ends, count)]


def subjects() -> tuple[list[str], list[str], list[str]]:
    """File names of subjects: trained on, to choose settings on, measured on."""
    names = sorted(file.name for file in (SOURCE / "labels").glob("*.nii.gz"))
    measured, chosen = names[4::5], names[::10]
    rest = set(names) - set(measured) - set(chosen)
    return sorted(rest), chosen, measured


def drawn(names: Sequence[str], count: int) -> list[tuple[str, str]]:
    """Pairs of different subjects, drawn once and for all."""
    draw = np.random.default_rng(0)
    found: list[tuple[str, str]] = []
    while len(found) < count:
        fixed, moving = draw.choice(len(names), 2, replace=False)
        pair = str(names[fixed]), str(names[moving])
        if pair not in found:
            found.append(pair)
    return found


def written(file: Path, pairs: Sequence[tuple[str, str]]) -> Path:
    """A table of pairs, whose scans and labels are written beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        for pair in pairs:
            held = [
                centred(kind, name, file.parent) for kind in ("images", "labels") for name in pair
            ]
            table.writerow([*held, pair[0].partition(".")[0]])
    return file


def centred(kind: str, name: str, folder: Path) -> Path:
    """A crop in the middle of the grid, cut where it is larger and 0 where it is smaller."""
    made = folder / kind / name
    if not made.exists():
        load: Any = nib.load
        scan = load(SOURCE / kind / name)
        array = np.asarray(scan.dataobj)
        for axis, side in enumerate(GRID):
            before = (side - array.shape[axis]) // 2
            first, last = max(-before, 0), min(array.shape[axis], side - before)
            array = array.take(range(first, last), axis)
            pads = [(0, 0)] * len(GRID)
            pads[axis] = (max(before, 0), side - array.shape[axis] - max(before, 0))
            array = np.pad(array, pads)
        made.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, scan.affine), made)
    return made


def model(name: str, table: Path, work: Path, quick: bool) -> Path:
    """The folder of a preset trained on a table, kept in the cache."""
    from ganatomy import registry
    from ganatomy.tables import read_table

    preset = registry.preset(name)
    if quick:
        shorter = {stage: 20 for stage in preset.training.steps}
        preset = preset.set([f"training.steps={json.dumps(shorter)}"])
    rows = read_table([str(table)], registry.roles_of(preset))
    return trained.fitted(preset, rows, work / "models")
