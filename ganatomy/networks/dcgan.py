"""The deep convolutional GAN, for pictures and volumes."""

import math
from typing import Any

import keras
from keras import layers

from ganatomy.networks.blocks import critic_model, normalise, of_rank, spectral
from ganatomy.networks.grid import pyramid

WIDEST = 8


def _normal() -> Any:
    return keras.initializers.RandomNormal(stddev=0.02)


def dcgan_generator(
    shape: tuple[int, ...],
    latent: int,
    width: int = 64,
    norm: str | None = "batch",
    name: str = "generator",
) -> keras.Model:
    """Latent vectors to images by transposed convolutions of stride 2.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample; see `ganatomy.networks.grid.pyramid`.
        latent: length of z.
        width: channels at the finest hidden grid; they double a level, up to 8 times.
        norm: "batch" as published, "layer", "instance" or None.

    Returns:
        z [B, latent] -> images [B, *shape] in [-1, 1], float32.

    Reference: Radford et al. 2016, section 3 and figure 1 (kernel 4 in place of 5: a multiple of
    the stride, so every output pixel sees as many inputs).
    """
    halvings, base = pyramid(shape)
    bias = norm is None
    widths = [width * min(WIDEST, 2 ** (halvings - 1 - i)) for i in range(halvings)]
    transposed = of_rank("DoublingConv", len(base))

    z = keras.Input((latent,), name="z")
    x = layers.Dense(
        math.prod(base) * widths[0],
        use_bias=bias,
        kernel_initializer=_normal(),
        name="dense",
    )(z)
    x = layers.Reshape((*base, widths[0]), name="grid")(x)
    x = layers.ReLU()(normalise(x, norm, "dense_norm"))
    for i, channels in enumerate(widths[1:], 1):
        x = transposed(
            channels,
            use_bias=bias,
            kernel_initializer=_normal(),
            name=f"block_{i}",
        )(x)
        x = layers.ReLU()(normalise(x, norm, f"block_{i}_norm"))
    image = transposed(
        shape[-1],
        activation="tanh",
        kernel_initializer=_normal(),
        dtype="float32",
        name="image",
    )(x)
    return keras.Model(z, image, name=name)


def dcgan_down(image: Any, width: int, norm: str | None, spectral_norm: bool = False) -> list[Any]:
    """Strided convolutions from an image to the base grid: every block's activations.

    The first block is not normalised, as published.
    """
    shape = tuple(image.shape[1:])
    halvings, base = pyramid(shape)
    conv = of_rank("HalvingConv", len(base))
    blocks, x = [], image
    for i in range(halvings):
        block_norm = norm if i else None
        layer = conv(
            width * min(WIDEST, 2**i),
            use_bias=block_norm is None,
            kernel_initializer=_normal(),
            name=f"block_{i + 1}",
        )
        x = normalise(spectral(layer, spectral_norm)(x), block_norm, f"block_{i + 1}_norm")
        x = layers.LeakyReLU(negative_slope=0.2, name=f"block_{i + 1}_out")(x)
        blocks.append(x)
    return blocks


def dcgan_critic(
    shape: tuple[int, ...],
    width: int = 64,
    norm: str | None = "batch",
    spectral: bool = False,
    features: str | int = "last",
    name: str = "critic",
) -> keras.Model:
    """Images to a logit and to features, by convolutions of stride 2.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        width: channels of the first block; they double a block, up to 8 times.
        norm: "batch" as published; None or "layer" where the critic has a gradient penalty.
        spectral: divide every kernel by its largest singular value.
        features: which activations are the output "features": "last", the flattened input of the
            last dense layer, the number of a block, counted from 1 at the image, or the name of a
            layer, such as "block_2_out".

    Returns:
        images [B, *shape] -> {"logit": [B], "features": [B, n] or [B, ..., n]}, float32.

    Reference: Radford et al. 2016, section 3; Miyato et al. 2018 for `spectral`.
    """
    image = keras.Input(shape, name="image")
    blocks = dcgan_down(image, width, norm, spectral)
    return critic_model(image, blocks, features, _normal(), spectral, name)
