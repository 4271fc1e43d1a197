"""Evaluation: what `evaluate` writes, and that its figures are those of its scores."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from anogan import AnomalyScorer
from anogan.calibration import UnlikeScans
from anogan.evaluation import evaluate
from anogan.examples import SIDE
from ganatomy.report.tables import extra_tables
from ganatomy.scans import Preprocessing
from ganatomy.tables import Table, TableError, read_labelled_table, read_table, table_of_two

SCAN = {"scan": "joined"}


@pytest.fixture(scope="module")
def scorer(quick_model):
    return AnomalyScorer.load(quick_model)


@pytest.fixture(scope="module")
def table(pictures):
    return read_labelled_table([str(pictures.labelled)], SCAN)


@pytest.fixture(scope="module")
def folder(scorer, table, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    evaluate(scorer, table, out)
    return out


def test_measures_are_those_of_the_scores_that_are_written(folder):
    scores = pd.read_csv(folder / "scores.csv")
    measures = json.loads((folder / "measures.json").read_text())
    value = {name: m["value"] for name, m in measures["measures"].items()}
    assert value["auroc"] == pytest.approx(roc_auc_score(scores["label"], scores["anomaly_score"]))
    assert value["average_precision"] == pytest.approx(
        average_precision_score(scores["label"], scores["anomaly_score"])
    )
    called = scores["anomaly_score"] > measures["threshold"]
    sick = scores["label"] == 1
    assert value["sensitivity"] == pytest.approx(called[sick].mean())
    assert value["specificity"] == pytest.approx((~called[~sick]).mean())
    assert (scores["abnormal"] == called).all()
    assert measures["n_healthy"] == measures["n_abnormal"] == 14
    for measure in measures["measures"].values():
        assert measure["low"] <= measure["value"] <= measure["high"]


def test_every_scan_is_scored_once_and_the_extremes_are_shown(scorer, table, tmp_path, monkeypatch):
    asked, real = [], scorer.results

    def counting(paths):
        asked.extend(paths)
        return real(paths)

    monkeypatch.setattr(scorer, "results", counting)
    frame = evaluate(scorer, table, tmp_path / "out").scores
    assert asked == table.first
    order = frame.sort_values("anomaly_score", kind="stable")
    sick, healthy = (order.loc[order["label"] == label, "scan"].to_list() for label in (1, 0))
    expected = [*sick[::-1][:5], *healthy[:3], *healthy[::-1][:4], *sick[:4]]
    with np.load(tmp_path / "out" / "examples.npz", allow_pickle=False) as stored:
        assert stored["names"].tolist() == expected
        scores = frame.set_index("scan").loc[expected]
        np.testing.assert_array_equal(stored["score"], scores["anomaly_score"])
        np.testing.assert_array_equal(stored["label"], scores["label"])


def test_scores_are_those_of_the_scorer_in_the_tables_order(folder, scorer, table):
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["scan"].tolist() == table.names
    np.testing.assert_allclose(scores["anomaly_score"], scorer.anomaly_score(table.first))


def test_fit_writes_the_same_evaluation(folder, quick_model):
    own = quick_model / "evaluation"
    pd.testing.assert_frame_equal(
        pd.read_csv(own / "scores.csv"), pd.read_csv(folder / "scores.csv")
    )
    assert json.loads((own / "measures.json").read_text()) == json.loads(
        (folder / "measures.json").read_text()
    )


def test_controls_stand_beside_the_model(folder):
    measures = json.loads((folder / "measures.json").read_text())
    paper = measures["controls"]["paper score"]
    assert {"auroc", "average_precision", "auroc_difference"} <= set(paper)
    assert paper["auroc_difference"]["value"] == pytest.approx(
        measures["measures"]["auroc"]["value"] - paper["auroc"]["value"]
    )


def test_a_control_is_scored_on_the_same_scans(quick_model, table):
    scorer = AnomalyScorer.load(quick_model)
    scorer.controls_ = {"linear": AnomalyScorer.load(quick_model)}
    found = evaluate(scorer, table).measures["controls"]["linear control"]
    assert found["auroc_difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_control_is_measured_without_the_scans_it_refuses(
    quick_model, table, draw_chest, tmp_path
):
    # Taken apart from its margin, one scan is a single value: the control has nothing to see.
    scorer, control = AnomalyScorer.load(quick_model), AnomalyScorer.load(quick_model)
    control.preprocessing_ = Preprocessing(size=(16, 16), margin=0.45)
    del control.calibration_  # its looks held an alignment
    picture = draw_chest(300, abnormal=True)
    picture[20:28, 20:28] = 90
    Image.fromarray(picture).save(tmp_path / "flat.png")
    scorer.controls_ = {"linear": control}
    more = Table(
        {"scan": [*table.first, tmp_path / "flat.png"]},
        [*table.names, "flat"],
        np.append(table.label, 1),
    )
    found = evaluate(scorer, more)
    assert found.measures["n_abnormal"] == 15
    assert found.measures["failed"] == []
    assert found.measures["controls_left_out"] == {"linear control": 1}
    seen = found.scores[found.scores["scan"] != "flat"]
    gap = found.measures["controls"]["linear control"]["auroc_difference"]["value"]
    own = found.measures["controls"]["linear control"]["auroc"]["value"]
    assert own + gap == pytest.approx(roc_auc_score(seen["label"], seen["anomaly_score"]))


def test_kinds_of_abnormal_scans_stand_apart(scorer, table):
    kinds = np.array([""] * 28, object)
    sick = np.flatnonzero(table.label == 1)
    kinds[sick[:6]], kinds[sick[6:12]], kinds[sick[12:]] = "viral", "bacterial", "rare"
    groups = pd.DataFrame({"kind": kinds, "number": np.arange(28), "view": "PA"})
    grouped = Table(table.paths, table.names, table.label, groups=groups)
    found = evaluate(scorer, grouped)
    # Neither a number a scan nor one view of all parts the abnormal ones; two scans are too few.
    assert list(found.measures["extra"]) == ["auroc_by_kind"]
    records = found.measures["extra"]["auroc_by_kind"]
    assert [(r["kind"], r["scans"]) for r in records] == [("bacterial", 6), ("viral", 6)]
    own = (table.label == 0) | (kinds == "viral")
    assert records[1]["auroc"]["value"] == pytest.approx(
        roc_auc_score(table.label[own], found.scores["anomaly_score"][own])
    )
    (shown,) = extra_tables(found.measures["extra"])
    assert shown["head"] == ["Kind", "Scans", "AUROC"]


def test_scans_of_another_exposure_are_warned_of(scorer, pictures, tmp_path):
    for kind in ("normal", "abnormal"):
        (tmp_path / kind).mkdir()
        for path in sorted((pictures.labelled / kind).iterdir())[:5]:
            pixels = np.asarray(Image.open(path)) / 255.0
            Image.fromarray(np.uint8(255 * pixels**4)).save(tmp_path / kind / path.name)
    with pytest.warns(UnlikeScans, match="^5 of 5 scans"):
        scorer.evaluate(read_labelled_table([str(tmp_path)], SCAN))


def test_examples_are_pictures_of_both_kinds(folder, table):
    with np.load(folder / "examples.npz", allow_pickle=False) as stored:
        examples = dict(stored)
    count = len(examples["names"])
    assert len(set(examples["names"])) == count
    assert set(examples["label"]) == {0, 1}
    assert set(examples["names"]) <= set(table.names)
    assert examples["input"].shape == examples["map"].shape
    assert examples["input"].shape[1] == min(SIDE, 48)
    assert np.abs(examples["input"]).max() <= 1
    assert np.nanmin(examples["map"]) >= 0
    assert np.isnan(examples["map"]).any()  # the margin was never seen
    np.testing.assert_allclose(
        examples["seen"] - examples["reconstruction"], examples["residual"], atol=1e-6
    )
    scores = pd.read_csv(folder / "scores.csv").set_index("scan")["anomaly_score"]
    np.testing.assert_allclose(examples["score"], scores[examples["names"]])


def test_small_scans_of_unlike_sizes_are_measured_and_shown(scorer, draw_chest, tmp_path):
    sizes = {"normal": [(20, 31), (48, 48)], "odd": [(33, 24), (64, 40)]}
    for kind, shapes in sizes.items():
        (tmp_path / kind).mkdir()
        for number, (high, wide) in enumerate(shapes):
            picture = Image.fromarray(draw_chest(600 + number, abnormal=kind == "odd"))
            picture.resize((wide, high)).save(tmp_path / kind / f"{number}.png")
    scorer.evaluate(read_labelled_table([str(tmp_path)], SCAN), tmp_path / "out")
    with np.load(tmp_path / "out" / "examples.npz", allow_pickle=False) as stored:
        names, shown, maps = (stored[name] for name in ("names", "input", "map"))
    # Each as large as it is, in the middle of a frame as large as the largest.
    assert shown.shape == maps.shape == (4, 64, 64)
    at = dict(zip(names, range(4), strict=True))
    small = maps[at["normal/0.png"]]
    assert np.isfinite(small[27:37, 22:42]).all()
    assert np.isnan(small[:16]).all()
    assert np.isnan(small[:, :16]).all()
    assert np.isfinite(maps[at["odd/1.png"]][12:52, 22:42]).all()
    assert (shown[at["normal/0.png"]][:22] == -1).all()


def test_broken_scans_are_listed_and_the_others_measured(scorer, pictures, tmp_path):
    shutil.copytree(pictures.labelled, tmp_path / "scans")
    broken = sorted((tmp_path / "scans" / "normal").iterdir())[3]
    broken.write_bytes(b"nothing")
    table = read_labelled_table([str(tmp_path / "scans")], SCAN)
    found = evaluate(scorer, table, tmp_path / "out")
    assert len(found.measures["failed"]) == 1
    assert broken.name in found.measures["failed"][0]
    assert found.measures["n_healthy"] == 13
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert f"normal/{broken.name}" not in set(scores["scan"])
    # A lost row moves no other's label.
    assert (scores["label"] == scores["scan"].str.startswith("abnormal")).all()


def test_patients_are_resampled_where_they_are_known(scorer, pictures, tmp_path):
    rows = ["scan,label,patient"]
    for kind in ("normal", "abnormal"):
        for number, path in enumerate(sorted((pictures.labelled / kind).iterdir())):
            rows.append(f"{path},{int(kind == 'abnormal')},{kind}-{number // 7}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    found = evaluate(scorer, read_table([str(tmp_path / "t.csv")], SCAN))
    assert found.measures["patients"] is True
    assert set(found.scores["patient"]) == {"normal-0", "normal-1", "abnormal-0", "abnormal-1"}


def test_an_evaluation_needs_both_kinds(scorer, pictures, tmp_path):
    with pytest.raises(TableError, match="needs healthy and abnormal scans"):
        evaluate(scorer, read_table([str(pictures.healthy)], SCAN))
    with pytest.raises(TableError, match="needs healthy and abnormal scans"):
        evaluate(scorer, table_of_two(None, pictures.labelled / "abnormal"))
    (tmp_path / "normal").mkdir()
    (tmp_path / "odd").mkdir()
    for kind in ("normal", "odd"):
        (tmp_path / kind / "a.png").write_bytes(b"")
    with pytest.raises(TableError, match="not one could be read"):
        evaluate(scorer, read_labelled_table([str(tmp_path)], SCAN))
