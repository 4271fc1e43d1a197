"""Convolutions of kernel 4 that halve or double a grid, in the form that is fast on its rank.

TensorFlow's strided 3D convolutions are slow on CPUs wherever they run backwards: from 32³ to 16³
with 16 channels a gradient took 13 times as long, and a transposed convolution 160 times, as the
form used here, an unstrided convolution of kernel 2 between space-to-depth rearrangements. That is
the same sum in another order. The plain 2D operations show no such cost and are used.
"""

import itertools
from typing import Any

from keras import ops

from ganatomy.layers.conv import convolve

Tensor = Any


def halve(x: Tensor, kernel: Tensor) -> Tensor:
    """A convolution of stride 2, padding "same".

    Args:
        x: [B, n1, n2, (n3,) c], sides even.
        kernel: [4, 4, (4,) c, out].
    """
    rank = len(x.shape) - 2
    if rank == 2:
        return ops.conv(x, kernel, strides=2, padding="same", data_format="channels_last")
    channels, out = kernel.shape[-2:]
    x = ops.pad(x, [(0, 0)] + [(1, 1)] * rank + [(0, 0)])
    x = _space_to_depth(x)
    # Tap t of the kernel is tap a of the coarse grid at phase b: t = 2 a + b.
    kernel = ops.reshape(kernel, [2, 2] * rank + [channels, out])
    kernel = ops.transpose(kernel, [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2), -2, -1])
    kernel = ops.reshape(kernel, [2] * rank + [2**rank * channels, out])
    return convolve(x, kernel, "valid")


def double(x: Tensor, kernel: Tensor) -> Tensor:
    """A transposed convolution of stride 2, padding "same".

    Args:
        x: [B, n1, n2, (n3,) c].
        kernel: [4, 4, (4,) out, c].
    """
    rank = len(x.shape) - 2
    if rank == 2:
        return ops.conv_transpose(x, kernel, strides=2, padding="same", data_format="channels_last")
    sides = x.shape[1:-1]
    out, channels = kernel.shape[-2:]
    # Output 2 j + p sees inputs j - 1 + p and j + p, by taps 3 - p and 1 - p.
    kernel = ops.flip(kernel, axis=tuple(range(rank)))
    kernel = ops.reshape(kernel, [2, 2] * rank + [out, channels])
    kernel = ops.transpose(kernel, [*range(0, 2 * rank, 2), -1, *range(1, 2 * rank, 2), -2])
    kernel = ops.reshape(kernel, [2] * rank + [channels, 2**rank * out])
    x = ops.pad(x, [(0, 0)] + [(1, 1)] * rank + [(0, 0)])
    x = convolve(x, kernel, "valid")
    phases = []
    for index, phase in enumerate(itertools.product((0, 1), repeat=rank)):
        window = tuple(slice(p, p + side) for p, side in zip(phase, sides, strict=True))
        phases.append(x[(slice(None), *window, slice(index * out, (index + 1) * out))])
    return _depth_to_space(ops.stack(phases, axis=-2))


def fold(kernel: Tensor) -> Tensor:
    """The kernel of 4 that equals a kernel of 3 followed by a sum over 2 neighbours an axis."""
    rank = len(kernel.shape) - 2
    folded: Tensor = 0.0
    for shift in itertools.product((0, 1), repeat=rank):
        folded = folded + ops.pad(kernel, [(s, 1 - s) for s in shift] + [(0, 0)] * 2)
    return folded


def _space_to_depth(x: Tensor) -> Tensor:
    """[B, 2 n, ..., c] -> [B, n, ..., 2^rank c]."""
    rank, channels = len(x.shape) - 2, x.shape[-1]
    coarse = [side // 2 for side in x.shape[1:-1]]
    x = ops.reshape(x, [-1, *itertools.chain.from_iterable((n, 2) for n in coarse), channels])
    x = ops.transpose(x, [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1])
    return ops.reshape(x, [-1, *coarse, 2**rank * channels])


def _depth_to_space(x: Tensor) -> Tensor:
    """[B, n, ..., 2^rank, c] -> [B, 2 n, ..., c]."""
    *coarse, _, channels = x.shape[1:]
    rank = len(coarse)
    x = ops.reshape(x, [-1, *coarse, *[2] * rank, channels])
    pairs = itertools.chain.from_iterable((1 + a, 1 + rank + a) for a in range(rank))
    x = ops.transpose(x, [0, *pairs, 2 * rank + 1])
    return ops.reshape(x, [-1, *(2 * n for n in coarse), channels])
