"""AnomalyScorer: scikit-learn's manners, whatever the scans come as."""

from __future__ import annotations

import shutil
import warnings

import nibabel
import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from anogan import AnomalyScorer
from anogan.calibration import UnlikeScans
from ganatomy import artifacts
from ganatomy.artifacts import Artifact
from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan


@pytest.fixture(scope="module")
def scorer(quick_model):
    return AnomalyScorer.load(quick_model)


@pytest.fixture(scope="module")
def paths(pictures):
    return sorted((pictures.labelled / "abnormal").iterdir())[:5]


@pytest.fixture
def healthy(pictures):
    return sorted((pictures.labelled / "normal").iterdir())


def unfitted(quick_model, **settings) -> AnomalyScorer:
    """The same networks without a calibration."""
    stored = artifacts.load(quick_model)
    arrays = {k: v for k, v in stored.arrays.items() if not k.startswith("calibration/")}
    facts = {k: v for k, v in stored.facts.items() if k != "calibration"}
    return AnomalyScorer(
        Artifact(stored.preset, stored.model, stored.shape, arrays, facts), **settings
    )


# scikit-learn's contract -----------------------------------------------------------------------


def test_arguments_are_kept_as_they_are_and_cloned(quick_model):
    scorer = AnomalyScorer(quick_model, fpr=0.2)
    assert scorer.get_params() == {"model": quick_model, "fpr": 0.2}
    copy = clone(scorer).set_params(fpr=0.3)
    assert copy.get_params() == {"model": quick_model, "fpr": 0.3}
    assert scorer.fpr == 0.2
    assert copy is not scorer
    assert "AnomalyScorer" in repr(scorer)


def test_a_scorer_is_made_without_reading_the_model(tmp_path):
    AnomalyScorer(tmp_path / "none")  # as scikit-learn's estimators: nothing happens yet
    with pytest.raises(artifacts.ArtifactError, match="no such model folder"):
        AnomalyScorer(tmp_path / "none").anomaly_score([])


def test_another_model_is_the_one_that_scores(quick_model, paths, tmp_path):
    one = AnomalyScorer.load(quick_model)
    other = unfitted(quick_model, fpr=0.2)
    projection = other.artifact_.model.networks["projection"]
    projection.set_weights([0.5 * weight for weight in projection.get_weights()])
    other.save(tmp_path / "other")
    before = one.anomaly_score(paths)
    assert one.set_params(fpr=0.1).threshold_ == AnomalyScorer.load(quick_model).threshold_
    one.set_params(model=tmp_path / "other")
    fresh = AnomalyScorer(tmp_path / "other").anomaly_score(paths)
    np.testing.assert_array_equal(one.anomaly_score(paths), fresh)
    assert (fresh != before).all()
    # Nor is the threshold the one of the model before.
    with pytest.raises(NotFittedError):
        one.predict(paths)
    assert one.fpr == 0.1


def test_signs_are_scikit_learns(scorer, paths, healthy):
    every = [*paths, *healthy]
    score = scorer.anomaly_score(every)
    np.testing.assert_array_equal(scorer.score_samples(every), -score)
    np.testing.assert_array_equal(scorer.decision_function(every), scorer.threshold_ - score)
    with pytest.warns(UnlikeScans, match=r"of 19 scans do not look like"):
        predicted = scorer.predict(every)
    assert set(predicted) == {-1, 1}
    np.testing.assert_array_equal(predicted == -1, score > scorer.threshold_)
    # Made opacities are found, or the test says nothing.
    assert (predicted[: len(paths)] == -1).all()
    assert (predicted[len(paths) :] == 1).mean() > 0.7


def test_scans_like_the_calibration_ones_are_predicted_without_a_warning(scorer, healthy):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlikeScans)
        scorer.predict(healthy)
        assert scorer.predict([]).shape == (0,)


