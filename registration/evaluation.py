"""How well a model aligns pairs, beside what others make of the same pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ganatomy.artifacts import write_whole
from ganatomy.measures.detection import detection_measures
from ganatomy.measures.registration import (
    error_measures,
    label_distances,
    label_overlaps,
    landmark_errors,
    mean_interval,
)
from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.scans.placed import check_labels, same_grid
from ganatomy.tables import TableError
from registration.baselines import Aligned, baselines, identity
from registration.known_transforms import displaced, drawn, shown_points
from registration.landmarks import read_points
from registration.mono_modal import direct
from registration.pairs import Pair
from registration.registrar import Registrar
from registration.registration import LIMIT, Registration

OWN = "this model"
# Of a model whose transforms are refined, what either is without the other.
NETWORK, REFINEMENT = "network alone", "refinement alone"
# Of a model that translates first, the same model on the scans as they are.
DIRECT = "without translation"
# What is measured of every pair, and how it is summed up over pairs.
MEANS = {"dice": "dice", "hd95_mm": "hd95_mm", "folds": "folds", "overlap": "overlap"}
MEANS |= {"log_jacobian_deviation": "log_jacobian_deviation", "seconds": "seconds"}


class Evaluation(NamedTuple):
    """measures.json and pairs.csv of an evaluation."""

    measures: dict[str, Any]
    scores: pd.DataFrame


@dataclass(frozen=True)
class Case:
    """Two scans, and what is known of where one lies on the other.

    Attributes:
        points: of the fixed scan, [n, rank], mm; None where no landmark is known.
        goals: the same landmarks in the moving scan; NaN for those that nobody knows.
    """

    name: str
    patient: str
    fixed: Scan
    moving: Scan
    labels: tuple[Scan, Scan] | None = None
    points: np.ndarray | None = None
    goals: np.ndarray | None = None


def evaluate(
    registrar: Registrar,
    pairs: Sequence[Pair],
    folder: Path | None = None,
    *,
    known: int = 0,
    seed: int = 0,
    others: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measures of a model on pairs with labels or landmarks, or whose transform is known.

    Dice and HD95 are means over the labels that either scan of a pair holds; an error is the mean
    over a pair's landmarks, on the moving scan; both are in `unit`, which is mm, and pixels for
    pictures without a spacing. A pair that has lost a label has a Dice of 0 for it and no HD95.
    Where another program gives nothing, the scans stay as they are, and `failed` says so. Intervals
    resample patients where the pairs name them. The folder gets pairs.csv, a row a pair and method,
    and measures.json. Where a model's transforms are refined, the network alone is measured too,
    and the refinement alone, from where the headers have them. Where the moving scan is translated
    first, the same model is always measured without as well.

    Args:
        registrar: with its model.
        pairs: scans, and what a table says of them.
        folder: made where it does not exist.
        known: so many transforms are made here, of the model's kind (see
            `registration.known_transforms`), and found again; pairs then lie on each other.
        seed: of these.
        others: measure SimpleITK, and ANTs where it is installed, as well.
        progress: called with (pairs done, pairs in all).

    Raises:
        TableError: pairs of which nothing is known, or of which not one could be registered; scans
            each with itself, where the moving one is to be of another modality.
    """
    if not known and not any(pair.fixed_labels or pair.fixed_points for pair in pairs):
        raise TableError(
            "nothing is known of these pairs: give a CSV with fixed_labels and moving_labels, or "
            "fixed_points and moving_points, or --known-transforms N"
        )
    methods = baselines(registrar.kind)
    if not others:
        methods = {"identity": methods["identity"]}
    if registrar.settings_.refine != "none":
        methods = {REFINEMENT: registrar.refine, **methods}
    if registrar.settings_.translate is not None:
        if any(pair.fixed == pair.moving for pair in pairs):
            raise TableError(
                "the model translates moving scans to the fixed ones' modality: give pairs of the "
                "two, as a CSV with columns fixed and moving"
            )
        across = direct(registrar)
        methods = {DIRECT: lambda fixed, moving: across.align(fixed, moving).transform, **methods}
    rows, failures = [], []
    total = known or len(pairs)
    for number, case in enumerate(_cases(registrar, pairs, known, seed)):
        if isinstance(case, ScanError):
            failures.append(str(case))
        else:
            rows += _measured(registrar, case, methods, failures)
        if progress is not None:
            progress(number + 1, total)
    frame = pd.DataFrame(rows)
    if not rows:
        why = f"; the first: {failures[0]}" if failures else ""
        raise TableError(f"not one of {total} pairs could be registered{why}")
    measures = _summed(registrar, frame, known, failures)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "pairs.csv", index=False)
        write_whole(folder / "measures.json", json.dumps(measures, indent=2))
    return Evaluation(measures, frame)


