"""Align scans: transforms in mm, resampling, and networks that find one for the other."""

from typing import TYPE_CHECKING

from registration.deformations import Displacement, Velocity
from registration.transforms import Affine, Chain, Transform, moved

if TYPE_CHECKING:
    from registration.warp import resample

__all__ = ["Affine", "Chain", "Displacement", "Transform", "Velocity", "moved", "resample"]


def __getattr__(name: str):
    if name == "resample":  # it starts TensorFlow
        from registration.warp import resample

        return resample
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
