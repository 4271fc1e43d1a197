"""Structural similarity."""

import functools
from typing import Any

import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter1d

from ganatomy.losses.arrays import as_pair, averaged
from ganatomy.losses.windows import along_axes, channels_first, channels_last

Tensor = Any


def ssim(
    x: Tensor,
    y: Tensor,
    *,
    intensity_range: float = 2.0,
    sigma: float = 1.5,
    within: Tensor | None = None,
) -> Tensor:
    """One minus the mean structural similarity, in 2D or 3D.

    Windows are Gaussians cut at 3.5 sigma, mirrored at the borders; the mean goes over all voxels.
    The map is that of scikit-image's `structural_similarity(gaussian_weights=True,
    use_sample_covariance=False, full=True)`, whose own mean leaves out the borders.

    Args:
        x: [B, *grid, C].
        y: the same.
        intensity_range: from the lowest to the highest intensity there can be: 2 for images in
            [-1, 1].
        sigma: of the Gaussian, voxels.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels in the mean.

    Returns:
        [B]: 0 the same, about 1 unrelated, up to 2.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Wang et al. 2004, equation 13, K1 = 0.01 and K2 = 0.03.
    """
    x, y = as_pair(x, y)
    channels, axes = x.shape[-1], tuple(range(1, len(x.shape) - 1))
    x, y = channels_first(x), channels_first(y)
    whole_x: Tensor = ops.mean(x, axis=axes, keepdims=True)
    whole_y: Tensor = ops.mean(y, axis=axes, keepdims=True)
    # Variances of what is centred: a difference of large squares loses digits.
    x, y = x - whole_x, y - whole_y
    grid = tuple(x.shape[1:])
    products = ops.reshape(ops.stack([x, y, x * x, y * y, x * y]), (-1, *grid))
    means: Tensor = ops.reshape(along_axes(products, _gaussian(sigma)), (5, -1, *grid))
    mean_x, mean_y, xx, yy, xy = (means[i] for i in range(5))
    c1, c2 = (0.01 * intensity_range) ** 2, (0.03 * intensity_range) ** 2
    structure = (2 * (xy - mean_x * mean_y) + c2) / (
        xx - mean_x * mean_x + yy - mean_y * mean_y + c2
    )
    mean_x, mean_y = mean_x + whole_x, mean_y + whole_y
    light = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return 1 - averaged(channels_last(light * structure, channels), within)


@functools.cache
def _gaussian(sigma: float):
    @functools.cache
    def matrix(length: int) -> np.ndarray:
        return gaussian_filter1d(np.eye(length), sigma, axis=0, truncate=3.5)

    return matrix
