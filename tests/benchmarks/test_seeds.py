"""Intervals over patients of several trainings, against one training's own."""

import numpy as np
import pytest

from benchmarks.seeds import aurocs, over_patients
from ganatomy.measures.detection import detection_measures, paired_difference


@pytest.fixture
def scans():
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    scores = np.round(draw.normal(labels, 1, (3, 60)), 1)  # with ties
    patients = np.array([f"p{n // 2}" for n in range(60)])
    return labels, scores, patients


def test_one_training_has_its_own_measures_and_interval(scans):
    labels, scores, patients = scans
    found = over_patients(labels, scores[:1], patients, scores[1:2])
    own = detection_measures(labels, scores[0], groups=patients)["auroc"]
    apart = paired_difference(labels, scores[0], scores[1], groups=patients)
    assert found["auroc"] == pytest.approx(own.to_dict())
    assert found["difference"] == pytest.approx(apart.to_dict(), abs=1e-12)
    assert found["seeds"] == [pytest.approx(own.value)]


def test_several_trainings_are_averaged_on_every_resample(scans):
    labels, scores, patients = scans
    found = over_patients(labels, scores, patients)
    alone = [over_patients(labels, scores[n : n + 1], patients)["auroc"] for n in range(3)]
    assert found["auroc"]["value"] == pytest.approx(np.mean([one["value"] for one in alone]))
    assert found["seeds"] == pytest.approx([one["value"] for one in alone])
    # The same training three times is one training: no interval shrinks by repeating it.
    thrice = over_patients(labels, scores[[0, 0, 0]], patients)
    assert thrice["auroc"] == pytest.approx(alone[0])


def test_a_training_is_measured_on_the_scans_that_it_has_scores_of():
    labels = np.array([0, 0, 1, 1])
    scores = np.array([[1, 2, 3, np.nan], [1, 2, np.nan, 0]])
    assert aurocs(labels, scores, np.ones((1, 4))).tolist() == [[1.0], [0.0]]
    # A healthy scan drawn three times counts three times.
    scores = np.array([[1.0, 3.0, 2.0, np.nan]])
    assert aurocs(labels, scores, np.array([[3, 1, 1, 1]])).tolist() == [[0.75]]
