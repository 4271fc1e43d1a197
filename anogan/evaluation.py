"""How well a detector tells abnormal from healthy, with the controls beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from anogan.calibration import warn_of_unlike
from anogan.face import Face
from anogan.result import Result
from ganatomy.artifacts import write_whole
from ganatomy.measures.detection import detection_measures, paired_difference
from ganatomy.tables import Table, TableError

# Pictures in the report are no larger than this.
SIDE = 224
# A column of a table is a grouping of its abnormal scans with no more kinds than this (an age or
# an accession number is none), and a kind is measured with no fewer scans than this.
KINDS, FEWEST = 12, 5


class Evaluation(NamedTuple):
    """measures.json and scores.csv of an evaluation."""

    measures: dict[str, Any]
    scores: pd.DataFrame


def evaluate(
    scorer: Face,
    table: Table,
    folder: Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measures of a calibrated scorer on labelled scans; written to a folder where one is given.

    The folder gets scores.csv, measures.json and, where the table has both kinds, examples.npz.
    Intervals resample patients where the table knows them, otherwise scans. A control is measured
    without the scans that its own preprocessing refuses; `controls_left_out` counts them.

    Raises:
        TableError: no labels, or only one kind of scan.

    Warns:
        UnlikeScans: more than one healthy scan in twenty does not look like the calibration scans.
    """
    labels = check_labels(table)
    places, rows, others = [], [], {name: [] for name in scorer.controls_}
    failures = []
    results = scorer.results(table.first)
    done = 0
    for group in _groups(results, scorer.artifact_.model.chunk):
        good = [r for r in group if r.error is None]
        for name, control in scorer.controls_.items():
            for own in control.again(good, scorer) if good else ():
                others[name].append(np.nan if own.error is not None else own.anomaly_score)
        for result in good:
            for name, score in result.rivals.items():
                others.setdefault(f"member {name}", []).append(score)
        for result in group:
            place = done
            done += 1
            if result.error is not None:
                failures.append(str(result.error))
                continue
            places.append(place)
            rows.append(
                {
                    "scan": table.names[place],
                    "label": int(labels[place]),
                    "patient": "" if table.patient is None else table.patient[place],
                    **columns(result),
                }
            )
        if progress is not None:
            progress(done, len(table))
    frame = pd.DataFrame(rows)
    if len({row["label"] for row in rows}) < 2:
        raise TableError("of the healthy or of the abnormal scans, not one could be read")
    measures = measured(frame, others, scorer, table.patient is not None)
    measures["extra"] = by_group(frame, table.groups.iloc[places]) if len(table.groups) else {}
    measures["failed"] = failures
    # Disease changes the look of a scan as well; the healthy ones tell of the source alone.
    warn_of_unlike(frame.loc[frame["label"] == 0, "unlike"].to_list(), stacklevel=3)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "scores.csv", index=False)
        write_whole(folder / "measures.json", json.dumps(measures, indent=2))
        pictures, facts = examples(scorer, table, frame)
        write_examples(folder / "examples.npz", pictures, **facts)
    return Evaluation(measures, frame)


def check_labels(table: Table) -> np.ndarray:
    """The labels of a table, refused where it has not both kinds of scans.

    Raises:
        TableError: no labels, or only one kind.
    """
    if table.label is None or len(set(table.label)) < 2:
        raise TableError(
            "an evaluation needs healthy and abnormal scans: a CSV with a column "
            "'label' (0, 1), or a folder with 'normal' beside other subfolders"
        )
    return table.label


def columns(result: Result) -> dict[str, Any]:
    """The columns of scores.csv that a result fills."""
    return {
        "anomaly_score": result.anomaly_score,
        "p_value": result.p_value,
        "threshold": result.threshold,
        "abnormal": result.abnormal,
        "paper_score": result.paper_score,
        "unlike": result.unlike,
    }


def measured(
    frame: pd.DataFrame, others: dict[str, list[float]], scorer: Face, patients: bool
) -> dict[str, Any]:
    """measures.json: the model's measures, the controls' and their differences."""
    labels, scores = frame["label"].to_numpy(), frame["anomaly_score"].to_numpy()
    groups = frame["patient"].to_numpy(str) if patients else None
    preset = scorer.artifact_.preset
    found = detection_measures(labels, scores, threshold=scorer.threshold_, groups=groups)
    controls, left_out = {}, {}
    rivals = {"paper score": frame["paper_score"].to_numpy(), **others}
    for name, rival in rivals.items():
        if name == "paper score" and np.array_equal(rival, scores):
            continue
        title = {"linear": "linear control", "raw": "raw principal components"}.get(name, name)
        rival = np.asarray(rival, float)
        seen = np.isfinite(rival)
        if not seen.all():
            left_out[title] = int((~seen).sum())
        if len(set(labels[seen])) < 2:
            continue
        whose = None if groups is None else groups[seen]
        own = detection_measures(labels[seen], rival[seen], groups=whose)
        difference = paired_difference(labels[seen], scores[seen], rival[seen], groups=whose)
        controls[title] = {key: value.to_dict() for key, value in own.items()}
        controls[title]["auroc_difference"] = difference.to_dict()
    return {
        "model": preset.model.partition(":")[2] or f"{len(preset.members)} models",
        "preset": preset.name,
        "n_healthy": int((labels == 0).sum()),
        "n_abnormal": int((labels == 1).sum()),
        "patients": patients,
        "threshold": scorer.threshold_ if np.isfinite(scorer.threshold_) else None,
        "fpr": scorer.calibration_.fpr,
        "measures": {key: value.to_dict() for key, value in found.items()},
        "controls": controls,
        "controls_left_out": left_out,
        "unlike_calibration": float(np.mean(frame["unlike"].to_numpy() > 1)),
    }


