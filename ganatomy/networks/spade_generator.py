"""SPADE: an image from a map of labels that scales and moves every normalised activation."""

from typing import Any

import keras
from keras import layers, ops

from ganatomy.networks.blocks import EPSILON, normalise, of_rank, spectral
from ganatomy.networks.grid import halvable

WIDEST = 16
COARSEST = 4  # voxels of the shortest side at the coarsest grid, at least


def spade_generator(
    shape: tuple[int, ...],
    channels: int = 1,
    width: int = 64,
    labels: int | None = None,
    depth: int | None = None,
    hidden: int = 128,
    norm: str = "bare",
    spectral_norm: bool = True,
    name: str = "generator",
) -> keras.Model:
    """Maps of labels to images of the same grid, in [-1, 1].

    Begins at the coarsest grid with the map itself and ends at the map's own; before every residual
    block but the first the grid doubles. A normalisation without gain and offset is undone by
    the map: γ and β are two convolutions of one of its activations, the map being resized by its
    nearest voxels, so that what a label says reaches every level unchanged.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        channels: of the output.
        width: channels at the finest grid; they double a level, up to 16 times, as published.
        labels: how many evenly spaced values from -1 to 1 the map's only channel has, the nearest
            of which is told to the network as one of so many; None: it sees the map as it is.
        depth: how often the grid halves; 5 as in the published code for 256 voxels, None until
            the shortest side is 4 to 7, at most 5 times.
        hidden: channels of the map's activation; 128 as published.
        norm: "bare" (over the grid of a sample) or "batch" (over the batch, as published), both
            without gain and offset.
        spectral_norm: divide the kernels of the residual blocks by their largest singular values.

    Returns:
        maps [B, *shape] -> [B, *grid, channels], float32.

    Raises:
        ValueError: a grid too small for the depth, labels of several channels, or another norm.

    Reference: Park et al. 2019, equation 1, section 3 and appendix A; no encoder of styles. Their
    code has a second block on the coarsest grid but one.
    """
    sides = tuple(shape[:-1])
    rank = len(sides)
    if depth is None:
        depth = max(0, min(5, (min(sides) // COARSEST).bit_length() - 1))
    if min(sides) < 2**depth:
        raise ValueError(f"{depth} halvings need sides of {2**depth} or more, not {sides}")
    if labels is not None and (shape[-1] != 1 or labels < 2):
        raise ValueError(f"{labels} labels are 2 or more in one channel, not {shape[-1]}")
    if norm not in ("bare", "batch"):
        raise ValueError(f"norm is bare or batch, not {norm!r}")
    conv, doubled = of_rank("Conv", rank), of_rank("UpSampling", rank)

    image = keras.Input(shape, name="image")
    seen, cut = halvable(image if labels is None else as_labels(image, labels), 2**depth)
    maps = [seen[(slice(None), *[slice(None, None, 2**i)] * rank)] for i in range(depth + 1)]
    widths = [width * min(WIDEST, 2**i) for i in range(depth + 1)]

    def modulated(x: Any, labelled: Any, name: str) -> Any:
        """Reference: Park et al. 2019, equation 1, with 1 + γ as in their code."""
        shared = conv(hidden, 3, padding="same", activation="relu", name=f"{name}_map")(labelled)
        gain = conv(x.shape[-1], 3, padding="same", name=f"{name}_gain")(shared)
        offset = conv(x.shape[-1], 3, padding="same", name=f"{name}_offset")(shared)
        return _normal_without_gain(x, norm, f"{name}_norm") * (1 + gain) + offset

    def block(x: Any, labelled: Any, out: int, name: str) -> Any:
        """Reference: Park et al. 2019, figure 4 and, with leaky ReLUs and a shortcut of kernel 1
        that has none, their code."""
        inner = x.shape[-1] if x.shape[-1] < out else out
        y = x
        for number, filters in ((1, inner), (2, out)):
            y = modulated(y, labelled, f"{name}_spade_{number}")
            y = layers.LeakyReLU(negative_slope=0.2, name=f"{name}_in_{number}")(y)
            y = spectral(
                conv(filters, 3, padding="same", name=f"{name}_conv_{number}"), spectral_norm
            )(y)
        if x.shape[-1] != out:
            x = modulated(x, labelled, f"{name}_spade_s")
            x = spectral(conv(out, 1, use_bias=False, name=f"{name}_shortcut"), spectral_norm)(x)
        return layers.Add(name=name)([x, y])

    x = conv(widths[depth], 3, padding="same", name="begin")(maps[depth])
    x = block(x, maps[depth], widths[depth], f"block_{depth + 1}")
    for i in reversed(range(depth)):
        x = doubled(2, name=f"up_{i + 1}")(x)
        x = block(x, maps[i], widths[i], f"block_{i + 1}")
    x = layers.LeakyReLU(negative_slope=0.2, name="end")(x)
    made = conv(channels, 3, padding="same", activation="tanh", dtype="float32", name="made")(x)
    return keras.Model(image, cut(made), name=name)


def as_labels(x: Any, labels: int) -> Any:
    """The nearest of evenly spaced values from -1 to 1 as one of so many.

    Args:
        x: [B, *grid, 1].

    Returns:
        [B, *grid, labels], 1 in one channel of each voxel and 0 in the others.
    """
    value: Any = ops.cast(x[..., 0], "float32")
    number: Any = ops.round((value + 1) * (labels - 1) / 2)
    return ops.one_hot(ops.cast(ops.clip(number, 0, labels - 1), "int32"), labels)


def _normal_without_gain(x: Any, norm: str, name: str) -> Any:
    if norm == "bare":
        return normalise(x, "bare", name)
    return layers.BatchNormalization(
        center=False, scale=False, synchronized=True, momentum=0.9, epsilon=EPSILON, name=name
    )(x)
