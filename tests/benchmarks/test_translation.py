"""What the benchmark of translations says and keeps, of rows made by hand."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import harness, simulated_pairs, translation, translation_page
from benchmarks.simulated_pairs import save
from benchmarks.translation_data import Fold, Task
from benchmarks.translation_page import section, systems
from benchmarks.translation_rows import SYSTEMS, by_squares
from benchmarks.translation_tasks import PRESETS, TASKS
from ganatomy import registry


def row(value=20.0, **more):
    psnr = {"PSNR": {"value": value, "low": value - 1, "high": value + 1}}
    whose = {"n": 3, "patients": 3, "over": "patients"}
    return {"own": psnr, "input": psnr, "definitions": {}, "minutes": 1.0, **whose, **more}


def test_every_system_has_a_preset_with_a_task_and_says_what_it_leaves_out():
    assert {system.preset for system in SYSTEMS} <= set(PRESETS) & set(registry.presets())
    assert set(PRESETS.values()) == set(TASKS)
    text = "\n".join(systems({}))
    assert "Galbusera 2018: one view of the spine to another" in text
    assert "- *Galbusera 2018*: pix2pix alone, without CycleGAN" in text
    # A row says it under its own table.
    assert text.index("- *Hou 2017*") < text.index("## Other conditional") < text.index("- *Zhao")


def test_planes_of_one_patient_are_not_patients():
    entry = {"title": "Planes", "says": "Of one trunk.", "taught": True}
    one = row(n=60, patients=1, over="planes")
    told = section({**entry, "rows": {"position-to-ct/0": one}})
    assert "n = 60 planes of 1 patient; 95 % intervals over planes." in told
    told = "\n".join(systems({"positions": {**entry, "rows": {"position-to-ct/0": one}}}))
    assert "planes; n = 60 planes of 1 patient" in told
    several = section({**entry, "rows": {"position-to-ct/0": row()}})
    assert "n = 3, 3 patients; 95 % intervals over patients." in several
    unknown = section({**entry, "rows": {"position-to-ct/0": row(over="pictures")}})
    assert "n = 3, patients unknown; 95 % intervals over pictures." in unknown


def test_planes_are_held_out_and_stay_those_of_one_patient(tmp_path, monkeypatch):
    (tmp_path / "body-ct").mkdir()
    body = np.random.default_rng(0).normal(size=(6, 5, 4))
    save(tmp_path / "body-ct" / "body-3mm.nii.gz", body, np.diag([3.0, 3.0, 3.0, 1.0]))
    monkeypatch.setattr(simulated_pairs, "PLANES", 10)
    files = simulated_pairs.make("positions", tmp_path, tmp_path / "out")
    train, test = (pd.read_csv(file, dtype=str) for file in files)
    assert list(test["plane"]) == ["004", "009"]
    assert len(train) == 8
    assert {*train["patient"], *test["patient"]} == {"trunk"}


def test_the_speckle_of_a_map_comes_with_the_map(tmp_path):
    crops = tmp_path / "hippocampus-mr"
    maps = np.random.default_rng(0).integers(0, 3, (6, 5, 4))
    for folder in ("images", "labels"):
        (crops / folder).mkdir(parents=True)
        save(crops / folder / "hippocampus_001.nii.gz", maps)
    (tmp_path / "out").mkdir()
    (row,) = simulated_pairs.speckle_to_mr(tmp_path, tmp_path / "out")
    assert row["scan_labels"] == crops / "labels" / "hippocampus_001.nii.gz"
    assert Path(row["scan_labels"]).exists()


def test_a_generator_without_pairs_has_its_baseline_by_squares():
    plain = by_squares(registry.preset("speckle-to-hippocampus-segmented"))
    assert plain is not None
    assert plain.model == "synthesis.pix2pix:Pix2Pix"
    assert plain.hyperparameters["generator"] == "resnet"
    assert plain.hyperparameters["width"] == 16
    weights = plain.hyperparameters["term_weights"]
    assert {name: weight for name, weight in weights.items() if weight} == {"generator/l2": 100.0}
    assert set(plain.roles) == {"scan", "target"}


def test_anew_ignores_what_is_there_until_all_is_made(tmp_path, monkeypatch):
    """With a training that only counts how often it is asked for, and fails once."""
    results, page = tmp_path / "results", tmp_path / "systems.md"
    old = {"hole": {"title": "Was", "says": "", "taught": True, "rows": {"other/0": row(1.0)}}}
    results.mkdir()
    (results / translation.NAME).write_text(json.dumps(old))
    page.write_text(f"{translation_page.BEGIN}\n{translation_page.END}\n")
    monkeypatch.setattr(translation_page, "PAGE", page)
    monkeypatch.setattr(harness, "RESULTS", results)
    monkeypatch.setattr(translation, "kept", lambda: tmp_path / "kept")
    monkeypatch.setattr(translation, "commit", lambda *paths: "abc")
    monkeypatch.setattr(sys, "argv", ["translation", "--anew", "--tasks", "hole"])
    task = Task("Now", "", [Fold(tmp_path / "a.csv", tmp_path / "b.csv")], images="hole")
    monkeypatch.setattr(translation, "tasks", lambda *names: {"hole": task})
    asked = []

    def one(task, run, seed, work, rows, *_):
        asked.append((run.name, f"{run.name}/{seed}" in rows))
        assert work == tmp_path / "kept" / "translation-anew"
        if len(asked) == 2:
            raise OSError("full")
        return rows.get(f"{run.name}/{seed}") or row(2.0)

    monkeypatch.setattr(translation, "one", one)
    with pytest.raises(SystemExit, match="full"):
        translation.main()
    assert json.loads((results / translation.NAME).read_text()) == old
    assert "Now" not in page.read_text()
    translation.main()
    names = ["hippocampus-hole", "hippocampus-hole, L2 only"]
    # The row that was made before it failed is not made again.
    assert asked == [*((name, False) for name in names), (names[0], True), (names[1], False)]
    found = json.loads((results / translation.NAME).read_text())
    assert list(found["hole"]["rows"]) == ["other/0", *(f"{name}/0" for name in names)]
    assert found["hole"]["title"] == "Now"
    assert "## Now" in page.read_text()
    assert not (tmp_path / "kept" / "translation-anew").exists()
