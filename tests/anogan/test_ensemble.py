"""Ensembles: detectors made comparable by healthy scans, one face and one folder for all verbs."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from sklearn.base import clone

from anogan import AnomalyScorer
from anogan.calibration import Calibration
from anogan.ensemble import Ensemble, Members
from anogan.finishing import healthy_judgements
from anogan.standard_scores import StandardScores, left_out
from ganatomy import registry
from ganatomy.artifacts import Artifact, ArtifactError
from ganatomy.errors import WrongUse
from ganatomy.registry import Preset, PresetError
from ganatomy.scans import Preprocessing, ScanError, read_scan
from ganatomy.tables import read_labelled_table, read_table, split
from ganatomy.training import fit

ONE = {"preset": "linear", "set": {"size": [16, 16], "equalise": None, "components": 3}}
# Sees otherwise, and shares no sample with the first.
OTHER = {
    "preset": "linear",
    "name": "small",
    "set": {"size": [12, 12], "equalise": None, "margin": 0.0, "components": 0},
}
# The networks of the first, told of otherwise.
TWIN = {"preset": "linear", "name": "peaks", "set": {**ONE["set"], "top": 0.05}}


def recipe(*members) -> Preset:
    return registry.preset("ensemble-chest-xray").set(
        [f"members={json.dumps(members)}", "training.holdout=0.4"]
    )


@pytest.fixture(scope="module")
def table(pictures):
    return read_table([str(pictures.healthy)], {"scan": "joined"})


@pytest.fixture(scope="module")
def labelled(pictures):
    return read_labelled_table([str(pictures.labelled)], {"scan": "joined"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table, labelled):
    out = tmp_path_factory.mktemp("ensembles") / "model"
    fit(recipe(ONE, OTHER, TWIN), table, out, validation=labelled)
    return out


@pytest.fixture(scope="module")
def ensemble(folder):
    return AnomalyScorer.load(folder)


# Scores made comparable ---------------------------------------------------------------------


def test_standard_scores_are_those_of_the_logarithm_by_hand():
    of = StandardScores(np.exp([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(of(np.exp([2.0, 5.0])), [0.0, 3.0])
    assert of(np.exp(4.5)).shape == ()
    # Where a score can be negative it is no residual: as it is.
    np.testing.assert_allclose(StandardScores(np.array([-2.0, 0.0, 2.0]))([4.0, -6.0]), [2, -3])


@pytest.mark.parametrize("shift", [0.0, -5.0], ids=["positive", "of both signs"])
def test_standard_scores_rise_everywhere_and_without_end(shift):
    healthy = np.random.default_rng(0).gamma(4.0, size=50) + shift
    scores = np.concatenate([np.linspace(-20, 20, 2001), [1e3, 1e6]])
    told = StandardScores(healthy)(scores)
    assert (np.diff(told) > 0).all()
    # No jump where the logarithm becomes its tangent: slopes change by little a step.
    slopes = np.diff(told[:2001]) / np.diff(scores[:2001])
    assert np.abs(np.diff(slopes)).max() < 0.05 * slopes.max()
    assert np.isfinite(told).all()


def test_no_unit_of_a_score_matters():
    healthy = np.random.default_rng(1).gamma(4.0, size=30)
    scores = np.linspace(0.1, 30, 50)
    np.testing.assert_allclose(
        StandardScores(7 * healthy)(7 * scores), StandardScores(healthy)(scores)
    )


def test_each_healthy_scan_is_told_by_the_others():
    scores = np.random.default_rng(2).gamma(4.0, size=12)
    told = left_out(scores, np.arange(12))
    for place, own in enumerate(scores):
        others = np.delete(scores, place)
        assert told[place] == StandardScores(others)(own)
    with pytest.raises(WrongUse, match="2 healthy scans are too few"):
        left_out(scores[:2], ["a", "b"])


def test_a_patients_scans_are_told_by_those_of_other_patients():
    scores = np.random.default_rng(2).gamma(4.0, size=6)
    told = left_out(scores, ["a", "b", "a", "c", "b", "d"])
    assert told[0] == StandardScores(scores[[1, 3, 4, 5]])(scores[0])
    assert told[4] == StandardScores(scores[[0, 2, 3, 5]])(scores[4])
    with pytest.raises(WrongUse, match="6 healthy scans are too few"):
        left_out(scores, ["a"] * 5 + ["b"])


@pytest.mark.parametrize("count", [19, 40])
def test_healthy_scans_are_called_abnormal_no_more_often_than_stated(count):
    # Members that agree in part, as detectors of the same scans do, and have long tails.
    draw, rates = np.random.default_rng(3), []
    for _ in range(150):
        common = draw.normal(size=(count + 50, 1))
        scores = np.exp(common + draw.standard_t(4, size=(count + 50, 4)))
        joint = np.mean([left_out(own, np.arange(count)) for own in scores[:count].T], axis=0)
        threshold = Calibration.of(list(joint), np.zeros((count, 1)), 0.05).threshold
        new = [StandardScores(own[:count])(own[count:]) for own in scores.T]
        rates.append(np.mean(np.mean(new, axis=0) > threshold))
    assert 0.03 < np.mean(rates) < 0.06


# What an ensemble says ------------------------------------------------------------------------


def test_a_score_is_the_mean_of_its_members_standard_scores(ensemble, labelled):
    expected = [
        StandardScores(member.calibration_.scores)(member.anomaly_score(labelled.first))
        for member in ensemble.members_.values()
    ]
    scores = ensemble.anomaly_score(labelled.first)
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), rtol=1e-6)
    assert list(ensemble.members_) == ["linear", "small", "peaks"]


def test_members_of_one_model_have_the_mean_of_its_papers_scores(ensemble, labelled):
    for result in ensemble.results(labelled.first[:3]):
        own = [part.paper_score for part in result.parts]
        assert result.paper_score == pytest.approx(np.mean(own))
        assert len(set(own)) > 1


def test_a_map_is_the_mean_of_its_members_on_the_scans_own_grid(ensemble, labelled):
    path = labelled.first[-1]
    (joint,) = ensemble.anomaly_map([path])
    own = [member.anomaly_map([path])[0] for member in ensemble.members_.values()]
    seen = ~np.isnan(own)
    np.testing.assert_array_equal(np.isnan(joint), ~seen.any(0))
    np.testing.assert_allclose(
        joint[seen.any(0)], np.nanmean(np.array(own)[:, seen.any(0)], 0), 1e-5
    )
    # The first member cuts a margin that the second sees.
    alone = seen[1] & ~seen[0] & ~seen[2]
    assert alone.sum() > 100
    np.testing.assert_allclose(joint[alone], own[1][alone], 1e-5)


def test_scans_are_prepared_once_for_members_that_see_alike(ensemble, labelled):
    (result,) = ensemble.results(labelled.first[:1])
    first, other, twin = result.parts
    assert twin.prepared is first.prepared
    assert other.prepared is not first.prepared
    assert {part.scan is result.scan for part in result.parts} == {True}


def test_the_order_of_members_does_not_matter(ensemble, labelled):
    artifact = ensemble.artifact_
    names = list(ensemble.members_)[::-1]
    turned = Ensemble(
        Artifact(
            artifact.preset,
            Members({name: ensemble.members_[name] for name in names}),
            artifact.shape,
            dict(artifact.arrays),
        )
    )
    assert list(turned.members_ if turned.artifact_ else ()) == names
    paths = labelled.first[:6]
    np.testing.assert_array_equal(turned.anomaly_score(paths), ensemble.anomaly_score(paths))
    assert turned.threshold_ == ensemble.threshold_


def test_a_scan_is_scored_the_same_alone_and_in_company(ensemble, labelled):
    together = ensemble.anomaly_score(labelled.first)
    alone = [ensemble.anomaly_score([path])[0] for path in labelled.first[:4]]
    np.testing.assert_array_equal(together[:4], alone)


def test_made_opacities_are_found(ensemble, labelled):
    scores, threshold = ensemble.anomaly_score(labelled.first), ensemble.threshold_
    assert (scores[labelled.label == 1] > threshold).all()
    assert (scores[labelled.label == 0] > threshold).mean() < 0.3


def test_a_broken_scan_has_its_error_and_the_others_their_scores(ensemble, labelled, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    paths = [labelled.first[0], tmp_path / "bad.png", labelled.first[1]]
    results = list(ensemble.results(paths))
    assert [result.error is None for result in results] == [True, False, True]
    assert results[1].path == str(paths[1])
    np.testing.assert_array_equal(
        [results[0].anomaly_score, results[2].anomaly_score],
        ensemble.anomaly_score([paths[0], paths[2]]),
    )


def test_a_scan_that_one_member_refuses_has_its_error(folder, labelled):
    ensemble = AnomalyScorer.load(folder)
    choosy = ensemble.members_["small"]
    choosy.preprocessing_ = Preprocessing(size=(12, 12), channels=3)
    assert ensemble.members_["linear"].anomaly_score(labelled.first[:2]).shape == (2,)
    with pytest.raises(ScanError, match="channel"):
        ensemble.anomaly_score(labelled.first[:2])


def test_healthy_scans_are_scored_by_all_the_others(ensemble, table):
    _, holdout = split(table, 0.4, 0)
    results = list(ensemble.results(holdout.first))
    joint = []
    for place in range(len(ensemble.members_)):
        own = [result.parts[place].findings for result in results]
        post = list(ensemble.members_.values())[place].postprocessing_
        judged = healthy_judgements(post.model_copy(), own, holdout.names)
        joint.append(left_out(np.array([score for _, score in judged]), holdout.names))
    expected = np.sort(np.mean(joint, axis=0))
    np.testing.assert_allclose(ensemble.calibration_.scores, expected, rtol=1e-5, atol=1e-6)
    # Scored as if they were new, in maps and by scores that hold their own, they vary less.
    assert ensemble.anomaly_score(holdout.first).std() < 0.95 * expected.std()
    # A pixel is judged likewise, and members keep what they were calibrated to alone.
    assert 0 < ensemble.calibration_.pixel_threshold < np.inf
    assert ensemble.calibration_.marks.shape[0] == len(holdout)


def test_looks_hold_the_alignment_to_each_mean(ensemble, labelled):
    (result,) = ensemble.results(labelled.first[:1])
    first, other, _ = result.parts
    looks = ensemble.look_of(result)
    assert len(looks) == ensemble.calibration_.looks.shape[1]
    np.testing.assert_array_equal(looks[-len(other.prepared.alignment) :], other.prepared.alignment)
    assert not np.allclose(first.prepared.alignment, other.prepared.alignment)


# One folder, all verbs ------------------------------------------------------------------------


def test_a_folder_holds_each_member_and_the_controls_once(folder, config_of):
    assert sorted(path.name for path in (folder / "members").iterdir()) == [
        "linear",
        "peaks",
        "small",
    ]
    for name in ("linear", "peaks", "small"):
        assert not (folder / "members" / name / "controls").exists()
        assert AnomalyScorer.load(folder / "members" / name).threshold_ > 0
    assert sorted(path.name for path in (folder / "controls").iterdir()) == ["linear", "raw"]
    config = config_of(folder)
    assert [member["name"] for member in config["preset"]["members"]] == [
        "linear",
        "small",
        "peaks",
    ]
    assert config["data"]["held_out"] == 24
    assert "- Members: linear, small, peaks" in (folder / "model_card.md").read_text()


def test_members_that_share_their_networks_are_trained_once(folder):
    assert (folder / "members" / "linear" / "run.json").exists()
    assert not (folder / "members" / "peaks" / "run.json").exists()
    one, other = (AnomalyScorer.load(folder / "members" / name) for name in ("linear", "peaks"))
    for own, its in zip(
        one.artifact_.model.networks["projection"].get_weights(),
        other.artifact_.model.networks["projection"].get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(own, its)
    assert one.postprocessing_.top == 1.0
    assert other.postprocessing_.top == 0.05


def test_saved_and_loaded_it_says_the_same(ensemble, labelled, tmp_path):
    ensemble.save(tmp_path / "model")
    again = AnomalyScorer.load(tmp_path / "model")
    assert isinstance(again, Ensemble)
    paths = labelled.first[:5]
    np.testing.assert_array_equal(again.anomaly_score(paths), ensemble.anomaly_score(paths))
    assert (again.threshold_, again.fpr) == (ensemble.threshold_, ensemble.fpr)
    for one, other in zip(again.anomaly_map(paths), ensemble.anomaly_map(paths), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(again.controls_) == ["linear", "raw"]
    assert clone(again).get_params() == again.get_params()


def test_a_scorer_of_one_model_says_what_opens_several(folder):
    with pytest.raises(ArtifactError, match=r"an ensemble, which AnomalyScorer\.load opens"):
        AnomalyScorer(folder).anomaly_score([])


def test_another_sites_threshold_leaves_scores_and_members_alone(folder, pictures, labelled):
    here = AnomalyScorer.load(folder)
    before = here.anomaly_score(labelled.first)
    normal = read_table([str(pictures.labelled / "normal")], {"scan": "joined"})
    assert here.calibrate(normal, 0.1) == []
    np.testing.assert_array_equal(here.anomaly_score(labelled.first), before)
    assert here.threshold_ == np.sort(here.anomaly_score(normal.first))[13]


def test_an_evaluation_shows_members_and_controls_beside_it(folder):
    measures = json.loads((folder / "evaluation" / "measures.json").read_text())
    assert measures["model"] == "3 models"
    assert measures["measures"]["auroc"]["value"] > 0.9
    assert sorted(measures["controls"]) == [
        "linear control",
        "member linear",
        "member peaks",
        "member small",
        "paper score",  # all members are of one model
        "raw principal components",
    ]


def test_a_folder_of_scores_and_a_report(ensemble, folder, labelled, tmp_path):
    from ganatomy.report import write_report

    scans = labelled.rows(np.arange(3))
    assert ensemble.score_to(scans, tmp_path / "scores") == []
    assert len(list((tmp_path / "scores" / "maps").iterdir())) >= 3
    for source in (folder, tmp_path / "scores"):
        page = write_report(source, tmp_path / f"{source.name}.html").read_text()
        assert "<html" in page


def test_it_is_served_as_any_model(folder, labelled):
    import pandas as pd

    from ganatomy.artifacts import read_config
    from ganatomy.served import Answers
    from ganatomy.serving import signature

    path = labelled.first[0]
    rows = pd.DataFrame({"scan": [path.read_bytes()]})
    answer = Answers(folder).predict(rows, {"map": True})
    ensemble = AnomalyScorer.load(folder)
    (result,) = ensemble.results([read_scan(path)])
    assert answer["anomaly_score"][0] == result.anomaly_score
    assert answer["abnormal"][0]
    np.testing.assert_allclose(
        np.array(answer["map"][0], float), result.map.astype(float), rtol=1e-6
    )
    assert [column.name for column in signature(read_config(folder)).inputs] == ["scan", "pixels"]


def test_the_registered_model_is_the_folders(folder, table, labelled):
    import mlflow

    fit_run = json.loads((folder / "run.json").read_text())["run_id"]
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    runs = client.search_runs(
        [client.get_run(fit_run).info.experiment_id],
        f"tags.mlflow.parentRunId = '{fit_run}'",
    )
    assert sorted(run.info.run_name for run in runs) == ["linear-0", "linear-0"]
    with mlflow.start_run():
        from ganatomy.serving import log_folder

        log_folder(folder, "several")
    loaded = AnomalyScorer.load("models:/several/1")
    paths = labelled.first[:3]
    np.testing.assert_array_equal(
        loaded.anomaly_score(paths), AnomalyScorer.load(folder).anomaly_score(paths)
    )


# Training -------------------------------------------------------------------------------------


def test_an_interrupted_fit_goes_on_with_the_members_that_are_left(folder, table, tmp_path):
    out = tmp_path / "model"
    shutil.copytree(folder, out)
    for name in ("config.json", "members/small", "members/peaks", "controls"):
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    first = out / "members" / "linear" / "run.json"
    written = first.stat().st_mtime_ns
    preset = recipe(ONE, OTHER, TWIN)
    with pytest.raises(ArtifactError, match="holds this run already"):
        fit(preset, table, out)
    again = fit(preset, table, out, resume=True)
    assert first.stat().st_mtime_ns == written  # a fit begins by writing it
    whole = AnomalyScorer.load(folder)
    assert again.threshold_ == whole.threshold_
    np.testing.assert_array_equal(
        again.anomaly_score(table.first[:5]), whole.anomaly_score(table.first[:5])
    )
    with pytest.raises(ArtifactError, match="is finished"):
        fit(preset, table, out, resume=True)


def test_seeds_of_one_preset_are_members_with_other_weights_and_the_same_held_out_scans(
    table, tmp_path, eager
):
    short = {
        **{"size": [8, 8], "equalise": None, "latent": 4, "width": 2, "restoration_steps": 0},
        **{"batch_size": 8, "every": 2, "training.steps": {"variational": 2}},
    }
    seeds = [{"preset": "vae-chest-xray", "seed": seed, "set": short} for seed in (0, 1)]
    made = fit(recipe(*seeds), table, tmp_path / "model")
    assert list(made.members_) == ["vae-chest-xray", "vae-chest-xray-seed-1"]
    one, other = made.members_.values()
    assert one.artifact_.facts["data"] == other.artifact_.facts["data"]
    weights = [
        member.artifact_.model.networks["encoder"].get_weights()[0] for member in (one, other)
    ]
    assert not np.allclose(*weights)


def test_what_is_wrong_with_the_last_member_is_said_before_the_first_is_trained(table, tmp_path):
    wrong = {"preset": "fanogan", "set": {"size": [8, 8], "training.steps": {"adversarial": 1}}}
    with pytest.raises(WrongUse, match="the stages are"):
        fit(recipe(OTHER, wrong), table, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_where_no_member_was_trained_yet_is_free(table, tmp_path):
    # Known once a stage is traced.
    settings = {
        **{"size": [8, 8], "width": 2, "batch_size": 8, "critic_updates": 1},
        "term_weights": {"critic/penlty": 1},
    }
    with pytest.raises(WrongUse, match="penlty"):
        fit(recipe({"preset": "fanogan", "set": settings}), table, tmp_path / "model")
    assert (tmp_path / "model" / "run.json").exists()
    fit(recipe(OTHER), table, tmp_path / "model")


# What a preset may say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "line"),
    [
        (["linear", "linear"], "two members are called linear: give one a name"),
        (["nothing-like-it"], "no model or preset 'nothing-like-it'"),
        (["ensemble-chest-xray"], "is an ensemble, and no member of one"),
        ([ONE, {"preset": "linear", "name": "b", "set": {"channels": 3}}], "channels is 1 for"),
        ([{"preset": "linear", "set": {"colour": 1}}], "--set colour: linear has no such setting"),
        ([{"preset": "linear", "name": "../a"}], r"members\.0\.name"),
        ([], "a preset has a model, or members"),
    ],
)
def test_members_that_do_not_fit_are_named(members, line):
    with pytest.raises(PresetError, match=line):
        registry.members(recipe(*members))


def test_an_ensemble_has_no_settings_of_its_members():
    preset = registry.preset("ensemble-chest-xray")
    with pytest.raises(PresetError, match="it has holdout, members"):
        preset.set(["size=[8,8]"])
    with pytest.raises(PresetError, match="linear has no such setting"):
        registry.preset("linear").set(["members=[linear]"])


def test_members_take_the_ensembles_share_of_held_out_scans():
    found = registry.members(recipe("linear", {"preset": "fanogan-chest-xray", "seed": 2}))
    assert list(found) == ["linear", "fanogan-chest-xray-seed-2"]
    assert {preset.training.holdout for preset in found.values()} == {0.4}


def test_maps_that_are_not_over_healthy_ones_are_refused(table, tmp_path):
    bare = {"preset": "linear", "set": {**ONE["set"], "healthy_map": False}}
    with pytest.raises(WrongUse, match="linear: maps of an ensemble are comparable with healthy_m"):
        fit(recipe(bare), table, tmp_path / "model")
    # Before any of them is trained.
    assert not (tmp_path / "model").exists()
