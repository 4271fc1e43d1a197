"""The discriminator of registration: whether a fixed and a moved image belong on each other."""

from typing import Any

import keras
from keras import layers, ops

from ganatomy.networks.blocks import spectral as divided
from ganatomy.networks.family import family
from ganatomy.networks.grid import pyramid

SMALLEST = 8  # the least side that a critic halves


def pair_critic(
    shape: tuple[int, ...],
    width: int = 16,
    network: str = "dcgan",
    norm: str | None = None,
    spectral: bool = False,
    inputs: int | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """Pairs to a logit: the fixed image's channels, then the moved image's.

    Sides of any length from 3: those that do not halve often enough are continued by their mirror
    image inside the network.

    Args:
        shape: of one image, (H, W, C) or (D1, D2, D3, C).
        width: channels of the first block; they double a block, up to 8 times.
        network: "dcgan" or "residual", the trunk of that critic.
        norm: None or "layer" under a gradient penalty.
        spectral: divide every kernel by its largest singular value.
        inputs: channels of what is judged, where that is no pair; None for 2 C.

    Returns:
        pairs [B, *grid, 2 C] -> logits [B], float32.

    Reference: Yan et al. 2018 (AIR-net), the metric network.
    """
    *sides, channels = shape
    pair: Any = keras.Input((*sides, inputs or 2 * channels), name="pair")
    x = pair
    missing = [whole - side for whole, side in zip(_whole(sides), sides, strict=True)]
    if any(missing):
        pads = [(n // 2, n - n // 2) for n in missing]
        x = ops.pad(x, [(0, 0), *pads, (0, 0)], mode="symmetric")
    x = family(network).trunk(x, width, norm, spectral)[-1]
    dense = layers.Dense(1, dtype="float32", name="dense")
    logit = ops.squeeze(divided(dense, spectral)(layers.Flatten(name="flat")(x)), -1)
    return keras.Model(pair, logit, name=name)


def _whole(sides: list[int]) -> list[int]:
    """The least sides not below these that a critic can halve."""
    sides = [max(side, SMALLEST) for side in sides]
    while True:
        # Longer sides may halve once more.
        factor = 2 ** ((min(sides) // 4).bit_length() - 1)
        longer = [-(-side // factor) * factor for side in sides]
        if longer == sides:
            pyramid((*sides, 1))
            return sides
        sides = longer
