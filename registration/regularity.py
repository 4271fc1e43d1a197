"""How smooth a field is, and where it folds: penalties to train with, measures to report.

Fields are in voxels of their grid, as in `fields`; what is said of them is in mm. Penalties are one
value a sample, lower is better.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_floats, as_weights, averaged
from registration.fields import jacobian_determinant

Tensor = Any


def smoothness(field: Tensor, spacing: Sequence[float], *, within: Tensor | None = None) -> Tensor:
    """The mean squared gradient of a displacement or velocity, summed over components and axes.

    By forward differences in mm a mm, so that a grid of thick slices and one of cubes say the same
    of the same field.

    Args:
        field: [B, *grid, rank], voxels.
        spacing: mm a voxel along each axis.
        within: [B, *grid] or [B, *grid, 1], weights; a difference weighs the product of its ends.

    Returns:
        [B], without unit; 0 a translation.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Balakrishnan et al. 2019, equation 7, there in voxels.
    """
    field, weights = _in_mm(field, spacing, within)
    total = 0.0
    for axis, step in enumerate(spacing, start=1):
        total = total + _squared(_difference(field, axis) / step, _both(weights, axis))
    return total


def bending_energy(
    field: Tensor, spacing: Sequence[float], *, within: Tensor | None = None
) -> Tensor:
    """The mean squared second derivatives, summed over components and pairs of axes.

    Args:
        field: [B, *grid, rank], voxels, three voxels or more along each axis.
        spacing: mm a voxel along each axis.
        within: as in `smoothness`.

    Returns:
        [B], mm⁻²; 0 an affine map.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Rueckert et al. 1999, equation 6.
    """
    field, weights = _in_mm(field, spacing, within)
    if min(field.shape[1:-1]) < 3:
        raise ValueError(f"a field {tuple(field.shape)} of fewer than 3 voxels has no curvature")
    total = 0.0
    for a, b in itertools.combinations_with_replacement(range(1, len(spacing) + 1), 2):
        second = _difference(_difference(field, a), b) / (spacing[a - 1] * spacing[b - 1])
        times = 1.0 if a == b else 2.0  # a mixed derivative stands twice in the sum
        total = total + times * _squared(second, _both(_both(weights, a), b))
    return total


def folding_penalty(
    displacement: Tensor, *, margin: float = 0.0, within: Tensor | None = None
) -> Tensor:
    """The mean of relu(margin - J), J the determinant of the Jacobian.

    Args:
        displacement: [B, *grid, rank], voxels.
        margin: the J below which a voxel is penalised.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean.

    Returns:
        [B]: 0 where J is nowhere below the margin.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Mok and Chung 2020, equation 5.
    """
    j = jacobian_determinant(displacement)[..., None]
    return averaged(ops.relu(margin - j), within)


def folds(displacement: Tensor, *, within: Tensor | None = None) -> Tensor:
    """The share of voxels where the map folds, J <= 0: a count, without a gradient.

    Args:
        displacement: [B, *grid, rank], voxels.
        within: [B, *grid] or [B, *grid, 1], the mask whose voxels are counted; all without it.

    Returns:
        [B], 0 to 1.

    Raises:
        ValueError: shapes that do not fit.
    """
    j = jacobian_determinant(displacement)[..., None]
    return averaged(ops.cast(j <= 0, j.dtype), within)


def log_jacobian_spread(displacement: Tensor, *, within: Tensor | None = None) -> Tensor:
    """The standard deviation of ln J over the voxels that do not fold.

    Folded voxels have no logarithm: `folds` counts them, and is reported beside this. Learn2Reg's
    figure of the same name is of ln(J + 3), about a quarter of this one.

    Args:
        displacement: [B, *grid, rank], voxels.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels.

    Returns:
        [B]; 0 a map that enlarges everything alike.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Leow et al. 2007, the logarithm of the Jacobian.
    """
    j = jacobian_determinant(displacement)[..., None]
    whole = ops.cast(j > 0, j.dtype)
    log: Tensor = ops.log(ops.where(j > 0, j, ops.ones_like(j)))
    weights = whole if within is None else whole * as_weights(within, j)
    mean = ops.reshape(averaged(log, weights), (-1,) + (1,) * (len(j.shape) - 1))
    return ops.sqrt(averaged(ops.square(log - mean), weights))


def _in_mm(
    field: Tensor, spacing: Sequence[float], within: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    field = as_floats(field)
    rank = len(field.shape) - 2
    if field.shape[-1] != rank or len(spacing) != rank:
        raise ValueError(
            f"a field {tuple(field.shape)} and a spacing of {len(spacing)} axes: a field of "
            f"{rank} axes has {rank} components and a spacing of {rank}"
        )
    weights = None if within is None else as_weights(within, field)
    return field * ops.convert_to_tensor(tuple(spacing), dtype=field.dtype), weights


def _squared(slopes: Tensor, weights: Tensor | None) -> Tensor:
    return averaged(ops.sum(ops.square(slopes), axis=-1, keepdims=True), weights)


def _difference(field: Tensor, axis: int) -> Tensor:
    lower, upper = _neighbours(field, axis)
    return upper - lower


def _both(weights: Tensor | None, axis: int) -> Tensor | None:
    if weights is None:
        return None
    lower, upper = _neighbours(weights, axis)
    return lower * upper


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    before = (slice(None),) * axis
    return x[(*before, slice(None, -1))], x[(*before, slice(1, None))]
