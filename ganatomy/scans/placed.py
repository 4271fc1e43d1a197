"""A scan on the grid of another: labels on that of their scan, a scan on that of its partner."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from ganatomy.scans.errors import ScanError
from ganatomy.scans.prepared import Prepared
from ganatomy.scans.resample import antialias
from ganatomy.scans.scan import Scan


def on_grid(scan: Scan, other: Scan, matrix: np.ndarray | None = None) -> Scan:
    """The scan on another's grid, by where the headers say that both lie.

    Linear between voxels, smoothed where the grid is coarser; what lies outside the scan has its
    lowest value. Pictures, which lie nowhere, have to be of one size unless a matrix is given.

    Args:
        scan: to be resampled.
        other: whose grid.
        matrix: homogeneous, from the other's voxels to the scan's, in place of the headers'.

    Raises:
        ScanError: no affine, pictures of two sizes, or scans that nowhere overlap.
    """
    matrix = _voxel_to_voxel(scan, other) if matrix is None else matrix
    if matrix is None:
        return scan
    steps = np.linalg.norm(matrix[:-1, :-1], axis=1)  # voxels of the scan a voxel of the grid
    smoothing = [antialias(step) for step in steps]
    points = _points(matrix, other.shape)
    sides = np.array(scan.shape).reshape(-1, *[1] * other.rank)
    if not ((points > -0.5) & (points < sides - 0.5)).all(axis=0).any():
        raise ScanError(scan.path, f"does not overlap {other.path}", "scans of one place")
    moved = [
        map_coordinates(
            gaussian_filter(channel, smoothing, mode="nearest"),
            points,
            np.float32,
            order=1,
            mode="grid-constant",
            cval=float(channel.min()),
        )
        for channel in np.moveaxis(scan.pixels, -1, 0)
    ]
    return Scan(
        np.stack(moved, axis=-1),
        other.affine,
        scan.units,
        scan.modality,
        scan.path,
        scan.kind,
        notes=list(scan.notes),
    )


def labels_on(scan: Scan, other: Scan, prepared: Prepared) -> np.ndarray:
    """Labels where a scan's samples stand, the nearest one of each, 0 outside.

    Args:
        scan: of whole numbers, one channel.
        other: the scan that they are of.
        prepared: that scan, prepared.

    Returns:
        float32 [n, *size, 1].

    Raises:
        ScanError: something other than whole numbers, or a scan that they cannot be of.
    """
    check_labels(scan)
    matrix = _voxel_to_voxel(scan, other)
    size = prepared.samples.shape[1:-1]
    found = []
    for placement in prepared.placements:
        whole = placement if matrix is None else matrix @ placement
        points = _points(whole, size)
        found.append(map_coordinates(scan.pixels[..., 0], points, order=0, cval=0.0))
    return np.stack(found)[..., None].astype(np.float32)


def check_labels(scan: Scan) -> None:
    """Refuse what cannot be labels, such as probabilities.

    Raises:
        ScanError: something other than whole numbers in one channel.
    """
    if not holds_labels(scan):
        raise ScanError(scan.path, "does not hold labels", "whole numbers in one channel")


def holds_labels(scan: Scan) -> bool:
    """Whether a scan has whole numbers in one channel, and nothing else."""
    return scan.channels == 1 and np.array_equal(scan.pixels, np.rint(scan.pixels))


def same_grid(scan: Scan, other: Scan) -> bool:
    """Whether two scans have one grid: size, and place where both headers give one."""
    if scan.shape != other.shape:
        return False
    if scan.affine is None or other.affine is None:
        return True
    return np.allclose(scan.affine, other.affine, atol=1e-3)


def _voxel_to_voxel(scan: Scan, other: Scan) -> np.ndarray | None:
    """From the voxels of the other scan to those of the first; None where they are the same.

    Raises:
        ScanError: nothing says where the scans lie.
    """
    if scan.affine is None or other.affine is None or scan.rank == 2 or other.rank == 2:
        if scan.shape != other.shape:
            problem = f"has {_sides(scan)} pixels, {other.path} {_sides(other)}"
            raise ScanError(scan.path, problem, "one size, or volumes with positions in mm")
        return None
    if same_grid(scan, other):
        return None
    return np.linalg.inv(scan.affine) @ other.affine


def _sides(scan: Scan) -> str:
    return "×".join(map(str, scan.shape))


def _points(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where a grid's voxels are sent, [coordinates, *shape]."""
    linear, offset = matrix[:-1, :-1], matrix[:-1, -1]
    points = np.tensordot(linear, np.indices(shape, np.float64), 1)
    return points + offset.reshape(-1, *[1] * len(shape))
