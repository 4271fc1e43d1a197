"""From residual to map and score: hand values."""

import numpy as np
import pytest
from pydantic import ValidationError

from anogan.detector import Findings
from anogan.residuals import Postprocessing, highest

PLAIN = {"smooth": 0.0, "healthy_map": False}


def findings(residual, paper=None):
    residual = np.asarray(residual, "float32")
    paper = np.zeros(len(residual)) if paper is None else np.asarray(paper, float)
    return Findings(residual[..., None], residual, paper, np.zeros((len(residual), 1)))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.0, 2.5), (0.5, 3.5), (0.25, 4.0), (0.01, 4.0), (0.75, 3.0)],
)
def test_the_mean_of_the_highest_share(share, expected):
    assert highest(np.array([[1.0, 4.0], [3.0, 2.0]]), share) == expected


def test_a_plain_map_is_the_absolute_residual():
    residual = np.array([[[1.0, -3.0], [0.0, 2.0]]])
    maps, scores, score = Postprocessing(**PLAIN).judge(findings(residual))
    np.testing.assert_array_equal(maps, np.abs(residual))
    assert scores.tolist() == [1.5]
    assert score == 1.5


def test_opposite_signs_cancel_under_the_blur_and_equal_ones_stay():
    post = Postprocessing(smooth=0.1, healthy_map=False)
    edge, opacity = np.zeros((2, 1, 32, 32), "float32")
    edge[0, :, 15], edge[0, :, 16] = 1.0, -1.0
    opacity[0, :, 15:17] = 1.0
    assert post.maps(edge).max() < 0.3 * post.maps(opacity).max()


def test_the_blur_is_a_fraction_of_the_shorter_side():
    post = Postprocessing(smooth=0.125, healthy_map=False)
    point = np.zeros((1, 16, 48))
    point[0, 8, 24] = 1.0
    spread = post.maps(point)[0]
    across = (spread.sum(1) * (np.arange(16) - 8) ** 2).sum()
    along = (spread.sum(0) * (np.arange(48) - 24) ** 2).sum()
    assert along == pytest.approx(4.0, rel=0.02)  # variance of 0.125 · 16 = 2 pixels
    assert across == pytest.approx(4.0, rel=0.1)


def test_the_healthy_map_makes_every_pixel_of_healthy_scans_alike():
    loud = np.ones((12, 12))
    loud[:, :6] = 5.0
    healthy = noise(400, 12, 12) * loud
    post = Postprocessing(smooth=0.0).fit(healthy)
    maps = post.maps(noise(400, 12, 12, seed=1) * loud)
    np.testing.assert_allclose(np.sqrt((maps**2).mean(0)), 1.0, atol=0.2)
    # by hand, of two scans: their mean and deviation, and the root of their mean square
    pair, new = np.array([[[2.0, -1.0]], [[4.0, 1.0]]]), np.array([[[5.0, -2.0]]])
    for centre, expected in ((True, [2.0, 2.0]), (False, [5 / np.sqrt(10), 2.0])):
        two = Postprocessing(smooth=0.0, centre=centre).fit(pair)
        np.testing.assert_allclose(two.maps(new), [[expected]], rtol=1e-5)


def test_what_a_model_gets_wrong_of_everyone_is_no_finding():
    wrong = np.zeros((12, 12))
    wrong[3:6, 3:6] = 4.0
    healthy, new = noise(60, 12, 12), noise(5, 12, 12, seed=1)
    maps = [
        Postprocessing(smooth=0.0).fit(healthy + bias).maps(new + bias) for bias in (0.0, wrong)
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)


def test_where_healthy_scans_never_differ_a_tiny_residual_is_no_anomaly():
    healthy = noise(50, 8, 8)
    healthy[:, 0] = 0.0
    post = Postprocessing(smooth=0.0).fit(healthy)
    odd = np.zeros((1, 8, 8))
    odd[0, 0, 0] = 0.01
    assert post.maps(odd)[0, 0].max() < 0.2


def test_a_map_that_was_not_fitted_is_asked_for():
    with pytest.raises(ValueError, match="healthy map is not fitted; calibrate the model first"):
        Postprocessing().maps(noise(1, 4, 4))


def test_the_border_is_left_out_of_the_score_and_not_of_the_map():
    residual = np.zeros((1, 10, 20))
    residual[0, 0] = residual[0, :, 0] = residual[0, :, 1] = 9.0
    post = Postprocessing(border=0.1, **PLAIN)
    maps, scores, _ = post.judge(findings(residual))
    assert maps.max() == 9.0
    assert scores.tolist() == [0.0]
    residual[0, 1, 2] = 8.0  # the first pixel inside: 8 × 16 of them count
    assert post.judge(findings(residual))[1][0] == pytest.approx(8.0 / (8 * 16))


def test_top_takes_the_highest_pixels_of_each_sample():
    residual = np.zeros((2, 10, 10))
    residual[0, :2, :5] = 3.0
    residual[1, :] = 1.0
    scores = Postprocessing(top=0.1, **PLAIN).judge(findings(residual))[1]
    assert scores.tolist() == [3.0, 1.0]