def _cases(
    registrar: Registrar, pairs: Sequence[Pair], known: int, seed: int
) -> Iterator[Case | ScanError]:
    for number in range(known or len(pairs)):
        pair = pairs[number % len(pairs)]
        try:
            fixed, moving = registrar.read(pair.fixed), registrar.read(pair.moving)
            registrar.check_pair(fixed, moving)
            if known:
                truth = drawn(registrar.kind, moving, seed, number)
                points = shown_points(fixed, seed=number)
                moving = displaced(moving, truth)
                name = f"{pair.name}, transform {number + 1}"
                goals = truth.points(points)
                yield Case(name, pair.patient, fixed, moving, None, points, goals)
                continue
            yield _case(pair, fixed, moving)
        except ScanError as error:
            yield error


def _case(pair: Pair, fixed: Scan, moving: Scan) -> Case:
    labels = points = goals = None
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        labels = (
            read_scan(pair.fixed_labels, constant=True),
            read_scan(pair.moving_labels, constant=True),
        )
        check_labels(labels[0])
        if not same_grid(labels[0], fixed):
            same = labels[0].shape == fixed.shape
            shapes = f"has the grid {labels[0].shape}, its scan {fixed.shape}"
            problem = "lies elsewhere than its scan" if same else shapes
            raise ScanError(pair.fixed_labels, problem, "labels on the grid of their scan")
    if pair.fixed_points is not None and pair.moving_points is not None:
        points, goals = (
            read_points(path, fixed.rank) for path in (pair.fixed_points, pair.moving_points)
        )
        if points.shape != goals.shape:
            problem = f"holds {len(goals)} points, {pair.fixed_points} {len(points)}"
            raise ScanError(pair.moving_points, problem, "the same landmarks in the same order")
    return Case(pair.name, pair.patient, fixed, moving, labels, points, goals)


def _measured(
    registrar: Registrar, case: Case, methods: dict[str, Aligned], failures: list[str]
) -> list[dict[str, Any]]:
    """A row a method; none of the pair where the model refuses it, or its labels do not fit."""
    try:
        own = registrar.align(case.fixed, case.moving)
        rows = [_row(OWN, case, own)]
    except ScanError as error:
        failures.append(str(error))
        return []
    if own.refinement is not None:
        alone, seconds = own.refinement.before, own.seconds - own.refinement.seconds
        score = own.network_score
        before = Registration(case.fixed, case.moving, alone, score, seconds=seconds)
        rows.append(_row(NETWORK, case, before))
    for name, method in methods.items():
        began = time.perf_counter()
        try:
            transform = method(case.fixed, case.moving)
        except (RuntimeError, ValueError, ScanError) as error:  # another program's own complaint
            failures.append(f"{case.name}: {name} gave nothing: {type(error).__name__}")
            transform = identity(case.fixed, case.moving)
        seconds = time.perf_counter() - began
        found = Registration(case.fixed, case.moving, transform, np.nan, seconds=seconds)
        rows.append(_row(name, case, found))
    return rows


