"""What a pair shows of how well it is aligned, whoever aligned it: what failures are known by."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from registration.mirror import shared_information
from registration.registration import LIMIT
from registration.transforms import Transform, moved

# By name what is looked at, each higher where a pair is better aligned; the first is the critic's.
SIGNS = ("alignment_score", "overlap", "information", "sharpness")
DARK = -1.0  # what a sample is where a scan shows nothing
_LEAST = 0.02  # of the grid: what overlaps less tells nothing


class Sampled(NamedTuple):
    """A pair as a network sees it.

    Attributes:
        fixed: sample [1, *size, channels].
        moving: the same.
        fixed_grid: [rank + 1, rank + 1], voxel of the fixed sample to mm.
        moving_grid: the same of the moving sample.
    """

    fixed: np.ndarray
    moving: np.ndarray
    fixed_grid: np.ndarray
    moving_grid: np.ndarray


def signs_of(model: Any, pair: Sampled, transform: Transform) -> dict[str, float]:
    """By `SIGNS`, what a pair shows once aligned by a transform.

    Information is the mutual information of the two samples as a share of their entropy, where
    both show something. Sharpness is how much of it is lost where the moved sample is pushed
    another 5 mm to and fro along each axis: at the right place every way leads down, whatever the
    contrasts; at a wrong one some lead up.

    Args:
        model: an `Aligner`.
        pair: its samples.
        transform: of fixed points to moving points, mm.
    """
    grid, rank = pair.fixed.shape[1:-1], pair.fixed.ndim - 2
    channels = pair.moving.shape[-1]
    known = np.ones((*pair.moving.shape[1:-1], 1), np.float32)
    both = np.concatenate([pair.moving[0] - DARK, known], axis=-1)
    found = moved(both, pair.moving_grid, transform, grid, pair.fixed_grid)
    image, seen = found[..., :channels] + DARK, found[..., channels:]
    score = model.judge(pair.fixed, image[None], seen[None])[0]
    arrays = pair.fixed[0].mean(-1), image.mean(-1), seen[..., 0] > 0.5
    spacing = np.linalg.norm(pair.fixed_grid[:rank, :rank], axis=0)
    here = _information(*arrays)
    beside = []
    for axis, step in enumerate(spacing):
        far = min(max(1, round(LIMIT / step)), grid[axis] - 1)
        beside += [_information(*_pushed(*arrays, axis, way)) for way in (far, -far)]
    values = float(score), float(arrays[2].mean()), here, here - float(np.mean(beside))
    return dict(zip(SIGNS, values, strict=True))


def _pushed(
    fixed: np.ndarray, image: np.ndarray, seen: np.ndarray, axis: int, way: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies on each other once the moved sample goes so many voxels along an axis."""
    ahead, behind = (
        (slice(way, None), slice(None, -way))
        if way > 0
        else (
            slice(None, way),
            slice(-way, None),
        )
    )
    before = (slice(None),) * axis
    return fixed[(*before, ahead)], image[(*before, behind)], seen[(*before, behind)]


def _information(fixed: np.ndarray, image: np.ndarray, seen: np.ndarray) -> float:
    if seen.mean() < _LEAST:
        return 0.0
    return shared_information(fixed[seen], image[seen])
