"""CycleGAN's generator: down to a quarter of the grid, a chain of blocks there, and up again."""

from typing import Any

import keras
from keras import layers

from ganatomy.networks.blocks import normalise, of_rank
from ganatomy.networks.grid import halvable, reflected
from ganatomy.networks.unet_generator import rises

HALVINGS = 2
GROWTH = 4  # layers of a dense block, each of a quarter of the chain's channels


def block_generator(
    shape: tuple[int, ...],
    channels: int = 1,
    width: int = 64,
    blocks: int = 9,
    block: str = "residual",
    norm: str | None = "bare",
    up: str | None = None,
    name: str = "generator",
) -> keras.Model:
    """Images to images of the same grid, in [-1, 1].

    A convolution of kernel 7, two of stride 2, the blocks, two that double the grid and one of
    kernel 7. Every convolution of stride 1 sees the image continued by its mirror image, as are
    sides that do not halve twice.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample, sides of 6 or more.
        channels: of the output.
        width: channels at the image's grid; 4 times as many at the blocks'.
        blocks: how many; 9 as published for 256 voxels, 6 for 128.
        block: "residual" (He et al. 2016, without the last activation) or "dense" (Huang et al.
            2017: four layers that each see all before them, and a convolution of kernel 1 back to
            the chain's channels).
        norm: "bare" as published: over the grid of a sample, without gain and offset; or another of
            `ganatomy.networks.blocks.NORMS`.
        up: "transposed" (of kernel 4, where the published one has 3), "resize", or None for the
            first in 2D, the second in 3D.

    Returns:
        images [B, *shape] -> [B, *grid, channels], float32.

    Raises:
        ValueError: a grid too small, or an unknown block.

    Reference: Zhu et al. 2017, appendix 7.2; Johnson et al. 2016.
    """
    sides = tuple(shape[:-1])
    if min(sides) < 6:
        raise ValueError(f"sides have to be 6 or more, not {sides}")
    image = keras.Input(shape, name="image")
    x, cut = halvable(image, 2**HALVINGS)
    x = descend(x, width, norm)
    for i in range(1, blocks + 1):
        x = chain_block(x, block, norm, f"block_{i}")
    return keras.Model(image, cut(ascend(x, channels, width, norm, up)), name=name)


def descend(x: Any, width: int, norm: str | None, halvings: int = HALVINGS) -> Any:
    """From an image to the blocks' grid: `width` channels, doubled at every halving."""
    rank = len(x.shape) - 2
    x = _activated(_mirrored_conv(x, width, 7, norm, "image_conv"), norm, "image")
    for i in range(1, halvings + 1):
        x = _halved(rank, width * 2**i, norm, f"down_{i}_conv")(x)
        x = _activated(x, norm, f"down_{i}")
    return x


def ascend(
    x: Any, channels: int, width: int, norm: str | None, up: str | None, halvings: int = HALVINGS
) -> Any:
    """From the blocks' grid to an image in [-1, 1], float32."""
    rank = len(x.shape) - 2
    doubling = of_rank(rises(rank, up), rank)
    for i in reversed(range(halvings)):
        x = doubling(
            width * 2**i,
            use_bias=norm is None,
            kernel_initializer=_normal(),
            name=f"up_{i + 1}_conv",
        )(x)
        x = _activated(x, norm, f"up_{i + 1}")
    return of_rank("Conv", rank)(
        channels,
        7,
        padding="valid",
        activation="tanh",
        kernel_initializer=_normal(),
        dtype="float32",
        name="made",
    )(reflected(x, 3))


def chain_block(x: Any, block: str, norm: str | None, name: str) -> Any:
    """A block of the chain, residual or dense: the same grid and channels come out.

    Raises:
        ValueError: an unknown block.
    """
    channels = x.shape[-1]
    if block == "residual":
        inner = _mirrored_conv(x, channels, 3, norm, f"{name}_conv_1")
        inner = _activated(inner, norm, f"{name}_1")
        inner = _mirrored_conv(inner, channels, 3, norm, f"{name}_conv_2")
        return layers.Add(name=name)([x, normalise(inner, norm, f"{name}_norm_2")])
    if block == "dense":
        for i in range(1, GROWTH + 1):
            inner = _mirrored_conv(x, channels // GROWTH, 3, norm, f"{name}_conv_{i}")
            inner = _activated(inner, norm, f"{name}_{i}")
            x = layers.Concatenate(name=f"{name}_join_{i}")([x, inner])
        x = _mirrored_conv(x, channels, 1, norm, f"{name}_conv")
        return _activated(x, norm, name)
    raise ValueError(f"block is residual or dense, not {block!r}")


def _normal() -> Any:
    return keras.initializers.RandomNormal(stddev=0.02)


def _activated(x: Any, norm: str | None, name: str) -> Any:
    return layers.ReLU(name=f"{name}_out")(normalise(x, norm, f"{name}_norm"))


def _mirrored_conv(x: Any, channels: int, kernel: int, norm: str | None, name: str) -> Any:
    conv = of_rank("Conv", len(x.shape) - 2)(
        channels,
        kernel,
        padding="valid",
        use_bias=norm is None,
        kernel_initializer=_normal(),
        name=name,
    )
    return conv(reflected(x, kernel // 2) if kernel > 1 else x)


def _halved(rank: int, channels: int, norm: str | None, name: str) -> Any:
    settings = {"use_bias": norm is None, "kernel_initializer": _normal(), "name": name}
    if rank == 3:
        return of_rank("StridedConv", 3)(channels, **settings)
    return layers.Conv2D(channels, 3, strides=2, padding="same", **settings)
