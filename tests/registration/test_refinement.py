"""Mutual information climbs to a known transform, across contrasts, in mm, and never falls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from registration.conventions import grid_points
from registration.refinement import FAR as FOR_HEADS
from registration.refinement import Level, refine, sized
from registration.transforms import Affine

NEAR = (Level(6.0, 600, 12, 20, 1.5), Level(3.0, 2500, 16, 25, 0.3))
FAR = (
    Level(8.0, 800, 12, 20, 4.0, keep=6, search=31),
    Level(6.0, 1200, 12, 20, 2.0, keep=6),
    Level(3.0, 2500, 16, 25, 0.5),
)
OFF = {2: [0.06, 3.0, -4.0], 3: [0.05, -0.06, 0.04, 3.0, -3.0, 2.5]}
FAR_OFF = ([0.25, -0.2, 0.25, 18.0, -18.0, 18.0], [-0.2, 0.25, -0.1, -15.0, 12.0, 18.0])
LEVELS = {"rigid": NEAR, "affine": (NEAR[0], Level(3.0, 4000, 16, 60, 0.5))}


def head(rank: int) -> tuple[np.ndarray, np.ndarray]:
    """A round head of smooth tissue, [*grid], on an oblique grid of unequal sides in mm."""
    shape = (44, 40, 18)[:rank]
    sides = np.array(shape).reshape(-1, *[1] * rank)
    within = np.square((np.indices(shape) - (sides - 1) / 2) / (sides / 2.6)).sum(axis=0) < 1
    texture = gaussian_filter(np.random.default_rng(2).standard_normal(shape), 2.0)
    texture = (texture - texture.min()) / np.ptp(texture)
    image = gaussian_filter(np.where(within, 100 + 400 * texture, 0), 0.7)
    turn = [0.2, 0, 0] if rank == 2 else [0.1, -0.2, 0.15, 0, 0, 0]
    grid = Affine.rigid(turn, [0.0] * rank).matrix @ np.diag([*[2.0, 2.5, 5.0][:rank], 1.0])
    grid[:-1, -1] = [30.0, -80.0, 12.0][:rank]
    return image.astype(np.float32), grid


def pair(rank: int, parameters: list[float]):
    """A head, the same in another contrast and moved, both grids, and the true transform."""
    fixed, grid = head(rank)
    middle = grid_points(fixed.shape, grid).reshape(-1, rank).mean(axis=0)
    truth = Affine.rigid(parameters, middle.tolist())
    # moving(T x) = other(x): what stands at y of the moving scan stood at the inverse of y.
    other = np.where(fixed > 20, 700 - fixed, 0)
    place = np.linalg.inv(grid)
    index = truth.inverse().map(grid_points(fixed.shape, grid)) @ place[:-1, :-1].T + place[:-1, -1]
    moving = map_coordinates(other, np.moveaxis(index, -1, 0), order=1)
    return fixed, moving, grid, truth


def error(found: Affine, truth: Affine, fixed: np.ndarray, grid: np.ndarray) -> float:
    """Mean distance in mm over the head."""
    points = grid_points(fixed.shape, grid)[fixed > 50]
    return float(np.linalg.norm(found.map(points) - truth.map(points), axis=-1).mean())


@pytest.mark.parametrize(("rank", "kind"), [(2, "rigid"), (3, "rigid"), (3, "affine")])
def test_a_transform_that_is_near_becomes_exact_across_contrasts(rank, kind):
    fixed, moving, grid, truth = pair(rank, OFF[rank])
    identity = Affine.identity(rank)
    found = refine(fixed, moving, grid, grid, [identity], kind=kind, levels=LEVELS[kind])
    assert error(identity, truth, fixed, grid) > 3.5
    assert error(found.transform, truth, fixed, grid) < 1.5
    assert found.information > found.before + 0.1


@pytest.mark.parametrize("off", FAR_OFF)
def test_a_search_finds_what_is_far(off):
    fixed, moving, grid, truth = pair(3, off)
    identity = Affine.identity(3)
    near = refine(fixed, moving, grid, grid, [identity], levels=NEAR)
    far = refine(fixed, moving, grid, grid, [identity], levels=FAR)
    assert error(near.transform, truth, fixed, grid) > 5
    assert error(far.transform, truth, fixed, grid) < 1.5


def test_nothing_is_left_to_chance_and_grids_may_differ():
    fixed, moving, grid, truth = pair(3, OFF[3])
    # The moving scan on a grid of its own: cut, and counted backwards along an axis.
    cut = moving[::-1, 3:]
    own = grid @ np.array([[-1, 0, 0, 43.0], [0, 1, 0, 3], [0, 0, 1, 0], [0, 0, 0, 1]])
    twice = [refine(fixed, cut, grid, own, [Affine.identity()], levels=NEAR) for _ in range(2)]
    np.testing.assert_array_equal(twice[0].transform.matrix, twice[1].transform.matrix)
    assert error(twice[0].transform, truth, fixed, grid) < 2.5  # half a slice


def test_levels_go_with_the_size_of_the_scan():
    grid = np.diag([0.86, 0.86, 6.5, 1.0])
    assert sized(FOR_HEADS, (256, 256, 22), grid) == FOR_HEADS
    picture = sized(FOR_HEADS, (999, 960), np.eye(3))
    assert [level.pitch for level in picture] == [4 * level.pitch for level in FOR_HEADS]
    assert picture[0].spread == 80.0
    small = sized(FOR_HEADS, (35, 51, 35), np.eye(4))
    assert [level.pace for level in small] == [level.pace / 2 for level in FOR_HEADS]
    assert sized(FOR_HEADS, (9, 9, 9), np.eye(4)) == small


def test_the_result_is_never_worse_than_the_start():
    fixed, moving, grid, truth = pair(3, OFF[3])
    # A pace that leads away: what it finds has less information than the truth had.
    wild = (Level(3.0, 2500, 16, 3, 40.0),)
    found = refine(fixed, moving, grid, grid, [truth], levels=wild)
    assert found.information >= found.before
    assert error(found.transform, truth, fixed, grid) < 1.5


def test_only_points_of_the_mask_are_looked_at():
    fixed, moving, grid, truth = pair(3, OFF[3])
    half = np.zeros(fixed.shape, bool)
    half[:, :22] = fixed[:, :22] > 50
    spoilt = fixed.copy()
    spoilt[:, 28:] = np.random.default_rng(0).uniform(0, 500, spoilt[:, 28:].shape)
    found = refine(spoilt, moving, grid, grid, [Affine.identity()], mask=half, levels=NEAR)
    assert error(found.transform, truth, fixed * half, grid) < 0.8


def test_what_cannot_be_refined_is_refused():
    fixed, moving, grid, _ = pair(2, OFF[2])
    start = [Affine.identity(2)]
    with pytest.raises(ValueError, match="a scan shows a single value"):
        refine(fixed, np.zeros_like(moving), grid, grid, start)
    with pytest.raises(ValueError, match="the mask is"):
        refine(fixed, moving, grid, grid, start, mask=np.zeros(fixed.shape, bool))
    with pytest.raises(ValueError, match="starts of that rank"):
        refine(fixed, moving, grid, grid, [Affine.identity(3)])
