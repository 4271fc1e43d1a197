"""How far two segmentations miss each other."""

from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_pair, as_weights

Tensor = Any


def dice(
    x: Tensor,
    y: Tensor,
    *,
    background: bool = False,
    smooth: float = 1e-5,
    within: Tensor | None = None,
) -> Tensor:
    """One minus the soft Dice overlap, the mean over labels.

    Args:
        x: [B, *grid, labels], probabilities or one-hot maps.
        y: the same.
        background: whether the first channel counts; a single one does always.
        smooth: added to both halves of the fraction, voxels: a label that is in neither overlaps
            fully.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in all sums.

    Returns:
        [B]: 0 the same, 1 nothing in common.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Milletari et al. 2016, the equation of section 3: squares in the denominator, so that
    soft maps overlap fully with themselves.
    """
    x, y = as_pair(x, y)
    if not background and x.shape[-1] > 1:
        x, y = x[..., 1:], y[..., 1:]
    weights: Tensor = 1.0 if within is None else as_weights(within, x)
    axes = tuple(range(1, len(x.shape) - 1))
    common: Tensor = ops.sum(weights * x * y, axis=axes)
    both: Tensor = ops.sum(weights * (x * x + y * y), axis=axes)
    overlap: Tensor = (2 * common + smooth) / (both + smooth)
    return ops.subtract(1.0, ops.mean(overlap, axis=-1))
