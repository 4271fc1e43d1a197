"""A critic of patches that runs over a whole image as one pass and says the same of each patch."""

from typing import Any

import keras
from keras import layers

from ganatomy.networks.blocks import of_rank, spectral


def dense_critic(
    channels: int,
    rank: int,
    patch: int,
    width: int = 64,
    spectral_norm: bool = False,
    name: str = "critic",
) -> keras.Model:
    """Images of any size to a logit for every patch that lies in them.

    Convolutions of kernel 3 whose dilation doubles, without padding or stride, so that the last
    one sees exactly `patch` pixels a side: a patch has one logit, an image one for every place of
    the patch, and nothing but rounding depends on which way it is asked.

    Args:
        channels: of an image.
        rank: 2 or 3.
        patch: side in pixels, 2^k - 1: 7, 15, 31, ...
        width: channels of the first convolution; they double a layer, up to 8 times.
        spectral_norm: divide every kernel by its largest singular value (Miyato 2018).

    Returns:
        images [B, *size, channels] -> logits [B, *(size - patch + 1)], float32.

    Raises:
        ValueError: `patch` is no such side.

    Reference: Alex et al. 2017 for the use; Yu and Koltun 2016, equation 4, for the dilation.
    """
    depth = patch.bit_length() - 1
    if patch != 2 ** (depth + 1) - 1 or patch < 7:
        raise ValueError(f"patch is 7, 15, 31, ... (2^k - 1) pixels a side, not {patch}")
    conv = of_rank("Conv", rank)
    image: Any = keras.Input((*[None] * rank, channels), name="image")
    x = image
    for i in range(depth):
        layer = conv(width * min(8, 2**i), 3, dilation_rate=2**i, name=f"block_{i + 1}")
        x = spectral(layer, spectral_norm)(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"block_{i + 1}_out")(x)
    last = conv(1, 1, dtype="float32", name="logit")
    logit = spectral(last, spectral_norm)(x)
    return keras.Model(image, logit[..., 0], name=name)
