"""The U-Net: an image to an image of the same grid, fine detail handed across."""

from typing import Any

import keras
from keras import layers, ops

from ganatomy.networks.blocks import normalise, of_rank

WIDEST = 8
# A side halves until it is shorter than this.
SHORTEST = 8


def unet(
    shape: tuple[int, ...],
    channels: int = 1,
    width: int = 32,
    depth: int | None = None,
    norm: str | None = "batch",
    activation: str | None = None,
    name: str = "unet",
) -> keras.Model:
    """Images to images of the same grid.

    Two convolutions a level; a grid halves by the mean over two neighbours an axis and doubles by
    up-sampling and convolution. Sides that do not halve so often are continued by their mirror
    image inside the network and cut again. The activations of every level are layers named
    "down_1" (at the image's grid), "down_2", ..., "bottom", ..., "up_2", "up_1".

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample, sides of any length from 2.
        channels: of the output.
        width: channels at the finest grid; they double a level, up to 8 times.
        depth: how often the grid halves; None until the shortest side is 4 to 7 (or was shorter).
        norm: "batch", "layer", "instance" or None.
        activation: of the output; None gives logits.

    Returns:
        images [B, *shape] -> [B, *grid, channels], float32.

    Raises:
        ValueError: a grid that is too small for the depth, or a shape of another rank.

    Reference: Ronneberger, Fischer, Brox 2015, figure 1; Çiçek et al. 2016 for volumes.
    """
    shape = tuple(shape)
    if len(shape) not in (3, 4) or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(f"a shape is (H, W, C) or (D1, D2, D3, C) in whole numbers, not {shape}")
    sides = shape[:-1]
    if depth is None:
        depth = max(0, (min(sides) // (SHORTEST // 2)).bit_length() - 1)
    if min(sides) < max(2, 2**depth):
        raise ValueError(f"{depth} halvings need sides of {max(2, 2**depth)} or more, not {sides}")
    rank, factor = len(sides), 2**depth
    conv, pool = of_rank("Conv", rank), of_rank("AveragePooling", rank)

    def level(x: Any, count: int, label: str) -> Any:
        for part in ("a", "b"):
            x = conv(
                count,
                3,
                padding="same",
                use_bias=norm is None,
                kernel_initializer="he_normal",
                name=f"{label}_conv_{part}",
            )(x)
            x = normalise(x, norm, f"{label}_norm_{part}")
            x = layers.ReLU(name=label if part == "b" else f"{label}_relu")(x)
        return x

    image = keras.Input(shape, name="image")
    missing = [-side % factor for side in sides]
    x = image
    if any(missing):
        pads = [(n // 2, n - n // 2) for n in missing]
        x = ops.pad(x, [(0, 0), *pads, (0, 0)], mode="symmetric")
    widths = [width * min(WIDEST, 2**i) for i in range(depth + 1)]
    skips = []
    for i in range(depth):
        x = level(x, widths[i], f"down_{i + 1}")
        skips.append(x)
        x = pool(2, name=f"pool_{i + 1}")(x)
    x = level(x, widths[depth], "bottom")
    for i in reversed(range(depth)):
        x = of_rank("UpsampledConv", rank)(
            widths[i], use_bias=norm is None, kernel_initializer="he_normal", name=f"rise_{i + 1}"
        )(x)
        x = layers.ReLU(name=f"rise_{i + 1}_relu")(normalise(x, norm, f"rise_{i + 1}_norm"))
        x = layers.Concatenate(name=f"join_{i + 1}")([skips[i], x])
        x = level(x, widths[i], f"up_{i + 1}")
    made = conv(channels, 1, activation=activation, dtype="float32", name="output")(x)
    if any(missing):
        cut = tuple(slice(n // 2, n // 2 + side) for n, side in zip(missing, sides, strict=True))
        made = made[(slice(None), *cut)]
    return keras.Model(image, made, name=name)
