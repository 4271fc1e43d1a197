"""The last millimetre: mutual information of two scans, climbed from where a transform stands.

Mutual information asks only that what looks alike on one scan looks alike on the other, so it
serves within and across modalities. It is climbed in mm, coarse to fine, from one or several
starts at once; what is returned is never worse than the first start on the finest level.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from keras import ops
from scipy.ndimage import binary_dilation, map_coordinates

from ganatomy.gradients import compiled, descend
from registration.matrices import AFFINE, RIGID
from registration.perturbations import matrix_of, parameter_units
from registration.transforms import Affine
from registration.warp import coverage, resample

Tensor = Any
Kind = Literal["rigid", "affine"]

_LEAST = 0.75  # share of the points that must meet the moving scan for its information to count
_OUTLIERS = (1.0, 99.5)  # percentiles of the values between which bins lie
_DARK = 0.05  # of the range above the darkest: what is less is air


@dataclass(frozen=True)
class Level:
    """One step from coarse to fine.

    Attributes:
        pitch: mm a voxel, or what a scan has where that is more.
        points: of the fixed scan that are looked at.
        bins: of the joint histogram, a side.
        steps: of the descent.
        pace: mm that a parameter moves in the first step; it falls to a tenth.
        keep: how many of the best starts go on.
        search: how many starts are looked at beside those given, spread about the first.
        margin: voxels about what is seen that are looked at too: its border holds a scale.
    """

    pitch: float
    points: int
    bins: int
    steps: int
    pace: float
    keep: int = 1
    search: int = 0
    margin: int = 2


# From a transform that is a few mm off, as a network leaves it.
NEAR = (Level(4.0, 6000, 24, 25, 0.7), Level(2.0, 16000, 32, 25, 0.25))
# From one that may be off by 15° and 20 mm about and along each axis.
FAR = (
    Level(12.0, 800, 12, 20, 4.0, keep=6, search=31),
    Level(8.0, 2000, 16, 20, 2.0, keep=2),
    *NEAR,
)
_SPREAD = (np.pi / 12, 20.0)  # radians about each axis and mm along it, of a search


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement found.

    Attributes:
        transform: of fixed points to moving points.
        information: mutual information in nats on the finest level.
        before: the same of the first start.
        seconds: it took.
    """

    transform: Affine
    information: float
    before: float
    seconds: float = field(compare=False)


def refine(
    fixed: np.ndarray,
    moving: np.ndarray,
    fixed_grid: np.ndarray,
    moving_grid: np.ndarray,
    starts: Sequence[Affine],
    *,
    kind: Kind = "rigid",
    mask: np.ndarray | None = None,
    levels: Sequence[Level] = FAR,
) -> Refined:
    """Climb the mutual information of two scans.

    The same scans and starts give the same result: which points are looked at is not left to
    chance.

    Args:
        fixed: [*grid], any unit.
        moving: [*grid], any other.
        fixed_grid: [rank + 1, rank + 1], voxel to mm.
        moving_grid: the same of the moving scan.
        starts: where to begin; the first is what the result is compared with.
        kind: 'rigid' adds a rigid motion to a start, 'affine' an affine map in the finer half of
            the levels.
        mask: bool [*grid] of the fixed scan, where and about where to look; None for what is not
            dark.
        levels: coarse to fine, `FAR` or `NEAR`.

    Raises:
        ValueError: no start or level, shapes that do not fit, or a scan of a single value.

    Reference: Mattes et al. 2003, equations 3 to 9, with linear kernels for both scans.
    """
    began = time.monotonic()
    fixed, moving = np.asarray(fixed, np.float32), np.asarray(moving, np.float32)
    rank = fixed.ndim
    if not levels or not starts or any(one.rank != rank for one in starts) or moving.ndim != rank:
        raise ValueError(f"scans of {rank} axes need levels and starts of that rank")
    inside = _seen(fixed) if mask is None else np.asarray(mask, bool)
    if inside.shape != fixed.shape or not inside.any():
        raise ValueError(f"the mask is {inside.shape} or empty; the fixed scan is {fixed.shape}")
    moves = [start.matrix for start in starts]
    for number, level in enumerate(levels):
        # Twelve parameters with little to hold them run away: what is coarse moves rigidly.
        count = (AFFINE if kind == "affine" and 2 * number >= len(levels) else RIGID)[rank]
        scene = _Scene(fixed, moving, fixed_grid, moving_grid, inside, count, level)
        moves += scene.spread(moves[0], level.search)
        found, values = scene.climb(moves)
        best = np.argsort(values, kind="stable")[: level.keep]
        moves = [found[i] for i in best]
    before = scene.information(starts[0].matrix)
    after = scene.information(moves[0])
    better = after > before
    return Refined(
        Affine(moves[0]) if better else starts[0],
        max(after, before),
        before,
        time.monotonic() - began,
    )


