"""The shipped radiographs, and models trained on them once, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT

DATA = ROOT / "samples" / "chest-xray"
# What a short training leaves costs as much to load and to run as what a long one does.
SHORT = ("steps={adversarial: 100, encoder: 100}", "every=100")


def folder() -> Path:
    """Where the benchmarks keep what they train."""
    from ganatomy.cache import cache_folder

    return cache_folder() / "benchmarks"


def table(name: str) -> Any:
    """train, validation or test of the shipped radiographs."""
    from ganatomy.tables import read_table

    return read_table([str(DATA / f"{name}.csv")], {"scan": "joined"})


def stratified(name: str, count: int) -> Any:
    """`count` rows of a table, healthy and abnormal in turns, drawn once and for all."""
    whole = table(name)
    draw = np.random.default_rng(0)
    kinds = [draw.permutation(np.flatnonzero(whole.label == kind)) for kind in (0, 1)]
    return whole.rows(np.stack([kind[: count // 2] for kind in kinds], 1).ravel())


def samples(preprocessing: Any, rows: Any) -> np.ndarray:
    """What a model sees of a table's scans, [n, *size, channels]."""
    from ganatomy.cache import prepare

    return prepare(rows.first, preprocessing).array


def model_folder(name: str, *settings: str) -> Path:
    """The folder of a preset trained on the shipped radiographs, kept in the cache."""
    from ganatomy import registry

    return fitted(registry.preset(name).set(settings), table("train"), folder())


def fitted(preset: Any, rows: Any, parent: Path) -> Path:
    """The folder of a preset trained on a table's rows; made in `parent` where it is not there."""
    from ganatomy.training import fit

    key = hashlib.sha256(json.dumps(preset.recipe(), sort_keys=True).encode()).hexdigest()[:12]
    out = parent / f"{preset.name}-{key}"
    if not (out / "config.json").exists():
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder()}/mlflow.db")
        out.parent.mkdir(parents=True, exist_ok=True)
        fit(preset, rows, out, resume=out.exists())
    return out


def threads(count: int) -> None:
    """TensorFlow on so many threads; before it does anything else."""
    import ganatomy  # noqa: F401, I001  (what it sets for TensorFlow has to come first)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
