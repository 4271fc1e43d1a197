"""The PatchGAN: a critic that judges every patch of an image by itself, at one scale or several."""

from typing import Any

import keras
from keras import layers, ops

from ganatomy.networks.blocks import normalise, of_rank, spectral
from ganatomy.networks.grid import halvable

WIDEST = 8
KERNEL = 4


def receptive_field(depth: int) -> int:
    """Voxels along a side of the patch that a logit of `patch_critic` sees.

    16, 34, 70, 142 and 286 for depths 1 to 5.
    """
    seen = 1 + 2 * (KERNEL - 1)
    for _ in range(depth):
        seen = 2 * (seen - 1) + KERNEL
    return seen


def patch_critic(
    shape: tuple[int, ...],
    width: int = 64,
    depth: int = 3,
    norm: str | None = "instance",
    spectral_norm: bool = False,
    scales: int = 1,
    name: str = "critic",
) -> keras.Model:
    """Images to logits of their patches.

    Convolutions of kernel 4: `depth` of stride 2, then two of stride 1 whose borders are continued
    by one voxel of zeros, so that 256×256 at depth 3 give 30×30 logits. The first and the last are
    not normalised. Further scales see the image halved by means over 3 voxels at stride 2, borders
    not counted, and have weights of their own.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of an image, with its condition where there is one.
        width: channels of the first convolution; they double, up to 8 times.
        depth: how often the grid halves, which sets the patch, see `receptive_field`.
        norm: "batch" as published, "layer", "instance", "bare" or None.
        spectral_norm: divide every kernel by its largest singular value.
        scales: at how many sizes of the image.

    Returns:
        images [B, *shape] -> {"logits": [[B, *patches, 1], ...], "features": [[...], ...]} with an
        entry a scale; its features are the activations of every convolution but the last. Float32.

    Raises:
        ValueError: a grid too small for the depth and the scales.

    Reference: Isola et al. 2017, section 3.2.2 and appendix; Wang et al. 2018, section 3.2 and
    equation 3, for scales and features.
    """
    sides = tuple(shape[:-1])
    # Two convolutions of stride 1 take a voxel each off the coarsest grid.
    least = 2 ** (depth + scales) + 1
    if min(sides) < least:
        raise ValueError(
            f"a patch critic of depth {depth} and {scales} scales needs sides of {least} or more, "
            f"not {sides}"
        )
    image = keras.Input(shape, name="image")
    pool = of_rank("AveragePooling", len(sides))
    x, logits, features = image, [], []
    for scale in range(1, scales + 1):
        if scale > 1:
            x = pool(3, strides=2, padding="same", name=f"scale_{scale}")(x)
        logit, seen = _judged(x, width, depth, norm, spectral_norm, f"scale_{scale}")
        logits.append(logit)
        features.append(seen)
    return keras.Model(image, {"logits": logits, "features": features}, name=name)


def _judged(
    x: Any, width: int, depth: int, norm: str | None, spectral_norm: bool, name: str
) -> tuple[Any, list[Any]]:
    """The logits of an image's patches, and the activations on the way."""
    rank = len(x.shape) - 2
    border = [(0, 0), *[(1, 1)] * rank, (0, 0)]
    normal = keras.initializers.RandomNormal(stddev=0.02)
    x, _ = halvable(x, 2**depth)
    seen = []
    for i in range(depth + 1):
        own = norm if i else None
        settings = {
            "use_bias": own is None,
            "kernel_initializer": normal,
            "name": f"{name}_conv_{i + 1}",
        }
        channels = width * min(WIDEST, 2**i)
        if i < depth:
            conv = of_rank("HalvingConv", rank)(channels, **settings)
        else:
            conv = of_rank("Conv", rank)(channels, KERNEL, padding="valid", **settings)
            x = ops.pad(x, border)
        x = normalise(spectral(conv, spectral_norm)(x), own, f"{name}_norm_{i + 1}")
        x = layers.LeakyReLU(negative_slope=0.2, name=f"{name}_out_{i + 1}")(x)
        seen.append(x)
    last = of_rank("Conv", rank)(
        1, KERNEL, padding="valid", kernel_initializer=normal, dtype="float32", name=f"{name}_logit"
    )
    return spectral(last, spectral_norm)(ops.pad(x, border)), seen
