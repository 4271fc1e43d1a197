"""What a folder holds that a report can show."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FILES = ("scores.csv", "measures.json", "examples.npz", "history.csv", "model_card.md")
SOUGHT = ("config.json", *FILES)


@dataclass(frozen=True)
class Examples:
    """Scans shown picture by picture; the residual is input minus reconstruction.

    `label` is NaN where nobody knows, `map` is NaN where the model never looked. Pictures
    are [K, H, W], or [K, H, W, 3] for the input and reconstruction of colour scans.
    """

    names: list[str]
    score: np.ndarray
    label: np.ndarray
    input: np.ndarray
    reconstruction: np.ndarray
    residual: np.ndarray
    map: np.ndarray


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


def read_folder(folder: str | Path) -> Findings:
    """Read a model folder, an evaluation folder or a folder of scores.

    Args:
        folder: where the files lie, or the folder whose `evaluation` folder holds them.

    Raises:
        ValueError: if there is no such folder, none of the files, or one cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    places = {
        name: place
        for name in SOUGHT
        for place in (folder / "evaluation" / name, folder / name)  # the last one wins
        if place.is_file()
    }
    if not places:
        raise ValueError(f"{folder}: nothing to report, looked for {', '.join(SOUGHT)}")
    read = {
        "config": ("config.json", _json),
        "measures": ("measures.json", _json),
        "card": ("model_card.md", lambda path: path.read_text(encoding="utf-8")),
        "history": ("history.csv", _history),
        "scores": ("scores.csv", _scores),
        "examples": ("examples.npz", _examples),
    }
    found: dict[str, Any] = {}
    for part, (name, reader) in read.items():
        if name in places:
            try:
                found[part] = reader(places[name])
            except (ValueError, KeyError, OSError, zipfile.BadZipFile) as cause:
                raise ValueError(f"{places[name]}: cannot be read: {cause}") from cause
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
    scores = pd.read_csv(path, dtype={"scan": str, "patient": str})
    for name in ("scan", "anomaly_score"):
        if name not in scores:
            raise ValueError(f"no column {name}")
    for name in {"anomaly_score", "p_value", "threshold", "paper_score", "label"} & set(scores):
        scores[name] = pd.to_numeric(scores[name])
    if "abnormal" in scores:
        known = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
        scores["abnormal"] = scores["abnormal"].astype(str).str.lower().map(known)
    scores["scan"] = scores["scan"].fillna("")
    return scores.sort_values("anomaly_score", ascending=False, kind="stable", ignore_index=True)


def _examples(path: Path) -> Examples | None:
    with np.load(path, allow_pickle=False) as stored:
        names = [str(name) for name in stored["names"]]
        count = len(names)
        label = stored["label"] if "label" in stored else np.full(count, np.nan)
        pictures = {
            part: np.asarray(stored[part], np.float32)
            for part in ("input", "reconstruction", "residual", "map")
        }
        examples = Examples(
            names, np.asarray(stored["score"], float), np.asarray(label, float), **pictures
        )
    if count == 0:
        return None
    size = (count, *examples.input.shape[1:3])
    for part in pictures:
        shape = pictures[part].shape
        colour = part in ("input", "reconstruction") and shape == (*size, 3)
        if len(size) != 3 or not (shape == size or colour):
            raise ValueError(f"{part} has shape {shape}, expected {size}")
    if not examples.score.shape == examples.label.shape == (count,):
        raise ValueError(f"expected one score and one label for each of {count} names")
    if not examples.input.ndim == examples.reconstruction.ndim:
        raise ValueError("input and reconstruction differ in channels")
    difference = examples.input - examples.reconstruction
    if difference.ndim == 4:
        difference = difference.mean(-1)
    if np.nansum(difference * examples.residual) < 0:
        # The legend says which colour is brighter; a turned sign would make it lie.
        raise ValueError("the residual has the wrong sign, expected input minus reconstruction")
    return examples
