"""Displacement and velocity fields as tensors, in voxels of one grid.

A field u stands on the fixed grid and says where to look: `moved(x) = moving(x + u(x))`. In mm, a
field is turned by the grid's columns: `u_mm = columns u`, `to_mm` and `to_voxels`.
"""

from typing import Any

import numpy as np
from keras import ops

from registration.warp import Border, Interpolation, resample

Tensor = Any


def warp(
    image: Tensor,
    displacement: Tensor,
    *,
    interpolation: Interpolation = "linear",
    border: Border = "constant",
    value: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The image as seen through a field on its own grid: `moved(x) = image(x + u(x))`.

    Args:
        image: [B, *grid, C].
        displacement: [B, *grid, rank], voxels.
        interpolation: as in `resample`.
        border: as in `resample`.
        value: as in `resample`.
        mask: as in `resample`.

    Returns:
        [B, *grid, C].

    Raises:
        ValueError: shapes that do not fit.
    """
    displacement = _full(displacement)
    points = _grid(displacement) + displacement
    return resample(
        image, points, interpolation=interpolation, border=border, value=value, mask=mask
    )


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The field that does first one, then the other: `u(x) = first(x) + second(x + first(x))`.

    Between voxels linear; beyond the grid the second field goes on as at its edge.

    Args:
        first: [B, *grid, rank], voxels.
        second: the same, on the same grid.
    """
    return _full(first) + warp(second, first, border="edge")


def integrate(velocity: Tensor, steps: int = 7) -> Tensor:
    """The displacement after unit time along a stationary velocity, by scaling and squaring.

    The inverse is that of the negative velocity. With 7 steps the error is a few hundredths of a
    voxel at velocities of 10 voxels.

    Args:
        velocity: [B, *grid, rank], voxels.
        steps: squarings.

    Reference: Arsigny et al. 2006, scaling and squaring.
    """
    field = _full(velocity) / 2**steps
    for _ in range(steps):
        field = compose(field, field)
    return field


def jacobian_determinant(displacement: Tensor, columns: Tensor | None = None) -> Tensor:
    """How much the map `x -> x + u(x)` enlarges volume; not above 0 where it folds.

    Central differences, one-sided at the edges of the grid.

    Args:
        displacement: [B, *grid, rank]; voxels, or mm if `columns` is given.
        columns: [rank, rank], mm a voxel step: the upper left of the grid's affine.

    Returns:
        [B, *grid].

    Raises:
        ValueError: a field of other shape.
    """
    rank, displacement = _rank(displacement), _full(displacement)
    slopes: list[Tensor] = [
        _difference(displacement, axis) for axis in range(1, rank + 1)
    ]  # by voxel steps
    if columns is not None:
        steps = _inverse(columns, displacement)
        slopes = [sum(slopes[k] * steps[k, j] for k in range(rank)) for j in range(rank)]
    j = [
        [slopes[col][..., row] + (1.0 if row == col else 0.0) for col in range(rank)]
        for row in range(rank)
    ]
    if rank == 2:
        return j[0][0] * j[1][1] - j[0][1] * j[1][0]
    return (
        j[0][0] * (j[1][1] * j[2][2] - j[1][2] * j[2][1])
        - j[0][1] * (j[1][0] * j[2][2] - j[1][2] * j[2][0])
        + j[0][2] * (j[1][0] * j[2][1] - j[1][1] * j[2][0])
    )


def to_mm(displacement: Tensor, columns: Tensor) -> Tensor:
    """A field in voxels as one in mm.

    Args:
        displacement: [B, *grid, rank].
        columns: [rank, rank], mm a voxel step: the upper left of the grid's affine.
    """
    displacement = _full(displacement)
    return ops.matmul(displacement, ops.transpose(_as(columns, displacement)))


def to_voxels(displacement: Tensor, columns: Tensor) -> Tensor:
    """A field in mm as one in voxels; see `to_mm`."""
    displacement = _full(displacement)
    return ops.matmul(displacement, ops.transpose(_inverse(columns, displacement)))


def _full(field: Tensor) -> Tensor:
    """Not in half precision, which places a voxel of a large grid by whole voxels only."""
    field = ops.convert_to_tensor(field)
    return field if field.dtype == "float64" else ops.cast(field, "float32")


def _as(columns: Tensor, like: Tensor) -> Tensor:
    return ops.convert_to_tensor(columns, dtype=like.dtype)


def _inverse(columns: Tensor, like: Tensor) -> Tensor:
    return ops.inv(_as(columns, like))


def _rank(field: Tensor) -> int:
    shape = tuple(field.shape)
    if len(shape) not in (4, 5) or shape[-1] != len(shape) - 2 or None in shape[1:]:
        raise ValueError(f"a field is [B, *grid, rank] in 2D or 3D, not {shape}")
    return len(shape) - 2


def _grid(field: Tensor) -> Tensor:
    """[1, *grid, rank], the index of every voxel."""
    _rank(field)
    indices = np.moveaxis(np.indices(tuple(field.shape[1:-1])), 0, -1)
    return ops.convert_to_tensor(indices[None], dtype=field.dtype)


def _difference(field: Tensor, axis: int) -> Tensor:
    length = field.shape[axis]
    if length == 1:
        return ops.zeros_like(field)

    def part(start: int, stop: int) -> Tensor:
        return field[(slice(None),) * axis + (slice(start, stop),)]

    first, last = part(1, 2) - part(0, 1), part(length - 1, length) - part(length - 2, length - 1)
    inner = (part(2, length) - part(0, length - 2)) / 2
    return ops.concatenate([first, inner, last], axis=axis)