def _row(method: str, case: Case, found: Registration) -> dict[str, Any]:
    jacobian = found.jacobian
    rising = jacobian[jacobian > 0]
    row: dict[str, Any] = {
        "pair": case.name,
        "patient": case.patient,
        "method": method,
        "alignment_score": found.alignment_score,
        "failure": found.failure,
        "overlap": found.overlap,
        "folds": found.folds,
        "log_jacobian_deviation": float(np.log(rising).std()) if rising.size else np.nan,
        "seconds": found.seconds,
        "unit": found.unit,
    }
    if case.labels is not None:
        fixed, moving = case.labels
        true, moved = fixed.pixels[..., 0], found.warp(moving)
        held = sorted({int(v) for array in (true, moving.pixels) for v in np.unique(array)} - {0})
        spacing = case.fixed.spacing or (1.0,) * case.fixed.rank
        overlaps = label_overlaps(true, moved, held)
        distances = label_distances(true, moved, held, spacing)
        row |= {"dice": _mean(overlaps.values()), "hd95_mm": _mean(distances.values())}
        row |= {f"dice_{label}": value for label, value in overlaps.items()}
    if case.points is not None and case.goals is not None:
        seen = np.isfinite(case.goals).all(-1)
        errors = landmark_errors(case.goals[seen], found.transform.map(case.points[seen]))
        row |= {"error_mm": float(errors.mean()), "largest_error_mm": float(errors.max())}
    return row


def _mean(values: Any) -> float:
    known = np.array([value for value in values if not np.isnan(value)])
    return float(known.mean()) if known.size else float("nan")


def _summed(
    registrar: Registrar, frame: pd.DataFrame, known: int, failures: list[str]
) -> dict[str, Any]:
    preset = registrar.artifact_.preset
    names = list(dict.fromkeys(frame["method"]))
    patients = bool((frame["patient"] != frame["pair"]).any())
    by_method: dict[str, Any] = {name: frame[frame["method"] == name] for name in names}
    found = {name: measures_of(rows) for name, rows in by_method.items()}
    own = by_method[OWN]
    return {
        "task": "register",
        "model": preset.model.partition(":")[2],
        "preset": preset.name,
        "n_pairs": len(own),
        "patients": patients,
        "known_transforms": known,
        "translate": registrar.settings_.translate,
        "limit_mm": LIMIT,
        "unit": " or ".join(sorted(set(own["unit"]))),
        "measures": found[OWN],
        "methods": {name: measures for name, measures in found.items() if name != OWN},
        "differences": {
            name: differences(own, rows) for name, rows in by_method.items() if name != OWN
        },
        "score": _score(own),
        "failed": failures,
    }


def measures_of(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Of one method's pairs each measure with its interval.

    Args:
        rows: of pairs.csv.
    """
    found: dict[str, Any] = {}
    for name, column in MEANS.items():
        if column not in rows:
            continue
        some = rows[np.isfinite(rows[column].astype(float))]
        if len(some):
            found[name] = mean_interval(some[column], groups=some["patient"].to_numpy())
    if "error_mm" in rows:
        some = rows[rows["error_mm"].notna()]
        if len(some):
            errors = error_measures(some["error_mm"], limit=LIMIT, groups=some["patient"])
            found |= {f"error_{name}": value for name, value in errors.items()}
    return {name: value.to_dict() for name, value in found.items()}


def differences(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The first's measures minus the other's, of the pairs that both have, with intervals.

    Args:
        own: rows of pairs.csv of one method.
        other: of another.
    """
    both = own.merge(other, on="pair", suffixes=("", "_other"))
    found = {}
    for column in ("dice", "hd95_mm", "error_mm"):
        if column in own and f"{column}_other" in both:
            gap = both[column].astype(float) - both[f"{column}_other"].astype(float)
            some = np.isfinite(gap)
            if some.any():
                groups = both.loc[some, "patient"].to_numpy()
                found[column] = mean_interval(gap[some], groups=groups).to_dict()
    return found


def _score(own: pd.DataFrame) -> dict[str, Any]:
    """How well score and probability tell errors above the limit; empty where none is told."""
    if "error_mm" not in own:
        return {}
    some = own[own["error_mm"].notna()]
    failed = (some["error_mm"] > LIMIT).astype(int).to_numpy()
    if len(set(failed)) < 2:
        return {"failures": int(failed.sum()), "n": len(failed)}
    found: dict[str, Any] = {"failures": int(failed.sum()), "n": len(failed)}
    signs = {"auroc": -some["alignment_score"], "probability_auroc": some["failure"]}
    for name, sign in signs.items():
        values = sign.to_numpy(float)
        if np.isfinite(values).all():  # a model that was not calibrated gives no probability
            groups = some["patient"].to_numpy(str)
            found[name] = detection_measures(failed, values, groups=groups)["auroc"].to_dict()
    return found
