"""Networks whose inner activations say how alike two images look: for perceptual losses and FID.

`mednist` is a small classifier in VGG's manner of abdominal CT, breast MR, chest radiographs, chest
CT, hand radiographs and head CT, trained by `python -m benchmarks.feature_network` on 64×64 images
(400 steps, 100 s on one core); its weights come with the package. It names 0.991 of 1,800 held out
images rightly, 0.963 of the hands; MedNIST does not say which images are of one patient, so some of
these may be of patients it was trained on.

Its training images are MedNIST (B. J. Erickson, Mayo Clinic), CC BY-SA 4.0, and so are its weights.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from ganatomy.errors import WrongUse

MEDNIST = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
WEIGHTS = Path(__file__).with_name("features-mednist.weights.h5")
VGG19_WEIGHTS = Path("~/.keras/models/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5")
# What is looked at where nobody says which: the last activation before each of three halvings.
TAPS = {
    "mednist": ("block1", "block2", "block3"),
    "vgg19": ("block1_conv2", "block2_conv2", "block3_conv4"),
}
# Means of ImageNet's blue, green and red, which Keras' VGG-19 subtracts.
_IMAGENET = (103.939, 116.779, 123.68)


def feature_network(
    name: str = "mednist",
    taps: Sequence[str] | None = None,
    weights: str | Path | None = None,
) -> keras.Model:
    """A frozen network and the activations that are looked at.

    Args:
        name: "mednist", shipped; or "vgg19" with the user's ImageNet weights, never downloaded.
        taps: names of its activations; those of `TAPS` where None. "mednist": "block1" to "block4"
            (16, 32, 64 and 128 channels, each block at half the grid of the one before) and
            "pooled", the means of block 4 over the grid [B, 128], for FID. "vgg19": names of its
            layers, "block1_conv2".
        weights: a file instead of the shipped one, or instead of Keras' own place for VGG-19's.

    Returns:
        images [B, H, W, 1] in [-1, 1], of any size from 16 (better: 64) -> {tap: [B, h, w, c]},
        float32.

    Raises:
        WrongUse: no such network or tap, or no file of weights.

    Reference: Simonyan and Zisserman 2015 for the form; Johnson et al. 2016 for the use.
    """
    if name not in TAPS:
        raise WrongUse(f"no feature network {name!r}: there are mednist and vgg19")
    path = Path(weights or (WEIGHTS if name == "mednist" else VGG19_WEIGHTS)).expanduser()
    if not path.is_file():
        raise WrongUse(f"the weights of {name} are not at {path}; they are never downloaded")
    if name == "mednist":
        whole = vgg_classifier()
        whole.load_weights(path)
        image = whole.input
    else:
        image = keras.Input((None, None, 1), name="image")
        whole = _vgg19(image, path)
    taps = TAPS[name] if taps is None else taps
    there = {layer.name: layer.output for layer in whole.layers}
    missing = [tap for tap in taps if tap not in there]
    if missing or not taps:
        raise WrongUse(f"no activation {missing or 'named'} in {name}: {', '.join(there)}")
    network = keras.Model(image, {tap: there[tap] for tap in taps}, name=f"{name}_features")
    network.trainable = False
    return network


def vgg_classifier(width: int = 16, classes: int = len(MEDNIST)) -> keras.Model:
    """Four blocks of two convolutions 3×3 with ReLU, halved by maxima between; then a mean.

    Args:
        width: channels of the first block; doubled from block to block.
        classes: of the output.

    Returns:
        images [B, H, W, 1] -> logits [B, classes], float32.

    Reference: Simonyan and Zisserman 2015, table 1, narrower and without the dense layers.
    """
    x = image = keras.Input((None, None, 1), name="image")
    for block in range(1, 5):
        if block > 1:
            x = layers.MaxPooling2D(dtype="float32", name=f"halved{block}")(x)
        for conv in ("a", "b"):
            # Whatever the policy: features in half precision make distances of rounding.
            x = layers.Conv2D(
                width * 2 ** (block - 1),
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                dtype="float32",
                name=f"block{block}" if conv == "b" else f"block{block}a",
            )(x)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(x)
    logit = layers.Dense(classes, dtype="float32", name="logit")(x)
    return keras.Model(image, logit, name="vgg_classifier")


def _vgg19(image: Any, weights: Path) -> keras.Model:
    """Keras' VGG-19 behind one grey channel in [-1, 1]."""
    grey = ops.multiply(ops.add(ops.cast(image, "float32"), 1.0), 127.5)
    colours = ops.concatenate([ops.subtract(grey, mean) for mean in _IMAGENET], axis=-1)
    # Given a tensor, Keras builds the layers upon it, so that they stand under their own names.
    return keras.applications.VGG19(
        include_top=False, weights=str(weights), input_tensor=colours, pooling=None
    )
