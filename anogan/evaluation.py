"""How well a detector tells abnormal from healthy, with the controls beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from anogan.calibration import warn_of_unlike
from anogan.examples import Examples
from anogan.extremes import Extremes
from anogan.face import Face
from anogan.pixel_evaluation import PixelEvaluation
from anogan.result import Result, in_groups
from anogan.shortcuts import marks, shortcuts
from anogan.volume_pictures import AMONG, slices_of_volume, write_volumes
from ganatomy.artifacts import write_whole
from ganatomy.measures.detection import detection_measures, paired_difference
from ganatomy.scans import ScanError
from ganatomy.tables import Table, TableError, with_masks

# A column of a table is a grouping of its abnormal scans with no more kinds than this (an age or
# an accession number is none), and a kind is measured with no fewer scans than this.
KINDS, FEWEST = 12, 5


# What measures.json calls the controls that come with a model.
TITLES = {"linear": "linear control", "raw": "raw principal components"}


class Evaluation(NamedTuple):
    """measures.json and scores.csv of an evaluation, and maps against masks where there are any."""

    measures: dict[str, Any]
    scores: pd.DataFrame
    pixels: PixelEvaluation | None = None


def evaluate(
    scorer: Face,
    table: Table,
    folder: Path | None = None,
    *,
    masks: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measures of a calibrated scorer on labelled scans; written to a folder where one is given.

    The folder gets scores.csv, measures.json, examples.npz and, of volumes, volumes.npz.
    Intervals resample patients where the table knows them, otherwise scans. A control is measured
    without the scans that its own preprocessing refuses; `controls_left_out` counts them.

    With masks, in the table or below a folder (see `with_masks`), `pixels` says how well the maps
    fit them. A healthy scan without one has no lesion, an abnormal one is left out there; a scan
    whose mask cannot be read or does not fit is left out there, and `refused` says why. Scans that
    are all abnormal are measured by their masks alone: `measures`, `controls`, `shortcuts` and
    `extra`, which compare them with healthy ones, stay empty.

    Raises:
        TableError: no labels, only one kind of scan and no masks, or masks that fit none.

    Warns:
        UnlikeScans: more than one healthy scan in twenty does not look like the calibration scans.
    """
    if masks is not None:
        table = with_masks(table, masks)
    labels = check_labels(table)
    both = len(set(labels)) == 2
    pixels = None
    if table.mask is not None:
        faces = {"": scorer, **scorer.controls_}
        pixels = PixelEvaluation(table, {n: _pixel_threshold(face) for n, face in faces.items()})
    places, rows, others = [], [], {name: [] for name in scorer.controls_}
    looks, marked, failures = [], [], []
    pictures, volumes = Examples(), Extremes(AMONG, slices_of_volume)
    results = scorer.results(table.first)
    done = 0
    for group in in_groups(results, scorer.artifact_.model.chunk):
        good = [r for r in group if r.error is None]
        beside = [{"": result} for result in good]
        for name, control in scorer.controls_.items():
            for own, seen in zip(control.again(good, scorer) if good else (), beside, strict=True):
                others[name].append(np.nan if own.error is not None else own.anomaly_score)
                seen[name] = own
        for result in good:
            for name, score in result.rivals.items():
                others.setdefault(f"member {name}", []).append(score)
        told = iter(beside)
        for result in group:
            place = done
            done += 1
            if result.error is not None:
                failures.append(str(result.error))
                continue
            places.append(place)
            looks.append(scorer.look_of(result))
            marked.append(marks(result.scan))
            rows.append(
                {
                    "scan": table.names[place],
                    "label": int(labels[place]),
                    "patient": "" if table.patient is None else table.patient[place],
                    **columns(result),
                }
            )
            if folder is not None:
                pictures.offer(table.names[place], int(labels[place]), result)
                volumes.offer(table.names[place], result.anomaly_score, result)
            said = next(told)
            if pixels is not None:
                try:
                    pixels.add(place, said)
                except ScanError as error:
                    pixels.refused.append(str(error))
        if progress is not None:
            progress(done, len(table))
    frame = pd.DataFrame(rows)
    if len({row["label"] for row in rows}) < len(set(labels)):
        raise TableError("of the healthy or of the abnormal scans, not one could be read")
    patients = table.patient is not None
    measures = described(frame, scorer, patients)
    if both:
        measures |= measured(frame, others, scorer.threshold_, patients)
        short = shortcuts(scorer.calibration_, np.array(looks), np.array(marked))
        measures["shortcuts"] = {
            name: _beside(frame, values, patients) for name, values in short.items()
        }
        measures["extra"] = by_group(frame, table.groups.iloc[places]) if len(table.groups) else {}
    if pixels is not None:
        measures["pixels"] = pixels.measures(patients, TITLES)
    measures["failed"] = failures
    # Disease changes the look of a scan as well; the healthy ones tell of the source alone.
    warn_of_unlike(frame.loc[frame["label"] == 0, "unlike"].to_list(), stacklevel=3)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "scores.csv", index=False)
        write_whole(folder / "measures.json", json.dumps(measures, indent=2))
        pictures.write(folder / "examples.npz")
        write_volumes(volumes.made, volumes.keys, folder)
    return Evaluation(measures, frame, pixels)


