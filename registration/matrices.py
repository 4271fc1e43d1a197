"""Rigid and affine matrices from parameters, and where they send the voxels of a fixed grid.

All is in mm: [rank + 1, rank + 1] matrices that send homogeneous points of the fixed scan to
points of the moving scan.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from ganatomy.scans.planes import singular

Tensor = Any

RIGID = {2: 3, 3: 6}  # parameters by rank
AFFINE = {2: 6, 3: 12}


def rigid_matrix(parameters: Tensor, centre: Tensor) -> Tensor:
    """Rotations about a centre, then a translation: `x -> R (x - centre) + centre + t`.

    Args:
        parameters: [B, 6], three angles in radians about the first, second and third coordinate,
            applied in this order, then three translations in mm. In 2D [B, 3]: one angle, from
            the first coordinate to the second, and two translations.
        centre: [rank] or [B, rank], mm; the middle of the fixed scan and not its corner, or a
            small angle is a long way.

    Returns:
        [B, rank + 1, rank + 1].

    Raises:
        ValueError: another number of parameters.
    """
    rank = _rank(parameters, RIGID)
    if rank == 2:
        rotation = _turn(parameters[:, 0], 2)[:, :2, :2]
    else:
        rotation = _turn(parameters[:, 0], 0)
        for axis in (1, 2):
            rotation = _turn(parameters[:, axis], axis) @ rotation
    return _about(rotation, parameters[:, -rank:], centre)


def affine_matrix(parameters: Tensor, centre: Tensor) -> Tensor:
    """A linear map about a centre, then a translation: `x -> (I + A) (x - centre) + centre + t`.

    Args:
        parameters: [B, 12], the nine entries of A row by row, which are 0 for the identity, then
            three translations in mm; in 2D [B, 6].
        centre: [rank] or [B, rank], mm.

    Returns:
        [B, rank + 1, rank + 1].

    Raises:
        ValueError: another number of parameters.
    """
    rank = _rank(parameters, AFFINE)
    linear: Any = ops.reshape(parameters[:, : rank * rank], [-1, rank, rank])
    linear = linear + ops.eye(rank, dtype=linear.dtype)
    return _about(linear, parameters[:, -rank:], centre)


def sampling_points(
    shape: Sequence[int],
    fixed: Tensor,
    moving: Tensor,
    matrix: Tensor | None = None,
    displacement: Tensor | None = None,
) -> Tensor:
    """Where each voxel of the fixed grid is found in the moving scan, in its voxels.

    What `resample` asks for; all maps are composed, so that the moving scan is resampled once.

    Args:
        shape: the fixed grid.
        fixed: [rank + 1, rank + 1] or [B, …], voxel of the fixed grid to mm.
        moving: the same of the moving grid.
        matrix: [B, rank + 1, rank + 1], fixed mm to moving mm; None for the identity.
        displacement: [B, *shape, rank], mm; applied before the matrix, `x -> matrix(x + u(x))`.

    Returns:
        [B, *shape, rank], or [1, …] where nothing has a batch.

    Raises:
        ValueError: shapes that do not fit.
    """
    rank = len(shape)
    for name, each in (("fixed", fixed), ("moving", moving), ("matrix", matrix)):
        if each is not None and _shape(each)[-2:] != (rank + 1, rank + 1):
            raise ValueError(f"{name} has shape {_shape(each)}; expected {rank + 1}×{rank + 1}")
    if displacement is not None and _shape(displacement)[1:] != (*shape, rank):
        raise ValueError(
            f"the displacement has shape {_shape(displacement)}; expected [B, *{(*shape, rank)}]"
        )
    outward = _inverse(moving)
    if matrix is not None:
        outward = outward @ _batched(matrix)
    # One matrix from voxel to voxel: mm far from the origin would lose digits in between.
    whole = outward @ _batched(fixed)
    grid = np.moveaxis(np.indices(tuple(shape)), 0, -1).reshape(1, -1, rank)
    flat = _batched(grid) @ _turned(whole) + whole[:, None, :rank, rank]
    if displacement is not None:
        field: Any = ops.cast(displacement, "float32")
        flat += ops.reshape(field, [-1, int(np.prod(shape)), rank]) @ _turned(outward)
    return ops.reshape(flat, [-1, *shape, rank])


def _shape(array: Tensor) -> tuple[int | None, ...]:
    return tuple(array.shape) if hasattr(array, "shape") else np.shape(array)


def _batched(matrix: Tensor) -> Tensor:
    made: Any = ops.convert_to_tensor(matrix, dtype="float32")
    return made if len(_shape(made)) == 3 else ops.expand_dims(made, 0)


def _inverse(matrix: Tensor) -> Tensor:
    if isinstance(matrix, np.ndarray):  # known now, and so is whether there is an inverse
        if singular(matrix):
            raise ValueError("moving is singular; expected independent axes")
        return _batched(np.linalg.inv(matrix))
    return ops.inv(_batched(matrix))


def _turned(matrix: Tensor) -> Tensor:
    """The linear part, to be applied from the right."""
    return ops.swapaxes(matrix[:, :-1, :-1], 1, 2)


def _rank(parameters: Tensor, counts: dict[int, int]) -> int:
    shape = _shape(parameters)
    for rank, count in counts.items():
        if len(shape) == 2 and shape[-1] == count:
            return rank
    expected = " or ".join(f"[B, {count}]" for count in counts.values())
    raise ValueError(f"parameters have shape {shape}; expected {expected}")


def _turn(angle: Tensor, axis: int) -> Tensor:
    """[B, 3, 3], the rotation about a coordinate."""
    cos: Any = ops.cos(angle)
    sin: Any = ops.sin(angle)
    a, b = (axis + 1) % 3, (axis + 2) % 3
    rows = [[ops.full_like(angle, float(i == j)) for j in range(3)] for i in range(3)]
    rows[a][a], rows[a][b], rows[b][a], rows[b][b] = cos, ops.negative(sin), sin, cos
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def _about(linear: Tensor, shift: Tensor, centre: Tensor) -> Tensor:
    """Homogeneous: `x -> linear (x - centre) + centre + shift`."""
    rank = linear.shape[-1]
    if _shape(centre)[-1:] != (rank,):
        raise ValueError(f"the centre has shape {_shape(centre)}; expected [{rank}], mm")
    middle: Any = ops.broadcast_to(ops.cast(centre, linear.dtype), ops.shape(shift))
    offset: Any = shift + middle - (linear @ middle[..., None])[..., 0]
    top = ops.concatenate([linear, offset[..., None]], axis=-1)
    last: Any = ops.cast(np.eye(rank + 1)[None, rank:], linear.dtype)
    sides: Any = ops.shape(shift)
    last = ops.broadcast_to(last, (sides[0], 1, rank + 1))
    return ops.concatenate([top, last], axis=-2)
