"""Align scans: transforms in mm, resampling, and networks that find one for the other."""

from typing import TYPE_CHECKING

from registration.deformations import Displacement, Velocity
from registration.transforms import Affine, Chain, Transform, moved

if TYPE_CHECKING:
    from registration.registrar import Registrar
    from registration.warp import resample

__all__ = [
    "Affine",
    "Chain",
    "Displacement",
    "Registrar",
    "Transform",
    "Velocity",
    "moved",
    "resample",
]


def __getattr__(name: str):
    # Late, since these start TensorFlow.
    if name == "resample":
        from registration.warp import resample

        return resample
    if name == "Registrar":
        from registration.registrar import Registrar

        return Registrar
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
