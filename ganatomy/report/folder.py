"""What a folder holds that a report can show."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ganatomy.errors import WrongUse
from ganatomy.report.comparison import FILE, Compared, read_comparison
from ganatomy.report.registration import PICTURES, SUMMARY, Planes, read_planes
from ganatomy.report.translated import FILE as TRANSLATIONS
from ganatomy.report.translated import Translated, read_translations
from ganatomy.report.volumes import Volumes, read_volumes

SOUGHT = (
    "config.json",
    "scores.csv",
    "measures.json",
    "examples.npz",
    "volumes.npz",
    "history.csv",
    "model_card.md",
    FILE,
    SUMMARY,
    PICTURES,
    TRANSLATIONS,
)
# A folder in the place of scores.csv, where an archive was scored on Spark.
ARCHIVED = "scores.parquet"
# Columns of scores.csv that hold numbers.
NUMBERS = {"anomaly_score", "p_value", "threshold", "paper_score", "unlike", "label"}
NUMBERS |= {"lesions", "largest_ml"}


@dataclass(frozen=True)
class Examples:
    """Scans shown picture by picture.

    `input` and `map` are on the scan's own grid, [K, H, W]; `seen` (the scan as the model saw
    it, None where that is `input`), `reconstruction` and `residual` on the model's, [K, h, w].
    Pictures run from -1 to 1 and may end in 3 colour channels. The residual is what the model
    saw minus its reconstruction. `label` is NaN where nobody knows, `map` where the model
    never looked.
    """

    names: list[str]
    score: np.ndarray
    label: np.ndarray
    input: np.ndarray
    map: np.ndarray
    seen: np.ndarray | None
    reconstruction: np.ndarray
    residual: np.ndarray


@dataclass(frozen=True)
class Findings:
    """Everything found in one folder; what is missing is empty or None."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    card: str = ""
    history: pd.DataFrame | None = None
    scores: pd.DataFrame | None = None
    examples: Examples | None = None
    volumes: Volumes | None = None
    compared: list[Compared] = field(default_factory=list)
    registration: dict[str, Any] = field(default_factory=dict)
    planes: Planes = field(default_factory=list)
    translations: list[Translated] = field(default_factory=list)


def read_folder(folder: str | Path) -> Findings:
    """Read the folder of a model, of an evaluation or several, or of scores of a process or Spark.

    Args:
        folder: where the files lie, or the folder whose `evaluation` folder holds them.

    Raises:
        WrongUse: there is no such folder, none of the files, or one cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WrongUse(f"{folder}: no such folder")
    places = {
        name: place
        for name in SOUGHT
        for place in (folder / "evaluation" / name, folder / name)  # the last one wins
        if place.is_file()
    }
    if (folder / ARCHIVED).is_dir():
        places.setdefault("scores.csv", folder / ARCHIVED)
    if not places:
        raise WrongUse(f"{folder}: nothing to report, looked for {', '.join((*SOUGHT, ARCHIVED))}")
    read = {
        "config": ("config.json", _json),
        "measures": ("measures.json", _json),
        "card": ("model_card.md", lambda path: path.read_text(encoding="utf-8")),
        "history": ("history.csv", _history),
        "scores": ("scores.csv", _scores),
        "examples": ("examples.npz", _examples),
        "volumes": ("volumes.npz", read_volumes),
        "compared": (FILE, read_comparison),
        "registration": (SUMMARY, _json),
        "planes": (PICTURES, read_planes),
        "translations": (TRANSLATIONS, read_translations),
    }
    found: dict[str, Any] = {}
    for part, (name, reader) in read.items():
        if name in places:
            try:
                found[part] = reader(places[name])
            except (ValueError, KeyError, OSError, zipfile.BadZipFile) as cause:
                raise WrongUse(f"{places[name]}: cannot be read: {cause}") from cause
    return Findings(folder, **found)


def _json(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise ValueError("expected a JSON object")
    return record


def _history(path: Path) -> pd.DataFrame:
    history = pd.read_csv(path)
    if "step" not in history:
        raise ValueError("no column step")
    for name in history.columns:
        history[name] = pd.to_numeric(history[name])
    return history


def _scores(path: Path) -> pd.DataFrame:
    if path.name == ARCHIVED:
        from ganatomy.archive import read_scores

        columns = ["scan", "anomaly_score", "p_value", "threshold", "abnormal", "unlike"]
        scores = pd.DataFrame(read_scores(path.parent, columns))
    else:
        scores = pd.read_csv(path, dtype={"scan": str, "patient": str})
    for name in ("scan", "anomaly_score"):
        if name not in scores:
            raise ValueError(f"no column {name}")
    for name in NUMBERS & set(scores):
        scores[name] = pd.to_numeric(scores[name])
    if "abnormal" in scores:
        known = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
        scores["abnormal"] = scores["abnormal"].astype(str).str.lower().map(known)
    scores["scan"] = scores["scan"].fillna("")
    return scores.sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)


def _examples(path: Path) -> Examples | None:
    with np.load(path, allow_pickle=False) as stored:
        names = [str(name) for name in stored["names"]]
        if not names:
            return None
        score = np.asarray(stored["score"], float)
        unknown = np.full(len(names), np.nan)
        label = np.asarray(stored["label"], float) if "label" in stored else unknown
        parts = {
            name: np.asarray(stored[name], np.float32)
            for name in ("input", "map", "seen", "reconstruction", "residual")
            if name in stored or name != "seen"
        }
    if not score.shape == label.shape == (len(names),):
        raise ValueError(f"expected one score and one label for each of {len(names)} names")
    seen = parts.pop("seen", None)
    looked = {**parts, "seen": parts["input"] if seen is None else seen}
    grids = (("map", "input"), ("residual", "reconstruction"), ("residual", "seen"))
    for flat, other in grids:
        shape, of = looked[flat].shape, looked[other].shape
        if len(shape) != 3 or shape[0] != len(names) or of not in (shape, (*shape, 3)):
            raise ValueError(f"{flat} has shape {shape} and {other} {of} for {len(names)} names")
    difference = grey(looked["seen"]) - grey(parts["reconstruction"])
    if np.nansum(difference * parts["residual"]) < 0:
        # The legend says which colour is brighter; a turned sign would make it lie.
        raise ValueError("the residual has the wrong sign, expected seen minus reconstruction")
    return Examples(names, score, label, seen=seen, **parts)


def grey(pictures: np.ndarray) -> np.ndarray:
    """Pictures [K, H, W] or [K, H, W, 3] as grey ones, [K, H, W]."""
    return pictures.mean(-1) if pictures.ndim == 4 else pictures
