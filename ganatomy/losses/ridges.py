"""Thin bright and dark lines: responses of steerable filters."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter1d

from ganatomy.losses.arrays import as_floats, as_pair, averaged
from ganatomy.losses.windows import along_axes, channels_first, channels_last

Tensor = Any

# The six axes of an icosahedron: no set of six directions in space is spread more evenly, and six
# are what second derivatives in space have of their own.
_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON = [(0, 1, s * _GOLDEN) for s in (1, -1)]
_ICOSAHEDRON = [tuple(np.roll(axis, shift)) for axis in _ICOSAHEDRON for shift in range(3)]


def steerable(
    x: Tensor,
    y: Tensor,
    *,
    sigmas: Sequence[float] = (1.0, 2.0),
    orientations: int = 4,
    delta: float = 0.1,
    within: Tensor | None = None,
) -> Tensor:
    """Huber's difference of ridge filters' responses, the mean over directions and widths.

    Args:
        x: [B, *grid, C].
        y: the same.
        sigmas: widths of the filters, voxels: a line of that half-width answers most.
        orientations: directions in two dimensions; in three they are the 6 of an icosahedron.
        delta: where Huber's function goes from square to straight, in the intensities' unit.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean.

    Returns:
        [B]: 0 the same up to an offset.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Olut et al. 2018, the steerable filter loss; the filters are Freeman and Adelson
    1991's second derivatives of a Gaussian, exact at every angle.
    """
    x, y = as_pair(x, y)
    # Filters are linear: the responses' difference is the difference's response.
    found: Tensor = ops.abs(ridge_responses(x - y, sigmas=sigmas, orientations=orientations))
    return averaged(
        ops.where(found <= delta, found * found / 2, delta * (found - delta / 2)), within
    )


def ridge_responses(
    x: Tensor, *, sigmas: Sequence[float] = (1.0, 2.0), orientations: int = 4
) -> Tensor:
    """Second derivatives of the smoothed image along directions, times σ².

    Args:
        x: [B, *grid, C].
        sigmas: as in `steerable`.
        orientations: as in `steerable`.

    Returns:
        [B, *grid, C × widths × directions], negative on bright lines across the direction.
    """
    x = as_floats(x)
    rank, channels = len(x.shape) - 2, x.shape[-1]
    images = channels_first(x)
    directions = _directions(rank, orientations)
    responses = []
    for sigma in sigmas:
        second = {}
        for pair in itertools.combinations_with_replacement(range(rank), 2):
            orders = [pair.count(axis) for axis in range(rank)]
            second[pair] = along_axes(images, [_derivative(sigma, o) for o in orders]) * sigma**2
        for u in directions:
            # Off the diagonal both orders of a pair of axes are meant.
            parts = [(2 - (a == b)) * u[a] * u[b] * h for (a, b), h in second.items()]
            responses.append(channels_last(functools.reduce(ops.add, parts), channels))
    return ops.concatenate(responses, axis=-1)


def _directions(rank: int, orientations: int) -> np.ndarray:
    if rank == 3:
        directions = np.array(_ICOSAHEDRON, float)
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)
    angles = np.arange(orientations) * np.pi / orientations
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@functools.cache
def _derivative(sigma: float, order: int):
    @functools.cache
    def matrix(length: int) -> np.ndarray:
        # Beyond the grid the image goes on as at its edge. Cut nearer, a derivative would see
        # offsets.
        eye = np.eye(length)
        return gaussian_filter1d(eye, sigma, 0, order, mode="nearest", truncate=6)

    return matrix