def test_scans_of_another_exposure_are_warned_of_once_in_one_line(scorer, healthy):
    with pytest.warns(UnlikeScans) as caught:
        scorer.predict([read_scan(path).pixels ** 4 for path in healthy])
    (warning,) = [w for w in caught if w.category is UnlikeScans]
    assert str(warning.message).startswith("14 of 14 scans")
    assert "\n" not in str(warning.message)
    assert warning.filename == __file__  # the caller's line, not the library's


def test_without_a_threshold_there_are_scores_and_no_verdict(quick_model, paths):
    scorer = unfitted(quick_model)
    assert np.isfinite(scorer.anomaly_score(paths)).all()
    (result,) = scorer.results(paths[:1])
    assert result.abnormal is None
    assert result.p_value is None
    with pytest.raises(NotFittedError):
        scorer.predict(paths)


def test_fit_sets_the_threshold_and_nothing_else(quick_model, healthy, paths):
    scorer = unfitted(quick_model, fpr=0.1)
    weights = scorer.artifact_.model.networks["projection"].get_weights()
    before = scorer.anomaly_score(paths)
    assert scorer.fit(healthy) is scorer
    np.testing.assert_array_equal(scorer.anomaly_score(paths), before)
    for one, other in zip(
        weights, scorer.artifact_.model.networks["projection"].get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    # The conformal rank of fourteen scans at a rate of 0.1.
    assert scorer.threshold_ == np.sort(scorer.anomaly_score(healthy))[13]
    assert (scorer.fit_predict(healthy) == 1).all()


def test_fit_wants_readable_scans_and_enough_of_them(quick_model, healthy, tmp_path):
    scorer = unfitted(quick_model)
    with pytest.raises(ValueError, match=r"14 healthy scans cannot set a threshold .* 19 or more"):
        scorer.fit(healthy)
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(ScanError, match="is empty"):
        scorer.fit([*healthy, tmp_path / "bad.png"])


# What a scan may come as ------------------------------------------------------------------------


def test_arrays_paths_and_scans_give_one_score(scorer, paths):
    scans = [read_scan(path) for path in paths]
    arrays = np.stack([scan.pixels[..., 0] for scan in scans])
    expected = scorer.anomaly_score(paths)
    for kind in (
        [str(path) for path in paths],
        scans,
        arrays,
        arrays[..., None],
        arrays.astype("uint8"),
        [paths[0], scans[1], arrays[2], str(paths[3]), scans[4]],
    ):
        np.testing.assert_array_equal(scorer.anomaly_score(kind), expected)


def test_one_scan_need_not_stand_in_a_list(scorer, paths):
    expected = scorer.anomaly_score(paths)[:1]
    for one in (paths[0], str(paths[0]), read_scan(paths[0])):
        np.testing.assert_array_equal(scorer.anomaly_score(one), expected)


def test_a_score_is_the_same_alone_and_in_company(scorer, paths, healthy):
    together = scorer.anomaly_score([*paths, *healthy])
    alone = np.concatenate([scorer.anomaly_score([path]) for path in paths])
    np.testing.assert_array_equal(together[: len(paths)], alone)
    np.testing.assert_array_equal(scorer.anomaly_score([*paths, *healthy][::-1]), together[::-1])


def test_results_come_as_they_are_known(scorer, paths):
    # A generator without end is no problem: nothing waits for the last scan.
    def endless():
        while True:
            yield read_scan(paths[0])

    stream = scorer.results(endless())
    assert next(stream).anomaly_score == next(stream).anomaly_score
    stream.close()


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.full((9, 9), np.nan), "holds NaN or infinite values"),
        (np.ones(9), "has 1 dimensions"),
        (np.ones((9, 9)), "single value"),
        (np.ones((9, 9, 2)) * np.arange(9)[:, None, None], "has 2 channel"),
    ],
    ids=["NaN", "a line", "constant", "two channels"],
)
def test_an_array_that_is_no_scan_is_named_by_its_place(scorer, paths, array, problem):
    good = read_scan(paths[0]).pixels
    results = list(scorer.results([good, array, good]))
    assert [result.error is None for result in results] == [True, False, True]
    assert str(results[1].error).startswith("array 1: ")
    assert problem in str(results[1].error)
    with pytest.raises(ScanError, match="array 1"):
        scorer.anomaly_score([good, array])


