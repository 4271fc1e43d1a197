"""The shipped radiographs as samples, and models trained on them once, kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ROOT

DATA = ROOT / "samples" / "chest-xray"


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


def samples(preset: Any) -> tuple[np.ndarray, np.ndarray, Callable[[Any], np.ndarray]]:
    """Training samples, calibration samples, and what prepares any other table alike."""
    from ganatomy.cache import prepare
    from ganatomy.scans import Preprocessing, read_scan
    from ganatomy.tables import split

    training, holdout = split(table("train"), preset.training.holdout, 0)
    preprocessing = Preprocessing(**preset.preprocessing)
    stored = folder() / f"preprocessing-{key(preset.preprocessing)}.npz"
    if stored.exists():
        with np.load(stored) as arrays:
            preprocessing.load_state(dict(arrays))
    else:
        preprocessing.fit(map(read_scan, training.first[::2]))
        stored.parent.mkdir(parents=True, exist_ok=True)
        np.savez(stored, **preprocessing.state())

    def of(rows: Any) -> np.ndarray:
        return prepare(rows.first, preprocessing).array

    return of(training), of(holdout), of


def weights(model: Any, of: Mapping[str, Any], train: Callable[[], None]) -> None:
    """Weights of a model from the cache; trained and kept where it does not hold them."""
    file = folder() / f"{key(of)}.weights.h5"
    if not file.exists():
        train()
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name("part-" + file.name)
        model.save_weights(aside)
        os.replace(aside, file)
    model.load_weights(file)


def model_folder(name: str, *settings: str) -> Path:
    """The folder of a preset trained on the shipped radiographs, kept in the cache."""
    from ganatomy import registry
    from ganatomy.training import fit

    preset = registry.preset(name).set(settings)
    out = folder() / f"{name}-{key(preset.model_dump())}"
    if not (out / "config.json").exists():
        os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder()}/mlflow.db")
        out.parent.mkdir(parents=True, exist_ok=True)
        fit(preset, table("train"), out, resume=out.exists())
    return out


def key(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(settings.items())).encode()).hexdigest()[:12]


def threads(count: int) -> None:
    """TensorFlow on so many threads; before it does anything else."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(count)
    tf.config.threading.set_inter_op_parallelism_threads(count)
