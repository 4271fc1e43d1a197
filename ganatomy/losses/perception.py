"""Differences as a network sees them."""

from typing import Any

import keras
from keras import ops

from ganatomy.losses.arrays import as_pair

Tensor = Any


def perceptual(x: Tensor, y: Tensor, features: keras.Model) -> Tensor:
    """The mean squared difference of a network's activations, the mean over its outputs.

    The network is never trained by this, and sees images as it does when it is used. A network of
    pictures sees volumes slice by slice along their last axis, and one of a single channel each
    channel by itself.

    Args:
        x: [B, *grid, C].
        y: the same.
        features: images -> one activation or a dict or list of them, [N, ...]; see
            `ganatomy.networks.features.feature_network`.

    Returns:
        [B]: 0 where the network sees no difference.

    Raises:
        ValueError: shapes that do not fit, also the network's.

    Reference: Johnson, Alahi, Fei-Fei 2016, equation 2.
    """
    losses = []
    for of_x, of_y in activations(x, y, features):
        difference: Tensor = of_x - of_y
        losses.append(ops.mean(ops.square(difference), axis=tuple(range(1, len(of_x.shape)))))
    return ops.mean(ops.stack(losses), axis=0)


def activations(x: Tensor, y: Tensor, features: keras.Model) -> list[tuple[Tensor, Tensor]]:
    """What a network makes of two images, by one call of it.

    Args:
        x: [B, *grid, C].
        y: the same.
        features: as in `perceptual`.

    Returns:
        The activations of x and of y for each output, [B, images, ...], the images being the
        slices and channels that the network sees one by one.

    Raises:
        ValueError: shapes that do not fit, also the network's.
    """
    x, y = as_pair(x, y)
    sizes: Any = ops.shape(x)
    seen: Tensor = ops.concatenate([_as_seen(image, features) for image in (x, y)])
    # Images in the network's own precision: what it holds is of that one.
    made = features(ops.cast(seen, features.inputs[0].dtype), training=False)
    pairs = []
    for activation in keras.tree.flatten(made):
        grid = activation.shape[1:]
        both: Tensor = ops.reshape(ops.cast(activation, x.dtype), (2, sizes[0], -1, *grid))
        pairs.append((both[0], both[1]))
    return pairs


def _as_seen(x: Tensor, features: keras.Model) -> Tensor:
    """[B, *grid, C] as the network's images, a sample's slices and channels one after the other."""
    wanted = tuple(features.input_shape)
    channels, taken = x.shape[-1], wanted[-1]
    if taken not in (channels, 1) or len(wanted) > len(x.shape):
        raise ValueError(f"a network of images {wanted} does not see {tuple(x.shape)}")
    if taken == 1 and channels > 1:
        x = ops.expand_dims(ops.moveaxis(x, -1, 1), -1)
        x = ops.reshape(x, (-1, *x.shape[2:]))
    if len(wanted) < len(x.shape):
        x = ops.moveaxis(x, -2, 1)
        x = ops.reshape(x, (-1, *x.shape[2:]))
    return x
