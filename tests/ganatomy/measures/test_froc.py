"""Lesions found against false positives a scan, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ganatomy.measures.froc import (
    RATES,
    Marks,
    froc_band,
    froc_differences,
    froc_measures,
    lesion_marks,
    spread,
)


def scan(peaks: dict[tuple[int, int], float], lesions: list[tuple[int, int]], side: int = 20):
    """A map with single bright pixels, and lesions of 3 × 3 pixels about their centres."""
    array, truth = np.full((side, side), 0.01, np.float32), np.zeros((side, side), bool)
    for place, value in peaks.items():
        array[place] = value
    for i, j in lesions:
        truth[i - 1 : i + 2, j - 1 : j + 2] = True
    return array, truth


def values(measures):
    return {name: measure.value for name, measure in measures.items()}


def test_marks_of_a_falling_threshold():
    # Two lesions; a mark on the first at 8, beside both at 4, on the second's border at 2.
    array, truth = scan({(5, 5): 8.0, (15, 5): 4.0, (6, 15): 2.0}, [(5, 5), (5, 15)])
    marks = lesion_marks(array, truth)
    assert marks.thresholds.tolist() == [8, 4, 2]
    assert marks.found.tolist() == [1, 1, 2]
    assert marks.false.tolist() == [0, 1, 1]
    assert marks.lesions == 2


def test_parts_that_touch_at_a_corner_are_one():
    array, truth = scan({(5, 5): 4.0, (6, 6): 4.0, (10, 10): 4.0}, [])
    marks = lesion_marks(array, truth)
    assert marks.false.tolist() == [2]
    assert marks.lesions == 0
    truth[2, 2] = truth[3, 3] = True
    assert lesion_marks(array, truth).lesions == 1


def test_a_mark_over_half_the_scan_finds_nothing():
    array, truth = scan({}, [(5, 5)], side=40)
    array[:9, :40] = 3.0  # 9 of its 360 pixels are the lesion
    array[5, 5] = 6.0
    marks = lesion_marks(array, truth)
    assert marks.found.tolist() == [1, 0]
    assert marks.false.tolist() == [0, 1]
    touching = lesion_marks(array, truth, overlap=0)
    assert touching.found.tolist() == [1]  # nothing changes further down
    assert touching.false.tolist() == [0]


def test_what_was_not_seen_is_never_marked():
    array, truth = scan({(15, 15): 4.0}, [(5, 5)])
    array[truth] = np.nan
    marks = lesion_marks(array, truth)
    assert marks.found.tolist() == [0]
    assert marks.lesions == 1
    assert not lesion_marks(np.full((4, 4), np.nan), np.zeros((4, 4), bool)).thresholds.size


def test_a_volume_has_its_marks():
    array, truth = np.full((8, 8, 8), 0.01), np.zeros((8, 8, 8), bool)
    truth[2:4, 2:4, 2:4] = True
    array[3, 3, 3], array[6, 6, 6] = 2.0, 4.0
    marks = lesion_marks(array, truth)
    assert marks.found.tolist() == [0, 1]
    assert marks.false.tolist() == [1, 1]


def made_marks(*rows: tuple[list[float], list[int], list[int], int]) -> list[Marks]:
    return [
        Marks(np.array(levels, float), np.array(found, int), np.array(false, int), lesions)
        for levels, found, false, lesions in rows
    ]


def test_sensitivity_at_each_rate_by_hand():
    # At 8: one of 3 lesions, nothing false. At 4: two, 1 false on 4 scans. At 2: three, 6 false.
    marks = made_marks(
        ([8, 2], [1, 2], [0, 2], 2),
        ([4], [1], [1], 1),
        ([2], [0], [3], 0),
        ([], [], [], 0),
    )
    found = values(froc_measures(marks))
    wanted = {"0.125": 1 / 3, "0.25": 2 / 3, "0.5": 2 / 3, "1": 2 / 3, "2": 1, "4": 1, "8": 1}
    assert found.pop("mean") == pytest.approx(np.mean(list(wanted.values())))
    assert found == pytest.approx(wanted)


def test_fewer_marks_further_down_do_not_open_the_rate_again():
    # Four marks grow into one, and a lesion is found there: not at a rate of 1.
    marks = made_marks(([8, 4, 2], [0, 0, 1], [0, 4, 1], 1))
    found = values(froc_measures(marks))
    assert found["1"] == 0
    assert found["4"] == 1


def noisy_maps(seed: int, lift: float, scans: int = 16):
    draw = np.random.default_rng(seed)
    pairs = []
    for number in range(scans):
        truth = np.zeros((32, 32), bool)
        if number % 2:
            i, j = draw.integers(4, 22, 2)
            truth[i : i + 5, j : j + 5] = True
        noise = gaussian_filter(draw.normal(size=(32, 32)), 1.5)
        pairs.append((np.abs(noise / noise.std() + lift * gaussian_filter(truth * 1.0, 1)), truth))
    return pairs


def noisy(seed: int, lift: float):
    return [lesion_marks(*pair) for pair in noisy_maps(seed, lift)]


def test_brighter_lesions_are_found_sooner():
    bright, dim = noisy(0, 5.0), noisy(0, 1.0)
    assert froc_differences(bright, dim)["mean"].low > 0
    assert tuple(froc_differences(bright, bright)["mean"]) == (0, 0, 0)
    with pytest.raises(ValueError, match="not of the same scans"):
        froc_differences(bright, bright[::-1])


def test_any_increasing_function_of_the_maps_gives_the_same():
    def measured(change):
        found = [lesion_marks(change(array), truth) for array, truth in noisy_maps(3, 2.0)]
        return found, froc_measures(found, resamples=50)

    marks, measures = measured(lambda x: x)
    assert 0 < measures["mean"].value < 1
    for change in (lambda x: x**3, lambda x: 0.99 + 0.001 * x, np.log, lambda x: -np.exp(-x)):
        others, changed = measured(change)
        assert changed == measures
        for one, other in zip(marks, others, strict=True):
            np.testing.assert_array_equal(one.found, other.found)
            np.testing.assert_array_equal(one.false, other.false)


def test_a_lesion_a_little_above_a_high_map_is_found():
    draw, marks = np.random.default_rng(0), []
    for _ in range(6):
        array, truth = draw.uniform(0.95, 0.96, (40, 40)), np.zeros((40, 40), bool)
        truth[10:16, 20:26] = True
        array[truth] = 0.99
        marks.append(lesion_marks(array, truth))
    assert all(measure.value == 1 for measure in froc_measures(marks).values())


def test_few_thresholds_are_all_looked_at_and_many_are_thinned():
    assert spread(5, 4).tolist() == [0, 1, 2, 3, 4]
    assert spread(0, 4).size == 0
    ranks = spread(1_000_000, 4)
    assert ranks[[0, -1]].tolist() == [0, 999_999]
    assert len(ranks) < 90
    assert (np.diff(ranks[20:]) / ranks[20:-1]).max() < 0.22
    draw = np.random.default_rng(0)
    array = draw.normal(size=(200, 200))
    marks = lesion_marks(array, array > 3.5)
    assert len(marks.thresholds) < 90
    # The highest are looked at one by one.
    assert marks.found[:3].tolist() == [1, 2, 3]


def test_the_curve_rises_inside_its_band():
    marks = noisy(1, 2.0)
    band = froc_band(marks, resamples=200)
    assert band.rate[0] == RATES[0]
    assert band.rate[-1] == pytest.approx(RATES[-1])
    assert (np.diff(band.sensitivity) >= 0).all()
    assert (band.low <= band.high).all()
    measured = values(froc_measures(marks))
    assert band.sensitivity[[0, 12, 24]] == pytest.approx(
        [measured["0.125"], measured["1"], measured["8"]]
    )


def test_intervals_resample_patients():
    marks = noisy(2, 2.5)
    alone = froc_measures(marks)["mean"]
    assert alone.low < alone.high
    one = froc_measures(marks, groups=["p"] * len(marks))["mean"]
    assert one.low == one.high == pytest.approx(one.value)


def test_without_lesions_there_is_no_curve():
    with pytest.raises(ValueError, match="no mask has a lesion"):
        froc_measures(made_marks(([8], [0], [1], 0)))
    with pytest.raises(ValueError, match="shape"):
        lesion_marks(np.ones((3, 3)), np.ones((3, 4)))
