"""Networks from an image to an image of one grid, by name: what `generator: unet` stands for."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from ganatomy.networks.block_generator import block_generator
from ganatomy.networks.spade_generator import spade_generator
from ganatomy.networks.unet_generator import unet_generator

GENERATORS: dict[str, Callable[..., keras.Model]] = {
    "unet": unet_generator,
    "resnet": partial(block_generator, block="residual"),
    "dense": partial(block_generator, block="dense"),
    "spade": spade_generator,
}


def image_generator(
    kind: str,
    shape: tuple[int, ...],
    channels: int,
    width: int,
    name: str = "generator",
    **settings: Any,
) -> keras.Model:
    """Images to images of the same grid, in [-1, 1].

    Args:
        kind: "unet" (Isola et al. 2017), "resnet" (Zhu et al. 2017), "dense" or "spade" (Park et
            al. 2019, for maps of labels).
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        channels: of the output.
        width: channels at the finest grid.
        **settings: the network's own, see `unet_generator`, `block_generator` and
            `spade_generator`.

    Returns:
        images [B, *shape] -> [B, *grid, channels], float32.

    Raises:
        ValueError: an unknown kind, or settings that it does not take.
    """
    if kind not in GENERATORS:
        raise ValueError(f"generator is one of {', '.join(GENERATORS)}, not {kind!r}")
    return GENERATORS[kind](shape, channels, width, name=name, **settings)
