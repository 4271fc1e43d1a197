"""The U-Net of pix2pix: strided convolutions down and up again, every level handed across."""

import math
from typing import Any

import keras
from keras import layers

from ganatomy.networks.blocks import normalise, of_rank
from ganatomy.networks.grid import halvable

WIDEST = 8
DROPPED = 3  # how many of the inner levels have dropout, as published


def rises(rank: int, up: str | None) -> str:
    """The kind of layer that doubles a grid.

    Args:
        up: "transposed", "resize" (nearest up-sampling and a convolution, which leaves no
            checkerboard), or None for the first in 2D and the second in 3D.
    """
    kinds = {"transposed": "DoublingConv", "resize": "UpsampledConv"}
    wanted = up or ("transposed" if rank == 2 else "resize")
    if wanted not in kinds:
        raise ValueError(f"up is one of {', '.join(kinds)}, not {up!r}")
    return kinds[wanted]


def unet_generator(
    shape: tuple[int, ...],
    channels: int = 1,
    width: int = 64,
    depth: int | None = None,
    norm: str | None = "instance",
    up: str | None = None,
    dropout: float = 0.0,
    name: str = "generator",
) -> keras.Model:
    """Images to images of the same grid, in [-1, 1].

    Every level halves the grid; sides that do not halve so often are continued by their mirror
    image inside. The first level and the innermost one are not normalised on their way down: one
    has the image's own scale, the other may be a single voxel, whose variance is 0.

    With `dropout` the network has a second input, `kept` [B, n], the factor of every activation of
    the up to three innermost levels on their way up: 0 or 1 / (1 - dropout) in training, 1 where
    nothing is left out. What is random comes with the batch, never from inside a network.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample, sides of any length from 4.
        channels: of the output.
        width: channels at the finest hidden grid; they double a level, up to 8 times.
        depth: how often the grid halves; None until the shortest side is 2 or 3. As published 256
            voxels halve 8 times, to one.
        norm: "batch" as published, "layer", "instance", "bare" or None.
        up: see `rises`; "transposed" as published.
        dropout: the share of activations that is left out; 0.5 as published.

    Returns:
        images [B, *shape], or [images, kept] -> [B, *grid, channels], float32.

    Raises:
        ValueError: a grid that is too small for the depth, or an unknown setting.

    Reference: Isola et al. 2017, section 3.2.1 and appendix.
    """
    sides = tuple(shape[:-1])
    rank = len(sides)
    if depth is None:
        depth = max(1, min(sides).bit_length() - 2)
    if min(sides) < 2**depth:
        raise ValueError(f"{depth} halvings need sides of {2**depth} or more, not {sides}")
    halving, doubling = of_rank("HalvingConv", rank), of_rank(rises(rank, up), rank)
    normal = keras.initializers.RandomNormal(stddev=0.02)
    widths = [width * min(WIDEST, 2**i) for i in range(depth)]

    image = keras.Input(shape, name="image")
    x, cut = halvable(image, 2**depth)
    coarsest = [side >> depth for side in x.shape[1:-1]]
    inner = range(depth - 2, max(-1, depth - 2 - DROPPED), -1) if dropout else range(0)
    # Grids of the dropped levels, on their way up: level i ends at the grid of level i down.
    grids = {i: (*(n << (depth - 1 - i) for n in coarsest), widths[i]) for i in inner}
    kept = keras.Input((sum(map(math.prod, grids.values())),), name="kept") if grids else None

    skips: list[Any] = []
    for i in range(depth):
        own = norm if 0 < i < depth - 1 else None
        if i:
            x = layers.LeakyReLU(negative_slope=0.2, name=f"down_{i + 1}_in")(x)
        x = halving(
            widths[i], use_bias=own is None, kernel_initializer=normal, name=f"down_{i + 1}_conv"
        )(x)
        x = normalise(x, own, f"down_{i + 1}")
        skips.append(x)
    taken = 0
    for i in reversed(range(depth - 1)):
        x = layers.ReLU(name=f"up_{i + 2}_in")(x)
        x = doubling(
            widths[i], use_bias=norm is None, kernel_initializer=normal, name=f"up_{i + 2}_conv"
        )(x)
        x = normalise(x, norm, f"up_{i + 2}")
        if i in grids:
            count = math.prod(grids[i])
            factors: Any = layers.Reshape(grids[i], name=f"up_{i + 2}_kept")(
                kept[:, taken : taken + count]  # pyright: ignore
            )
            x = layers.Multiply(name=f"up_{i + 2}_dropped")([x, factors])
            taken += count
        x = layers.Concatenate(name=f"up_{i + 2}_join")([x, skips[i]])
    x = layers.ReLU(name="up_1_in")(x)
    made = doubling(
        channels, activation="tanh", kernel_initializer=normal, dtype="float32", name="up_1"
    )(x)
    return keras.Model([image, kept] if grids else image, cut(made), name=name)
