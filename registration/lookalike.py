"""A copy of a scan that lies on it and is not the same picture: bent, shaded, with other noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ganatomy.scans import Scan
from registration.known_transforms import bent, displaced

CONTRAST = 0.3  # deviation of the logarithm of the gamma
GRAIN = 0.05  # deviation of the noise at most, as a share of the scan's range


def lookalike(scan: Scan, seed: int, index: int, bending: float = 0.0) -> Scan:
    """A copy of a scan that stands for another one of the same place.

    No rigid or affine map lays the two on each other better than they lie.

    Args:
        scan: with a place.
        seed: of the draw.
        index: which of the draws.
        bending: mm by which the copy is bent on average, at most.
    """
    draw, made = np.random.default_rng([seed, index]), scan
    if bending:
        made = displaced(scan, bent(scan, seed, index, bending, affine=False))
    low, high = float(scan.pixels.min()), float(scan.pixels.max())
    light = (made.pixels - low) / (high - low)
    light = light ** np.exp(CONTRAST * draw.standard_normal())
    noise = GRAIN * draw.uniform() * draw.standard_normal(light.shape)
    pixels = low + (high - low) * np.clip(light + noise, 0, 1)
    return replace(made, pixels=pixels.astype(np.float32), path=f"{scan.path} (a copy)")
