"""The pairs of the rigid benchmark: moved and cut scans show each point where the truth says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.registration_rigid import cut, displaced, judged, placed, reduced
from ganatomy.scans import Scan
from registration.known_transforms import rigid
from registration.registration import grid_of
from registration.transforms import Affine

GRID = np.array([[2.0, 0.3, 0, -60], [-0.3, 2.0, 0, 30], [0, 0, 5.0, -40], [0, 0, 0, 1]])


def spot(centre: np.ndarray) -> Scan:
    """A soft ball about a point in mm."""
    index = np.moveaxis(np.indices((60, 50, 24)), 0, -1)
    points = index @ GRID[:3, :3].T + GRID[:3, 3]
    return placed(np.exp(-((points - centre) ** 2).sum(-1) / 300), GRID)


def brightest(scan: Scan) -> np.ndarray:
    """Centre of mass, mm."""
    weights = scan.pixels[..., 0]
    index = np.moveaxis(np.indices(weights.shape), 0, -1)
    grid = grid_of(scan)
    mean = (index * weights[..., None]).sum((0, 1, 2)) / weights.sum()
    return grid[:3, :3] @ mean + grid[:3, 3]


def test_a_displaced_scan_shows_a_point_at_the_truths_inverse():
    centre = np.array([10.0, 72.0, 20.0])
    scan = spot(centre)
    truth = rigid(scan, 3, 1, size=0.5)
    there = truth.inverse().map(centre[None])[0]
    np.testing.assert_allclose(brightest(displaced(scan, truth)), there, atol=0.3)


def test_what_is_cut_and_what_is_reduced_stays_where_it_is():
    centre = np.array([10.0, 72.0, 20.0])
    scan = spot(centre)
    left = cut(scan, ((0.1, 1.0), (0.0, 0.95), (0.05, 1.0)))
    assert left.pixels.shape[:3] == (54, 48, 23)
    np.testing.assert_allclose(brightest(left), centre, atol=0.3)
    wide = placed(np.repeat(np.repeat(scan.pixels[..., 0], 4, 0), 4, 1), GRID @ quarter())
    small = reduced(wide)
    assert small.pixels.shape[:3] == (128, 128, 24)
    np.testing.assert_allclose(brightest(small), centre, atol=0.5)


def quarter() -> np.ndarray:
    """From voxels four times as fine in a slice to those they were made of."""
    matrix = np.diag([0.25, 0.25, 1.0, 1.0])
    matrix[:2, 3] = -0.375
    return matrix


def test_a_method_that_gives_nothing_failed():
    points = np.zeros((3, 3))

    def broken():
        raise RuntimeError("too many samples map outside")

    assert judged(broken, points, points)[0] == np.inf
    shift = Affine.rigid([0.0, 0.0, 0.0, 3.0, 4.0, 0.0], [0.0] * 3)
    assert judged(lambda: shift, points, points)[0] == pytest.approx(5.0)
