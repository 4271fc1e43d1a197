"""How a suite asks for a translation model of another: by its name, arrays in and arrays out.

Suites never import each other. All that one knows of another's model is `ImageModel`, which the
face of the task "translate" is; a name is a model folder, as from where the command runs, or an
MLflow URI.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.registry import Preset, face
from ganatomy.scans import Preprocessing, Scan, ScanError

TASK = "translate"


class ImageModel(Protocol):
    """A trained model that makes one kind of image of another."""

    @property
    def preset(self) -> Preset:
        """The recipe that it was trained by."""
        ...

    @property
    def preprocessing_(self) -> Preprocessing:
        """What makes its samples of a scan."""
        ...

    def translate_arrays(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, *size, C] in [-1, 1] to their translations [n, *size, C'] in [-1, 1]."""
        ...


def image_model(name: str | Path) -> ImageModel:
    """The trained translation model of a name.

    Raises:
        ArtifactError: there is no such model.
        WrongUse: it does something else.
    """
    from ganatomy.artifacts import local_folder

    folder = local_folder(name)
    image_preset(folder)
    return face(TASK).load(folder)


def image_preset(name: str | Path) -> Preset:
    """What the translation model of a name was trained by; its networks are not loaded.

    Raises:
        ArtifactError: there is no such model.
        WrongUse: it does something else.
    """
    from ganatomy.artifacts import local_folder, read_config

    config = read_config(local_folder(name))["preset"]
    if config["task"] != TASK:
        raise WrongUse(f"{name} does {config['task']}; expected a model that translates")
    return Preset(**config)


def translated(model: ImageModel, scan: Scan) -> Scan:
    """What a model makes of a whole scan, on the scan's own grid.

    Values are those that the target's preprocessing begins with where it gives all targets one
    window, else from -1 to 1; the lowest where the model saw nothing.

    Args:
        model: of one's name.
        scan: as it was read.

    Raises:
        ScanError: it does not suit the model, the model saw nothing of it, or made nothing of it.
    """
    prepared = model.preprocessing_.apply(scan)
    samples = (prepared.sample(number) for number in range(len(prepared)))
    made = prepared.assemble(model.translate_arrays(one[None])[0] for one in samples)
    if np.isnan(made).any(-1).all():
        problem = f"shows nothing where {model.preset.name} looks"
        raise ScanError(scan.path, problem, "another framing")
    made = np.clip(np.nan_to_num(made, nan=-1.0), -1, 1)
    if made.min() == made.max():
        raise ScanError(scan.path, f"has a constant translation by {model.preset.name}", "an image")
    target = Preprocessing(**model.preset.preprocessing_of("target"))
    if target.normalise == "window" and target.window is not None:
        low, high = target.window
        made = low + (made + 1) / 2 * (high - low)
    notes = [*scan.notes, f"made by {model.preset.name}"]
    pixels = made.astype(np.float32)
    return replace(scan, pixels=pixels, units="unknown", modality="unknown", notes=notes)
