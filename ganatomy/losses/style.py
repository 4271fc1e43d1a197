"""Style: how a network's activations go together, wherever they are."""

import math
from typing import Any

import keras
from keras import ops

from ganatomy.losses.perception import activations

Tensor = Any


def style_content(
    x: Tensor, y: Tensor, features: keras.Model, *, style: float = 1.0, content: float = 1.0
) -> Tensor:
    """Differences of activations and of their Gram matrices, the mean over the network's outputs.

    An output of d channels gives a Gram matrix [d, d], the products of channels averaged over
    places and divided by d; its part of the style is the squared difference over 4 d², summed. Its
    part of the content is the mean squared difference, as in `perceptual`.

    Args:
        x: [B, *grid, C].
        y: the same.
        features: as in `perceptual`; of volumes each slice has its own style.
        style: weight of the style; not computed at 0.
        content: weight of the content; not computed at 0.

    Returns:
        [B]: 0 where the network sees no difference.

    Raises:
        ValueError: shapes that do not fit, outputs that have no grid, or both weights 0.

    Reference: Gatys, Ecker, Bethge 2016, equations 3 and 4; Armanious et al. 2018 (MedGAN),
    section 3.3, with weights of 1 for every output.
    """
    if not (style or content):
        raise ValueError("style or content needs a weight: both are 0")
    losses = []
    for of_x, of_y in activations(x, y, features):
        loss = 0.0
        if style:
            change = ops.square(gram(of_x) - gram(of_y))
            squares: Tensor = ops.mean(ops.sum(change, axis=(-2, -1)), axis=1)
            loss = loss + style / (4 * of_x.shape[-1] ** 2) * squares
        if content:
            difference = ops.square(of_x - of_y)
            mean: Tensor = ops.mean(difference, axis=tuple(range(1, len(of_x.shape))))
            loss = loss + content * mean
        losses.append(loss)
    return ops.mean(ops.stack(losses), axis=0)


def gram(activation: Tensor) -> Tensor:
    """Products of channels, summed over places and divided by places and channels.

    Args:
        activation: [B, images, *grid, d].

    Returns:
        [B, images, d, d].

    Raises:
        ValueError: an activation without a grid.
    """
    if len(activation.shape) < 4:
        raise ValueError("style needs activations [N, *grid, channels], not single vectors")
    places, channels = math.prod(activation.shape[2:-1]), activation.shape[-1]
    sizes: Any = ops.shape(activation)
    flat: Tensor = ops.reshape(activation, (sizes[0], sizes[1], places, channels))
    products = ops.matmul(ops.transpose(flat, (0, 1, 3, 2)), flat)
    return ops.divide(products, places * channels)
