"""The field of a scan that a model's settings choose, before any alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.field import Field
from ganatomy.scans.scan import Scan

if TYPE_CHECKING:
    from ganatomy.scans.preprocessing import Preprocessing

__all__ = ["Field", "field_of"]

# directions in which the model's rows, columns and slices grow
DISPLAY = {"axial": "PLS", "coronal": "ILA", "sagittal": "IPR"}
SLICED = {"sagittal": 0, "coronal": 1, "axial": 2}
WORLD_AXIS = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}


def field_of(scan: Scan, settings: Preprocessing) -> Field:
    """Axes, scale and offset by orientation, margin, spacing and framing.

    Raises:
        ScanError: a picture for a 3D model, no orientation or spacing where one is needed, a
            margin that leaves nothing.
    """
    axes, signs = _orient(scan, settings)
    rank = settings.rank
    slices = None
    if len(axes) > rank:
        count = scan.shape[axes[rank]]
        indices = range(count) if signs[rank] > 0 else range(count - 1, -1, -1)
        slices = (axes[rank], tuple(indices))
    axes, signs = axes[:rank], signs[:rank]
    lengths = [scan.shape[a] for a in axes]
    cut = [round(settings.margin * n) for n in lengths]
    bounds = tuple((c, n - c) for c, n in zip(cut, lengths, strict=True))
    extents = np.array([high - low for low, high in bounds], float)
    if extents.min() < 2:
        raise ScanError(scan.path, "is too small for the model", "at least 2 pixels a side")
    spacing = scan.spacing
    pitch = np.array([spacing[a] for a in axes]) if spacing else np.ones(rank)
    size = np.array(settings.size)
    if settings.spacing is not None:
        if spacing is None:
            raise ScanError(scan.path, "gives no spacing in mm", "DICOM or NIfTI with positions")
        scale = np.array(settings.spacing) / pitch
    elif settings.framing == "stretch":
        scale = extents / size
    else:
        needed = extents * pitch / size
        scale = (needed.max() if settings.framing == "fit" else needed.min()) / pitch
    scale = scale * signs
    centre = np.array([(low + high - 1) / 2 for low, high in bounds])
    offset = centre - scale * (size - 1) / 2
    return Field(
        tuple(axes),
        tuple(map(float, scale)),
        tuple(map(float, offset)),
        settings.size,
        scan.shape,
        bounds,
        slices,
    )


def _orient(scan: Scan, settings: Preprocessing) -> tuple[list[int], list[int]]:
    """The scan's axes in the model's order and whether each runs forward; slices come last."""
    if scan.rank == 2:
        if settings.rank == 3:
            raise ScanError(scan.path, "is a single picture or slice", "a volume (3D model)")
        return [0, 1], [1, 1]
    if settings.orientation is None:
        if settings.rank == 3:
            return [0, 1, 2], [1, 1, 1]
        sliced = SLICED[settings.plane]
        return [a for a in range(3) if a != sliced] + [sliced], [1, 1, 1]
    if scan.affine is None:
        raise ScanError(scan.path, "gives no orientation", "a volume with an affine")
    from nibabel.orientations import io_orientation

    found = io_orientation(scan.affine)  # for each axis of the scan: world axis and direction
    letters = "RAS" if settings.rank == 3 else DISPLAY[settings.plane]
    axes, signs = [], []
    for letter in letters:
        axis = int(np.flatnonzero(found[:, 0] == WORLD_AXIS[letter])[0])
        axes.append(axis)
        signs.append(int(found[axis, 1]) * (1 if letter in "RAS" else -1))
    return axes, signs