def check_labels(table: Table) -> np.ndarray:
    """The labels of a table, refused where it has neither both kinds of scans nor masks.

    Raises:
        TableError: no labels, or only one kind and no masks.
    """
    if table.label is None or len(set(table.label)) < 2:
        if table.label is not None and table.mask is not None and table.label.all():
            return table.label
        raise TableError(
            "an evaluation needs healthy and abnormal scans: a CSV with a column "
            "'label' (0, 1), or a folder with 'normal' beside other subfolders; or masks of scans "
            "that are all abnormal"
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


def described(frame: pd.DataFrame, scorer: Face, patients: bool) -> dict[str, Any]:
    """What measures.json says of model and scans, with places for what is measured."""
    preset, labels = scorer.artifact_.preset, frame["label"].to_numpy()
    places = ("measures", "controls", "controls_left_out", "shortcuts", "extra")
    return {
        "model": preset.model.partition(":")[2] or f"{len(preset.members)} models",
        "preset": preset.name,
        "n_healthy": int((labels == 0).sum()),
        "n_abnormal": int((labels == 1).sum()),
        "patients": patients,
        "threshold": scorer.threshold_ if np.isfinite(scorer.threshold_) else None,
        "fpr": scorer.calibration_.fpr,
        "pixel_fpr": scorer.calibration_.pixel_fpr,
        "unlike_calibration": float(np.mean(frame["unlike"].to_numpy() > 1)),
        **{place: {} for place in places},
    }


def measured(
    frame: pd.DataFrame, others: dict[str, list[float]], threshold: float, patients: bool
) -> dict[str, Any]:
    """The model's measures of whole scans, the controls' and their differences."""
    labels, scores = frame["label"].to_numpy(), frame["anomaly_score"].to_numpy()
    groups = frame["patient"].to_numpy(str) if patients else None
    found = detection_measures(labels, scores, threshold=threshold, groups=groups)
    controls, left_out = {}, {}
    rivals = {"paper score": frame["paper_score"].to_numpy(), **others}
    for name, rival in rivals.items():
        if name == "paper score" and np.array_equal(rival, scores):
            continue
        title = TITLES.get(name, name)
        rival = np.asarray(rival, float)
        seen = np.isfinite(rival)
        if not seen.all():
            left_out[title] = int((~seen).sum())
        if len(set(labels[seen])) < 2:
            continue
        controls[title] = _beside(frame.loc[seen], rival[seen], patients)
    return {
        "measures": {key: value.to_dict() for key, value in found.items()},
        "controls": controls,
        "controls_left_out": left_out,
    }


def _beside(frame: pd.DataFrame, rival: np.ndarray, patients: bool) -> dict[str, Any]:
    """Measures of another score of these scans, and how much better the model's AUROC is."""
    labels, scores = frame["label"].to_numpy(), frame["anomaly_score"].to_numpy()
    groups = frame["patient"].to_numpy(str) if patients else None
    own = detection_measures(labels, rival, groups=groups)
    difference = paired_difference(labels, scores, rival, groups=groups)
    return {
        **{key: value.to_dict() for key, value in own.items()},
        "auroc_difference": difference.to_dict(),
    }


def _pixel_threshold(face: Face) -> float | None:
    return face.calibration_.pixel_threshold if face.__sklearn_is_fitted__() else None


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
