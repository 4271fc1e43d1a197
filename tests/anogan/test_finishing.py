"""After training: calibration scores are those of scans that the healthy map has not seen."""

import numpy as np
import pytest

from anogan.calibration import Calibration
from anogan.detector import Findings
from anogan.finishing import control_presets, healthy_judgements
from anogan.residuals import Postprocessing
from ganatomy import registry
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing

SIDE = 10


def findings(residual):
    count = len(residual)
    return Findings(residual[..., None], residual, np.zeros(count), np.zeros((count, 1)))


def healthy_scores(post, found):
    return [score for _, score in healthy_judgements(post, found)]


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
    with pytest.raises(WrongUse, match="two or more healthy scans"):
        healthy_scores(Postprocessing(), [findings(draw(0, 1)[0])])
    assert healthy_scores(Postprocessing(healthy_map=False), [findings(draw(0, 1)[0])])
