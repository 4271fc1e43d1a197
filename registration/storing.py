"""A transform as the files of other programs tell it: a matrix, and a field before it."""

from __future__ import annotations

import numpy as np

from registration.conventions import StoredTransform, grid_points
from registration.registration import Registration, grid_of
from registration.transforms import Affine, Chain, Transform


def stored(found: Registration) -> StoredTransform:
    """A registration's transform as a matrix, and where it bends a field on the fixed grid.

    The matrix holds what the transform does far from its own grid; the field, float32 in mm, is
    exact at the voxels of the fixed scan and linear between them.

    Args:
        found: with its fixed scan.
    """
    transform = found.transform
    if isinstance(transform, Affine):
        return StoredTransform(transform.matrix)
    grid, matrix = grid_of(found.fixed), straight_part(transform).matrix
    back = Affine(matrix).inverse()
    field = np.empty((*found.fixed.shape, transform.rank), np.float32)
    for number in range(len(field)):  # in float64 the points of a whole body take gigabytes
        first = grid.copy()
        first[:-1, -1] += number * grid[:-1, 0]
        points = grid_points((1, *found.fixed.shape[1:]), first)[0]
        field[number] = back.map(transform.map(points)) - points
    return StoredTransform(matrix, field, grid)


def straight_part(transform: Transform) -> Affine:
    """The matrices of a chain, without what bends in between."""
    parts = transform.parts if isinstance(transform, Chain) else (transform,)
    matrix = np.eye(transform.rank + 1)
    for part in parts:
        if isinstance(part, Affine):
            matrix = part.matrix @ matrix
    return Affine(matrix)
