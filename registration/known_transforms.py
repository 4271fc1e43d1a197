"""Transforms that are known because they were made here, to measure and to calibrate with."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ganatomy.scans import Scan
from registration.deformations import Displacement
from registration.registration import grid_of
from registration.transforms import Affine, Transform, moved

Kind = Literal["rigid", "affine", "smooth"]

ANGLE, SHIFT = 15.0, 20.0  # degrees and mm along each axis
LINEAR = 0.2  # entries of an affine map beside the identity's; below 1/3 none turns it inside out
BENT = 8.0  # mm that a smooth deformation moves the scan by on average, at most
COARSE = 4  # points an axis between which a smooth deformation is a spline
POINTS = 500  # over which an error is the mean


def rigid(scan: Scan, seed: int, index: int, size: float = 1.0) -> Affine:
    """Turned by up to 15° and shifted by up to 20 mm about each axis of the scan's middle.

    Args:
        scan: that is to be moved.
        seed: of the draw.
        index: which of the draws.
        size: of angles and shifts, times these.
    """
    draw, rank = np.random.default_rng([seed, index]), scan.rank
    angles = np.deg2rad(draw.uniform(-ANGLE, ANGLE, 3 if rank == 3 else 1))
    parameters = size * np.array([*angles, *draw.uniform(-SHIFT, SHIFT, rank)])
    return Affine.rigid(parameters.tolist(), middle_of(scan).tolist())


def affine(scan: Scan, seed: int, index: int) -> Affine:
    """An affine map about the scan's middle that moves what it shows by 0 to 20 mm, as often each.

    The linear part has any share of that, as far as its entries may go; a shift has the rest.

    Args:
        scan: that is to be moved.
        seed: of the draw.
        index: which of the draws.
    """
    from scipy.optimize import brentq

    draw, rank, middle = np.random.default_rng([seed, index]), scan.rank, middle_of(scan)
    spread, error = shown_points(scan) - middle, draw.uniform(0, SHIFT)
    linear, along = draw.uniform(-1, 1, (rank, rank)), draw.standard_normal(rank)
    along /= np.linalg.norm(along)
    own = float(np.linalg.norm(spread @ linear.T, axis=-1).mean())
    linear *= min(LINEAR, draw.uniform() * error / own)

    def beyond(size: float) -> float:
        moves = np.linalg.norm(spread @ linear.T + size * along, axis=-1)
        return float(moves.mean()) - error

    shift = brentq(beyond, 0, 2 * error) * along  # pyright: ignore[reportOperatorIssue]
    matrix = np.eye(rank + 1)
    matrix[:rank, :rank] += linear
    matrix[:rank, rank] = shift - linear @ middle
    return Affine(matrix)


def away(scan: Scan, points: np.ndarray, seed: int, index: int, most: float = SHIFT) -> Affine:
    """A rigid motion about the scan's middle that moves points by 0 to 20 mm, as often each.

    Args:
        scan: that is to be moved.
        points: [n, rank], mm, over whose displacements the mean is taken.
        seed: of the draw.
        index: which of the draws.
        most: mm.
    """
    from scipy.spatial.transform import Rotation

    draw, rank, middle = np.random.default_rng([seed, index]), scan.rank, middle_of(scan)
    spread, error = points - middle, draw.uniform(0, most)
    reach = float(np.linalg.norm(spread, axis=-1).mean())
    while True:
        turn, shift = draw.standard_normal(3) / reach, draw.standard_normal(rank)
        if rank == 2:
            turn[:2] = 0
        size = error / np.linalg.norm(shift)
        for _ in range(4):  # an error grows nearly in proportion to angles and shifts
            turned = Rotation.from_rotvec(size * turn).as_matrix()[:rank, :rank]
            off = np.linalg.norm(spread @ turned.T + size * shift - spread, axis=-1).mean()
            size *= error / max(off, 1e-6)
        if size * np.linalg.norm(turn) < np.deg2rad(2 * ANGLE):
            break
    turned = Rotation.from_rotvec(size * turn).as_matrix()[:rank, :rank]
    matrix = np.eye(rank + 1)
    matrix[:rank, :rank] = turned
    matrix[:rank, rank] = middle + size * shift - turned @ middle
    return Affine(matrix)


def bent(
    scan: Scan, seed: int, index: int, most: float = BENT, *, affine: bool = True
) -> Transform:
    """A smooth deformation without folds, by up to 8 mm on average.

    Args:
        scan: that is to be moved.
        seed: of the draw.
        index: which of the draws.
        most: mm.
        affine: whether the scan may be turned, stretched and shifted by it as a whole, too.
    """
    from registration.perturbations import bend, without_affine

    draw, rank = np.random.default_rng([seed, index]), scan.rank
    grid = grid_of(scan)
    # The flow has no more detail than this; on a finer grid it would take minutes.
    steps = [max(1, -(-side // 48)) for side in scan.shape]
    sides = [max(2, -(-side // step)) for side, step in zip(scan.shape, steps, strict=True)]
    coarse = grid @ np.diag([*map(float, steps), 1.0])
    noise = draw.standard_normal((1, *[COARSE] * rank, rank)).astype(np.float32)
    error = np.array([draw.uniform(0, most)], np.float32)
    if not affine:
        noise = without_affine(noise)
    field = np.asarray(bend(noise, error, sides, coarse[:-1, :-1].astype(np.float32)))[0]
    return Displacement(field, coarse)


def drawn(kind: Kind, scan: Scan, seed: int, index: int) -> Transform:
    """A known transform of a kind, see `rigid`, `affine` and `bent`."""
    return {"rigid": rigid, "affine": affine, "smooth": bent}[kind](scan, seed, index)


def displaced(scan: Scan, transform: Transform) -> Scan:
    """The scan as it shows where something has moved: `displaced(p) = scan(transform(p))`.

    On its own grid, by cubic interpolation, so that nothing in its header tells what was done. A
    transform of anything's points to this scan's is followed by the inverse of this one.

    Args:
        scan: with a place.
        transform: of the displaced scan's points to the scan's.
    """
    grid = grid_of(scan)
    darkest = float(scan.pixels.min())
    pixels = moved(
        scan.pixels, grid, transform, scan.shape, grid, interpolation="cubic", value=darkest
    )
    # A spline overshoots; what was seen had no such values.
    pixels = np.clip(pixels, darkest, scan.pixels.max())
    name = f"{scan.path} (displaced)"
    return Scan(pixels, scan.affine, scan.units, scan.modality, name, scan.kind, scan.header)


def middle_of(scan: Scan) -> np.ndarray:
    """The middle of a scan's grid, mm."""
    grid = grid_of(scan)
    return grid[:-1, :-1] @ ((np.array(scan.shape) - 1) / 2) + grid[:-1, -1]


def shown_points(scan: Scan, count: int = POINTS, seed: int = 0) -> np.ndarray:
    """Points of what a scan shows, in front of its background, [n, rank], mm.

    Args:
        scan: with a place.
        count: at most so many.
        seed: of the draw.
    """
    from skimage.filters import threshold_otsu

    grey = scan.pixels.mean(-1)
    shown = np.argwhere(grey > threshold_otsu(grey))
    picked = np.random.default_rng(seed).choice(len(shown), min(count, len(shown)), replace=False)
    grid = grid_of(scan)
    return shown[picked] @ grid[:-1, :-1].T + grid[:-1, -1]


def error_of(found: Transform, points: np.ndarray, goals: np.ndarray) -> float:
    """The mean distance between where a transform sends points and where they belong, mm.

    Args:
        found: of fixed points to moving points.
        points: [n, rank], of the fixed scan.
        goals: the same points in the moving scan; NaN for those of which nobody knows.
    """
    distance = np.linalg.norm(found.map(points) - goals, axis=-1)
    known = np.isfinite(distance)
    return float(distance[known].mean()) if known.any() else float("nan")
