"""The network of the sharpness loss: where a picture is in focus, with a gradient."""

from pathlib import Path

import keras
from keras import layers

from ganatomy.errors import WrongUse


def sharpness_network(weights: str | Path | None = None, width: int = 16) -> keras.Model:
    """Convolutions of growing reach, 31 pixels in all, that foretell `losses.sharpness_map`.

    Its weights are trained by `python -m benchmarks.sharpness_network`.

    Args:
        weights: a file of trained ones, and the network is frozen; None for one to be trained.
        width: channels of every layer.

    Returns:
        pictures [B, H, W, 1] in [-1, 1], of any size -> maps [B, H, W, 1], 0 to 1, float32.

    Raises:
        WrongUse: no file of weights.

    Reference: Yi and Babyn 2018, section 2.3, whose network is a U-Net.
    """
    x = image = keras.Input((None, None, 1), name="image")
    for reach in (1, 2, 4, 8):
        # Whatever the policy: a loss in half precision is rounding.
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            dilation_rate=reach,
            activation="relu",
            kernel_initializer="he_normal",
            dtype="float32",
            name=f"reach{reach}",
        )(x)
    sharp = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="sharp")(x)
    network = keras.Model(image, sharp, name="sharpness_network")
    if weights is not None:
        if not Path(weights).is_file():
            raise WrongUse(f"the weights of the sharpness network are not at {weights}")
        network.load_weights(weights)
        network.trainable = False
    return network
