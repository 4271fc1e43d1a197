"""What edges say: differences of slopes, and slopes alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_floats, as_pair, as_weights, averaged

Tensor = Any


def gradient_difference(
    x: Tensor,
    y: Tensor,
    *,
    spacing: Sequence[float] | None = None,
    within: Tensor | None = None,
) -> Tensor:
    """The mean squared difference of the steepness along each axis, summed over axes.

    Where x is flat it has no gradient: which way an edge should go is not said. It is added to
    another loss, never used alone.

    Args:
        x: [B, *grid, C].
        y: the same.
        spacing: mm a voxel along each axis; without it slopes are a voxel.
        within: [B, *grid] or [B, *grid, 1], weights; a slope weighs the product of its two ends.

    Returns:
        [B]: 0 the same up to an offset and to signs of slopes.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Mathieu, Couprie, LeCun 2016, equation 6, with power 2.
    """
    x, y = as_pair(x, y)
    slopes = zip(_slopes(x, spacing), _slopes(y, spacing), _ends(within, x), strict=True)
    return sum(
        averaged(ops.square(ops.subtract(ops.abs(a), ops.abs(b))), ends) for a, b, ends in slopes
    )


def total_variation(
    x: Tensor, *, spacing: Sequence[float] | None = None, within: Tensor | None = None
) -> Tensor:
    """The mean absolute slope along each axis, summed over axes.

    Args:
        x: [B, *grid, C].
        spacing: as in `gradient_difference`.
        within: as in `gradient_difference`.

    Returns:
        [B]: 0 a constant image.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Rudin, Osher, Fatemi 1992, the anisotropic form.
    """
    x = as_floats(x)
    slopes = zip(_slopes(x, spacing), _ends(within, x), strict=True)
    return sum(averaged(ops.abs(slope), ends) for slope, ends in slopes)


def _slopes(x: Tensor, spacing: Sequence[float] | None) -> Iterator[Tensor]:
    rank = len(x.shape) - 2
    spacing = (1.0,) * rank if spacing is None else spacing
    if len(spacing) != rank:
        raise ValueError(f"a spacing of {len(spacing)} axes for images of {rank}")
    for axis, step in enumerate(spacing, start=1):
        lower, upper = _neighbours(x, axis)
        yield (upper - lower) / step


def _ends(within: Tensor | None, x: Tensor) -> Iterator[Tensor]:
    weights = None if within is None else as_weights(within, x)
    for axis in range(1, len(x.shape) - 1):
        if weights is None:
            yield None
        else:
            lower, upper = _neighbours(weights, axis)
            yield lower * upper


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    before = (slice(None),) * axis
    return x[(*before, slice(None, -1))], x[(*before, slice(1, None))]
