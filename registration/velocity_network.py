"""The network that sees a fixed and a moving image and says how one flows into the other."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ganatomy.networks.blocks import of_rank
from ganatomy.networks.unet import unet
from ganatomy.scans.resample import weights

COARSE = 2  # voxels of the image a voxel of the velocity


def coarse_grid(grid: tuple[int, ...]) -> tuple[int, ...]:
    """The grid of the velocity: half as many voxels along each axis, rounded up.

    Its voxel h is centred on `2 h + 1/2` of the image.
    """
    return tuple(-(-side // COARSE) for side in grid)


def velocity_network(
    shape: tuple[int, ...], width: int = 16, depth: int | None = None, name: str = "generator"
) -> keras.Model:
    """Pairs to a stationary velocity at half their resolution.

    A strided convolution, then a U-Net on the coarse grid, of any sides. Untrained, it says next
    to nothing moves.

    Args:
        shape: of one image, (H, W, C) or (D1, D2, D3, C), sides of 4 or more.
        width: channels on the coarse grid; they double a level.
        depth: how often the coarse grid halves; None until its shortest side is 4 to 7.

    Returns:
        pairs [B, *grid, 2 C], the fixed image's channels first, -> velocities
        [B, *coarse, rank] in voxels of the coarse grid, float32.

    Reference: Balakrishnan et al. 2019, figure 3; Dalca et al. 2018 for a velocity at half
    resolution that starts near 0.
    """
    *grid, channels = shape
    rank, coarse = len(grid), coarse_grid(tuple(grid))
    pair: Any = keras.Input((*grid, 2 * channels), name="pair")
    x = coarsened(pair, width)
    body = unet((*coarse, width), rank, width=width, depth=depth, norm=None, name="flow")
    last = body.get_layer("output")
    last.kernel.assign(last.kernel * 1e-2)
    return keras.Model(pair, body(x), name=name)


def coarsened(image: Any, width: int) -> Any:
    """A network's first layers: images [B, *grid, c] to `width` channels on their coarse grid."""
    sides = image.shape[1:-1]
    x = _even(image)
    x = of_rank("HalvingConv", len(sides))(width, kernel_initializer="he_normal", name="coarse")(x)
    return layers.LeakyReLU(negative_slope=0.2, name="coarse_out")(x)


def halved(image: Any) -> Any:
    """An image [B, *grid, c] on its coarse grid: the means of 2 voxels an axis."""
    return ops.average_pool(_even(image), COARSE, COARSE)


def _even(image: Any) -> Any:
    """An image [B, *grid, c] whose odd sides are continued by their last voxel."""
    odd = [side % COARSE for side in image.shape[1:-1]]
    if not any(odd):
        return image
    return ops.pad(image, [(0, 0), *((0, n) for n in odd), (0, 0)], mode="symmetric")


def enlarged(field: Any, grid: tuple[int, ...]) -> Any:
    """Numbers on the coarse grid, on the image's: linear between voxels, as at the edge outside.

    Args:
        field: [B, *coarse, c].
        grid: of the image.

    Returns:
        [B, *grid, c].
    """
    return interpolated(field, [(np.arange(side) - (COARSE - 1) / 2) / COARSE for side in grid])


def interpolated(field: Any, indices: Sequence[np.ndarray]) -> Any:
    """Numbers on a grid at other places along each axis: linear between, as at the edge outside.

    Args:
        field: [B, *grid, c].
        indices: an axis each, [side], in voxels of the grid.

    Returns:
        [B, *sides, c].
    """
    names = "bxyzc"[: len(indices) + 1] + "c"
    for axis, index in enumerate(indices, 1):
        rows = ops.convert_to_tensor(weights(index, field.shape[axis]), dtype=field.dtype)
        name = names[axis]
        field = ops.einsum(f"{names},n{name}->{names.replace(name, 'n')}", field, rows)
    return field