def test_a_volume_counts_its_highest_slices():
    residual = np.ones((20, 4, 4)) * np.arange(20)[:, None, None]
    post = Postprocessing(slices=0.1, **PLAIN)
    maps, scores, score = post.judge(findings(residual))
    assert maps.shape == (20, 4, 4)
    assert scores.tolist() == list(range(20))
    assert score == 18.5
    assert Postprocessing(slices=1.0, **PLAIN).judge(findings(residual))[2] == 9.5


def test_the_papers_score_is_taken_where_asked_for():
    post = Postprocessing(score="paper", slices=0.5, **PLAIN)
    maps, scores, score = post.judge(findings(noise(2, 4, 4), [7.0, 3.0]))
    assert scores.tolist() == [7.0, 3.0]
    assert score == 7.0
    assert maps.shape == (2, 4, 4)


def test_volumes_of_a_3d_model_have_maps_too():
    post = Postprocessing(smooth=0.1, border=0.2).fit(noise(5, 6, 7, 8))
    maps, scores, _ = post.judge(findings(noise(2, 6, 7, 8, seed=1)))
    assert maps.shape == (2, 6, 7, 8)
    assert scores[0] == pytest.approx(maps[0][1:5, 1:6, 1:7].mean(), rel=1e-6)


def test_what_was_fitted_survives_its_arrays():
    first = Postprocessing().fit(noise(9, 8, 8))
    again = Postprocessing().load_state(first.state())
    np.testing.assert_array_equal(
        first.maps(noise(2, 8, 8, seed=3)), again.maps(noise(2, 8, 8, seed=3))
    )
    assert Postprocessing(healthy_map=False).fit(noise(9, 8, 8)).state() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"border": 0.5},
        {"top": 0.0},
        {"slices": 2},
        {"score": "loud"},
        {"colour": 1},
        {"smooth": -1},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        Postprocessing(**wrong)


def masked(residuals, inside):
    return findings(residuals).within(np.broadcast_to(inside, residuals.shape)).residual


def test_what_lies_outside_a_mask_reaches_neither_map_nor_healthy_map_nor_score():
    inside = np.zeros((24, 24), bool)
    inside[6:18, 4:20] = True
    quiet, loud = noise(12, 24, 24), noise(12, 24, 24)
    loud[:, ~inside] = 50.0
    found = []
    for residuals in (quiet, np.where(inside, quiet, loud)):
        post = Postprocessing(smooth=0.1, top=0.1).fit(masked(residuals, inside))
        found.append(post.judge(findings(masked(residuals[:1], inside))))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][2] == found[1][2]
    assert (np.isfinite(found[0][0]) == inside).all()


def test_the_blur_does_not_fade_at_the_border_of_a_mask():
    inside = np.zeros((1, 32, 32), bool)
    inside[:, 8:24, 8:24] = True
    post = Postprocessing(smooth=0.1, healthy_map=False)
    maps = post.maps(masked(np.full((1, 32, 32), 2, "float32"), inside))
    np.testing.assert_allclose(maps[inside], 2, rtol=1e-5)
    assert np.isnan(maps[~inside]).all()


def test_a_pixel_that_few_scans_show_is_not_taken_for_a_quiet_one():
    residuals = noise(40, 8, 8)
    residuals[1:, 0] = np.nan  # one scan alone shows the first row, and little there
    residuals[0, 0] = 1e-3
    residuals[:, 7] = np.nan  # and none the last
    post = Postprocessing(smooth=0, healthy_map=True).fit(residuals)
    deviation = post.state()["deviation"]
    np.testing.assert_allclose(deviation[0], deviation[1:7].mean(), rtol=0.1)
    np.testing.assert_allclose(deviation[7], deviation[1:7].mean(), rtol=0.1)
    # left out, what a scan showed counts no more
    other = post.without(residuals[:1]).state()
    again = Postprocessing(smooth=0, healthy_map=True).fit(residuals[1:]).state()
    for name in ("mean", "deviation"):
        np.testing.assert_allclose(other[name], again[name], rtol=1e-5, atol=1e-6)


def test_what_is_usual_is_known_where_half_the_scans_show_it_and_not_where_two_do():
    bias, count = 4.0, 400
    residuals = noise(count, 8, 8)
    residuals[:, 0] += bias
    residuals[:, 1] += bias
    residuals[count // 2 :, 0] = np.nan  # half of them show the first row
    residuals[2:, 1] = np.nan  # two the second
    state = Postprocessing(smooth=0).fit(residuals).state()
    # A mean over all 400 would be half of it, and every healthy scan an anomaly there.
    np.testing.assert_allclose(state["mean"][0], bias * 200 / 210, atol=0.3)
    np.testing.assert_allclose(state["mean"][1], bias * 2 / 12, atol=0.3)
    overall = np.nanmean(residuals**2)
    own = np.nansum(residuals[:, 1] ** 2, axis=0)
    expected = np.sqrt((own + 10 * overall) / 12 - state["mean"][1] ** 2)
    np.testing.assert_allclose(state["deviation"][1], expected, rtol=1e-4)


def test_a_sample_with_nothing_inside_scores_nothing():
    residuals = np.stack([np.full((4, 4), np.nan), np.ones((4, 4))]).astype("float32")
    _, scores, score = Postprocessing(**PLAIN, slices=1.0).judge(findings(residuals))
    assert scores.tolist() == [0, 1]
    assert score == 0.5
