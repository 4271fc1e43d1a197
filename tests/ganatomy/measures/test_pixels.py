"""Pixel measures: hand-computed cases, scikit-learn, and what they are invariant to."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ganatomy.measures.pixels import (
    HealthyPixels,
    PixelCounts,
    binned,
    pixel_counts,
    pixel_differences,
    pixel_measures,
)


def made(seed: int, scans: int = 12, lift: float = 1.0):
    """Maps and masks; every second scan has a lesion, whose pixels are lifted."""
    draw = np.random.default_rng(seed)
    maps, masks = [], []
    for number in range(scans):
        shape = (20 + number, 24)
        mask = np.zeros(shape, bool)
        if number % 2:
            i, j = draw.integers(0, 14, 2)
            mask[i : i + 5, j : j + 6] = True
        values = np.abs(draw.normal(size=shape)).astype(np.float32)
        maps.append(values + lift * mask.astype(np.float32))
        masks.append(mask)
    return maps, masks


def flat(arrays):
    return np.concatenate([one.ravel() for one in arrays])


def values(measures):
    return {name: measure.value for name, measure in measures.items()}


def test_codes_have_the_order_of_the_values():
    draw = np.random.default_rng(0)
    numbers = np.sort(draw.normal(size=500) * 10.0 ** draw.integers(-30, 30, 500))
    numbers = np.float32([*numbers, -0.0, 0.0, -np.inf, np.inf])
    numbers.sort()
    assert (np.diff(binned(numbers).astype(np.int64)) >= 0).all()
    assert binned(np.float32([-0.0])) == binned(np.float32([0.0]))
    one, other = binned(np.float32([1.0, 1 + 1 / 100]))
    assert other == one + 1
    assert binned(np.float32([1.0])) == binned(np.float32([1 + 1 / 200]))


def test_hand_values():
    # Pixels by value: 4 lesion, 3 other, 2 lesion, 1 other and other.
    array = np.float32([[4, 3, 2], [1, 1, np.nan]])
    truth = np.array([[1, 0, 1], [0, 0, 0]], bool)
    found = values(pixel_measures([pixel_counts(array, truth, threshold=2.5)]))
    assert found == pytest.approx(
        {
            "pixel_auroc": 5 / 6,
            "pixel_average_precision": (1 + 2 / 3) / 2,
            "best_dice_oracle": 4 / 5,  # above 1.5: two hits, one false
            "dice": 1 / 2,
            "dice_a_scan": 1 / 2,
            "pixel_sensitivity": 1 / 2,
            "pixel_specificity": 2 / 3,
        }
    )


def test_a_lesion_where_the_model_did_not_look_is_missed():
    array, truth = np.float32([5, 1, 1, np.nan, np.nan]), np.array([1, 0, 0, 1, 0], bool)
    found = values(pixel_measures([pixel_counts(array, truth, threshold=2)]))
    assert found["pixel_auroc"] == pytest.approx(1 / 2)
    assert found["pixel_sensitivity"] == pytest.approx(1 / 2)
    assert found["pixel_specificity"] == 1
    assert found["dice"] == pytest.approx(2 / 3)
    # Half of the lesion is found at a precision of 1, the other half never.
    assert found["pixel_average_precision"] == pytest.approx(1 / 2)
    assert found["best_dice_oracle"] == pytest.approx(2 / 3)


def test_a_lesion_none_of_which_was_seen_earns_nothing():
    array, truth = np.ones((40, 40), np.float32), np.zeros((40, 40), bool)
    truth[5:15, 5:15] = True
    array[truth] = np.nan
    found = values(pixel_measures([pixel_counts(array, truth, threshold=0.5)]))
    assert [found[name] for name in ("pixel_average_precision", "best_dice_oracle")] == [0, 0]
    assert [found[name] for name in ("pixel_auroc", "dice", "pixel_sensitivity")] == [0, 0, 0]


def test_they_are_scikit_learns_over_all_pixels():
    maps, masks = made(0)
    found = values(pixel_measures([pixel_counts(*pair) for pair in zip(maps, masks, strict=True)]))
    truth, coded = flat(masks), flat(map(binned, maps))
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, coded))
    assert found["pixel_average_precision"] == pytest.approx(average_precision_score(truth, coded))
    # Without bins, which cost as much as the module says.
    exact = flat(maps)
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(truth, exact), abs=2e-4)
    average = average_precision_score(truth, exact)
    assert found["pixel_average_precision"] == pytest.approx(average, abs=4e-3)


def test_dice_is_of_the_threshold_and_the_oracle_is_no_lower():
    maps, masks = made(1)
    counts = [pixel_counts(m, t, threshold=1.7) for m, t in zip(maps, masks, strict=True)]
    found = values(pixel_measures(counts))
    called, truth = flat(maps) > 1.7, flat(masks)
    assert found["dice"] == pytest.approx(2 * (called & truth).sum() / (called.sum() + truth.sum()))
    each = [
        2 * ((m > 1.7) & t).sum() / ((m > 1.7).sum() + t.sum())
        for m, t in zip(maps, masks, strict=True)
        if t.any()
    ]
    assert found["dice_a_scan"] == pytest.approx(np.mean(each))
    levels = np.unique(flat(map(binned, maps)))
    best = max(
        2 * ((coded >= level) & truth).sum() / ((coded >= level).sum() + truth.sum())
        for coded in [flat(map(binned, maps))]
        for level in levels
    )
    assert found["best_dice_oracle"] == pytest.approx(best)
    assert found["best_dice_oracle"] >= found["dice"]


def test_blocks_of_values_change_nothing(monkeypatch):
    maps, masks = made(2)
    counts = [pixel_counts(*pair) for pair in zip(maps, masks, strict=True)]
    whole = pixel_measures(counts, resamples=50)
    monkeypatch.setattr("ganatomy.measures.pixels.BLOCK", 100)
    parts = pixel_measures(counts, resamples=50)
    for name, measure in whole.items():
        assert parts[name] == pytest.approx(measure)


def test_intervals_resample_patients():
    maps, masks = made(3, scans=8)
    counts = [pixel_counts(*pair) for pair in zip(maps, masks, strict=True)]
    alone = pixel_measures(counts)["pixel_auroc"]
    assert alone.low < alone.value < alone.high
    # All scans of one patient: there is nothing to resample.
    one = pixel_measures(counts, groups=["p"] * 8)["pixel_auroc"]
    assert one.low == one.high == pytest.approx(one.value)


def test_a_map_differs_from_itself_by_nothing_and_from_a_worse_one():
    maps, masks = made(4)
    counts = [pixel_counts(m, t, 1.5) for m, t in zip(maps, masks, strict=True)]
    for difference in pixel_differences(counts, counts, resamples=100).values():
        assert tuple(difference) == (0, 0, 0)
    blurred = [pixel_counts(m * ~t, t) for m, t in zip(maps, masks, strict=True)]
    gap = pixel_differences(counts, blurred)
    assert gap["pixel_auroc"].low > 0
    assert "dice" not in gap  # one of the two has no threshold


@pytest.mark.parametrize(
    ("masks", "message"), [(np.zeros, "no mask has a pixel"), (np.ones, "no pixel lies outside")]
)
def test_one_kind_of_pixels_is_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        pixel_measures([pixel_counts(np.ones((3, 3)), masks((3, 3)))])


def test_shapes_and_scans_must_be_the_same():
    with pytest.raises(ValueError, match="shape"):
        pixel_counts(np.ones((3, 3)), np.ones((3, 4)))
    one, other = (pixel_counts(np.ones(4), np.arange(4) < k) for k in (1, 2))
    with pytest.raises(ValueError, match="not of the same scans"):
        pixel_differences([one], [other])


def test_memory_is_of_values_and_not_of_pixels():
    draw = np.random.default_rng(5)
    large = pixel_counts(draw.uniform(0.01, 100, (1000, 1000)), np.zeros((1000, 1000), bool))
    assert isinstance(large, PixelCounts)
    assert len(large.codes) < 2000
    assert large.healthy.sum() == 1_000_000


def test_a_threshold_of_healthy_maps_keeps_its_rate():
    draw = np.random.default_rng(6)
    maps = [np.abs(draw.normal(size=(30 + n, 40))) * draw.uniform(0.8, 1.2) for n in range(20)]
    healthy = HealthyPixels()
    for one in maps:
        healthy.add(one)
    threshold = healthy.threshold(0.01)
    share = np.mean([(one > threshold).mean() for one in maps])
    assert 0.0095 < share <= 0.01
    fresh = [np.abs(draw.normal(size=(40, 40))) * draw.uniform(0.8, 1.2) for _ in range(200)]
    assert np.mean([(one > threshold).mean() for one in fresh]) == pytest.approx(0.01, abs=0.003)


def test_every_scan_weighs_the_same_in_a_threshold():
    healthy = HealthyPixels()
    healthy.add(np.full(10_000, 1.0))
    healthy.add(np.append(np.full(50, 2.0), np.full(50, np.nan)))
    # Above 1 lies all of the second scan, half of an average one.
    assert healthy.threshold(0.4) == pytest.approx(2, rel=1e-3)
    assert healthy.threshold(0.6) == pytest.approx(1, rel=1e-3)
    with pytest.raises(ValueError, match="needs a healthy map"):
        HealthyPixels().threshold(0.01)
