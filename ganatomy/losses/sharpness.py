"""Sharpness: where an image is in focus, and the difference of two as a network sees it."""

from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.ndimage import uniform_filter

from ganatomy.losses.perception import activations

Tensor = Any

# The neighbours of a pixel, going round it.
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


def sharpness(x: Tensor, y: Tensor, network: keras.Model) -> Tensor:
    """The mean squared difference of two images' maps of sharpness.

    Args:
        x: [B, *grid, C].
        y: the same, aligned.
        network: S, pictures [N, H, W, 1] -> maps [N, H, W, 1], trained on `sharpness_map` and
            frozen: `ganatomy.networks.sharpness.sharpness_network` of the shipped `WEIGHTS`. Of
            volumes it sees slices along the last axis, and each channel by itself.

    Returns:
        [B]: 0 as sharp everywhere.

    Raises:
        ValueError: shapes that do not fit, or a network of more than one output.

    Reference: Yi and Babyn 2018, the sharpness term of equation 6.
    """
    maps = activations(x, y, network)
    if len(maps) != 1:
        raise ValueError(f"a network of sharpness has one output, not {len(maps)}")
    of_x, of_y = maps[0]
    return ops.mean(ops.square(of_x - of_y), axis=tuple(range(1, len(of_x.shape))))


def sharpness_map(picture, window: int = 21, threshold: float = 0.032) -> np.ndarray:
    """The share of pixels in a window whose surroundings are those of something in focus.

    A neighbour counts where it differs by the threshold; a pixel is sharp where at least 6 of its 8
    neighbours count, or where those that do are not all next to each other. This has no gradient:
    it is what a network learns to foretell.

    Args:
        picture: [H, W], in [-1, 1].
        window: pixels a side, odd; beyond the borders the picture is mirrored.
        threshold: in the intensities' unit; 0.016 of the whole scale by default.

    Returns:
        [H, W], 0 to 1.

    Raises:
        ValueError: an array that is not a picture.

    Reference: Yi and Eramian 2016, equations 4 and 5; the neighbours are those of the grid instead
    of a circle's.
    """
    picture = np.asarray(picture, np.float64)
    if picture.ndim != 2:
        raise ValueError(f"a map of sharpness is of a picture [H, W], not {picture.shape}")
    wide = np.pad(picture, 1, mode="reflect")
    rows, columns = picture.shape
    differs = np.stack(
        [
            np.abs(wide[1 + i : 1 + i + rows, 1 + j : 1 + j + columns] - picture) >= threshold
            for i, j in _AROUND
        ]
    )
    count = differs.sum(0)
    changes = (differs != np.roll(differs, 1, axis=0)).sum(0)
    sharp = (count >= 6) | (changes > 2)
    return uniform_filter(sharp.astype(np.float64), window, mode="reflect")
