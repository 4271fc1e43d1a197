"""The last millimetre: mutual information of two scans, climbed from where a transform stands.

Mutual information asks only that what looks alike on one scan looks alike on the other, so it
serves within and across modalities. It is climbed in mm, coarse to fine, from one or several
starts at once; what is returned is never worse than the first start on the finest level.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, map_coordinates

from registration.matrices import AFFINE, RIGID
from registration.mutual_information import MutualInformation
from registration.perturbations import parameter_units
from registration.transforms import Affine

Kind = Literal["rigid", "affine"]

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
        search: how many starts are looked at beside those given, turned and shifted about the
            first by up to 15° and `spread`.
        spread: mm along each axis.
        margin: voxels about what is seen that are looked at too: its border holds a scale.
    """

    pitch: float
    points: int
    bins: int
    steps: int
    pace: float
    keep: int = 1
    search: int = 0
    spread: float = 20.0
    margin: int = 2


# From a transform that is a few mm off, as a network leaves it.
NEAR = (Level(4.0, 6000, 24, 25, 0.7), Level(2.0, 16000, 32, 25, 0.25))
# From one that may be off by 15° and 20 mm about and along each axis.
FAR = (
    Level(12.0, 800, 12, 20, 4.0, keep=6, search=31),
    Level(8.0, 2000, 16, 20, 2.0, keep=2),
    *NEAR,
)
_HEAD = 190.0  # mm, the mean side of a scan that these are for
_SMALLEST = 0.5  # what is smaller than half a head still lies as far off as that
_ANGLE = np.pi / 12  # about each axis, of a search
_MEAN, _SQUARE = 0.8, 0.98  # decay of Adam's two means
_HALVINGS, _ORDER = 6, 5  # of a matrix exponential


