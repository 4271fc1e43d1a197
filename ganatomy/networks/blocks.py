"""What every network here is built from: one name for two and three dimensions."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from ganatomy import layers as ours

EPSILON = 1e-5
NORMS = ("batch", "layer", "instance", "bare", None)


def normalise(x: Any, norm: str | None, name: str) -> Any:
    """`x` normalised.

    Args:
        norm: "batch" (statistics of the global batch), "layer" (over the grid and all channels of a
            sample, gain and offset a channel, as Gulrajani et al. 2017 do it), "instance" (over the
            grid of a sample), "bare" (the same without gain and offset), or None.
    """
    if norm is None:
        return x
    if norm == "batch":
        return layers.BatchNormalization(
            synchronized=True, momentum=0.9, epsilon=EPSILON, name=name
        )(x)
    if norm in ("layer", "instance"):
        groups = 1 if norm == "layer" else -1
        return layers.GroupNormalization(groups=groups, epsilon=EPSILON, name=name)(x)
    if norm == "bare":
        return ours.InstanceNormalization(EPSILON, name=name)(x)
    raise ValueError(f"norm is one of {NORMS}, not {norm!r}")


def of_rank(kind: str, rank: int) -> Callable[..., Any]:
    """The layer of that kind for two or three dimensions, ours or Keras': "Conv", ..."""
    name = f"{kind}{rank}D"
    return getattr(ours, name, None) or getattr(layers, name)


def spectral(layer: keras.layers.Layer, wanted: bool) -> keras.layers.Layer:
    """The layer, under spectral normalisation where that is wanted."""
    return ours.SpectralNormalization(layer, name=f"{layer.name}_sn") if wanted else layer


def feature_map(inputs: Any, blocks: list[Any], flat: Any, features: str | int) -> Any:
    """The activations that `features` names, in float32 whatever the policy.

    Args:
        inputs: of the network.
        blocks: activations of the blocks, from the image's side.
        flat: the flattened input of the last dense layer.
        features: "last" for `flat`, a block's number, counted from 1, or the name of a layer.

    Raises:
        ValueError: there is no such block or layer.
    """
    if features == "last":
        chosen = flat
    elif isinstance(features, int) and 1 <= features <= len(blocks):
        chosen = blocks[features - 1]
    else:
        named = {layer.name: layer.output for layer in keras.Model(inputs, flat).layers}
        if features not in named:
            raise ValueError(
                f'features is "last", a block from 1 to {len(blocks)} or the name of a layer, '
                f"not {features!r}"
            )
        chosen = named[str(features)]
    return layers.Activation("linear", dtype="float32", name="features")(chosen)


def critic_model(
    image: Any,
    blocks: list[Any],
    features: str | int,
    initializer: Any,
    spectral_norm: bool,
    name: str,
) -> keras.Model:
    """A critic from its blocks: outputs "logit" [B] and "features"."""
    flat = layers.Flatten(name="flat")(blocks[-1])
    dense = layers.Dense(1, kernel_initializer=initializer, dtype="float32", name="dense")
    logit = ops.squeeze(spectral(dense, spectral_norm)(flat), -1)
    return keras.Model(
        image, {"logit": logit, "features": feature_map(image, blocks, flat, features)}, name=name
    )
