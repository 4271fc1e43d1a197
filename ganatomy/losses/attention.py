"""What stands out from its surroundings: a local map of saliency, and differences by it."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_floats, as_pair, averaged
from ganatomy.losses.windows import box_means, channels_first, channels_last

Tensor = Any

_NOTHING = 1e-12


def saliency(
    x: Tensor,
    y: Tensor,
    *,
    weighing: bool = False,
    shares: Sequence[int] = (2, 4, 8),
    within: Tensor | None = None,
) -> Tensor:
    """The mean squared difference of two images' saliency, or of intensities weighed by it.

    Args:
        x: [B, *grid, C].
        y: the same.
        weighing: squared differences of intensities, each times y's saliency, which is a constant
            to the gradient.
        shares: as in `saliency_map`.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean.

    Returns:
        [B]: 0 the same.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Mahapatra et al. 2017, the saliency term of the generator; the map is another one,
    see `saliency_map`.
    """
    x, y = as_pair(x, y)
    if weighing:
        seen: Tensor = ops.stop_gradient(saliency_map(y, shares=shares))
        return averaged(seen * ops.square(x - y), within)
    difference = saliency_map(x, shares=shares) - saliency_map(y, shares=shares)
    return averaged(ops.square(difference), within)


def saliency_map(x: Tensor, *, shares: Sequence[int] = (2, 4, 8)) -> Tensor:
    """How far a voxel differs from the means of boxes about it, the mean over sizes of box.

    Args:
        x: [B, *grid, C].
        shares: sides of the boxes, as parts of the grid's shortest side: 2 for a half; the next
            odd number of voxels, at least 3.

    Returns:
        [B, *grid, 1], in the intensities' unit: the root of the sum of squares over channels.

    Reference: Achanta et al. 2008, equation 1, with one voxel as the inner region; the mean over
    scales instead of the sum of equation 2.
    """
    x = as_floats(x)
    channels, shortest = x.shape[-1], min(x.shape[1:-1])
    images, maps = channels_first(x), []
    for share in shares:
        side = max(3, shortest // share | 1)
        away: Tensor = x - channels_last(box_means(images, side), channels)
        # A root has no gradient at 0.
        squares: Tensor = ops.sum(ops.square(away), axis=-1, keepdims=True)
        maps.append(ops.sqrt(squares + _NOTHING))
    return ops.mean(ops.stack(maps), axis=0)