class _Scene:
    """Two scans at one level, and the points of the fixed one that are looked at."""

    def __init__(
        self,
        fixed: np.ndarray,
        moving: np.ndarray,
        fixed_grid: np.ndarray,
        moving_grid: np.ndarray,
        inside: np.ndarray,
        count: int,
        level: Level,
    ):
        self.level = level
        image, grid = _coarser(fixed, fixed_grid, level.pitch)
        share = _coarser(inside.astype(np.float32), fixed_grid, level.pitch)[0]
        seen = share >= min(0.5, float(share.max()))
        if level.margin:
            seen = binary_dilation(seen, iterations=level.margin)
        index = np.argwhere(seen).astype(np.float64)
        draw = np.random.default_rng(0)
        # Always as many, or every scan would be compiled anew.
        index = index[draw.choice(len(index), level.points, replace=len(index) < level.points)]
        # Off the grid: points that sit on both grids at once draw the optimum to whole voxels.
        index += draw.uniform(-0.5, 0.5, index.shape)
        values = map_coordinates(image, index.T, order=1, mode="nearest")
        shown = image[np.asarray(seen, bool)]
        self.bins = _one_hot(_binned(values, shown, level.bins), level.bins)
        points = index @ grid[:-1, :-1].T + grid[:-1, -1]
        self.centre = points.mean(axis=0)
        self.offsets = (points - self.centre).astype(np.float32)
        image, grid = _coarser(moving, moving_grid, level.pitch)
        self.image = _binned(image, image, level.bins)[None, ..., None]
        self.outward = np.linalg.inv(grid)
        self.units = parameter_units(self.offsets, count)

    def spread(self, matrix: np.ndarray, count: int) -> list[np.ndarray]:
        """So many matrices that turn and shift the points before a matrix, the same every time."""
        rank = len(self.centre)
        turns, angle = RIGID[rank] - rank, _SPREAD[0]
        draw = np.random.default_rng(1).uniform(-1, 1, (count, RIGID[rank]))
        draw *= [angle] * turns + [_SPREAD[1]] * rank
        return [matrix @ move for move in self._moves(draw)]

    def climb(self, matrices: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Better matrices, and the negative information of each."""
        level = self.level
        run = _climber(level.steps, level.pace)
        found, values = run(*self._given(matrices))
        moves = self._moves(np.asarray(found, np.float64) * self.units)
        return [a @ b for a, b in zip(matrices, moves, strict=True)], np.asarray(values)

    def information(self, matrix: np.ndarray) -> float:
        """In nats, of one matrix."""
        return -float(_climber(0, 1.0)(*self._given([matrix]))[1][0])

    def _given(self, matrices: Sequence[np.ndarray]) -> _Given:
        to_centre = np.eye(len(self.centre) + 1)
        to_centre[:-1, -1] = self.centre
        maps = np.stack([self.outward @ matrix @ to_centre for matrix in matrices])
        start = np.zeros((len(matrices), len(self.units)), np.float32)
        maps = maps.astype(np.float32)
        return _Given(self.image, self.offsets, self.bins, maps, start, self.units)

    def _moves(self, parameters: np.ndarray) -> np.ndarray:
        """[S, rank + 1, rank + 1], of parameters [S, n] in float64, about the points' centre."""
        return np.asarray(matrix_of(parameters, self.centre))


class _Given(NamedTuple):
    """What a climb is made of; the same order as `_Scene._given`."""

    image: Tensor  # [1, *grid, 1] of the moving scan, in bins
    offsets: Tensor  # [N, rank] of the points, mm from their centre
    bins: Tensor  # [N, bins], shares of the fixed values
    maps: Tensor  # [S, rank + 1, rank + 1], mm from the centre to voxels of the moving scan
    start: Tensor  # [S, n], zeros
    units: Tensor  # [n]


@functools.cache
def _climber(steps: int, pace: float) -> Callable[..., Any]:
    def climb(*arrays: Tensor) -> tuple[Tensor, Tensor]:
        given = _Given(*arrays)
        found = descend(
            lambda x: ops.negative(_information(given, x)),
            given.start,
            steps=steps,
            learning_rate=pace,
            betas=(0.8, 0.98),
            decay=0.1,
        )
        return found.x, found.value

    return compiled(climb)


def _information(given: _Given, parameters: Tensor) -> Tensor:
    """[S], of the joint histogram of fixed values and what each start finds in the moving scan."""
    starts, rank = parameters.shape[0], given.offsets.shape[-1]
    move = matrix_of(parameters * given.units, np.zeros(rank, np.float32))
    whole: Any = ops.matmul(given.maps, move)
    index: Any = ops.matmul(given.offsets[None], ops.swapaxes(whole[:, :-1, :-1], 1, 2))
    index = index + whole[:, None, :-1, -1]
    flat = ops.reshape(index, [1, -1, rank])
    values = resample(given.image, flat, border="edge")
    known: Any = coverage(ops.stop_gradient(index), tuple(given.image.shape[1:-1]))
    bins = _one_hot(ops.reshape(values, [starts, -1]), given.bins.shape[-1])
    seen: Any = known * given.bins[None]
    joint: Any = ops.matmul(ops.swapaxes(seen, 1, 2), bins)
    total: Any = ops.sum(joint, axis=(1, 2), keepdims=True)
    joint = joint / ops.maximum(total, 1e-6)
    columns: Any = ops.sum(joint, axis=1, keepdims=True)
    apart: Any = ops.sum(joint, axis=2, keepdims=True) * columns
    tiny = 1e-10
    found: Any = ops.sum(joint * ops.log((joint + tiny) / (apart + tiny)), axis=(1, 2))
    share: Any = total[:, 0, 0] / given.offsets.shape[0]
    return found * ops.minimum(share / _LEAST, 1.0)


def _one_hot(values: Any, count: int) -> Any:
    """[..., count], the shares of values in [0, count - 1] in the two bins next to each."""
    distance: Any = values[..., None] - np.arange(count, dtype=np.float32)
    if isinstance(values, np.ndarray):
        return np.maximum(1 - np.abs(distance), 0).astype(np.float32)
    near: Any = ops.abs(distance)
    return ops.relu(1.0 - near)


def _binned(values: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Values as places among the bins, from 0 to count - 1."""
    low, high = np.percentile(of, _OUTLIERS)
    if not high > low:
        raise ValueError("a scan shows a single value; expected one with contrast")
    scaled = (values - low) * ((count - 1) / (high - low))
    return np.clip(scaled, 0, count - 1).astype(np.float32)


def _seen(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (1.0, 99.0))
    return image > low + _DARK * (high - low)


def _coarser(image: np.ndarray, grid: np.ndarray, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of voxels, so that each axis has about the pitch."""
    spacing = np.linalg.norm(grid[:-1, :-1], axis=0)
    factors = np.maximum(np.round(pitch / spacing), 1).astype(int)
    factors = np.minimum(factors, np.maximum(np.array(image.shape) // 4, 1))
    for axis, factor in enumerate(factors):
        if factor > 1:
            count = image.shape[axis] // factor
            image = np.moveaxis(image, axis, -1)[..., : count * factor]
            image = image.reshape(*image.shape[:-1], count, factor).mean(axis=-1)
            image = np.moveaxis(image, -1, axis)
    made = grid.astype(np.float64).copy()
    made[:-1, :-1] = grid[:-1, :-1] * factors
    made[:-1, -1] = grid[:-1, -1] + grid[:-1, :-1] @ ((factors - 1) / 2)
    return np.ascontiguousarray(image), made
