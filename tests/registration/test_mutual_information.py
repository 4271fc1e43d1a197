"""Mutual information: what is known of it, and that its slope is its slope."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from registration.mutual_information import MutualInformation


def scene(rank: int, bins: int = 8) -> MutualInformation:
    """Points off the grid of a smooth image, and another image made of the same tissue."""
    draw = np.random.default_rng(4)
    image = gaussian_filter(draw.standard_normal((14, 12, 9)[:rank]), 2.0)
    points = draw.uniform(2, np.array(image.shape) - 3, (400, rank))
    values = image[tuple(np.rint(points).astype(int).T)]
    return MutualInformation(points, values, values, np.square(image - 0.1), bins)


def placed(rank: int, count: int = 1) -> np.ndarray:
    draw = np.random.default_rng(7)
    maps = np.tile(np.eye(rank + 1), (count, 1, 1))
    maps[:, :-1] += draw.normal(0, 0.03, (count, rank, rank + 1))
    return maps


@pytest.mark.parametrize("rank", [2, 3])
def test_the_slope_is_what_a_small_step_gains(rank):
    information, maps = scene(rank), placed(rank)
    _, slope = information(maps)
    step = 2e-3
    for row in range(rank):
        for column in range(rank + 1):
            away = np.zeros_like(maps)
            away[0, row, column] = step
            gain = (information(maps + away)[0] - information(maps - away)[0])[0] / (2 * step)
            assert slope[0, row, column] == pytest.approx(gain, rel=0.05, abs=0.05)


def test_many_maps_at_once_are_as_each_by_itself():
    information, maps = scene(3), placed(3, 4)
    values, slopes = information(maps)
    for i in range(4):
        value, slope = information(maps[i : i + 1])
        assert values[i] == pytest.approx(value[0], rel=1e-6)
        np.testing.assert_allclose(slopes[i], slope[0], rtol=1e-3, atol=1e-4)


def test_a_scan_tells_all_of_itself_and_nothing_of_noise():
    draw = np.random.default_rng(1)
    image = np.repeat(np.arange(8.0), 40).reshape(16, 20)
    index = np.argwhere(image >= 0).astype(float)
    own = MutualInformation(index, image.ravel(), image, image, 8)
    other = draw.permuted(image.ravel()).reshape(image.shape)
    strange = MutualInformation(index, image.ravel(), image, other, 8)
    here = np.eye(3)[None]
    # Eight shades as often: ln 8; the outermost percentiles cut nothing here.
    assert own(here)[0][0] == pytest.approx(np.log(8), abs=0.02)
    assert strange(here)[0][0] < 0.2


def test_points_that_miss_the_scan_are_told_of_in_proportion():
    image = np.repeat(np.arange(8.0), 40).reshape(16, 20)
    index = np.argwhere(image >= 0).astype(float)
    own = MutualInformation(index, image.ravel(), image, image, 8)
    away = np.eye(3)[None].copy()
    away[0, 1, 2] = 15.0  # three quarters of the columns fall off the scan
    assert own(away)[0][0] < 0.5 * own(np.eye(3)[None])[0][0]
    away[0, 1, 2] = 100.0
    value, slope = own(away)
    assert value[0] == pytest.approx(0, abs=1e-6)
    assert not slope.any()