def sized(levels: Sequence[Level], shape: Sequence[int], grid: np.ndarray) -> tuple[Level, ...]:
    """Levels for a head, doubled or halved as often as a scan's sides are.

    Args:
        levels: `NEAR` or `FAR`.
        shape: of the fixed scan.
        grid: [rank + 1, rank + 1], its voxels to mm; to pixels where a picture has no place.
    """
    sides = np.linalg.norm(grid[:-1, :-1], axis=0) * shape
    times = float(2.0 ** np.round(np.log2(np.exp(np.log(sides).mean()) / _HEAD)))
    times = max(times, _SMALLEST)
    return tuple(
        replace(
            level, pitch=times * level.pitch, pace=times * level.pace, spread=times * level.spread
        )
        for level in levels
    )


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

    Reference: Mattes et al. 2003 for the information; Kingma & Ba 2015, algorithm 1, for the climb.
    """
    began = time.monotonic()
    fixed, moving = np.asarray(fixed, np.float32), np.asarray(moving, np.float32)
    rank = fixed.ndim
    if not levels or not starts or any(one.rank != rank for one in starts) or moving.ndim != rank:
        raise ValueError(f"scans of {rank} axes need levels and starts of that rank")
    if mask is not None and (np.shape(mask) != fixed.shape or not np.any(mask)):
        raise ValueError(f"the mask is {np.shape(mask)} or empty; the fixed scan is {fixed.shape}")
    pitches = [level.pitch for level in levels]
    fixeds = _pyramid(_Placed(fixed, fixed_grid), pitches)
    movings = _pyramid(_Placed(moving, moving_grid), pitches)
    if mask is None:
        finest = fixeds[min(pitches)]
        inside = _Placed(_seen(finest.image), finest.grid)
    else:
        inside = _Placed(np.asarray(mask, np.float32), fixed_grid)
    shares = _pyramid(inside, pitches)
    moves = [start.matrix for start in starts]
    for number, level in enumerate(levels):
        # Twelve parameters with little to hold them run away: what is coarse moves rigidly.
        count = (AFFINE if kind == "affine" and 2 * number >= len(levels) else RIGID)[rank]
        at = level.pitch
        scene = _Scene(fixeds[at], movings[at], shares[at], count, level)
        moves += scene.spread(moves[0], level.search)
        found, values = scene.climb(moves)
        best = np.argsort(-values, kind="stable")[: level.keep]
        moves = [found[i] for i in best]
    before, after = (scene.information(one) for one in (starts[0].matrix, moves[0]))
    better = after > before
    return Refined(
        Affine(moves[0]) if better else starts[0],
        max(after, before),
        before,
        time.monotonic() - began,
    )


class _Placed(NamedTuple):
    """An image and its grid, voxel to mm."""

    image: np.ndarray
    grid: np.ndarray


class _Scene:
    """Two scans at one level, and the points of the fixed one that are looked at."""

    def __init__(self, fixed: _Placed, moving: _Placed, share: _Placed, count: int, level: Level):
        self.level, self.rank = level, fixed.image.ndim
        seen = np.asarray(share.image >= min(0.5, float(share.image.max())))
        if level.margin:
            seen = np.asarray(binary_dilation(seen, iterations=level.margin), bool)
        index = np.argwhere(seen).astype(np.float64)
        draw = np.random.default_rng(0)
        index = index[draw.choice(len(index), level.points, replace=len(index) < level.points)]
        # Off the grid: points that sit on both grids at once draw the optimum to whole voxels.
        index += draw.uniform(-0.5, 0.5, index.shape)
        values = map_coordinates(fixed.image, index.T, order=1, mode="nearest")
        points = index @ fixed.grid[:-1, :-1].T + fixed.grid[:-1, -1]
        centre = points.mean(axis=0)
        points -= centre
        # Written out: a product with an inverse may leave a last row that is 0 0 0 1 but for dust.
        self.to_centre, self.from_centre = np.eye(self.rank + 1), np.eye(self.rank + 1)
        self.to_centre[:-1, -1], self.from_centre[:-1, -1] = centre, -centre
        self.information_of = MutualInformation(
            points, values, np.compress(seen.ravel(), fixed.image), moving.image, level.bins
        )
        self.outward = np.linalg.inv(moving.grid)
        self.tangents = _tangents(self.rank, count) * parameter_units(points, count)[:, None, None]

    def spread(self, matrix: np.ndarray, count: int) -> list[np.ndarray]:
        """So many matrices that turn and shift the points before a matrix, the same every time."""
        turns = RIGID[self.rank] - self.rank
        draw = np.random.default_rng(1).uniform(-1, 1, (count, RIGID[self.rank]))
        draw *= [_ANGLE] * turns + [self.level.spread] * self.rank
        moves = _exponential(np.tensordot(draw, _tangents(self.rank, RIGID[self.rank]), 1))
        return list(matrix @ self.to_centre @ moves @ self.from_centre)

    def climb(self, matrices: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Better matrices, and the information of each."""
        steps, pace = self.level.steps, self.level.pace
        now = np.stack(matrices) @ self.to_centre
        best, most = now.copy(), np.full(len(now), -np.inf)
        mean = square = np.zeros((len(now), len(self.tangents)))
        for step in range(steps + 1):
            value, slope = self._information(now)
            better = value > most
            best[better], most[better] = now[better], value[better]
            mean = _MEAN * mean + (1 - _MEAN) * slope
            square = _SQUARE * square + (1 - _SQUARE) * slope**2
            deviation = np.sqrt(square / (1 - _SQUARE ** (step + 1))) + 1e-8
            rate = pace * (0.1 + 0.45 * (1 + np.cos(np.pi * step / steps)))
            move = rate * mean / (1 - _MEAN ** (step + 1)) / deviation
            now = now @ _exponential(np.tensordot(move, self.tangents, 1))
        return list(best @ self.from_centre), most

    def information(self, matrix: np.ndarray) -> float:
        """In nats, of one matrix."""
        return float(self._information((matrix @ self.to_centre)[None])[0][0])

    def _information(self, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[S], and its slope to a further move along each tangent, [S, n]."""
        maps = self.outward @ matrices
        value, slope = self.information_of(maps)
        turned = np.einsum("sij,pjk->spik", maps[:, :-1], self.tangents)
        return value, np.einsum("sik,spik->sp", slope, turned)


def _tangents(rank: int, count: int) -> np.ndarray:
    """[count, rank + 1, rank + 1], the matrices whose exponentials are the rigid or affine maps."""
    found = []
    for a in range(rank):
        for b in range(rank):
            if count == RIGID[rank] and a >= b:
                continue
            one = np.zeros((rank + 1, rank + 1))
            one[a, b] = 1.0
            if count == RIGID[rank]:
                one[b, a] = -1.0
            found.append(one)
    for a in range(rank):
        one = np.zeros((rank + 1, rank + 1))
        one[a, rank] = 1.0
        found.append(one)
    return np.stack(found)


def _exponential(matrices: np.ndarray) -> np.ndarray:
    """Of matrices [S, n, n], by scaling and squaring; a last row of zeros ends as 0 … 0 1."""
    small = matrices / 2**_HALVINGS
    found = one = np.eye(matrices.shape[-1])
    for order in range(_ORDER, 0, -1):
        found = one + small @ found / order
    for _ in range(_HALVINGS):
        found = found @ found
    return found


def _seen(image: np.ndarray) -> np.ndarray:
    """1 where a scan shows more than air."""
    low, high = np.percentile(image, (1.0, 99.0))
    return (image > low + _DARK * (high - low)).astype(np.float32)


def _pyramid(finest: _Placed, pitches: Sequence[float]) -> dict[float, _Placed]:
    """By pitch in mm, an image made coarser: each from the next finer one."""
    found = {}
    for pitch in sorted(pitches):
        found[pitch] = finest = _coarser(finest, pitch)
    return found


def _coarser(placed: _Placed, pitch: float) -> _Placed:
    """Means over blocks of voxels, so that each axis has about the pitch."""
    image, grid = placed
    spacing = np.linalg.norm(grid[:-1, :-1], axis=0)
    factors = np.maximum(np.round(pitch / spacing), 1).astype(int)
    factors = np.minimum(factors, np.maximum(np.array(image.shape) // 4, 1))
    for axis, factor in enumerate(factors):
        if factor > 1:
            image = np.moveaxis(image, axis, 0)
            whole = len(image) // factor * factor
            total = image[:whole:factor].copy()
            for place in range(1, factor):
                total += image[place:whole:factor]
            image = np.moveaxis(total / np.float32(factor), 0, axis)
    made = grid.astype(np.float64).copy()
    made[:-1, :-1] = grid[:-1, :-1] * factors
    made[:-1, -1] = grid[:-1, -1] + grid[:-1, :-1] @ ((factors - 1) / 2)
    return _Placed(np.ascontiguousarray(image), made)
