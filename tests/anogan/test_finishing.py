"""After training: calibration scores are those of scans that the healthy map has not seen."""

from pathlib import Path

import numpy as np
import pytest

from anogan import AnomalyScorer
from anogan.calibration import Calibration
from anogan.detector import Findings
from anogan.finishing import control_presets, healthy_judgements
from anogan.residuals import Postprocessing
from ganatomy import registry
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing
from ganatomy.tables import Table

SIDE = 10


def findings(residual):
    count = len(residual)
    return Findings(residual[..., None], residual, np.zeros(count), np.zeros((count, 1)))


def healthy_scores(post, found, whose=None):
    whose = [str(n) for n in range(len(found))] if whose is None else whose
    return [score for _, score in healthy_judgements(post, found, whose)]


def draw(seed, scans, samples=1):
    """Heavy-tailed residuals, [scans, samples, SIDE, SIDE]."""
    noise = np.random.default_rng(seed).standard_t(3, size=(scans, samples, SIDE, SIDE))
    return noise.astype("float32")


def alarms(settings, count, samples, *, repeats=60, new=50, fpr=0.05):
    """The share of new healthy scans above the threshold of `count` others."""
    rates = []
    for seed in range(repeats):
        post = Postprocessing(smooth=0.0, **settings)
        healthy = draw(seed, count + new, samples)
        scores = healthy_scores(post, [findings(one) for one in healthy[:count]])
        threshold = Calibration.of(scores, np.zeros((count, 1)), fpr).threshold
        rates.append(np.mean([post.judge(findings(r))[-1] > threshold for r in healthy[count:]]))
    return float(np.mean(rates))


@pytest.mark.parametrize(
    ("settings", "count", "samples"),
    [({}, 40, 1), ({"top": 0.1}, 40, 1), ({}, 19, 1), ({"slices": 1.0}, 40, 3)],
    ids=["mean", "highest", "few", "volumes"],
)
def test_healthy_scans_are_called_abnormal_no_more_often_than_stated(settings, count, samples):
    # Scores in a map that holds the scans themselves give 0.10 to 0.25 here.
    assert 0.02 < alarms(settings, count, samples) < 0.065


def test_a_scan_is_judged_by_the_map_of_all_the_others():
    healthy = [findings(one) for one in draw(0, 5, 2)]
    scores = healthy_scores(Postprocessing(top=0.2), healthy)
    for number, own in enumerate(healthy):
        others = [one.residual for place, one in enumerate(healthy) if place != number]
        expected = Postprocessing(top=0.2).fit(np.concatenate(others)).judge(own)[-1]
        assert scores[number] == pytest.approx(expected, rel=1e-5)


def test_a_patients_other_scans_are_not_in_his_map():
    healthy = [findings(one) for one in draw(0, 6, 2)]
    whose = ["a", "b", "a", "c", "b", "a"]
    scores = healthy_scores(Postprocessing(top=0.2), healthy, whose)
    for own, patient, score in zip(healthy, whose, scores, strict=True):
        others = [o.residual for o, name in zip(healthy, whose, strict=True) if name != patient]
        expected = Postprocessing(top=0.2).fit(np.concatenate(others)).judge(own)[-1]
        assert score == pytest.approx(expected, rel=1e-5)


def test_healthy_patients_with_several_scans_each_are_called_abnormal_no_more_often():
    # Four scans a patient, alike but for a little noise, and new patients with one each.
    rates, by_scan = [], []
    for seed in range(60):
        own, more = draw(seed, 20)[:, None], draw(500 + seed, 80).reshape(20, 4, 1, SIDE, SIDE)
        found = [findings(one) for one in (own + 0.2 * more).reshape(80, 1, SIDE, SIDE)]
        new = draw(1000 + seed, 50) + 0.2 * draw(2000 + seed, 50)
        for whose, told in ((np.repeat(np.arange(20), 4), rates), (np.arange(80), by_scan)):
            post = Postprocessing(smooth=0.0)
            scores = healthy_scores(post, found, whose)
            threshold = Calibration.of(scores, np.zeros((80, 1)), 0.05).threshold
            told.append(np.mean([post.judge(findings(r))[-1] > threshold for r in new]))
    assert np.mean(rates) < 0.08
    assert np.mean(by_scan) > np.mean(rates) + 0.02


def test_the_map_that_new_scans_are_judged_by_holds_every_scan():
    healthy = draw(1, 6)
    post = Postprocessing()
    healthy_scores(post, [findings(one) for one in healthy])
    whole = Postprocessing().fit(np.concatenate(healthy)).state()
    for name, array in post.state().items():
        np.testing.assert_array_equal(array, whole[name])


def test_a_pixel_that_only_one_scan_shows_is_an_anomaly_of_that_scan():
    healthy = draw(2, 20)
    healthy[:, :, 0] = 0.0
    healthy[7, 0, 0, 0] = 50.0
    scores = healthy_scores(Postprocessing(smooth=0.0, top=0.01), [findings(r) for r in healthy])
    # Divided by the floor of a map of zeros, not by its own size.
    assert np.argmax(scores) == 7
    assert scores[7] > 100
    assert np.isfinite(scores).all()


def test_controls_are_the_linear_preset_behind_the_models_own_pipeline():
    preset = registry.preset("fanogan-chest-xray")
    controls, linear = control_presets(preset), registry.preset("linear")
    assert list(controls) == ["linear", "raw"]
    for name, control in controls.items():
        assert control.name == name
        assert (control.model, control.hyperparameters) == (linear.model, linear.hyperparameters)
        assert control.roles == preset.roles
    assert controls["linear"].preprocessing == preset.preprocessing
    plain = Preprocessing(size=(32, 32), normalise="range")
    assert Preprocessing(**controls["raw"].preprocessing) == plain
    assert controls["raw"].postprocessing["border"] == 0
    assert controls["raw"].postprocessing["score"] == "paper"


def test_one_scan_has_no_others():
    with pytest.raises(WrongUse, match="scans of two or more healthy patients"):
        healthy_scores(Postprocessing(), [findings(draw(0, 1)[0])])
    with pytest.raises(WrongUse, match="scans of two or more healthy patients"):
        healthy_scores(Postprocessing(), [findings(one) for one in draw(0, 3)], ["a"] * 3)
    assert healthy_scores(Postprocessing(healthy_map=False), [findings(draw(0, 1)[0])])


def test_one_patient_is_refused_before_anything_is_trained():
    names = [f"{n}.png" for n in range(20)]
    table = Table({"scan": [Path(name) for name in names]}, names, patient=np.array(["a"] * 20))
    with pytest.raises(WrongUse, match="are of one patient: hold out more"):
        AnomalyScorer.check(table, 0.1, None)
    table.patient = None
    AnomalyScorer.check(table, 0.1, None)
