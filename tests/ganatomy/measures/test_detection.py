"""Detection measures against scikit-learn, hand values, and what an interval promises."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ganatomy.measures import (
    Interval,
    detection_measures,
    paired_difference,
    resample_weights,
    roc_band,
    summarise_seeds,
)


def simulated(seed=0, healthy=60, abnormal=40, shift=1.0, decimals=None):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [healthy, abnormal])
    scores = rng.normal(labels * shift)
    order = rng.permutation(len(labels))
    scores = scores if decimals is None else scores.round(decimals)
    return labels[order], scores[order]


@pytest.mark.parametrize("decimals", [None, 0])  # rounding to whole numbers makes many ties
@pytest.mark.parametrize("seed", range(3))
def test_values_agree_with_scikit_learn(seed, decimals):
    labels, scores = simulated(seed, decimals=decimals)
    measures = detection_measures(labels, scores, threshold=0.5, resamples=50)
    called = scores > 0.5
    assert measures["auroc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert measures["average_precision"].value == pytest.approx(
        average_precision_score(labels, scores)
    )
    assert measures["sensitivity"].value == pytest.approx(called[labels == 1].mean())
    assert measures["specificity"].value == pytest.approx((~called)[labels == 0].mean())


def test_hand_values():
    labels, scores = [0, 0, 1, 1], [1.0, 3.0, 3.0, 4.0]
    measures = detection_measures(labels, scores, threshold=3.0, resamples=20)
    assert measures["auroc"].value == pytest.approx(3.5 / 4)  # one of four pairs ties
    # At 4 one of one, at 3 two of three: (1 + 2/3) / 2.
    assert measures["average_precision"].value == pytest.approx((1 + 2 / 3) / 2)
    assert measures["sensitivity"].value == 0.5  # a score equal to the threshold is not above
    assert measures["specificity"].value == 1.0


def test_scores_that_are_all_equal_tell_nothing():
    auroc = detection_measures([0, 1, 0, 1], [2.0] * 4, resamples=50)["auroc"]
    assert auroc == Interval(0.5, 0.5, 0.5)


def test_without_threshold_there_is_no_sensitivity():
    assert set(detection_measures([0, 1], [0.0, 1.0])) == {"auroc", "average_precision"}


def test_resampled_auroc_is_the_auroc_of_the_resampled_scans():
    labels, scores = simulated(healthy=12, abnormal=9, decimals=0)
    (weights,) = resample_weights(labels, resamples=40, seed=3)
    drawn = [np.repeat(np.arange(len(labels)), row.astype(int)) for row in weights]
    by_hand = [roc_auc_score(labels[i], scores[i]) for i in drawn]
    low, high = np.quantile(by_hand, [0.025, 0.975])
    measured = detection_measures(labels, scores, resamples=40, seed=3)["auroc"]
    assert measured[1:] == pytest.approx((low, high))


def test_every_resample_holds_both_classes_and_whole_patients():
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 1])
    patients = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    (weights,) = resample_weights(labels, patients, resamples=200)
    assert (weights[:, labels == 0].sum(1) > 0).all()
    assert (weights[:, labels == 1].sum(1) > 0).all()
    np.testing.assert_array_equal(weights[:, ::2], weights[:, 1::2])


def test_draws_do_not_depend_on_the_size_of_a_block(monkeypatch):
    labels = np.repeat([0, 1], 5)
    whole = np.concatenate(list(resample_weights(labels, resamples=30)))
    monkeypatch.setattr("ganatomy.measures.bootstrap.BLOCK", 70)
    pieces = list(resample_weights(labels, resamples=30))
    assert [len(p) for p in pieces] == [7, 7, 7, 7, 2]
    assert np.concatenate(pieces).sum() == whole.sum()
    assert all((p.sum(1) == 10).all() for p in pieces)


def test_interval_covers_the_true_auroc():
    # Binormal with unit shift: AUROC = Phi(1 / sqrt 2) = 0.7602.
    covered = 0
    for seed in range(200):
        labels, scores = simulated(seed)
        auroc = detection_measures(labels, scores, resamples=200, seed=seed)["auroc"]
        covered += auroc.low <= 0.7602 <= auroc.high
    assert 0.89 <= covered / 200 <= 0.99


def test_resampling_patients_widens_the_interval_where_patients_repeat():
    labels, scores = simulated(healthy=30, abnormal=30)
    patients = np.tile(np.arange(60), 5)
    repeated = np.tile(labels, 5), np.tile(scores, 5)
    by_scan = detection_measures(*repeated)["auroc"]
    by_patient = detection_measures(*repeated, groups=patients)["auroc"]
    single = detection_measures(labels, scores)["auroc"]
    assert by_patient.high - by_patient.low > 1.8 * (by_scan.high - by_scan.low)
    # Copies of a scan add no knowledge.
    assert by_patient[1:] == pytest.approx(single[1:], abs=0.02)


def test_same_seed_same_interval_and_order_of_scans_does_not_change_the_value():
    labels, scores = simulated()
    first = detection_measures(labels, scores, seed=4)
    assert first == detection_measures(labels, scores, seed=4)
    assert first != detection_measures(labels, scores, seed=5)
    turned = detection_measures(labels[::-1], scores[::-1])
    assert turned["auroc"].value == pytest.approx(first["auroc"].value)


def test_paired_difference_of_a_score_with_itself_is_nothing():
    labels, scores = simulated()
    assert paired_difference(labels, scores, 3 * scores + 1) == Interval(0.0, 0.0, 0.0)


def test_paired_difference_is_narrower_than_the_two_intervals():
    labels, scores = simulated()
    noisy = scores + np.random.default_rng(1).normal(size=len(scores)) * 0.3
    difference = paired_difference(labels, scores, noisy)
    a, b = (detection_measures(labels, s)["auroc"] for s in (scores, noisy))
    assert difference.value == pytest.approx(a.value - b.value)
    assert difference.low < difference.value < difference.high
    assert difference.high - difference.low < 0.7 * (a.high - a.low)


def test_roc_band_runs_through_the_curve():
    labels, scores = simulated(decimals=1)
    band = roc_band(labels, scores, resamples=200)
    fpr, tpr, _ = roc_curve(labels, scores)
    np.testing.assert_allclose(band.tpr, np.interp(band.fpr, fpr, tpr))
    assert (band.fpr[0], band.fpr[-1], band.tpr[-1]) == (0, 1, 1)
    assert (np.diff(band.tpr) >= 0).all()
    inner = slice(5, -5)
    assert (band.low[inner] <= band.tpr[inner]).all()
    assert (band.tpr[inner] <= band.high[inner]).all()
    assert np.trapezoid(band.tpr, band.fpr) == pytest.approx(
        roc_auc_score(labels, scores), abs=0.005
    )


def test_seeds_are_summarised():
    runs = [{"auroc": Interval(v, 0.0, 1.0), "steps": 2.0} for v in (0.8, 0.9, 1.0)]
    summary = summarise_seeds(runs)
    assert summary["auroc"] == pytest.approx((0.9, 0.1, 3))
    assert summary["steps"] == (2.0, 0.0, 3)
    assert np.isnan(summarise_seeds(runs[:1])["auroc"].spread)
    with pytest.raises(ValueError, match="no runs"):
        summarise_seeds([])
    with pytest.raises(ValueError, match="different measures: steps"):
        summarise_seeds([runs[0], {"auroc": 0.5}])


@pytest.mark.parametrize(
    ("labels", "scores", "line"),
    [
        ([0, 1], [0.0, np.nan], "1 scores are not finite"),
        ([0, 1], [0.0, np.inf], "1 scores are not finite"),
        ([0, 0], [0.0, 1.0], "no abnormal scan"),
        ([1, 1], [0.0, 1.0], "no healthy scan"),
        ([], [], "no healthy scan"),
        ([0, 1], [0.0], "one label and one score a scan"),
        ([0, 2], [0.0, 1.0], "labels other than 0"),
        ([0, np.nan], [0.0, 1.0], "labels other than 0"),
    ],
)
def test_data_that_cannot_be_measured_are_refused(labels, scores, line):
    for measure in (detection_measures, roc_band):
        with pytest.raises(ValueError, match=line):
            measure(labels, scores)
    with pytest.raises(ValueError, match=line):
        paired_difference(labels, scores, scores)


def test_patients_and_threshold_are_checked():
    with pytest.raises(ValueError, match="1 scans have no patient"):
        detection_measures([0, 1], [0.0, 1.0], groups=["a", None])
    with pytest.raises(ValueError, match="2 labels but 3 patients"):
        detection_measures([0, 1], [0.0, 1.0], groups=["a", "b", "c"])
    with pytest.raises(ValueError, match="threshold is nan"):
        detection_measures([0, 1], [0.0, 1.0], threshold=np.nan)


def test_interval_survives_json():
    interval = Interval(0.9, 0.8, 0.95)
    assert interval.to_dict() == {"value": 0.9, "low": 0.8, "high": 0.95}
    assert Interval.from_dict(interval.to_dict()) == interval


def test_five_hundred_scans_take_under_two_seconds():
    labels, scores = simulated(healthy=250, abnormal=250)
    start = time.process_time()
    detection_measures(labels, scores, threshold=0.5, groups=np.arange(500))
    assert time.process_time() - start < 2
