"""The network that finds labels in an image, so that registration without labels knows shapes."""

from typing import Any

import keras
from keras import ops

from ganatomy.networks import unet

Tensor = Any
DEPTH = 3  # how often its grid halves, where sides allow


def segmentor(shape: tuple[int, ...], labels: int, width: int) -> keras.Model:
    """Images to logits of labels, the background first.

    Args:
        shape: of a sample, (*size, channels).
        labels: how many beside the background.
        width: channels at the image's grid.

    Returns:
        images [B, *shape] -> [B, *size, labels + 1], float32.
    """
    fits = max(0, min(shape[:-1]).bit_length() - 2)
    depth = min(DEPTH, fits)
    return unet(shape, labels + 1, width, depth, norm="instance", name="segmentor")


def chances(network: Any, image: Tensor) -> Tensor:
    """How likely each label is at each voxel, the background left out, [B, *size, labels]."""
    return ops.softmax(network(image, training=False), axis=-1)[..., 1:]


def marked(image: Tensor, chances: Tensor) -> Tensor:
    """An image [B, *size, C] and its chances as channels in [-1, 1], [B, *size, C + labels].

    -1 is then what stands outside of either: dark, and of no label.
    """
    return ops.concatenate([image, 2.0 * chances - 1.0], axis=-1)
