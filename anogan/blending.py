"""Anomalies that are blended into samples in the graph: foreign patches and soft opacities.

All randomness comes in as numbers, one set a sample, so that a planted sample is a function of its
own noise alone. Grids have two or three axes; positions count pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

Tensor = Any


def along_axes(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply every axis of the grid by a matrix.

    Args:
        x: [B, *grid, c].
        matrices: one an axis, [m, n] for all samples or [B, m, n].
    """
    for axis, matrix in enumerate(matrices, 1):
        x = ops.moveaxis(x, axis, 1)
        rest = x.shape[2:]
        x = ops.matmul(matrix, ops.reshape(x, (-1, x.shape[1], int(np.prod(rest)))))
        x = ops.moveaxis(ops.reshape(x, (-1, matrix.shape[-2], *rest)), 1, axis)
    return x


def moved(x: Tensor, shift: Tensor) -> Tensor:
    """Samples [B, *grid, c] seen `shift` [B, axes] whole pixels further on, borders repeated."""
    matrices = []
    for axis, side in enumerate(x.shape[1:-1]):
        at = np.arange(side, dtype=np.float32)
        whole: Tensor = ops.round(shift[:, axis, None])
        source: Tensor = ops.clip(at + whole, 0, side - 1)
        matrices.append(ops.cast(ops.equal(source[:, :, None], at), "float32"))
    return along_axes(x, matrices)


def poisson_blend(image: Tensor, donor: Tensor, corner: Tensor, size: Tensor) -> Tensor:
    """Image with a box whose gradients are the donor's wherever those are the larger.

    Inside the box the result solves Δu = div v with u the image just outside, and v on every edge
    between two pixels the larger in magnitude of both gradients. What is added, w = u − image,
    vanishes on the border, so a sine transform solves for it exactly; its basis is written on
    the whole grid, which lets every sample have a box of its own.

    Args:
        image: [B, *grid, c].
        donor: what is blended in, [B, *grid, c].
        corner: the first pixel of the box, [B, axes], whole numbers.
        size: pixels of the box, [B, axes], whole numbers from 1.

    Reference: Pérez, Gangnet, Blake 2003, equations 3, 11 and 12; Tan et al. 2021 (PII).
    """
    sides, rank = image.shape[1:-1], len(image.shape) - 2
    divergence: Tensor = 0.0
    for axis in range(1, rank + 1):
        own, other = _steps(image, axis), _steps(donor, axis)
        change = ops.where(ops.greater(ops.abs(other), ops.abs(own)), other - own, 0.0)
        pads = [(0, 0)] * (rank + 2)
        pads[axis] = (1, 1)
        divergence = divergence + _steps(ops.pad(change, pads), axis)

    bases, eigenvalues = [], []
    for axis, side in enumerate(sides):
        length = size[:, axis, None] + 1.0
        place = np.arange(side, dtype=np.float32) - corner[:, axis, None] + 1.0
        wave = np.arange(1, side + 1, dtype=np.float32)
        inside: Tensor = ops.logical_and(place > 0, place < length)
        known: Tensor = wave < length
        angle = np.pi * wave[:, None] * place[:, None, :] / length[..., None]
        basis = ops.multiply(ops.sqrt(2.0 / length[..., None]), ops.sin(angle))
        bases.append(ops.where(ops.logical_and(inside[:, None, :], known[..., None]), basis, 0.0))
        # Waves that the box does not have: any number but 0.
        cosine: Tensor = ops.cos(np.pi * wave / length)
        value = ops.where(known, 2.0 * cosine - 2.0, -1.0)
        wide = [1] * rank
        wide[axis] = side
        eigenvalues.append(ops.reshape(value, (-1, *wide, 1)))
    waves = along_axes(divergence, bases) / sum(eigenvalues)
    return image + along_axes(waves, [ops.swapaxes(basis, 1, 2) for basis in bases])


def _steps(x: Tensor, axis: int) -> Tensor:
    """Differences between neighbours along an axis, one fewer than there are pixels."""
    after, before = [slice(None)] * len(x.shape), [slice(None)] * len(x.shape)
    after[axis], before[axis] = slice(1, None), slice(None, -1)
    return x[tuple(after)] - x[tuple(before)]


def ellipses(
    centre: Tensor, radii: Tensor, angle: Tensor, grid: tuple[int, ...], softness: float = 0.15
) -> Tensor:
    """Soft ellipses, [B, k, *grid] in [0, 1]: a half on the ellipse, 1 well inside.

    Args:
        centre: [B, k, axes], pixels.
        radii: [B, k, axes], pixels.
        angle: [B, k], radians, turned in the plane of the first two axes.
        grid: sides in pixels.
        softness: width of the edge as a fraction of the radius.
    """
    rank = len(grid)
    mesh = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in grid), indexing="ij")

    def wide(values: Tensor) -> Tensor:
        return ops.reshape(values, (-1, values.shape[1], *[1] * rank))

    away = [axis - wide(centre[..., n]) for n, axis in enumerate(mesh)]
    cos, sin = wide(ops.cos(angle)), wide(ops.sin(angle))
    away[:2] = [cos * away[0] + sin * away[1], cos * away[1] - sin * away[0]]
    squares: list[Tensor] = [ops.square(d / wide(radii[..., n])) for n, d in enumerate(away)]
    radius: Tensor = ops.sqrt(sum(squares) + 1e-12)
    return ops.sigmoid((1.0 - radius) / softness)


def chosen_places(likely: Tensor, draws: Tensor) -> Tensor:
    """Pixels drawn evenly among those that are allowed, [B, k, axes].

    Args:
        likely: 1 where a place is allowed and 0 elsewhere, [B, *grid]; where a sample allows
            none, any may come.
        draws: uniform on [0, 1), [B, k, *grid].
    """
    grid = likely.shape[1:]
    table = np.stack(np.unravel_index(np.arange(np.prod(grid)), grid), axis=-1).astype(np.float32)
    # The largest of independent draws falls on every allowed pixel equally often.
    ranked = draws + 2.0 * likely[:, None]
    flat = ops.reshape(ranked, (-1, draws.shape[1], int(np.prod(grid))))
    return ops.take(table, ops.argmax(flat, axis=-1), axis=0)


def blur_matrices(grid: tuple[int, ...], sigma: float) -> list[np.ndarray]:
    """Gaussian blur along each axis as matrices [n, n] for `along_axes`, rows of sum 1."""
    matrices = []
    for side in grid:
        away = np.arange(side)[:, None] - np.arange(side)
        matrix = np.exp(-0.5 * np.square(away / sigma))
        matrices.append((matrix / matrix.sum(1, keepdims=True)).astype(np.float32))
    return matrices


def rise_matrices(coarse: tuple[int, ...], grid: tuple[int, ...]) -> list[np.ndarray]:
    """Linear interpolation from a coarse grid, corner to corner, as matrices for `along_axes`."""
    matrices = []
    for few, many in zip(coarse, grid, strict=True):
        at = np.linspace(0, few - 1, many)[:, None] if few > 1 else np.zeros((many, 1))
        matrices.append(np.maximum(0, 1 - np.abs(at - np.arange(few))).astype(np.float32))
    return matrices
