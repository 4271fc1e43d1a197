"""A trained model on disk: configuration, weights, fitted arrays and a card.

    config.json          what it is, how it was made and what it was measured to do
    weights/NAME.weights.h5   one file a network
    arrays.npz           what was fitted beside the networks (templates, healthy maps, scores)
    model_card.md        for people
    history.csv          losses by step
    MLmodel, …           what makes the folder an MLflow model (ganatomy.serving)

Loading reads configuration and weights and never runs code from the folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.model_card import model_card
from ganatomy.registry import Preset, model_class

FORMAT = 2
# What a configuration may ask for: values of a sample (a volume of 512³), those of a whole chunk,
# channels at the finest grid, and any other whole number among the hyperparameters but a seed.
SAMPLE, CHUNK, WIDTH, LARGEST = 2**27, 2**31, 512, 4096
LIBRARIES = ("ganatomy", "tensorflow", "keras", "numpy", "pydicom", "nibabel", "scikit-image")


class ArtifactError(WrongUse):
    """Why a folder or URI is not a trained model, in one line."""


@dataclass
class Artifact:
    """A trained model and all that belongs to it.

    Attributes:
        preset: the recipe as it was run, overrides included.
        model: the trained `AdversarialModel`.
        shape: of one sample, (*size, channels).
        arrays: fitted arrays by `room/name`.
        facts: what else config.json holds: seed, data, measures, calibration.
    """

    preset: Preset
    model: Any
    shape: tuple[int, ...]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def room(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one room, their names without it.

        Raises:
            ArtifactError: on looking up one that is not there.
        """
        return Room(
            (key, array) for key, array in self.arrays.items() if key.startswith(name + "/")
        )


class Room(dict[str, np.ndarray]):
    """Arrays by name, from (room/name, array)."""

    def __init__(self, items: Iterable[tuple[str, np.ndarray]]):
        super().__init__((key.partition("/")[2], array) for key, array in items)

    def __missing__(self, name: str) -> np.ndarray:
        raise ArtifactError(f"arrays.npz of the model lacks {name}: train it again")


