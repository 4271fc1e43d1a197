"""Overlaps, distances and errors by hand and a second way."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from ganatomy.measures.bootstrap import resample_weights
from ganatomy.measures.registration import (
    error_measures,
    label_distances,
    label_overlaps,
    landmark_errors,
    mean_interval,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def blobs(rng, grid):
    """Two label maps of two balls each, a little apart."""
    maps = []
    for _ in range(2):
        found = np.zeros(grid, int)
        for label, middle in ((1, 0.35), (2, 0.65)):
            centre = middle * np.array(grid) + rng.uniform(-1, 1, len(grid))
            far = np.moveaxis(np.indices(grid), 0, -1) - centre
            found[np.linalg.norm(far, axis=-1) < min(grid) / 4] = label
        maps.append(found)
    return maps


def border(mask):
    """Places with a neighbour across a face that is outside, or beyond the grid."""
    padded = np.pad(mask, 1)
    inside = np.ones_like(padded)
    for axis in range(mask.ndim):
        inside &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return np.argwhere(padded & ~inside) - 1


def test_overlaps_by_hand():
    fixed = np.array([[0, 1, 1], [1, 2, 0]])
    moved = np.array([[0, 1, 0], [1, 2, 2]])
    found = label_overlaps(fixed, moved, (1, 2, 3))
    assert found[1] == pytest.approx(4 / 5)
    assert found[2] == pytest.approx(2 / 3)
    assert np.isnan(found[3])


@pytest.mark.parametrize(("grid", "spacing"), [((24, 20), (0.5, 2)), ((14, 16, 12), (1, 1, 3))])
def test_distances_as_by_nearest_neighbours(rng, grid, spacing):
    fixed, moved = blobs(rng, grid)
    for percentile in (95, 100):
        found = label_distances(fixed, moved, (1, 2), spacing, percentile)
        for label in (1, 2):
            a, b = (border(m == label) * np.array(spacing) for m in (fixed, moved))
            there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
            expected = max(np.percentile(there, percentile), np.percentile(back, percentile))
            assert found[label] == pytest.approx(expected, abs=1e-9)


def test_a_shift_is_as_far_as_it_is_and_swapping_changes_nothing():
    fixed = np.zeros((20, 20, 20), int)
    fixed[5:10, 5:10, 5:10] = 1
    moved = np.roll(fixed, 2, axis=2)
    assert label_distances(fixed, moved, (1,), (1, 1, 1.5), 100)[1] == pytest.approx(3)
    assert label_distances(moved, fixed, (1,), (1, 1, 1.5), 100)[1] == pytest.approx(3)
    assert label_distances(fixed, fixed, (1,), (1, 1, 1.5))[1] == 0


def test_a_label_that_is_missing():
    fixed, moved = np.zeros((2, 5, 5), int)
    fixed[2, 2] = 1
    found = label_distances(fixed, moved, (1, 2), (1, 1))
    assert found[1] == float("inf")
    assert np.isnan(found[2])
    with pytest.raises(ValueError, match="one grid"):
        label_overlaps(fixed, moved[1:], (1,))
    with pytest.raises(ValueError, match="a spacing of 3"):
        label_distances(fixed, moved, (1,), (1, 1, 1))


def test_landmark_errors_by_hand():
    errors = landmark_errors([[0, 0, 0], [1, 2, 3]], [[3, 4, 0], [1, 2, 3]])
    np.testing.assert_allclose(errors, [5, 0])
    with pytest.raises(ValueError, match="landmarks"):
        landmark_errors([[0, 0]], [[0, 0, 0]])


@pytest.mark.parametrize("n", [1, 2, 10, 41])
def test_errors_as_numpy_counts_them(rng, n):
    errors = rng.exponential(3, n)
    found = error_measures(errors, limit=4, resamples=200)
    assert found["median"].value == pytest.approx(np.median(errors))
    assert found["p90"].value == pytest.approx(np.quantile(errors, 0.9))
    assert found["failures"].value == pytest.approx((errors > 4).mean())
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high


def test_intervals_are_those_of_repeated_draws(rng):
    errors = rng.exponential(3, 30)
    found = error_measures(errors, resamples=500, seed=3)
    (weights,) = resample_weights(np.zeros(30, int), None, 500, 3)
    draws = [np.repeat(errors, counts.astype(int)) for counts in weights]
    for name, q in (("median", 0.5), ("p90", 0.9)):
        low, high = np.quantile([np.quantile(draw, q) for draw in draws], [0.025, 0.975])
        assert found[name].low == pytest.approx(low)
        assert found[name].high == pytest.approx(high)


def test_a_registration_that_gave_nothing_is_a_failure():
    found = error_measures([1.0, 2.0, np.inf], resamples=300)
    assert found["median"].value == 2
    assert found["median"].high == float("inf")
    assert found["failures"].value == pytest.approx(1 / 3)
    assert not any(np.isnan(interval).any() for interval in found.values())
    with pytest.raises(ValueError, match="distances"):
        error_measures([1.0, np.nan])


def test_patients_are_drawn_whole(rng):
    patients = np.repeat(np.arange(4), 50)
    values = patients + rng.normal(0, 0.01, 200)
    together, apart = mean_interval(values, groups=patients), mean_interval(values)
    assert together.value == pytest.approx(values.mean())
    assert together.high - together.low > 3 * (apart.high - apart.low)
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, np.inf])
