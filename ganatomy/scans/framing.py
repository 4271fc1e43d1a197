"""The field of a scan that a model's settings choose, before any alignment."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.field import Field
from ganatomy.scans.scan import Scan
from ganatomy.scans.tiles import count

if TYPE_CHECKING:
    from ganatomy.scans.preprocessing import Preprocessing

__all__ = ["Field", "field_of", "showing"]

# directions in which the model's rows, columns and slices grow
DISPLAY = {"axial": "PLS", "coronal": "ILA", "sagittal": "IPR"}
PLANES = ("sagittal", "coronal", "axial")  # across each axis of RAS
SLICED = {plane: axis for axis, plane in enumerate(PLANES)}
LEAST = 0.01  # share of a slice that a mask covers where the slice is worth looking at
ROUNDING = 1e-6  # of a spacing that divides a side
SAME = 1e-5  # by which a header's spacing is off the model's that it equals
MOST = 2**28  # values of all tiles of a scan, 1 GiB
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
        slices = (axes[rank], tuple(_share(indices, settings.slices)))
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
    elif settings.overlap is not None:
        scale = np.ones(rank)
    elif settings.framing == "stretch":
        scale = extents / size
    else:
        needed = extents * pitch / size
        scale = (needed.max() if settings.framing == "fit" else needed.min()) / pitch
    if settings.overlap is not None:
        size = np.maximum(size, np.ceil(extents / scale - ROUNDING).astype(int))
        _check_tiles(size.tolist(), len(slices[1]) if slices else 1, settings, scan.path)
    scale = scale * signs
    centre = np.array([(low + high - 1) / 2 for low, high in bounds])
    offset = centre - scale * (size - 1) / 2
    # A grid of the scan's own spacing lies on its voxels: half a voxel off would blur it.
    offset = np.where(np.abs(np.abs(scale) - 1) < SAME, np.floor(offset + 0.5), offset)
    return Field(
        tuple(axes),
        tuple(map(float, scale)),
        tuple(map(float, offset)),
        tuple(size.tolist()),
        scan.shape,
        bounds,
        slices,
    )


def _check_tiles(grid: list[int], slices: int, settings: Preprocessing, name: str) -> None:
    """Refuse a scan whose tiles would fill the memory."""
    assert settings.overlap is not None
    tile = math.prod(settings.size) * settings.channels
    spots = 1
    for side, length in zip(grid, settings.size, strict=True):
        spots *= count(side, length, settings.overlap)
    if spots * slices * tile > MOST:
        problem = f"is cut into {spots * slices} tiles of {tile} values, more than {MOST} in all"
        raise ScanError(name, problem, "a larger spacing or a smaller overlap")


def showing(field: Field, mask: np.ndarray, name: str) -> Field:
    """The field without slices of which a mask covers less than a hundredth.

    Args:
        field: of a scan.
        mask: bool, the scan's grid.
        name: what an error calls the scan.

    Raises:
        ScanError: no slice is left.
    """
    if field.slices is None:
        return field
    axis, indices = field.slices
    covered = np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).mean(axis=1)
    kept = tuple(index for index in indices if covered[index] >= LEAST)
    if not kept:
        raise ScanError(name, "shows nothing of the mask on the slices used", "other slices")
    return replace(field, slices=(axis, kept))


def _share(indices: range, share: tuple[float, float] | None) -> range:
    """The indices from one fraction of their number to another, at least one."""
    if share is None:
        return indices
    low, high = (part * len(indices) for part in share)
    first = math.floor(low + 1e-9)  # 0.3 of 10 is a little more than 3
    return indices[first : max(first + 1, math.ceil(high - 1e-9))]


def _orient(scan: Scan, settings: Preprocessing) -> tuple[list[int], list[int]]:
    """The scan's axes in the model's order and whether each runs forward; slices come last."""
    if scan.rank == 2 and settings.rank == 3:
        raise ScanError(scan.path, "is a single picture or slice", "a volume (3D model)")
    found = None if settings.orientation is None else _directions(scan)
    lone = _lone_axis(scan)
    if found is None:
        axes, signs = [0, 1, 2], [1, 1, 1]
        if settings.rank == 2:
            sliced = SLICED[settings.plane] if lone is None else lone
            axes = [a for a in axes if a != sliced] + [sliced]
    else:
        # a slice alone is seen in the plane it lies in: there is no other way to slice it
        plane = settings.plane if lone is None else PLANES[int(found[lone, 0])]
        axes, signs = [], []
        for letter in "RAS" if settings.rank == 3 else DISPLAY[plane]:
            axis = int(np.flatnonzero(found[:, 0] == WORLD_AXIS[letter])[0])
            axes.append(axis)
            signs.append(int(found[axis, 1]) * (1 if letter in "RAS" else -1))
    return axes[: scan.rank], signs[: scan.rank]


def _directions(scan: Scan) -> np.ndarray | None:
    """World axis and direction of each of the scan's axes, [3, 2]; None for a picture.

    A slice's third axis is its normal, which its affine keeps.
    """
    if scan.affine is not None:
        from nibabel.orientations import io_orientation

        return io_orientation(scan.affine)
    if scan.rank == 2:
        return None
    if scan.kind != "array":  # a file that says nothing could hold any order
        raise ScanError(scan.path, "gives no orientation", "a volume with an affine")
    return np.array([[0, 1], [1, 1], [2, 1]])


def _lone_axis(scan: Scan) -> int | None:
    """The axis along which there is one slice: a slice, or a volume of one; else None."""
    if scan.rank == 2:
        return 2
    single = [axis for axis, length in enumerate(scan.shape) if length == 1]
    return single[0] if len(single) == 1 else None