def build_model(preset: Preset, shape: tuple[int, ...], seed: int = 0) -> Any:
    """The untrained model of a preset; weights are a function of the seed.

    Its layers compute in the preset's `training.dtype`; the caller's policy stays as it was.

    Raises:
        ArtifactError: a hyperparameter does not fit, or there are several models.
    """
    import keras

    if preset.members:
        raise ArtifactError(f"{preset.name}: an ensemble, which AnomalyScorer.load opens")
    keras.utils.set_random_seed(seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(preset.training.dtype)
    try:
        return model_class(preset.model)(shape=tuple(shape), **preset.hyperparameters)
    except (TypeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ArtifactError(f"{preset.name}: a hyperparameter does not fit: {line}") from error
    finally:
        keras.config.set_dtype_policy(policy)


def save(artifact: Artifact, folder: Path) -> None:
    """Write configuration, weights and arrays; each file appears whole or not at all."""
    folder = Path(folder)
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    for name in artifact.model.networks:
        file = folder / "weights" / f"{name}.weights.h5"
        aside = file.with_name(f"part-{name}.weights.h5")
        artifact.model.network(name).save_weights(aside)
        os.replace(aside, file)
    aside = folder / "part-arrays.npz"
    np.savez_compressed(aside, allow_pickle=False, **artifact.arrays)
    os.replace(aside, folder / "arrays.npz")
    config = {
        "format": FORMAT,
        "preset": artifact.preset.model_dump(),
        "shape": list(artifact.shape),
        "networks": sorted(artifact.model.networks),
        "versions": {name: _version(name) for name in LIBRARIES},
        **artifact.facts,
    }
    write_whole(folder / "model_card.md", model_card(artifact.preset, artifact.facts))
    write_whole(folder / "config.json", json.dumps(config, indent=2, allow_nan=False))


def write_whole(path: Path, text: str) -> None:
    """Write a text file aside and move it into place."""
    aside = path.with_name("part-" + path.name)
    aside.write_text(text)
    os.replace(aside, path)


def refuse_full(out: Path, *own: str) -> None:
    """Refuse a folder that holds something else: a model, scores, whatever is not ours.

    Args:
        own: names that tell a folder which may be written over.
    """
    names = {path.name for path in out.iterdir()} if out.is_dir() else set()
    ours = names & set(own) and not names & {"config.json", "model.json"}
    if (names and not ours) or (out.exists() and not out.is_dir()):
        raise ArtifactError(f"{out} holds something else already: choose another --out")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder.

    Raises:
        ArtifactError: it is missing, broken or of a format that this version cannot read.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise ArtifactError(f"{folder}: not a trained model (no config.json)")
    try:
        config = json.loads(file.read_text())
        written = config["format"]
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file}: not the configuration of a trained model") from error
    if written != FORMAT:
        writer = config.get("versions", {}).get("ganatomy", "of its time")
        raise ArtifactError(
            f"{folder}: written in format {written}, this version reads {FORMAT}: use ganatomy "
            f"{writer} or train again"
        )
    preset = config.get("preset")
    if not isinstance(preset, dict) or not isinstance(preset.get("task"), str):
        raise ArtifactError(f"{file}: not the configuration of a trained model (no preset)")
    return config


def are_seeds(folders: Iterable[Path]) -> bool:
    """Whether models are several seeds of one recipe, trained on as many scans each.

    Not on the same: the seed decides which scans are held out to set the threshold.

    Raises:
        ArtifactError: one of the folders holds no trained model.
    """
    configs = [read_config(folder) for folder in folders]
    seeds = {config.get("seed") for config in configs} - {None}
    try:
        kinds = {
            json.dumps([Preset(**config["preset"]).recipe(), sum(_scans(config))])
            for config in configs
        }
    except (KeyError, TypeError, ValueError):
        return False
    return len(kinds) == 1 < len(configs) == len(seeds)


def _scans(config: dict[str, Any]) -> tuple[int, int]:
    return config["data"]["scans"], config["data"]["held_out"]


def load(
    uri: str | Path, build: Callable[[Preset, tuple[int, ...]], Any] = build_model
) -> Artifact:
    """Load a trained model.

    Args:
        uri: a folder or any MLflow URI (`runs:/…`, `models:/…@alias`).
        build: makes the model, whose networks are then loaded, of its preset and shape.

    Raises:
        ArtifactError: there is no such model, or it is not whole.
    """
    folder = local_folder(uri)
    config = read_config(folder)
    known = {"format", "preset", "shape", "networks", "versions"}
    try:
        preset, shape = Preset(**config["preset"]), tuple(map(int, config["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder / 'config.json'}: not the configuration of a trained model"
        ) from error
    _check_size(folder / "config.json", preset, shape)
    model = build(preset, shape)
    for name, network in model.networks.items():
        file = folder / "weights" / f"{name}.weights.h5"
        if not file.is_file():
            raise ArtifactError(f"{folder}: weights/{file.name} is missing")
        try:
            network.load_weights(file)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(
                f"{file}: not the weights of {preset.model} as configured"
            ) from error
    # What was saved is the average where there is one; nothing is averaged any more.
    for name, average in model.averages.items():
        average.set_weights(model.networks[name].get_weights())
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ArtifactError(f"{folder}: arrays.npz is missing or damaged") from error
    facts = {key: value for key, value in config.items() if key not in known}
    return Artifact(preset, model, shape, arrays, facts)


def _check_size(file: Path, preset: Preset, shape: tuple[int, ...]) -> None:
    """Refuse a configuration, perhaps a stranger's, whose model would fill the memory.

    Raises:
        ArtifactError: which number is too large.
    """
    values = math.prod(shape)
    if len(shape) != preset.rank + 1 or min(shape) < 1 or values > SAMPLE:
        raise ArtifactError(f"{file}: shape {list(shape)} is no sample's in {preset.rank}D")
    for name, value in preset.hyperparameters.items():
        if not isinstance(value, int) or name.endswith("seed"):
            continue
        most = {"width": WIDTH, "chunk": min(LARGEST, CHUNK // values)}.get(name, LARGEST)
        if value > most:
            raise ArtifactError(f"{file}: {name} is {value}; expected {most} or less")


def local_folder(uri: str | Path) -> Path:
    """The folder of a model on this machine; an MLflow URI is downloaded.

    Raises:
        ArtifactError: nothing is there.
    """
    text = str(uri)
    if not text.startswith(("runs:/", "models:/", "mlflow-artifacts:/")):
        folder = Path(uri)
        if not folder.is_dir():
            raise ArtifactError(f"{uri}: no such model folder")
        return folder
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    from ganatomy.tracking import use_default_store

    use_default_store()
    try:
        return Path(download_artifacts(text))
    except (MlflowException, OSError) as error:
        raise ArtifactError(f"{uri}: the tracking server has no such model") from error


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