@pytest.mark.parametrize("count", [5, 14], ids=["in this process", "in workers"])
def test_a_broken_file_among_others_has_an_error_and_they_their_scores(
    scorer, pictures, tmp_path, count
):
    files = []
    for number, path in enumerate(sorted(pictures.healthy.iterdir())[:count]):
        files.append(tmp_path / f"{number}.png")
        shutil.copy(path, files[-1])
    expected = scorer.anomaly_score(files)
    files[2].write_bytes(files[2].read_bytes()[:100])
    results = list(scorer.results(files))
    assert [r.path for r in results] == [str(file) for file in files]
    assert [r.error is not None for r in results] == [n == 2 for n in range(count)]
    assert results[2].anomaly_score is None
    scores = [r.anomaly_score for r in results if r.error is None]
    np.testing.assert_array_equal(scores, np.delete(expected, 2))


def test_nothing_but_broken_files_is_no_crash(scorer, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    results = list(scorer.results([tmp_path / "a.png", tmp_path / "none.png"]))
    assert ["is empty" in str(results[0].error), "does not exist" in str(results[1].error)] == [
        True
    ] * 2
    assert list(scorer.results([])) == []


# Maps and volumes -------------------------------------------------------------------------------


def test_a_map_lies_on_the_grid_that_came_in(scorer, draw_chest, tmp_path):
    # The preprocessing cuts a margin: what the model never saw is NaN, not zero.
    tall = np.repeat(draw_chest(1, abnormal=True, side=60), 2, axis=0)
    Image.fromarray(tall).save(tmp_path / "a.png")
    (heat,) = scorer.anomaly_map([tmp_path / "a.png"])
    assert heat.shape == (120, 60)
    assert np.isnan(heat[0]).all()
    assert np.isnan(heat[:, 0]).all()
    seen = heat[~np.isnan(heat)]
    assert len(seen) > 0.6 * heat.size
    assert (seen >= 0).all()


def test_a_map_is_highest_where_the_opacity_is(scorer, draw_chest):
    healthy = draw_chest(1).astype("float32")
    y, x = np.mgrid[:48, :48]
    opacity = 90 * np.exp(-((y - 30) ** 2 + (x - 13) ** 2) / 20)
    (heat,) = scorer.anomaly_map([healthy + opacity])
    top = np.unravel_index(np.nanargmax(heat), heat.shape)
    assert np.hypot(top[0] - 30, top[1] - 13) < 8


@pytest.fixture
def volume(tmp_path, draw_chest):
    """Ten slices along k, the fourth with an opacity, as NIfTI whose axes are RAS's."""
    slices = [draw_chest(n, abnormal=n == 4) for n in range(10)]
    data = np.stack(slices, axis=-1)[::-1, ::-1].transpose(1, 0, 2)
    file = tmp_path / "volume.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.copy(), np.diag([1.0, 1.0, 3.0, 1.0])), file)
    return file


def test_a_volume_under_a_2d_model_is_scored_slice_by_slice(scorer, volume):
    (result,) = scorer.results([volume])
    assert result.slice_scores.shape == (10,)
    assert int(np.argmax(result.slice_scores)) == 4
    # A tenth of ten slices is the highest one.
    assert result.anomaly_score == result.slice_scores.max()
    assert result.map.shape == (48, 48, 10)
    assert result.maps.shape[0] == 10
    assert (scorer.anomaly_score([volume, volume]) == result.anomaly_score).all()


def test_a_result_says_all_that_the_tables_need(scorer, paths):
    (result,) = scorer.results(paths[:1])
    assert 0 < result.p_value <= 1
    assert result.threshold == scorer.threshold_
    assert result.abnormal == (result.anomaly_score > result.threshold)
    assert result.unlike > 0
    assert isinstance(result.scan, Scan)


# On disk ----------------------------------------------------------------------------------------


def test_a_saved_scorer_scores_the_same(scorer, paths, tmp_path):
    scorer.save(tmp_path / "model")
    again = AnomalyScorer.load(tmp_path / "model")
    np.testing.assert_array_equal(again.anomaly_score(paths), scorer.anomaly_score(paths))
    assert again.threshold_ == scorer.threshold_
    assert again.fpr == scorer.fpr
    for one, other in zip(again.anomaly_map(paths), scorer.anomaly_map(paths), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_threshold_of_this_site_is_saved_with_the_model(quick_model, healthy, tmp_path):
    scorer = unfitted(quick_model, fpr=0.2).fit(healthy)
    scorer.save(tmp_path / "model")
    again = AnomalyScorer.load(tmp_path / "model")
    assert again.threshold_ == scorer.threshold_
    assert again.fpr == 0.2
    assert again.calibration_.fpr == 0.2


def test_controls_are_saved_beside_the_model(quick_model, paths, tmp_path):
    scorer = AnomalyScorer.load(quick_model)
    scorer.controls_ = {"linear": AnomalyScorer.load(quick_model)}
    scorer.save(tmp_path / "model")
    again = AnomalyScorer.load(tmp_path / "model").controls_["linear"]
    np.testing.assert_array_equal(again.anomaly_score(paths), scorer.anomaly_score(paths))


def test_controls_come_with_the_model_however_it_is_named(quick_model, tmp_path):
    scorer = AnomalyScorer.load(quick_model)
    assert scorer.controls_ == {}  # a linear model is its own control
    scorer.controls_ = {"linear": AnomalyScorer.load(quick_model)}
    scorer.save(tmp_path / "model")
    for made in (AnomalyScorer(tmp_path / "model"), AnomalyScorer(str(tmp_path / "model"))):
        assert not {"controls_", "_controls", "fpr_"} & set(vars(made))
        assert set(vars(made)) == set(made.get_params())
        assert list(made.controls_) == ["linear"]
        assert clone(made).get_params() == made.get_params()
        assert list(clone(made).controls_) == ["linear"]
    # Scoring loads no control.
    scores = AnomalyScorer.load(tmp_path / "model")
    next(scores.results([read_scan(example) for example in [_example(tmp_path)]]))
    assert "_controls" not in vars(scores)


def _example(folder):
    Image.fromarray(np.uint8(np.arange(900).reshape(30, 30) % 251)).save(folder / "e.png")
    return folder / "e.png"


def test_a_scan_that_only_the_control_refuses_has_its_error_there(scorer, quick_model, paths):
    results = list(scorer.results(paths))
    results[1].scan = Scan(np.ones((48, 48, 1), "float32"), path="flat")
    control = AnomalyScorer.load(quick_model)
    control.preprocessing_ = Preprocessing(size=(16, 16), normalise="range")
    del control.calibration_  # its looks held an alignment
    again = control.again(results, scorer)
    assert [r.error is not None for r in again] == [False, True, False, False, False]


def test_a_served_answer_says_whether_the_scan_is_alike(scorer, paths):
    (answer,) = scorer.answer([read_scan(paths[0])])
    (result,) = scorer.results(paths[:1])
    assert answer == {name: getattr(result, name) for name in AnomalyScorer.answers}
    assert answer["unlike"] > 0


def test_a_control_reads_a_scan_once_for_both(scorer, quick_model, paths):
    results = list(scorer.results(paths))
    other = AnomalyScorer.load(quick_model)
    again = other.again(results, scorer)
    assert again[0].prepared is results[0].prepared  # the same preprocessing: nothing twice
    assert [r.anomaly_score for r in again] == [r.anomaly_score for r in results]
