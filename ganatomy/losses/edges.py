"""Edges of an image: weights of a difference, and what a translation should keep of its scan."""

from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_floats, as_pair, as_weights, averaged
from ganatomy.losses.pointwise import l1

Tensor = Any

# Under the root: where an image is flat its gradient's length has no gradient.
_NOTHING = 1e-12


def edge_strength(x: Tensor) -> Tensor:
    """The length of the gradient over all axes and channels, a voxel.

    Slopes are central differences, at the borders one-sided ones of half the weight: beyond the
    grid the image goes on as at its edge.

    Args:
        x: [B, *grid, C].

    Returns:
        [B, *grid, 1].
    """
    x = as_floats(x)
    slopes = ops.concatenate(central_slopes(x), axis=-1)
    squares: Tensor = ops.sum(ops.square(slopes), axis=-1, keepdims=True)
    return ops.sqrt(squares + _NOTHING)


def central_slopes(x: Tensor) -> list[Tensor]:
    """Half the difference of the two neighbours along each axis of the grid, as arrays like x."""
    found = []
    for axis in range(1, len(x.shape) - 1):
        before = (slice(None),) * axis
        first, last = x[(*before, slice(None, 1))], x[(*before, slice(-1, None))]
        wide: Tensor = ops.concatenate([first, x, last], axis=axis)
        difference = wide[(*before, slice(2, None))] - wide[(*before, slice(None, -2))]
        found.append(difference / 2)
    return found


def edge(x: Tensor, y: Tensor, *, within: Tensor | None = None) -> Tensor:
    """The absolute difference where the second image has edges, weighed by how steep these are.

    Weights have a sum of 1 in an image, so the loss does not depend on its contrast or on how many
    edges there are.

    Args:
        x: [B, *grid, C].
        y: the same; its edges are constants to the gradient.
        within: [B, *grid] or [B, *grid, 1], further weights.

    Returns:
        [B]: 0 the same at all edges; in the intensities' unit. Where y has no edge at all every
        place weighs the same, which is `l1`.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Yi, Walia, Babyn 2019, the edge loss of table 2; Bentaieb and Hamarneh 2018, who
    weigh by edges of the image that is normalised.
    """
    x, y = as_pair(x, y)
    steep: Tensor = ops.stop_gradient(edge_strength(y))
    if within is not None:
        steep = steep * as_weights(within, x)
    return l1(x, y, within=steep)


def gradient_consistency(x: Tensor, y: Tensor, *, signed: bool = False) -> Tensor:
    """One minus the correlation of slopes over the whole image, for two contrasts of one anatomy.

    It compares what was made with what it was made from, and needs no pair.

    Args:
        x: [B, *grid, C].
        y: [B, *grid, C'], of any number of channels unless `signed`.
        signed: slopes along each axis with their signs, the mean over axes and channels; for two
            images whose contrasts go the same way. Otherwise edge strengths, whichever way they go.

    Returns:
        [B]: 0 edges in the same places and proportions, 1 unrelated (or an image without edges),
        2 opposite.

    Raises:
        ValueError: grids that do not fit.

    Reference: Hiasa et al. 2018, the gradient correlation, whose formula is the signed form; their
    code takes the absolute slope along each axis. The strength's is that of the review of Yi et al.
    2019.
    """
    x, y = as_floats(x), as_floats(y)
    if signed:
        x, y = as_pair(x, y)
        slopes = zip(central_slopes(x), central_slopes(y), strict=True)
        correlations = [_correlation(a, b) for a, b in slopes]
        return ops.subtract(1, ops.mean(ops.concatenate(correlations, axis=-1), axis=-1))
    of_x, of_y = as_pair(edge_strength(x), edge_strength(y))
    return ops.subtract(1, ops.mean(_correlation(of_x, of_y), axis=-1))


def regulation(x: Tensor, y: Tensor) -> Tensor:
    """How far the means of rows and columns differ: their mean absolute difference, over all axes.

    In two dimensions the profiles are the means of rows and of columns, in three the images of
    means along each axis.

    Args:
        x: [B, *grid, C].
        y: the same; what x was made from, no pair is needed.

    Returns:
        [B]: 0 the same means; in the intensities' unit.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Yi, Walia, Babyn 2019, the regulation loss of table 2, which names no norm: the
    absolute one is taken here.
    """
    x, y = as_pair(x, y)
    difference: Tensor = x - y
    axes = range(1, len(x.shape) - 1)
    return sum(averaged(ops.abs(ops.mean(difference, axis=a, keepdims=True))) for a in axes)


def _correlation(x: Tensor, y: Tensor) -> Tensor:
    """Pearson's, a channel, [B, C]; 0 where an image is flat."""
    axes = tuple(range(1, len(x.shape) - 1))
    x, y = (ops.subtract(v, ops.mean(v, axis=axes, keepdims=True)) for v in (x, y))
    xx, yy, xy = (ops.mean(ops.multiply(*two), axis=axes) for two in ((x, x), (y, y), (x, y)))
    variances: Tensor = ops.multiply(xx, yy)
    return ops.divide(xy, ops.sqrt(variances + _NOTHING))
