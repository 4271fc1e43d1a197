"""Pairs that are known to be aligned or not, of which a discriminator of pairs learns.

What is random comes with the batch, as `noise` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from ganatomy.game import Batch, Noise
from registration.fields import to_voxels
from registration.perturbations import bend
from registration.velocity_network import COARSE, coarse_grid

Tensor = Any

COARSEST = 5  # points an axis of the noise that bends a sample
CLOSE, FAR = 1.0, (2.0, 10.0)  # mm that a copy is bent by where it is aligned, and where not
ASIDE = 2.0, 20.0  # mm that a warped image is displaced by, to rank below itself
SHADE, GRAIN = 0.4, 0.1  # how much a copy's intensities are changed


def noise(shape: tuple[int, ...]) -> dict[str, Noise]:
    """What a batch carries for the copies of samples of a shape (*size, channels)."""
    rank = len(shape) - 1
    bends = (*[COARSEST] * rank, rank)
    return {
        "close": Noise("normal", bends),
        "far": Noise("normal", bends),
        "grain": Noise("normal", shape),
        "copy": Noise("uniform", (5,)),
        "way": Noise("normal", (rank,)),
        "aside": Noise("uniform", (1,)),
    }


def shaded(image: Tensor, batch: Batch) -> Tensor:
    """An image [B, *size, C] in [-1, 1] with other contrast and noise."""
    draw = batch["copy"]

    def number(place: int) -> Tensor:
        return ops.reshape(draw[:, place], (-1,) + (1,) * (len(image.shape) - 1))

    light: Any = ops.clip((image + 1) / 2, 1e-6, 1.0)
    other = 2 * light ** ops.exp(SHADE * (2 * number(0) - 1)) - 1
    return ops.clip(other + GRAIN * number(1) * batch["grain"], -1.0, 1.0)


def bends(batch: Batch, grid: tuple[int, ...], spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """A displacement by little and one by much, [B, *coarse, rank] in voxels of the coarse grid.

    Args:
        batch: with the copies' noise.
        grid: of the samples.
        spacing: mm a voxel of that grid, along each axis.
    """
    draw, (least, most) = batch["copy"], FAR
    close = bent(batch["close"], CLOSE * draw[:, 2], grid, spacing)
    return close, bent(batch["far"], least + (most - least) * draw[:, 3], grid, spacing)


def bent(
    noise: Tensor, error: Tensor, grid: tuple[int, ...], spacing: Sequence[float] | np.ndarray
) -> Tensor:
    """A smooth displacement without folds, [B, *coarse, rank] in voxels of the coarse grid.

    Args:
        noise: as in `bend`.
        error: the same.
        grid: of the samples.
        spacing: mm a voxel of that grid, along each axis.
    """
    columns = np.diag(spacing) * COARSE
    return to_voxels(bend(noise, error, coarse_grid(grid), columns), columns)


def aside(batch: Batch, spacing: Sequence[float]) -> Tensor:
    """A displacement as a whole, [B, rank] in voxels, in any direction."""
    way: Any = batch["way"]
    far = ASIDE[0] + (ASIDE[1] - ASIDE[0]) * batch["aside"]
    squared: Any = ops.sum(ops.square(way), axis=-1, keepdims=True)
    length: Any = ops.sqrt(squared + 1e-12)
    return far * way / length / np.array(spacing, np.float32)
