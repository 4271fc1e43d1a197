"""The command line as a user types it: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ganatomy.cli import cli


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def rows(file: Path) -> dict[str, dict[str, str]]:
    with open(file, newline="") as stored:
        return {row["scan"]: row for row in csv.DictReader(stored)}


@pytest.fixture
def folder(tmp_path, draw_chest) -> Path:
    """Twenty pictures, and three files that are not."""
    root = tmp_path / "scans"
    root.mkdir()
    for seed in range(20):
        picture = draw_chest(seed, abnormal=seed >= 16)
        Image.fromarray(picture).save(root / f"{seed:02}.png")
    (root / "cut.png").write_bytes((root / "00.png").read_bytes()[:200])
    (root / "text.dcm").write_text("not a scan at all")
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(root / "flat.png")
    return root


BROKEN = {"cut.png", "text.dcm", "flat.png"}


def test_help_and_models_import_nothing_heavy():
    code = (
        "import sys; from click.testing import CliRunner; from ganatomy.cli import cli\n"
        "for words in (['--help'], ['fit', '--help'], ['models']):\n"
        "    assert CliRunner().invoke(cli, words).exit_code == 0\n"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'pandas', 'sklearn', 'skimage'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_models_lists_every_preset_with_its_cost():
    found = json.loads(run("models", "--json").output)
    assert {"anogan", "fanogan", "linear"} <= set(found)
    assert all(preset["cost"] and preset["paper"] for preset in found.values())
    assert run("models", "--task", "knit").exit_code == 2


def test_broken_scans_are_named_and_the_rest_is_scored(quick_model, folder, tmp_path):
    out = tmp_path / "out"
    result = run("score", quick_model, folder, "--out", out)
    assert result.exit_code == 1
    found = rows(out / "scores.csv")
    assert {name for name, row in found.items() if row["error"]} == BROKEN
    assert sum(bool(row["anomaly_score"]) for row in found.values()) == 20
    for name in BROKEN:
        assert name in result.stderr
    assert "3 of 23 scans failed" in result.stderr
    assert len(list((out / "maps").glob("*.png"))) == 20


def test_scoring_goes_on_where_it_stopped(quick_model, folder, tmp_path):
    out, again = tmp_path / "out", tmp_path / "again"
    run("score", quick_model, folder, "--out", out, "--no-maps")
    run("score", quick_model, folder, "--out", again, "--no-maps")
    lines = (again / "scores.csv").read_text().splitlines(keepends=True)
    # As a kill in the middle of a write leaves it: nine rows and a piece of the tenth.
    (again / "scores.csv").write_text("".join(lines[:10]) + lines[10][:9])
    kept = (again / "scores.csv").stat().st_ino
    run("score", quick_model, folder, "--out", again, "--no-maps")
    assert (again / "scores.csv").read_text() == (out / "scores.csv").read_text()
    assert (again / "scores.csv").stat().st_ino == kept


@pytest.mark.slow
def test_a_killed_scoring_run_resumes(quick_model, tmp_path, draw_chest):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for seed in range(600):
        Image.fromarray(draw_chest(seed)).save(scans / f"{seed:03}.png")
    command = [sys.executable, "-m", "ganatomy.cli", "score", quick_model, scans, "--out", out]
    process = subprocess.Popen(command, start_new_session=True)
    while not (out / "scores.csv").exists() or len(rows(out / "scores.csv")) < 100:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = (out / "scores.csv").read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    subprocess.run(command, check=True)
    after = (out / "scores.csv").read_bytes()
    assert after.startswith(whole), "a row was computed twice or lost"
    assert len(rows(out / "scores.csv")) == 600


def test_another_models_results_are_not_mixed(quick_model, folder, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    run("score", quick_model, folder / "00.png", "--out", out)
    result = run("calibrate", quick_model, "--data", folder, "--fpr", 0.2, "--out", other)
    assert result.exit_code == 1, "three of the scans are broken"
    assert "threshold" in result.output
    result = run("score", other, folder / "01.png", "--out", out)
    assert result.exit_code == 2
    assert "another model's results" in result.stderr


def test_calibrate_changes_the_threshold_and_nothing_else(quick_model, pictures, tmp_path):
    from anogan import AnomalyScorer

    out = tmp_path / "here"
    assert run("calibrate", quick_model, "--data", pictures.healthy, "--out", out).exit_code == 0
    before, after = AnomalyScorer.load(quick_model), AnomalyScorer.load(out)
    assert before.threshold_ != after.threshold_
    paths = sorted(pictures.labelled.rglob("*.png"))[:6]
    np.testing.assert_array_equal(before.anomaly_score(paths), after.anomaly_score(paths))


def test_evaluate_report(quick_model, pictures, tmp_path):
    out, page, file = tmp_path / "out", tmp_path / "page.html", tmp_path / "measures.json"
    result = run("evaluate", quick_model, "--data", pictures.labelled, "--out", out, "--json", file)
    assert result.exit_code == 0
    assert "auroc" in result.output
    measures = json.loads(file.read_text())["measures"]
    assert set(measures) == {"auroc", "average_precision", "sensitivity", "specificity"}
    assert measures["auroc"]["low"] <= measures["auroc"]["value"] <= measures["auroc"]["high"]
    assert run("report", out, "--out", page).exit_code == 0
    assert "not a medical device" in page.read_text()
    assert run("report", quick_model, "--out", page).exit_code == 0
    two = run(
        "evaluate", quick_model, quick_model,
        "--normal", pictures.labelled / "normal", "--abnormal", pictures.labelled / "abnormal",
    )  # fmt: skip
    assert "+0.000 (+0.000 to +0.000)" in two.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "fanogen", "--data", "x"], "no model or preset 'fanogen'; near it: fanogan"),
        (["fit", "linear", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["fit", "linear", "--data", "x", "--set", "siez=3"], "--set siez: linear has no such"),
        (["score", "nowhere", "x", "--out", "y"], "nowhere: no such model folder"),
        (["evaluate", "nowhere"], "give --data, or both"),
        (["report", "nowhere", "--out", "x.html"], "nowhere: no such model folder"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_too_few_scans_are_refused_before_training(pictures, tmp_path):
    result = run("fit", "linear", "--data", pictures.healthy, "--out", tmp_path / "m")
    assert result.exit_code == 2
    assert "9 healthy scans cannot set a threshold" in result.stderr


def test_a_finished_run_is_neither_overwritten_nor_resumed(quick_model, pictures, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(quick_model, model)
    data = ["--data", pictures.healthy]
    result = run("fit", "linear", *data, "--out", model)
    assert result.exit_code == 2
    assert "holds another run" in result.stderr


def test_one_picture_as_dicom_nifti_and_png_has_one_score(quick_model, tmp_path, draw_chest):
    import nibabel
    import pydicom
    from pydicom.data import get_testdata_file

    from anogan import AnomalyScorer

    picture = draw_chest(77, abnormal=True)
    Image.fromarray(picture).save(tmp_path / "a.png")
    # Rows run to posterior and columns to the left, as an axial slice is looked at.
    affine = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.Nifti1Image(picture[..., None], affine).to_filename(tmp_path / "a.nii.gz")
    radiograph = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
        if keyword in radiograph:
            delattr(radiograph, keyword)
    radiograph.Rows, radiograph.Columns = picture.shape
    radiograph.set_pixel_data(picture, "MONOCHROME2", 8)
    radiograph.save_as(tmp_path / "a.dcm")
    paths = [tmp_path / name for name in ("a.png", "a.nii.gz", "a.dcm")]

    in_python = AnomalyScorer.load(quick_model).anomaly_score(paths)
    out = tmp_path / "out"
    assert run("score", quick_model, *paths, "--out", out).exit_code == 0
    typed = [float(row["anomaly_score"]) for row in rows(out / "scores.csv").values()]
    np.testing.assert_allclose(typed, in_python, rtol=1e-12)
    np.testing.assert_allclose(in_python, in_python[0], rtol=1e-5)
