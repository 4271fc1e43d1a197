"""Known transforms to learn from and to be measured on, as pure functions of noise.

An error here is the mean displacement in mm over points of the scan, not a size of parameters:
what a rotation costs depends on how far the head reaches. Parameters drawn one by one give errors
that crowd at the far end; scaled to a drawn error, every distance is met as often.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from registration.fields import integrate, to_mm, to_voxels
from registration.matrices import AFFINE, RIGID, affine_matrix, rigid_matrix
from registration.warp import resample

Tensor = Any

TRIES = 8  # draws of parameters, of which the first that stays within range is taken
_ROUNDS = 4  # in which a scale is found whose error is the drawn one


class Range(NamedTuple):
    """How far parameters may go.

    Attributes:
        angle: radians about each axis; an affine map's rotations are among `linear`.
        shift: mm along each axis.
        linear: entries of an affine map's linear part beside the identity.
    """

    angle: float = np.pi / 9
    shift: float = 20.0
    linear: float = 0.35


def matrix_of(parameters: Tensor, centre: np.ndarray) -> Tensor:
    """The matrix of rigid or affine parameters, whichever their number says.

    Args:
        parameters: [B, 3] or [B, 6] rigid or affine in 2D, [B, 6] or [B, 12] in 3D.
        centre: [rank], mm.
    """
    count, rank = int(parameters.shape[-1]), len(centre)
    return (rigid_matrix if count == RIGID[rank] else affine_matrix)(parameters, centre)


def displacement(matrix: Tensor, points: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean distance between points and where a matrix sends them, mm, [B].

    Args:
        matrix: [B, rank + 1, rank + 1].
        points: [P, rank], mm.
        weights: [B, P], 0 for points that do not count; None where all do.
    """
    places: Any = ops.cast(points, matrix.dtype)
    sent: Any = ops.matmul(places[None], ops.swapaxes(matrix[:, :-1, :-1], 1, 2))
    distance: Any = length(sent + matrix[:, None, :-1, -1] - places)
    if weights is None:
        return ops.mean(distance, axis=-1)
    weights = ops.cast(weights, distance.dtype)
    total: Any = ops.sum(weights * distance, axis=-1)
    return total / ops.maximum(ops.sum(weights, axis=-1), 1e-6)


def draws(count: int) -> tuple[int, int]:
    """The shape of one sample's normal noise for `perturb`, for so many parameters."""
    return TRIES, count


def perturb(
    noise: Tensor,
    error: Tensor,
    points: np.ndarray,
    *,
    weights: Tensor | None = None,
    limits: Range | None = None,
) -> Tensor:
    """Rigid or affine parameters whose mean displacement over points is what is asked for.

    A direction is drawn in parameters that all move the points by as much a unit, then scaled. Of
    `TRIES` directions the first is taken whose scaled parameters stay in range; where none does,
    the one that leaves it least.

    Args:
        noise: [B, TRIES, n] normal, n the number of parameters; see `draws`.
        error: [B], mm; uniform noise times 20 for errors uniform up to 20 mm.
        points: [P, rank], mm, about the origin, which is the centre of rotation.
        weights: [B, P], 0 for points that do not count.
        limits: of the parameters.

    Returns:
        [B, n], as `rigid_matrix` or `affine_matrix` takes them, about the origin.

    Raises:
        ValueError: neither a rigid nor an affine number of parameters.

    Reference: Song et al. 2021 (attention-reg), initial errors uniform in 0–20 mm.
    """
    rank, count = points.shape[-1], int(noise.shape[-1])
    if count not in (RIGID[rank], AFFINE[rank]):
        raise ValueError(f"{count} parameters in {rank}D; expected {RIGID[rank]} or {AFFINE[rank]}")
    limits = limits or Range()
    turning = limits.angle if count == RIGID[rank] else limits.linear
    bounds = np.array([turning] * (count - rank) + [limits.shift] * rank, np.float32)
    units = parameter_units(points, count)
    noise = ops.cast(noise, "float32")
    flat: Any = ops.reshape(noise * units, [-1, count])
    asked: Any = ops.repeat(ops.cast(error, "float32"), TRIES, axis=0)
    each = None if weights is None else ops.repeat(weights, TRIES, axis=0)
    centre = np.zeros(rank, np.float32)

    for _ in range(_ROUNDS):
        found: Any = displacement(matrix_of(flat, centre), points, each)
        flat = flat * (asked / ops.maximum(found, 1e-6))[:, None]
    tried: Any = ops.reshape(flat, [-1, TRIES, count])
    sizes: Any = ops.abs(tried)
    # All within range are as good; argmin takes the first of equals.
    chosen: Any = ops.argmin(ops.maximum(ops.max(sizes / bounds, axis=-1), 1.0), axis=-1)
    taken: Any = ops.take_along_axis(tried, chosen[:, None, None], axis=1)
    return taken[:, 0]


