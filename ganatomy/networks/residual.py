"""Residual generator and critic of the improved Wasserstein GAN, as f-AnoGAN uses them."""

import math
from typing import Any

import keras
from keras import layers

from ganatomy.networks.blocks import critic_model, normalise, of_rank, spectral
from ganatomy.networks.grid import pyramid

WIDEST = 8


def _he() -> Any:
    # The published code's "he_init": a variance of 4 / (fan in + fan out), uniform.
    return keras.initializers.VarianceScaling(2.0, mode="fan_avg", distribution="uniform")


def _up_block(x: Any, channels: int, norm: str | None, name: str) -> Any:
    rank = len(x.shape) - 2
    conv, up = of_rank("Conv", rank), of_rank("UpSampling", rank)
    bias = norm is None
    # A convolution of kernel 1 commutes with nearest up-sampling, and costs less on the small grid.
    shortcut = conv(channels, 1, use_bias=bias, name=f"{name}_shortcut")(x)
    shortcut = up(2, name=f"{name}_shortcut_up")(shortcut)
    x = layers.ReLU()(normalise(x, norm, f"{name}_norm_1"))
    x = of_rank("UpsampledConv", rank)(
        channels, use_bias=bias, kernel_initializer=_he(), name=f"{name}_conv_1"
    )(x)
    x = layers.ReLU()(normalise(x, norm, f"{name}_norm_2"))
    x = conv(
        channels,
        3,
        padding="same",
        use_bias=bias,
        kernel_initializer=_he(),
        name=f"{name}_conv_2",
    )(x)
    return layers.Add(name=name)([shortcut, x])


def _down_block(x: Any, channels: int, norm: str | None, spectral_norm: bool, name: str) -> Any:
    rank = len(x.shape) - 2
    conv, pool = of_rank("Conv", rank), of_rank("AveragePooling", rank)
    shortcut = pool(2, name=f"{name}_shortcut_pool")(x)
    shortcut = spectral(conv(channels, 1, name=f"{name}_shortcut"), spectral_norm)(shortcut)
    inner = x.shape[-1]
    x = layers.ReLU()(normalise(x, norm, f"{name}_norm_1"))
    first = conv(
        inner,
        3,
        padding="same",
        use_bias=norm is None,
        kernel_initializer=_he(),
        name=f"{name}_conv_1",
    )
    x = spectral(first, spectral_norm)(x)
    x = layers.ReLU()(normalise(x, norm, f"{name}_norm_2"))
    second = of_rank("PooledConv", rank)(channels, kernel_initializer=_he(), name=f"{name}_conv_2")
    x = spectral(second, spectral_norm)(x)
    return layers.Add(name=name)([shortcut, x])


def residual_generator(
    shape: tuple[int, ...],
    latent: int,
    width: int = 64,
    norm: str | None = "batch",
    name: str = "generator",
) -> keras.Model:
    """Latent vectors to images by residual blocks that double the grid.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample; see `ganatomy.networks.grid.pyramid`.
        latent: length of z; 128 as published.
        width: channels at the finest grid; they double a level, up to 8 times. 64 as published.
        norm: "batch" as published, "layer", "instance" or None.

    Returns:
        z [B, latent] -> images [B, *shape] in [-1, 1], float32.

    Reference: Gulrajani et al. 2017, appendix (64×64 architecture); Schlegl et al. 2019. Published
    convolutions have biases in the blocks; every one of them is a constant that the next
    normalisation removes, and is left out.
    """
    halvings, base = pyramid(shape)
    rank = len(base)
    widths = [width * min(WIDEST, 2 ** (halvings - 1 - i)) for i in range(halvings)]

    z = keras.Input((latent,), name="z")
    x = layers.Dense(math.prod(base) * widths[0], name="dense")(z)
    x = layers.Reshape((*base, widths[0]), name="grid")(x)
    for i, channels in enumerate(widths, 1):
        x = _up_block(x, channels, norm, f"block_{i}")
    x = layers.ReLU()(normalise(x, norm, "image_norm"))
    image = of_rank("Conv", rank)(
        shape[-1], 3, padding="same", activation="tanh", dtype="float32", name="image"
    )(x)
    return keras.Model(z, image, name=name)


def residual_down(
    image: Any, width: int, norm: str | None, spectral_norm: bool = False
) -> list[Any]:
    """Residual blocks from an image to the base grid: every block's activations."""
    halvings, base = pyramid(tuple(image.shape[1:]))
    conv = of_rank("Conv", len(base))(width, 3, padding="same", name="image_conv")
    x = spectral(conv, spectral_norm)(image)
    blocks = []
    for i in range(halvings):
        channels = width * min(WIDEST, 2 ** (i + 1))
        x = _down_block(x, channels, norm, spectral_norm, f"block_{i + 1}")
        blocks.append(x)
    return blocks


def residual_critic(
    shape: tuple[int, ...],
    width: int = 64,
    norm: str | None = "layer",
    spectral: bool = False,
    features: str | int = "last",
    name: str = "critic",
) -> keras.Model:
    """Images to a logit and to features, by residual blocks that halve the grid.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        width: channels of the first convolution; they double a block, up to 8 times.
        norm: "layer" as published with a gradient penalty; None with `spectral`.
        spectral: divide every kernel by its largest singular value.
        features: which activations are the output "features": "last", the flattened input of the
            last dense layer (f of f-AnoGAN), the number of a block, counted from 1 at the image,
            or the name of a layer, such as "block_2".

    Returns:
        images [B, *shape] -> {"logit": [B], "features": [B, n] or [B, ..., n]}, float32.

    Reference: Gulrajani et al. 2017, appendix (64×64 architecture); Schlegl et al. 2019.
    """
    image = keras.Input(shape, name="image")
    blocks = residual_down(image, width, norm, spectral)
    return critic_model(image, blocks, features, "glorot_uniform", spectral, name)
