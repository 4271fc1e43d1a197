"""Self-similarity: what a place looks like beside its surroundings, whatever the contrast."""

import itertools
from typing import Any, Literal

from keras import ops

from ganatomy.losses.arrays import as_floats, as_pair, averaged
from ganatomy.losses.windows import box_means, channels_first, channels_last

Tensor = Any
Form = Literal["ssc", "mind"]

# How far a place's noise may lie from that of the whole image, as a share and as a multiple.
_LEAST, _MOST = 1e-3, 1e3
_NOTHING = 1e-12


def mind(
    x: Tensor,
    y: Tensor,
    *,
    radius: int = 1,
    distance: int = 2,
    form: Form = "ssc",
    within: Tensor | None = None,
) -> Tensor:
    """The mean squared difference of self-similarity descriptors.

    Descriptors do not change when an image is scaled, offset or inverted, and local noise is
    divided out: the loss compares images of different modalities.

    Args:
        x: [B, *grid, C].
        y: the same.
        radius: of the patches that are compared, voxels: 1 for sides of 3.
        distance: of a neighbour from the place, voxels.
        form: "ssc", neighbours of the place with each other (12 pairs in 3D, 4 in 2D), or "mind",
            the place with its neighbours (6 and 4).
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean.

    Returns:
        [B]: 0 the same self-similarity, 1 at most.

    Raises:
        ValueError: shapes that do not fit, or another form.

    Reference: Heinrich et al. 2012, equations 2 to 4 (MIND), and 2013, section 2.1 (self-similarity
    context), with squared differences as in its Gauss-Newton steps instead of absolute ones.
    """
    x, y = as_pair(x, y)
    settings = {"radius": radius, "distance": distance, "form": form}
    return averaged(ops.square(descriptors(x, **settings) - descriptors(y, **settings)), within)


def descriptors(x: Tensor, *, radius: int = 1, distance: int = 2, form: Form = "ssc") -> Tensor:
    """How alike the patches about a place are, exp(-D / V), the most alike pair being 1.

    D is the mean squared difference of two patches, V its mean over the pairs of a place. Beyond
    the grid the image goes on as at its edge.

    Args:
        x: [B, *grid, C].
        radius: as in `mind`.
        distance: as in `mind`.
        form: as in `mind`.

    Returns:
        [B, *grid, C * pairs], in (0, 1].

    Raises:
        ValueError: as in `mind`.
    """
    if form not in ("ssc", "mind"):
        raise ValueError(f"form {form!r} is not ssc or mind")
    x = as_floats(x)
    channels, rank = x.shape[-1], len(x.shape) - 2
    x = channels_first(x)
    around = {
        (axis, sign): _shifted(x, axis, sign * distance)
        for axis in range(1, rank + 1)
        for sign in (-1, 1)
    }
    if form == "mind":
        pairs = [(x, other) for other in around.values()]
    else:
        pairs = [
            (around[a], around[b]) for a, b in itertools.combinations(around, 2) if a[0] != b[0]
        ]
    grid, axes = tuple(x.shape[1:]), tuple(range(2, rank + 2))
    squares = ops.reshape(ops.stack([ops.square(a - b) for a, b in pairs], axis=1), (-1, *grid))
    far: Tensor = ops.reshape(box_means(squares, 2 * radius + 1), (-1, len(pairs), *grid))
    noise: Tensor = ops.mean(far, axis=1, keepdims=True)
    whole: Tensor = ops.mean(noise, axis=axes, keepdims=True)
    noise = ops.minimum(ops.maximum(noise, _LEAST * whole), _MOST * whole)
    closest: Tensor = ops.min(far, axis=1, keepdims=True)
    alike = ops.exp((closest - far) / (noise + _NOTHING))
    return channels_last(ops.reshape(alike, (-1, *grid)), channels * len(pairs))


def _shifted(x: Tensor, axis: int, by: int) -> Tensor:
    """What stands `by` voxels further along an axis, or at the edge."""
    length = x.shape[axis]
    by = max(-(length - 1), min(length - 1, by))
    before = (slice(None),) * axis
    if by == 0:
        return x
    edge = x[(*before, slice(-1, None) if by > 0 else slice(0, 1))]
    beyond = ops.repeat(edge, abs(by), axis=axis)
    kept = x[(*before, slice(by, None) if by > 0 else slice(0, by))]
    return ops.concatenate([kept, beyond] if by > 0 else [beyond, kept], axis=axis)
