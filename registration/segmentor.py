"""The network that finds labels in an image, so that registration without labels knows shapes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from ganatomy import losses
from ganatomy.networks.blocks import of_rank
from ganatomy.networks.unet import unet
from registration.velocity_network import COARSE, coarse_grid, coarsened

Tensor = Any


def segmentor(shape: tuple[int, ...], labels: int, width: int) -> keras.Model:
    """Images to logits of labels, the background first.

    A strided convolution, a U-Net on the grid of half the resolution, and a convolution back onto
    the image's grid: what it needs to know of finer detail it has as channels.

    Args:
        shape: of a sample, (*size, channels).
        labels: how many beside the background.
        width: channels on the coarse grid.

    Returns:
        images [B, *shape] -> [B, *size, labels + 1], float32.
    """
    *grid, _ = shape
    rank, coarse = len(grid), coarse_grid(tuple(grid))
    image: Any = keras.Input(shape, name="image")
    x = unet((*coarse, width), channels=width, width=width, norm="instance", name="body")(
        coarsened(image, width)
    )
    x = layers.LeakyReLU(negative_slope=0.2, name="body_out")(x)
    rise = of_rank("UpsampledConv", rank)
    made = rise(labels + 1, dtype="float32", name="logits")(x)
    whole = (slice(None), *(slice(side) for side in grid))
    if any(side % COARSE for side in grid):
        made = made[whole]
    return keras.Model(image, made, name="segmentor")


def missed(network: Any, images: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Any]:
    """Terms of a segmentor that learns, by name: functions of no arguments that give [B].

    Args:
        network: the segmentor.
        images: each [B, *size, C].
        labels: of each, [B, *size, 1], whole numbers.
    """
    answers = [network(image, training=True) for image in images]

    def term(form: Any) -> Tensor:
        pairs = zip(answers, labels, strict=True)
        return sum(losses.shape(logits, truth, form=form) for logits, truth in pairs) / len(answers)

    return {"cross_entropy": lambda: term("cross_entropy"), "dice": lambda: term("dice")}


def chances(network: Any, image: Tensor) -> Tensor:
    """How likely each label is at each voxel, the background left out, [B, *size, labels]."""
    found: Tensor = ops.softmax(network(image, training=False), axis=-1)
    return found[..., 1:]


def marked(image: Tensor, chances: Tensor) -> Tensor:
    """An image [B, *size, C] and its chances as channels in [-1, 1], [B, *size, C + labels].

    -1 is then what stands outside of either: dark, and of no label.
    """
    return ops.concatenate([image, 2.0 * chances - 1.0], axis=-1)


def unmarked(seen: Tensor, channels: int) -> Tensor:
    """The chances that `marked` laid beside an image of so many channels, [B, *size, labels]."""
    return (seen[..., channels:] + 1.0) / 2.0