def parameter_units(points: np.ndarray, count: int) -> np.ndarray:
    """[n], so much of each parameter moves the points by about 1 mm.

    Args:
        points: [P, rank], mm, about the centre.
        count: of parameters, rigid or affine.
    """
    rank = points.shape[-1]
    reach = max(float(np.sqrt(np.mean(np.sum(np.square(points), axis=-1)))), 1e-6)
    return np.array([1.0 / reach] * (count - rank) + [1.0] * rank, np.float32)


def bend(
    noise: Tensor, error: Tensor, shape: Sequence[int], columns: np.ndarray, *, steps: int = 7
) -> Tensor:
    """A smooth field without folds, whose mean displacement is about what is asked for.

    Noise on a coarse grid is the velocity of a flow, a cubic spline between its points.

    Args:
        noise: [B, *coarse, rank] normal; the coarser, the smoother.
        error: [B], mm.
        shape: of the grid.
        columns: [rank, rank], mm a voxel step.
        steps: squarings.

    Returns:
        [B, *shape, rank], mm.
    """
    noise = ops.cast(noise, "float32")
    sides = tuple(noise.shape[1:-1])
    index = np.moveaxis(np.indices(tuple(shape)), 0, -1).astype(np.float32)
    index = index * [(n - 1) / max(m - 1, 1) for n, m in zip(sides, shape, strict=True)]
    one: Any = noise[(slice(None), *[slice(1)] * len(sides))]
    places: Any = ops.zeros_like(one)
    places += index.astype(np.float32)
    velocity = resample(noise, places, interpolation="cubic")
    asked = ops.cast(error, "float32")

    def flow(velocity: Tensor) -> Tensor:
        return to_mm(integrate(to_voxels(velocity, columns), steps), columns)

    velocity = _scaled(velocity, asked, lambda field: field)
    velocity = _scaled(velocity, asked, flow)
    return flow(velocity)


def without_affine(noise: Tensor) -> Tensor:
    """Noise on a coarse grid less the affine map that fits it best.

    Args:
        noise: [B, *coarse, rank].
    """
    noise = ops.cast(noise, "float32")
    *sides, rank = noise.shape[1:]
    index = np.moveaxis(np.indices(sides), 0, -1).reshape(-1, rank)
    # Orthonormal columns of what an affine map can be, [points, rank + 1].
    basis = np.linalg.qr(np.append(index, np.ones((len(index), 1)), 1))[0].astype(np.float32)
    flat: Any = ops.reshape(noise, [-1, len(index), rank])
    fit: Any = ops.matmul(basis @ basis.T, flat)
    return ops.reshape(flat - fit, [-1, *sides, rank])


def _scaled(field: Tensor, asked: Tensor, measured: Callable[[Tensor], Tensor]) -> Tensor:
    """The field scaled as if what is measured of it grew in proportion."""
    axes = tuple(range(1, len(field.shape) - 1))
    mean: Any = ops.mean(length(measured(field)), axis=axes)
    factor: Any = asked / ops.maximum(mean, 1e-6)
    return field * ops.reshape(factor, (-1,) + (1,) * (len(field.shape) - 1))


def length(vectors: Tensor) -> Tensor:
    """Of the vectors along the last axis; its slope at 0 is 0, not infinite."""
    squared: Any = ops.sum(ops.square(vectors), axis=-1)
    return ops.sqrt(squared + 1e-12)
