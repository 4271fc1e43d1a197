"""Restoration: the image nearest to a scan that a model of healthy ones finds plausible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from ganatomy.gradients import descend

Tensor = Any
# The slope of |d| at 0 is none; within so little of it (of a range from -1 to 1) it is rounded.
ROUNDED = 1e-3
# The rounded corner still makes Adam swing; it ends at this fraction of its first step size.
DECAY = 0.05


def total_variation(x: Tensor) -> Tensor:
    """Σ over pixels and channels of √(Σ over axes of d² + ε²) - ε, d forward differences, [B].

    Isotropic, ε = 1e-3; beyond the last pixel of an axis the difference is 0.

    Args:
        x: [B, *size, channels].

    Reference: Rudin, Osher, Fatemi 1992, equation 2.1.
    """
    squares: Any = ROUNDED**2
    for axis in range(1, len(x.shape) - 1):
        whole = [slice(None)] * len(x.shape)
        later, sooner, pad = whole.copy(), whole.copy(), [(0, 0)] * len(x.shape)
        later[axis], sooner[axis], pad[axis] = slice(1, None), slice(None, -1), (0, 1)
        squares += ops.square(ops.pad(x[tuple(later)] - x[tuple(sooner)], pad))
    lengths: Any = ops.sqrt(squares)
    return ops.sum(lengths - ROUNDED, axis=tuple(range(1, len(x.shape))))


def restore(
    x: Tensor,
    implausibility: Callable[[Tensor], Tensor],
    *,
    steps: int,
    rate: float,
    variation: float,
) -> Tensor:
    """Images x' that minimise implausibility(x') + λ TV(x - x'), by Adam on the pixels from x' = x.

    The most probable healthy image, where what a lesion adds to it is piecewise constant. Every
    sample descends by itself, and the best image that it came by is kept.

    Args:
        x: scans, [B, *size, channels].
        implausibility: the negative logarithm of the healthy prior, up to a constant, of images:
            [B, *size, channels] -> [B].
        steps: of Adam.
        rate: its first step size, in units of the image.
        variation: λ.

    Returns:
        [B, *size, channels].

    Reference: You, Tezcan, Chen, Konukoglu, "Unsupervised lesion detection via image restoration
    with a normative prior", MIDL 2019; Chen, You, Tezcan, Konukoglu, Medical Image Analysis 64,
    2020 (gradient ascent there; Adam here).
    """

    def objective(image: Tensor) -> Tensor:
        return implausibility(image) + variation * total_variation(x - image)

    return descend(objective, x, steps=steps, learning_rate=rate, decay=DECAY).x
