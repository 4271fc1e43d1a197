"""Mutual information of two images' intensities, for contrasts with no linear relation."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from ganatomy.losses.arrays import as_pair, as_weights
from ganatomy.losses.windows import channels_first

Tensor = Any

# Voxels of all images together whose soft assignments to bins are held at one time.
PIECE = 2**14
# Added inside logarithms: p log p is 0 at p = 0.
_NOTHING = 1e-12


def mutual_information(
    x: Tensor,
    y: Tensor,
    bins: int = 32,
    *,
    span: tuple[float, float] | None = None,
    within: Tensor | None = None,
) -> Tensor:
    """The negative mutual information of intensities, in nats.

    Their joint histogram is smoothed by cubic B-splines (Parzen windows), so it has a gradient.
    Memory does not grow with bins times voxels: assignments to bins are made in pieces, and made
    again for the gradient.

    Args:
        x: [B, *grid, C]; channels are compared one by one, and averaged.
        y: the same.
        bins: of an image's histogram, 4 or more.
        span: the lowest and the highest intensity of both images; what lies beyond counts as these
            and has no gradient. Without it those found in each image, as constants to the
            gradient.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the histogram.

    Returns:
        [B]: 0 where intensities tell nothing of each other, lower the more they do.

    Raises:
        ValueError: shapes that do not fit, or too few bins.

    Reference: Viola and Wells 1997; the B-spline windows of Mattes et al. 2003, equation 8, here on
    both images.
    """
    of_x, of_y, of_both = _entropies(x, y, bins, span, within)
    return ops.mean(of_both - of_x - of_y, axis=-1)


def normalised_mutual_information(
    x: Tensor,
    y: Tensor,
    bins: int = 32,
    *,
    span: tuple[float, float] | None = None,
    within: Tensor | None = None,
) -> Tensor:
    """Two minus the normalised mutual information (H(x) + H(y)) / H(x, y).

    It depends less than mutual information on how much of the two images overlaps.

    Args:
        x: [B, *grid, C].
        y: the same.
        bins: as in `mutual_information`.
        span: as in `mutual_information`.
        within: as in `mutual_information`.

    Returns:
        [B]: 0 where one image determines the other bin by bin, 1 where they are independent. An
        image and itself are above 0: windows spread a value over several bins.

    Raises:
        ValueError: as in `mutual_information`.

    Reference: Studholme, Hill, Hawkes 1999, equation 8.
    """
    of_x, of_y, of_both = _entropies(x, y, bins, span, within)
    some = of_both > 0
    ratio: Tensor = ops.divide(of_x + of_y, ops.where(some, of_both, ops.ones_like(of_both)))
    ratio = ops.where(some, ratio, ops.ones_like(ratio))
    return ops.mean(2 - ratio, axis=-1)


def joint_histogram(
    x: Tensor,
    y: Tensor,
    bins: int = 32,
    *,
    span: tuple[float, float] | None = None,
    within: Tensor | None = None,
) -> Tensor:
    """The share of voxels a pair of bins, smoothed by cubic B-splines.

    Args:
        x: [B, *grid, C].
        y: the same.
        bins: as in `mutual_information`.
        span: as in `mutual_information`.
        within: as in `mutual_information`.

    Returns:
        [B, C, bins of x, bins of y], of sum 1, or 0 where all weights are. The lowest intensity
        stands in the middle of bin 1, the highest in that of bin `bins - 2`.
    """
    x, y = as_pair(x, y)
    if bins < 4:
        raise ValueError(f"a spline reaches over 4 bins, more than the {bins} that there are")
    weights = ops.ones_like(x[..., :1]) if within is None else as_weights(within, x)
    weights = ops.broadcast_to(weights, ops.shape(x))
    counts: Tensor = _histogram(bins)(
        _places(_flat(x), bins, span), _places(_flat(y), bins, span), _flat(weights)
    )
    total: Tensor = ops.sum(counts, axis=(1, 2), keepdims=True)
    shares = counts / ops.where(total > 0, total, ops.ones_like(total))
    return ops.reshape(shares, (-1, x.shape[-1], bins, bins))


def _entropies(x, y, bins, span, within) -> tuple[Tensor, Tensor, Tensor]:
    shares: Tensor = joint_histogram(x, y, bins, span=span, within=within)
    of_x, of_y = ops.sum(shares, axis=3), ops.sum(shares, axis=2)
    return _entropy(of_x, 2), _entropy(of_y, 2), _entropy(shares, (2, 3))


def _entropy(shares: Tensor, axes) -> Tensor:
    return ops.negative(ops.sum(shares * ops.log(shares + _NOTHING), axis=axes))


def _flat(x: Tensor) -> Tensor:
    return ops.reshape(channels_first(x), (-1, math.prod(x.shape[1:-1])))


def _places(x: Tensor, bins: int, span: tuple[float, float] | None) -> Tensor:
    """Where intensities fall among the bins, 1 to bins - 2: a spline reaches to all its bins."""
    if span is None:
        low = ops.stop_gradient(ops.min(x, axis=1, keepdims=True))
        high = ops.stop_gradient(ops.max(x, axis=1, keepdims=True))
    else:
        low, high = (ops.full_like(x[:, :1], end) for end in span)
        x = ops.clip(x, span[0], span[1])
    width: Tensor = ops.subtract(high, low)
    width = ops.where(width > 0, width, ops.ones_like(width))
    return 1 + (x - low) / width * (bins - 3)


def _histogram(bins: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """From places and weights [N, voxels] to sums [N, bins, bins], with its gradient."""

    @ops.custom_gradient
    def histogram(x, y, weights):
        images: Any = ops.shape(x)
        voxels = x.shape[1]
        pieces = -(-voxels * (x.shape[0] or 1) // PIECE)
        missing = -voxels % pieces

        def cut(values: Tensor) -> Tensor:
            """[N, voxels] as [pieces, N, size]; what is added weighs nothing."""
            values = ops.pad(values, ((0, 0), (0, missing)))
            size = (voxels + missing) // pieces
            return ops.moveaxis(ops.reshape(values, (-1, pieces, size)), 1, 0)

        def joined(values: Tensor) -> Tensor:
            rows: Tensor = ops.reshape(ops.moveaxis(values, 0, 1), (-1, voxels + missing))
            return rows[:, :voxels]

        def count(piece, counts):
            x, y, weights = (values[piece] for values in columns)
            weighed = _splines(x, bins) * weights[:, None]
            more = ops.matmul(weighed, ops.transpose(_splines(y, bins), (0, 2, 1)))
            return counts + more

        columns = cut(x), cut(y), cut(weights)
        nothing = ops.zeros((images[0], bins, bins), x.dtype)

        def gradient(*args, upstream=None):
            change = args[0] if upstream is None else upstream

            def slopes(piece):
                x, y, weights = piece
                of_x, of_y = _splines(x, bins), _splines(y, bins)
                by_x = ops.matmul(change, of_y)  # what a voxel more in each bin of x changes
                by_y = ops.matmul(ops.transpose(change, (0, 2, 1)), of_x)
                of_weights = ops.sum(of_x * by_x, axis=1)
                return (
                    ops.sum(_spline_slopes(x, bins) * by_x, axis=1) * weights,
                    ops.sum(_spline_slopes(y, bins) * by_y, axis=1) * weights,
                    of_weights,
                )

            found: Tensor = ops.map(slopes, columns)
            return tuple(joined(values) for values in found)

        return ops.fori_loop(0, pieces, count, nothing), gradient

    return histogram


def _splines(places: Tensor, bins: int) -> Tensor:
    """The cubic B-spline about each place at each bin, [N, bins, voxels]; of sum 1 a voxel."""
    outer, inner = _within(_away(places, bins))
    return (outer * outer * outer - 4 * inner * inner * inner) / 6


def _spline_slopes(places: Tensor, bins: int) -> Tensor:
    """The derivative of `_splines` by the place."""
    away = _away(places, bins)
    outer, inner = _within(away)
    return ops.sign(away) * (2 * inner * inner - outer * outer / 2)


def _away(places: Tensor, bins: int) -> Tensor:
    return places[:, None] - ops.convert_to_tensor(np.arange(bins)[:, None], dtype=places.dtype)


def _within(away: Tensor) -> tuple[Tensor, Tensor]:
    """How far inside the distances 2 and 1 a bin lies; 0 outside."""
    far: Tensor = ops.abs(away)
    return ops.relu(2 - far), ops.relu(1 - far)
