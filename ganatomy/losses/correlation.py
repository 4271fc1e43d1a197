"""Local normalised cross-correlation."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_pair, averaged
from ganatomy.losses.windows import box_means, channels_first, channels_last

Tensor = Any

# Variance below which an image is constant to us: a spread of 1e-4 where images are of the order 1.
SMALLEST_VARIANCE = 1e-8


def ncc(
    x: Tensor,
    y: Tensor,
    window: int = 9,
    *,
    squared: bool = False,
    floor: float = 1e-3,
    within: Tensor | None = None,
) -> Tensor:
    """One minus the mean local normalised cross-correlation.

    Where no window sees contrast the correlation is 0. It does not change when an image is
    multiplied by a positive number or added to.

    Args:
        x: [B, *grid, C].
        y: the same.
        window: the side of the box that is correlated, voxels, odd; at borders the part inside.
        squared: the square of the correlation, for contrasts that may be opposite: its gradient
            goes to -1 from a negative correlation. Otherwise the signed one, whose gradient goes
            to 1 from everywhere.
        floor: added to a window's variance, as a share of the variance of the whole image: noise
            in a flat background does not count as structure.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean. The windows see all
            voxels.

    Returns:
        [B]. Signed: 0 the same, 1 unrelated, 2 opposite. Squared: 0 linearly related, 1 unrelated.

    Raises:
        ValueError: shapes that do not fit, or an even window.

    Reference: Avants et al. 2008, the cross-correlation of section 2; windows of 9 voxels as in
    Balakrishnan et al. 2019, equation 5, but without clamping the covariance at 0.
    """
    x, y = as_pair(x, y)
    channels = x.shape[-1]
    x, y = _centred(channels_first(x)), _centred(channels_first(y))
    # Apart: where one image stays as it is, nothing is to be differentiated by its own means.
    mean_x, xx = _means([x, x * x], window)
    mean_y, yy, xy = _means([y, y * y, x * y], window)
    covariance = xy - mean_x * mean_y
    variances = _floored(xx - mean_x * mean_x, x, floor) * _floored(yy - mean_y * mean_y, y, floor)
    if squared:
        correlation = covariance * covariance / variances
    else:
        correlation = covariance / ops.sqrt(variances)
    return 1 - averaged(channels_last(correlation, channels), within)


def _means(images: Sequence[Tensor], window: int) -> Sequence[Tensor]:
    """The box means of images [N, *grid], all at once."""
    stacked: Tensor = ops.stack(images)
    grid = tuple(stacked.shape[2:])
    means: Tensor = ops.reshape(
        box_means(ops.reshape(stacked, (-1, *grid)), window), (len(images), -1, *grid)
    )
    return [means[i] for i in range(len(images))]


def _centred(x: Tensor) -> Tensor:
    """Less the mean of the whole image: a difference of large squares loses digits."""
    return x - ops.mean(x, axis=tuple(range(1, len(x.shape))), keepdims=True)


def _floored(variance: Tensor, x: Tensor, floor: float) -> Tensor:
    whole: Tensor = ops.mean(x * x, axis=tuple(range(1, len(x.shape))), keepdims=True)
    return ops.maximum(variance, 0.0) + floor * whole + SMALLEST_VARIANCE