def by_group(frame: pd.DataFrame, groups: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """AUROC of each kind of abnormal scans against all healthy ones, by column of the table.

    Args:
        frame: scores.csv.
        groups: what the table says beside label and patient, a row a row of `frame`.

    Returns:
        `auroc_by_COLUMN`: a record a kind; only of columns that part the abnormal scans in two to
        `KINDS` kinds, and of kinds with `FEWEST` scans or more.
    """
    sick, patients = frame["label"].to_numpy() == 1, frame["patient"].to_numpy(str)
    known = bool((patients != "").all())
    found = {}
    for column in groups:
        kinds = groups[column].astype(str).to_numpy()
        present = sorted(set(kinds[sick]) - {""})
        if not 2 <= len(present) <= KINDS:
            continue
        records = []
        for kind in present:
            own = ~sick | (kinds == kind)
            count = int((sick & own).sum())
            if count >= FEWEST:
                auroc = detection_measures(
                    sick[own],
                    frame["anomaly_score"].to_numpy()[own],
                    groups=patients[own] if known else None,
                )["auroc"]
                records.append({str(column): kind, "scans": count, "auroc": auroc.to_dict()})
        if records:
            found[f"auroc_by_{column}"] = records
    return found


def examples(
    scorer: Face, table: Table, frame: pd.DataFrame
) -> tuple[list[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Pictures, and names, scores and labels, of the highest, the lowest and the worst errors."""
    order = frame.sort_values("anomaly_score")
    sick = order["label"].to_numpy() == 1
    names = order["scan"].to_numpy(str)
    healthy, abnormal = names[~sick], names[sick]
    groups = (abnormal[::-1][:5], healthy[:3], healthy[::-1][:4], abnormal[:4])
    picked = list(dict.fromkeys(np.concatenate(groups)))
    chosen = order.set_index("scan").loc[picked]
    where = {name: place for place, name in enumerate(table.names)}
    paths = [table.first[where[name]] for name in picked]
    pictures = [picture(result) for result in scorer.results(paths)]
    return pictures, {
        "names": np.array(picked, str),
        "score": chosen["anomaly_score"].to_numpy(float),
        "label": chosen["label"].to_numpy(int),
    }


def write_examples(file: Path, pictures: list[dict[str, np.ndarray]], **facts: np.ndarray) -> None:
    """Write pictures and what is known of each as examples.npz, whole or not at all."""
    aside = file.with_name("part-" + file.name)
    arrays = {
        key: _stacked([one[key] for one in pictures], np.nan if key == "map" else -1.0)
        for key in pictures[0]
    }
    np.savez_compressed(aside, allow_pickle=False, **facts, **arrays)
    os.replace(aside, file)


def _stacked(pictures: list[np.ndarray], fill: float) -> np.ndarray:
    """Pictures in one array; those of small scans stay small, in the middle of a frame."""
    frame = np.max([one.shape for one in pictures], axis=0)
    framed = np.full((len(pictures), *frame), fill, np.float32)
    for number, one in enumerate(pictures):
        corner = (frame - one.shape) // 2
        inside = (slice(c, c + n) for c, n in zip(corner, one.shape, strict=True))
        framed[(number, *inside)] = one
    return framed


def picture(result: Result) -> dict[str, np.ndarray]:
    """A result as flat pictures; of a volume, the slice that scores highest.

    `input` and `map` are on the scan's own grid, fitted into a square of `SIDE`; `seen`,
    `reconstruction` and `residual` are on the model's.
    """
    findings, prepared, scan = result.findings, result.prepared, result.scan
    slice_ = int(np.argmax(result.slice_scores))
    seen, image = prepared.samples[slice_].mean(-1), findings.reconstruction[slice_].mean(-1)
    residual = findings.residual[slice_]
    if seen.ndim == 3:
        middle = int(np.argmax(np.abs(residual).mean((0, 1))))
        seen, image, residual = seen[..., middle], image[..., middle], residual[..., middle]
    own, overlay = scan.pixels.mean(-1), result.map
    if own.ndim == 3:
        best = int(np.argmax(np.nan_to_num(overlay).mean((0, 1))))
        own, overlay = own[..., best], overlay[..., best]
    low, high = np.percentile(own, [0.5, 99.5])
    own = np.clip(2 * (own - low) / max(high - low, 1e-12) - 1, -1, 1)
    return {
        "input": _square(own, -1.0),
        "map": _square(overlay, np.nan),
        "seen": seen.astype(np.float32),
        "reconstruction": image.astype(np.float32),
        "residual": residual.astype(np.float32),
    }


def _square(image: np.ndarray, fill: float) -> np.ndarray:
    """An image fitted into a square of `SIDE`, its proportions kept."""
    from scipy.ndimage import affine_transform

    longest = max(image.shape)
    step = max(longest / SIDE, 1.0)
    # Where an image is small its pixels stay pixels.
    side = min(SIDE, longest)
    offset: Any = [(n - 1) / 2 - step * (side - 1) / 2 for n in image.shape]
    return affine_transform(
        image, [step, step], offset, output_shape=(side, side), order=1, cval=fill
    ).astype(np.float32)


def _groups(results: Iterator[Result], size: int) -> Iterator[list[Result]]:
    while group := list(islice(results, size)):
        yield group
