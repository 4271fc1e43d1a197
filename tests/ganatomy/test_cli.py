"""The command line as a user types it: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import os
import re
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

from ganatomy.artifacts import are_seeds
from ganatomy.cli import cli, main
from ganatomy.printing import summarise_seeds


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
    [line] = [line for line in result.stderr.splitlines() if "flat.png" in line]
    assert "constant" in line


def test_foreign_scans_are_pointed_at(quick_model, pictures, tmp_path, draw_chest):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, file in enumerate(sorted((pictures.labelled / "normal").iterdir())):
        picture = np.asarray(Image.open(file))
        if number < 10:  # as a scanner with another exposure makes them, in another format
            picture = np.pad(255 - picture, [(0, 0), (0, 60)])
        Image.fromarray(picture).save(scans / file.name)
    foreign = run("score", quick_model, scans, "--out", tmp_path / "foreign", "--no-maps")
    assert foreign.exit_code == 0
    found = rows(tmp_path / "foreign" / "scores.csv")
    unlike = sum(float(row["unlike"]) > 1 for row in found.values())
    assert unlike >= 10
    warning = f"{unlike} of 14 scans do not look like the calibration scans"
    assert sum(warning in line for line in foreign.stderr.splitlines()) == 1

    abnormal = pictures.labelled / "abnormal"
    both = ["--normal", scans, "--abnormal", abnormal]
    measured = run("evaluate", quick_model, *both)
    assert f"{unlike} of 14 healthy scans do not look like" in measured.stderr
    assert measured.stderr.count("do not look like") == 1
    # The model's own healthy scans are not.
    own = run("score", quick_model, pictures.healthy, "--out", tmp_path / "own", "--no-maps")
    assert "do not look like" not in own.stderr


def test_another_folders_scores_are_not_given_for_these(quick_model, folder, tmp_path, draw_chest):
    other, out = tmp_path / "other", tmp_path / "out"
    other.mkdir()
    Image.fromarray(draw_chest(50, abnormal=True)).save(other / "00.png")
    run("score", quick_model, folder, "--out", out, "--no-maps")
    before = (out / "scores.csv").read_bytes()
    result = run("score", quick_model, other, "--out", out, "--no-maps")
    assert result.exit_code == 2
    assert "holds the score of another file named 00.png: choose another --out" in result.stderr
    assert (out / "scores.csv").read_bytes() == before


def test_scoring_goes_on_where_it_stopped(quick_model, folder, tmp_path):
    out, again = tmp_path / "out", tmp_path / "again"
    run("score", quick_model, folder, "--out", out, "--no-maps")
    run("score", quick_model, folder, "--out", again, "--no-maps")
    lines = (again / "scores.csv").read_bytes().splitlines(keepends=True)
    # As a kill in the middle of a write leaves it: nine rows and a piece of the tenth.
    (again / "scores.csv").write_bytes(b"".join(lines[:10]) + lines[10][:9])
    kept = (again / "scores.csv").stat().st_ino
    run("score", quick_model, folder, "--out", again, "--no-maps")
    assert (again / "scores.csv").read_bytes() == (out / "scores.csv").read_bytes()
    assert (again / "scores.csv").stat().st_ino == kept


def test_a_killed_scoring_run_resumes(quick_model, tmp_path, draw_chest):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for seed in range(60):  # so large that maps keep it busy
        Image.fromarray(draw_chest(seed, side=144)).save(scans / f"{seed:03}.png")
    command = [sys.executable, "-m", "ganatomy.cli", "score", quick_model, scans, "--out", out]
    process = subprocess.Popen(command, start_new_session=True)
    scores = out / "scores.csv"
    while not scores.exists() or scores.read_bytes().count(b"\n") < 10:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = scores.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert 10 <= whole.count(b"\n") < 61, "ended before it was killed"
    assert run("score", quick_model, scans, "--out", out).exit_code == 0
    assert scores.read_bytes().startswith(whole), "a row was computed twice or lost"
    assert len(scores.read_bytes().splitlines()) == 61
    assert run("score", quick_model, scans, "--out", tmp_path / "unbroken").exit_code == 0
    unbroken = rows(tmp_path / "unbroken" / "scores.csv")
    assert list(unbroken) == list(rows(scores))
    for name, row in rows(scores).items():
        assert abs(float(row["anomaly_score"]) - float(unbroken[name]["anomaly_score"])) < 1e-5
    for part in ("maps", "lesions"):
        names = {file.name for file in (tmp_path / "unbroken" / part).iterdir()}
        assert {file.name for file in (out / part).iterdir()} == names


def test_another_models_results_are_not_mixed(quick_model, folder, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    run("score", quick_model, folder / "00.png", "--out", out)
    result = run("calibrate", quick_model, "--data", folder, "--fpr", 0.2, "--out", other)
    assert result.exit_code == 1, "three of the scans are broken"
    assert "from 20 healthy scans" in result.output
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


def test_calibrate_leaves_out_what_is_labelled_abnormal(quick_model, pictures, tmp_path):
    files = sorted(pictures.labelled.rglob("*.png"))
    rows = [f"{file.resolve()},{int(file.parent.name == 'abnormal')}" for file in files]
    (tmp_path / "labelled.csv").write_text("\n".join(["scan,label", *rows]))
    given = (tmp_path / "labelled.csv", pictures.labelled / "normal")
    results = [
        run("calibrate", quick_model, "--data", data, "--fpr", 0.1, "--out", tmp_path / str(number))
        for number, data in enumerate(given)
    ]
    assert "14 scans labelled abnormal are left out" in results[0].stderr
    thresholds = [result.stdout.splitlines()[0] for result in results]
    assert thresholds[0] == thresholds[1]
    assert "from 14 healthy scans" in thresholds[0]


def test_calibrate_does_not_write_over_anything(quick_model, pictures, tmp_path):
    out = tmp_path / "model"
    shutil.copytree(quick_model, out)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    result = run("calibrate", quick_model, "--data", pictures.healthy, "--out", out)
    assert result.exit_code == 2
    assert f"{out} holds something else already: choose another --out" in result.stderr
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    (tmp_path / "empty").mkdir()
    result = run("calibrate", quick_model, "--data", pictures.healthy, "--out", tmp_path / "empty")
    assert result.exit_code == 0


def test_evaluate_writes_over_an_evaluation_alone(quick_model, pictures, tmp_path):
    model, scores, own = tmp_path / "model", tmp_path / "scores", tmp_path / "evaluation"
    shutil.copytree(quick_model, model)
    run("score", quick_model, pictures.healthy / "1.png", "--out", scores)
    both = ["--data", pictures.labelled]
    for place in (model, scores):
        before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
        for models in ([quick_model], [quick_model, model]):
            result = run("evaluate", *models, *both, "--out", place)
            assert result.exit_code == 2
            assert "holds something else already" in result.stderr
        assert {file: file.read_bytes() for file in place.rglob("*") if file.is_file()} == before
    for _ in range(2):
        assert run("evaluate", quick_model, *both, "--out", own).exit_code == 0


def test_evaluate_lays_models_side_by_side(quick_model, pictures, tmp_path):
    other, out, file = tmp_path / "elsewhere" / "quick", tmp_path / "out", tmp_path / "both.json"
    shutil.copytree(quick_model, other)
    models = [quick_model, other, quick_model]
    both = ["--data", pictures.labelled]
    result = run("evaluate", *models, *both, "--out", out, "--json", file)
    assert result.exit_code == 0
    for name in (other, f"{quick_model} (2)"):
        assert f"AUROC of {quick_model} minus {name}: +0.000\n" in result.output
    folders = {"quick", "quick-2", "quick-3"}
    assert {place.name for place in out.iterdir()} == {*folders, "comparison.json"}
    assert all((out / name / "measures.json").is_file() for name in folders)
    written = json.loads(file.read_text())
    assert list(written) == [
        str(quick_model), str(other), f"{quick_model} (2)", "paired differences"
    ]  # fmt: skip
    none = {"auroc": {"value": 0.0, "low": 0.0, "high": 0.0}}
    assert written["paired differences"] == [
        {"of": str(quick_model), "minus": name, "scans": 28, "measures": none}
        for name in (str(other), f"{quick_model} (2)")
    ]
    assert json.loads((out / "comparison.json").read_text()) == [
        {"of": "quick", "minus": name, "scans": 28, "measures": none}
        for name in ("quick-2", "quick-3")
    ]
    missing = tmp_path / "none" / "measures.json"
    result = run("evaluate", quick_model, *both, "--out", tmp_path / "late", "--json", missing)
    assert result.exit_code == 2
    assert f"no such folder {missing.parent}" in result.stderr
    assert not (tmp_path / "late").exists(), "measured first, and refused afterwards"


def test_evaluate_lays_maps_beside_masks(quick_model, pictures, tmp_path):
    for file in (pictures.labelled / "abnormal").iterdir():
        mask = np.zeros((48, 48), np.uint8)
        mask[18:30, 8:40] = 255  # about where the made opacities lie
        Image.fromarray(mask).save(tmp_path / file.name)
    data, masks = pictures.labelled, tmp_path
    result = run(
        *("evaluate", quick_model, quick_model, "--data", data, "--masks", masks),
        *("--out", tmp_path / "out", "--json", tmp_path / "m.json"),
    )
    assert result.exit_code == 0, result.output
    assert "masks: 14 lesions in 14 of 28 scans" in result.output
    assert "best dice oracle" in result.output
    assert "outer frame alone" in result.output
    assert "lesion sensitivity of" in result.output
    assert f"dice of {quick_model} minus {quick_model} (2): +0.000\n" in result.output
    written = json.loads((tmp_path / "m.json").read_text())[str(quick_model)]
    assert written["pixels"]["measures"]["dice"]["value"] > 0
    [pair] = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {"auroc", "pixel_auroc", "dice", "lesion_sensitivity"} <= set(pair["measures"])
    assert run("report", tmp_path / "out", "--out", tmp_path / "both.html").exit_code == 0
    assert "quick minus this" in (tmp_path / "both.html").read_text()
    folder = tmp_path / "out" / pair["of"]
    page = run("report", folder, "--out", tmp_path / "page.html")
    assert page.exit_code == 0
    html = (tmp_path / "page.html").read_text()
    assert "Lesions found" in html
    assert "outer frame alone" in html


def test_scans_that_are_all_abnormal_are_measured_by_their_masks(quick_model, pictures, tmp_path):
    (tmp_path / "masks").mkdir()
    for file in (pictures.labelled / "abnormal").iterdir():
        mask = np.zeros((48, 48), np.uint8)
        mask[18:30, 8:40] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / file.name)
    command = ["evaluate", quick_model, quick_model, "--abnormal", pictures.labelled / "abnormal"]
    refused = run(*command)
    assert refused.exit_code == 2
    assert "--abnormal with --normal or --masks" in refused.stderr
    result = run(*command, "--masks", tmp_path / "masks", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "0 healthy, 14 abnormal" in result.output
    assert "without healthy scans there are no measures of whole scans" in result.output
    assert "masks: 14 lesions in 14 of 14 scans" in result.output
    assert "dice of" in result.output
    assert "AUROC of" not in result.output
    [pair] = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert "auroc" not in pair["measures"]
    folder = tmp_path / "out" / pair["of"]
    written = json.loads((folder / "measures.json").read_text())
    assert not any(written[part] for part in ("measures", "controls", "shortcuts", "extra"))
    assert 0 < written["pixels"]["measures"]["pixel_auroc"]["value"] < 1
    assert run("report", folder, "--out", tmp_path / "page.html").exit_code == 0
    assert "Lesions found" in (tmp_path / "page.html").read_text()


def test_the_difference_of_two_models_is_of_the_scans_that_both_could_read(capsys):
    import pandas as pd

    from anogan.evaluation import Evaluation
    from ganatomy.printing import measure_differences, print_differences

    def scored(scores: dict[str, float]) -> Evaluation:
        rows = [
            {"scan": name, "label": int(name > "f"), "patient": "", "anomaly_score": score}
            for name, score in scores.items()
        ]
        return Evaluation({"patients": False}, pd.DataFrame(rows))

    names = "abcdefghij"
    perfect = {name: float(place) for place, name in enumerate(names)}
    turned = {name: -score for name, score in perfect.items() if name not in "aj"}
    records = measure_differences([("one", scored(perfect)), ("two", scored(turned))])
    assert records[0]["scans"] == 8, "of ten, two have no score of the second"
    print_differences(records)
    assert capsys.readouterr().out == "AUROC of one minus two: +1.000\n"


@pytest.mark.parametrize("store", [None, "http://tracking.example"])
def test_ui_opens_the_store_that_runs_go_to(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if store is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    started = []
    monkeypatch.setattr(subprocess, "call", lambda command: started.append(command) or 0)
    result = run("ui", "--port", 5099)
    assert result.exit_code == 0
    [command] = started
    expected = store or f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    assert command[4:] == ["--port", "5099", "--backend-store-uri", expected]
    assert f"http://127.0.0.1:5099  ({expected})" in result.output


def test_ui_ends_as_mlflow_does(monkeypatch):
    monkeypatch.setattr(subprocess, "call", lambda command: 3)
    assert run("ui").exit_code == 3


@pytest.mark.parametrize("form", ["{}", "runs:/{}", "runs:/{}/model"])
def test_a_run_is_reported_by_its_id(quick_model, tmp_path, form):
    run_id = json.loads((quick_model / "run.json").read_text())["run_id"]
    result = run("report", form.format(run_id), "--out", tmp_path / "page.html")
    assert result.exit_code == 0
    assert "not a medical device" in (tmp_path / "page.html").read_text()


def test_seeds_go_on_where_they_stopped(pictures, tmp_path):
    out = tmp_path / "seeds"
    arguments = ["fit", "linear", "--data", pictures.healthy, "--validation", pictures.labelled]
    for setting in ("size=[16,16]", "equalise=null", "training.holdout=0.4", "components=3"):
        arguments += ["--set", setting]
    # Seed 3 alone is finished: as a kill leaves it before seed 4.
    assert run(*arguments, "--seed", 3, "--out", out / "seed-3").exit_code == 0
    first = {file: file.stat().st_mtime_ns for file in (out / "seed-3").rglob("*")}
    all_seeds = [*arguments, "--seed", 3, "--repeat", 2, "--out", out]
    result = run(*all_seeds)
    assert result.exit_code == 2, "only --resume goes on"
    result = run(*all_seeds, "--resume")
    assert result.exit_code == 0
    assert "over 2 seeds" in result.output
    assert {file: file.stat().st_mtime_ns for file in (out / "seed-3").rglob("*")} == first
    summary = json.loads((out / "seeds.json").read_text())
    values = [
        json.loads((out / f"seed-{seed}/evaluation/measures.json").read_text())["measures"]
        for seed in (3, 4)
    ]
    for name, found in summary.items():
        both = [value[name]["value"] for value in values]
        assert found["n"] == 2
        np.testing.assert_allclose(found["mean"], np.mean(both))
        np.testing.assert_allclose(found["spread"], np.std(both, ddof=1))
    # Measured side by side, they say the same.
    seeds, measured, file = [out / "seed-3", out / "seed-4"], tmp_path / "m", tmp_path / "m.json"
    both = ["--data", pictures.labelled, "--json", file, "--out", measured]
    result = run("evaluate", out, *both)  # the folder of all seeds stands for them
    assert result.exit_code == 0
    auroc = summary["auroc"]
    assert "over 2 seeds (mean ± standard deviation)" in result.output
    assert re.search(rf"auroc +{auroc['mean']:.3f} ± {auroc['spread']:.3f}", result.output)
    assert json.loads((measured / "seeds.json").read_text()) == summary
    assert json.loads(file.read_text())["over seeds"] == summary
    # The same seed twice is no second seed, and neither is another recipe or other data.
    for name, place, value in (("data", "held_out", 99), ("preset", "name", "other")):
        other = shutil.copytree(out / "seed-4", tmp_path / name)
        config = json.loads((other / "config.json").read_text())
        config[name][place] = value
        (other / "config.json").write_text(json.dumps(config))
    assert are_seeds(seeds)
    assert not are_seeds(seeds[:1])
    for other in (out / "seed-3", tmp_path / "data", tmp_path / "preset"):
        assert not are_seeds([out / "seed-3", other])
    result = run("evaluate", seeds[0], seeds[0], *both)
    assert "mean ±" not in result.output
    assert not (measured / "seeds.json").exists()
    assert "over seeds" not in json.loads(file.read_text())
    # Seeds of another recipe are not taken for these.
    result = run(*all_seeds, "--resume", "--set", "components=2")
    assert result.exit_code == 2
    assert "holds another run" in result.stderr


def test_seeds_are_summed_up_in_what_all_of_them_have(capsys):
    def measured(auroc: float, **pixels: float) -> dict:
        found = {name: {"value": value} for name, value in pixels.items()}
        return {"measures": {"auroc": {"value": auroc}}, "pixels": {"measures": found}}

    summary = summarise_seeds([measured(0.8, dice=0.5), measured(0.9, dice=0.3, iou=0.2)], None)
    assert set(summary) == {"auroc", "dice"}
    assert summary["dice"]["n"] == 2
    np.testing.assert_allclose(summary["dice"]["mean"], 0.4)
    np.testing.assert_allclose(summary["dice"]["spread"], 0.2 / np.sqrt(2))
    assert re.search(r"auroc +0\.850 ± 0\.071", capsys.readouterr().out)


@pytest.mark.parametrize(
    "words", [["--repeat", 0], ["--repeat", -1], ["--seed", -1], ["--seed", 2**32]]
)
def test_impossible_seeds_are_refused(words):
    result = run("fit", "linear", "--data", "x", *words)
    assert result.exit_code == 2
    assert f"Invalid value for '{words[0]}'" in result.stderr


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "fanogen", "--data", "x"], "no model or preset 'fanogen'; near it: fanogan"),
        (["fit", "linear", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["fit", "linear", "--data", "x", "--set", "siez=3"], "--set siez: linear has no such"),
        (["score", "nowhere", "x", "--out", "y"], "nowhere: no such model folder"),
        (["evaluate", "nowhere"], "give --data, or --abnormal with"),
        (["score", "m", "x", "--out", "y", "--engine", "spark", "--maps"], "spark writes no maps"),
        (["report", "nowhere", "--out", "x.html"], "nowhere: no such model folder"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def ends(monkeypatch, *words: str) -> int:
    """The exit code of the program."""
    monkeypatch.setattr(sys, "argv", ["ganatomy", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (RuntimeError("a fault"), 3, "RuntimeError: a fault"),
        (MemoryError(), 3, "MemoryError"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError("disk full"), 2, "Error: disk full"),
    ],
)
def test_neither_a_fault_nor_an_interrupt_ends_as_if_scans_had_failed(
    fault, code, said, monkeypatch, capsys
):
    def broken():
        raise fault

    monkeypatch.setattr("ganatomy.registry.presets", broken)
    assert ends(monkeypatch, "models") == code
    error = capsys.readouterr().err
    assert error.strip().endswith(said)
    assert ("Traceback" in error) == (code == 3)


def test_the_program_ends_by_the_codes_that_its_help_states(
    quick_model, folder, tmp_path, monkeypatch, capsys
):
    assert ends(monkeypatch, "--help") == 0
    assert "0 done, 1 done but some scans failed" in " ".join(capsys.readouterr().out.split())
    assert ends(monkeypatch, "models", "--json") == 0
    out = ["--out", str(tmp_path / "out"), "--no-maps"]
    assert ends(monkeypatch, "score", str(quick_model), str(folder), *out) == 1
    assert ends(monkeypatch, "score", str(quick_model), str(folder / "00.png"), *out) == 0
    assert ends(monkeypatch, "score", "nowhere", "x", "--out", "y") == 2
    assert ends(monkeypatch, "knit") == 2
    assert ends(monkeypatch) == 2


def test_too_few_scans_are_refused_before_training(pictures, tmp_path):
    result = run("fit", "linear", "--data", pictures.healthy, "--out", tmp_path / "m")
    assert result.exit_code == 2
    assert "9 healthy scans cannot set a threshold" in result.stderr


def test_a_finished_run_is_neither_overwritten_nor_resumed(quick_model, pictures, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(quick_model, model)
    data = ["--data", pictures.healthy, "--set", "training.holdout=0.4"]
    result = run("fit", "linear", *data, "--out", model)
    assert result.exit_code == 2
    assert "holds another run" in result.stderr
