"""Whether the settings of a preset fit, said before anything is read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pydantic import ValidationError

from ganatomy import registry
from ganatomy.batches import Augment
from ganatomy.registry import Preset, PresetError
from ganatomy.scans import Preprocessing


def check_settings(preset: Preset, replicas: int = 1) -> None:
    """Refuse settings that could not be trained with, before anything is read or written.

    Args:
        preset: with its overrides.
        replicas: between which a batch is divided.

    Raises:
        PresetError: which setting does not fit, in one line.
    """
    with _named(preset, "preprocessing"):
        preprocessing = Preprocessing(**preset.preprocessing)
    if preprocessing.rank != preset.rank:
        raise PresetError(f"{preset.name}: preprocessing.rank is not the preset's")
    _check_roles(preset, preprocessing)
    with _named(preset, "postprocessing"):
        model = registry.model_class(preset.model) if preset.model else None
        registry.face(preset.task).check_settings(preset.postprocessing, preprocessing, model)
    registry.face(preset.task).check_preset(preset)
    with _named(preset, "training.augment"):
        augment = Augment(**preset.training.augment)
    if preset.rank == 3 and augment.moves:
        raise PresetError(
            f"{preset.name}: training.augment: shift, scale and rotate are for 2D; volumes take "
            "flip, gain, bias"
        )
    if any(not 0 <= axis < preset.rank for axis in augment.flip):
        raise PresetError(
            f"{preset.name}: training.augment.flip: the axes are 0 to {preset.rank - 1}"
        )
    size = preset.training.batch_size
    if preset.training.steps and size % replicas:
        raise PresetError(
            f"{preset.name}: training.batch_size: {size} cannot be divided evenly between "
            f"{replicas} replicas: --set batch_size={-(-size // replicas) * replicas}"
        )


# What samples of roles that go together have in common.
GEOMETRY = ("rank", "orientation", "plane", "slices", "spacing", "overlap", "framing", "margin")


def _check_roles(preset: Preset, first: Preprocessing) -> None:
    """Refuse settings of a role whose samples would not fit those of the first."""
    if preset.by_role and first.align:
        raise PresetError(f"{preset.name}: align moves the first role's scans alone: leave it out")
    kinds = registry.roles_of(preset) if preset.by_role else {}
    for role in preset.by_role:
        with _named(preset, f"by_role.{role}"):
            own = Preprocessing(**preset.preprocessing_of(role))
        # Scans of a stream of their own may be seen otherwise, on samples of one size.
        alike = ("size", *GEOMETRY) if kinds[role] == "joined" else ("size", "rank")
        for name in alike:
            if getattr(own, name) != getattr(first, name):
                raise PresetError(
                    f"{preset.name}: by_role.{role}.{name} is not that of the first role"
                )


@contextlib.contextmanager
def _named(preset: Preset, section: str) -> Iterator[None]:
    """Says in one line which setting of a section does not fit."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        setting = ".".join(map(str, (section, *first["loc"])))
        raise PresetError(f"{preset.name}: {setting}: {first['msg']}") from error
