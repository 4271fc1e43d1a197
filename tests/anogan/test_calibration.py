"""Calibration: what a threshold and a p-value promise, held by simulation."""

import numpy as np
import pytest

from anogan.calibration import Calibration, look
from ganatomy.scans import Preprocessing, Scan

LOOKS = np.random.default_rng(5).normal(size=(200, 6))


def scores(*shape, seed=0):
    # Heavy tails: a promise without a distribution.
    return np.random.default_rng(seed).standard_t(2, size=shape)


@pytest.mark.parametrize("fpr", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("count", [25, 57])
def test_a_healthy_scan_exceeds_the_threshold_as_often_as_stated(fpr, count):
    drawn = scores(4000, count + 1)
    alarms = [row[-1] > Calibration.of(row[:-1], LOOKS[:count], fpr).threshold for row in drawn]
    rate, spread = np.mean(alarms), np.sqrt(fpr * (1 - fpr) / len(drawn))
    assert rate <= fpr + 3 * spread
    # and no lower than the next rank would be
    assert rate >= fpr - 1 / (count + 1) - 3 * spread


def test_p_values_are_valid_and_as_uniform_as_ranks_can_be():
    drawn = scores(4000, 31, seed=1)
    p = np.array([Calibration.of(row[:-1], LOOKS[:30], 0.1).p_value(row[-1:])[0] for row in drawn])
    for level in (0.1, 0.25, 0.5, 0.9):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    # Thirty ranks and one: every multiple of 1/31 is as likely.
    assert set(np.round(p * 31).astype(int)) == set(range(1, 32))
    assert np.bincount(np.round(p * 31).astype(int), minlength=32)[1:].min() > 80


def test_hand_values():
    calibration = Calibration.of([3.0, 1.0, 2.0, 4.0], LOOKS[:4], 0.2)
    assert calibration.threshold == 4.0
    np.testing.assert_allclose(
        calibration.p_value(np.array([0.0, 2.5, 4.0, 5.0])), [1.0, 3 / 5, 2 / 5, 1 / 5]
    )


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.1, 1 / 3])
def test_abnormal_is_a_p_value_of_at_most_the_rate(fpr):
    # Threshold and p-value are two ways of saying one thing.
    healthy = scores(120, seed=2)
    calibration = Calibration.of(healthy, LOOKS[:120], fpr)
    new = np.concatenate([scores(500, seed=3) * 2, healthy])
    np.testing.assert_array_equal(
        new > calibration.threshold, calibration.p_value(new) <= fpr + 1e-12
    )


@pytest.mark.parametrize(("fpr", "least"), [(0.05, 19), (0.1, 9), (0.2, 4), (0.5, 1), (0.01, 99)])
def test_too_few_scans_say_how_many_are_needed(fpr, least):
    assert np.isfinite(Calibration.of(scores(least), LOOKS[:least], fpr).threshold)
    with pytest.raises(ValueError, match=f"{least} or more are needed"):
        Calibration.of(scores(least - 1), LOOKS[: least - 1], fpr)


def test_a_calibration_survives_its_arrays():
    first = Calibration.of(scores(40), LOOKS[:40], 0.1)
    again = Calibration.from_state(first.state())
    assert again.threshold == first.threshold
    assert again.fpr == 0.1
    np.testing.assert_array_equal(again.unlike(LOOKS), first.unlike(LOOKS))


# Whether a scan is like those it was calibrated on ---------------------------------------------


def test_scans_like_the_calibration_ones_are_rarely_flagged():
    calibration = Calibration.of(scores(200), LOOKS, 0.05)
    fresh = np.random.default_rng(6).normal(size=(2000, 6))
    assert (calibration.unlike(fresh) > 1).mean() < 0.04


DRAWS = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "long tails": lambda draw, shape: draw.standard_t(5, size=shape),
    "skew": lambda draw, shape: np.exp(0.5 * draw.normal(size=shape)),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("count", [40, 133])
def test_few_calibration_scans_do_not_make_their_like_look_foreign(count, kind):
    # Distances from a mean and covariance that hold the scan itself flag one in nine at 40.
    draw, alike, shifted = np.random.default_rng(1), [], []
    for _ in range(20):
        looks, new = (DRAWS[kind](draw, (n, 10)) for n in (count, 300))
        calibration = Calibration.of(scores(count), looks, 0.05)
        alike.append((calibration.unlike(new) > 1).mean())
        new[:, 3] += 15
        shifted.append((calibration.unlike(new) > 1).mean())
    assert np.mean(alike) < 0.03
    assert np.mean(shifted) > 0.9


def test_two_scans_cannot_tell_what_is_usual():
    calibration = Calibration.of(scores(2), LOOKS[:2], 0.5)
    assert (calibration.unlike(LOOKS + 9) == 0).all()


def test_a_shifted_look_is_flagged_whatever_its_unit():
    unit = np.array([1.0, 100.0, 1e-3, 1.0, 1.0, 1.0])
    calibration = Calibration.of(scores(200), LOOKS * unit + 5, 0.05)
    for axis in range(6):
        shifted = LOOKS.copy()
        shifted[:, axis] += 6
        assert (calibration.unlike(shifted * unit + 5) > 1).mean() > 0.95


def test_a_combination_that_never_occurred_is_flagged():
    # Each value is usual; together they are not: exposure and contrast go hand in hand.
    draw = np.random.default_rng(0).normal(size=(300, 1))
    looks = np.concatenate([draw, draw + 0.05 * draw**0], axis=1)
    looks[:, 1] += np.random.default_rng(1).normal(0, 0.1, 300)
    calibration = Calibration.of(scores(300), looks, 0.05)
    assert calibration.unlike(np.array([[1.0, -1.0]]))[0] > 2
    assert calibration.unlike(np.array([[1.0, 1.0]]))[0] < 1


def test_a_constant_look_does_not_divide_by_zero():
    looks = np.concatenate([LOOKS[:50], np.ones((50, 1))], axis=1)
    calibration = Calibration.of(scores(50), looks, 0.1)
    assert np.isfinite(calibration.unlike(looks)).all()


def test_a_look_tells_framing_and_exposure_and_not_brightness_or_size():
    settings = Preprocessing(size=(8, 8))
    image = np.random.default_rng(0).uniform(0, 1, (20, 30, 1)).astype("float32")

    def seen(pixels):
        scan = Scan(pixels)
        return look(scan, settings.apply(scan))

    first = seen(image)
    np.testing.assert_allclose(seen(image * 700 + 3), first, atol=1e-4)
    np.testing.assert_allclose(seen(np.repeat(np.repeat(image, 2, 0), 2, 1))[0], first[0])
    assert abs(seen(image[:, :20])[0] - first[0]) > 0.3
    assert np.abs(seen(image**4)[1:] - first[1:]).max() > 0.2


def test_a_look_holds_the_alignment_where_there_is_one():
    image = np.random.default_rng(0).uniform(0, 1, (16, 16, 1)).astype("float32")
    settings = Preprocessing(size=(16, 16), align=True).fit([Scan(image)])
    plain = Preprocessing(size=(16, 16))
    with_place, without = (look(Scan(image), p.apply(Scan(image))) for p in (settings, plain))
    assert len(with_place) == len(without) + 4
