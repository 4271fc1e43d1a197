"""The network of the sharpness loss: where a picture is in focus, with a gradient.

Its weights come with the package, trained by `python -m synthesis.sharpness_training` on 64×64
images (1,500 steps, 150 s on one core that did other work beside it). Of 1,797 held out images,
blurred here and there, it foretells maps with a mean absolute error of 0.056 and a correlation of
0.96; the mean map errs by 0.21. MedNIST does not say which images are of one patient, so some of
these may be of patients it was trained on, and it saw no other size of pixel.

Its training images are MedNIST (B. J. Erickson, Mayo Clinic), CC BY-SA 4.0, and so are its weights.
"""

from pathlib import Path

import keras
from keras import layers

from ganatomy.errors import WrongUse

WEIGHTS = Path(__file__).with_name("sharpness-mednist.weights.h5")


def sharpness_network(weights: str | Path | None = None, width: int = 16) -> keras.Model:
    """Convolutions of growing reach, 31 pixels in all, that foretell `losses.sharpness_map`.

    Args:
        weights: a file of trained ones, see `read_weights`, and the network is frozen; None for
            one to be trained. Those shipped are `WEIGHTS`.
        width: channels of every layer.

    Returns:
        pictures [B, H, W, 1] in [-1, 1], of any size -> maps [B, H, W, 1], 0 to 1, float32.

    Raises:
        WrongUse: no such file, or not of these weights.

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
        read_weights(network, weights)
        network.trainable = False
    return network


def read_weights(network: keras.Model, file: str | Path) -> None:
    """Give a sharpness network the weights that `python -m synthesis.sharpness_training` wrote.

    Args:
        network: of `sharpness_network`.
        file: numbers alone (HDF5), called *.weights.h5.

    Raises:
        WrongUse: no such file, or not of these weights.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise WrongUse(f"the weights of the sharpness network are not at {path}")
    wrong = f"{path} holds no weights of the sharpness network: expected a *.weights.h5 file that"
    if not path.name.endswith(".weights.h5"):
        raise WrongUse(f"{wrong} python -m synthesis.sharpness_training wrote")
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise WrongUse(f"{wrong} python -m synthesis.sharpness_training wrote") from error
