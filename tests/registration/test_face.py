"""A model of pairs behind the command line: trained, then asked to register."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from ganatomy import registry
from ganatomy.cli import cli
from registration.confidence import Confidence
from registration.evidence import SIGNS
from registration.registrar import Registrar
from registration.transform_files import read_transform
from tests.registration.aligners import artifact, recipe
from tests.registration.placing import place, points_of, turn


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def offered() -> Iterator[None]:
    """`by-mass` as if an installed package had it."""
    known = registry.presets()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "presets", lambda: {**known, "by-mass": recipe()})
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Volumes a.nii.gz to f.nii.gz of one body in other places, with labels and landmarks."""
    home = tmp_path_factory.mktemp("volumes")
    draw = np.random.default_rng(0)
    rows = []
    for number, name in enumerate("abcdef"):
        grid = place(turn((5 * number, 3, -4)) * (1.5, 1.7, 2.2), (26, 24, 20), (0.0, 10.0, -20.0))
        middle = np.array([0.0, 10.0, -20.0]) + draw.uniform(-4, 4, 3)
        away = points_of(grid, (26, 24, 20)) - middle
        body = 1000 * np.exp(-((away / (9.0, 7.0, 8.0)) ** 2).sum(-1)) + draw.normal(0, 1)
        nibabel.Nifti1Image(body.astype(np.float32), grid).to_filename(home / f"{name}.nii.gz")
        labels = nibabel.Nifti1Image((body > 300).astype(np.uint8), grid)
        labels.to_filename(home / f"{name}-labels.nii.gz")
        spots = middle + np.array([[0, 0, 0], [3, 0, 0], [0, -3, 2]])
        lines = ["x,y,z", *(",".join(map(str, spot)) for spot in spots)]
        (home / f"{name}.csv").write_text("\n".join(lines))
        rows.append(name)
    columns = "fixed,moving,fixed_labels,moving_labels,fixed_points,moving_points"
    pairs = [
        f"{a}.nii.gz,{b}.nii.gz,{a}-labels.nii.gz,{b}-labels.nii.gz,{a}.csv,{b}.csv"
        for a, b in zip(rows, rows[1:] + rows[:1], strict=True)
    ]
    (home / "pairs.csv").write_text("\n".join([columns, *pairs]))
    return home


@pytest.fixture(scope="module")
def model(offered, folder, tmp_path_factory) -> Path:
    """`by-mass` after two steps of training."""
    out = tmp_path_factory.mktemp("models") / "by-mass"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registration.calibrating.PLACED", 12)
        patch.setattr("registration.calibrating.FOUND", 4)
        patch.setattr("registration.calibrating.TIME", 3600.0)  # however busy the machine is
        done = run("fit", "by-mass", "--data", folder / "pairs.csv", "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_a_trained_model_is_calibrated_and_said_to_be(model):
    config = json.loads((model / "config.json").read_text())
    assert config["preset"]["task"] == "register"
    assert config["confidence"]["n"] == 16
    card = (model / "model_card.md").read_text()
    assert "16 pairs of held-out scans of different subjects" in card
    assert "from where the model itself has them" in card
    assert "Task: register" in card
    assert "healthy" not in card


def test_register_writes_what_other_programs_read(model, folder, tmp_path):
    out = tmp_path / "out"
    words = ["--fixed", folder / "a.nii.gz", "--moving", folder / "b.nii.gz", "--out", out]
    words += ["--labels", folder / "b-labels.nii.gz", "--points", folder / "b.csv"]
    done = run("register", model, *words)
    assert done.exit_code == 0, done.output
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("moved.nii.gz", "transform.tfm", "labels.nii.gz", "points.csv", "registration.json"),
        *("registration.csv", "registration.npz", "report.html", "model.json"),
    }
    found = read_transform(out / "transform.tfm").matrix
    with open(folder / "a.csv") as a, open(folder / "b.csv") as b:
        fixed, moving = (
            np.array([[float(v) for v in row.values()] for row in csv.DictReader(file)])
            for file in (a, b)
        )
    np.testing.assert_allclose(fixed @ found[:3, :3].T + found[:3, 3], moving, atol=1.5)
    with open(out / "points.csv") as file:
        carried = np.array([[float(v) for v in row.values()] for row in csv.DictReader(file)])
    np.testing.assert_allclose(carried, fixed, atol=1.5)
    page = (out / "report.html").read_text()
    assert "Registration" in page
    assert "Anomaly" not in page
    # The same pair may be written over, another may not.
    assert run("register", model, *words).exit_code == 0
    words[1] = folder / "c.nii.gz"
    again = run("register", model, *words)
    assert again.exit_code == 2
    assert "choose another --out" in again.output


def test_a_likely_failure_is_said_and_the_exit_code_is_1(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("registration.confidence.Confidence.probability", lambda *_: 0.93)
    out = tmp_path / "out"
    words = ["--fixed", folder / "a.nii.gz", "--moving", folder / "b.nii.gz", "--out", out]
    done = run("register", model, *words)
    assert done.exit_code == 1
    assert "likely to have failed: probability 93% of an error above 5 mm" in done.output
    assert (out / "moved.nii.gz").exists()
    assert json.loads((out / "registration.json").read_text())["failed"] is True
    assert "is likely to have failed" in (out / "report.html").read_text()


def test_pictures_are_told_in_pixels(tmp_path, monkeypatch):
    from PIL import Image

    from registration.baselines import identity

    monkeypatch.setattr("registration.confidence.Confidence.probability", lambda *_: 0.93)
    monkeypatch.setattr("registration.evaluation.baselines", lambda kind: {"identity": identity})
    registrar = Registrar(artifact(2, size=(20, 26)))
    signs = np.random.default_rng(0).standard_normal((8, len(SIGNS)))
    registrar.confidence_ = Confidence.fit(signs, np.arange(8) > 3)
    registrar.save(tmp_path / "model")
    row, column = np.indices((40, 52))
    for name, (r, c) in {"a": (20, 26), "b": (24, 22)}.items():
        shade = 200 * np.exp(-(((row - r) / 6.0) ** 2 + ((column - c) / 7.0) ** 2))
        Image.fromarray(shade.astype(np.uint8)).save(tmp_path / f"{name}.png")
        Image.fromarray((shade > 90).astype(np.uint8)).save(tmp_path / f"{name}-labels.png")
        (tmp_path / f"{name}.csv").write_text(f"row,column\n{r},{c}\n")
    words = ["--fixed", tmp_path / "a.png", "--moving", tmp_path / "b.png"]
    words += ["--points", tmp_path / "b.csv", "--out", tmp_path / "out"]
    done = run("register", tmp_path / "model", *words)
    assert "of an error above 5 pixels" in done.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "an error above 5 pixels is" in page
    assert "Median displacement, pixels" in page
    columns = "fixed,moving,fixed_labels,moving_labels,fixed_points,moving_points"
    pair = "a.png,b.png,a-labels.png,b-labels.png,a.csv,b.csv"
    (tmp_path / "pairs.csv").write_text(f"{columns}\n{pair}\n")
    words = ["--data", tmp_path / "pairs.csv", "--out", tmp_path / "measured"]
    done = run("evaluate", tmp_path / "model", *words)
    assert "hd95 pixels" in done.output
    assert " mm" not in done.output
    assert json.loads((tmp_path / "measured" / "measures.json").read_text())["unit"] == "pixels"


def test_refinement_of_what_bends_is_refused_before_training(folder, tmp_path):
    out = tmp_path / "out"
    words = ["--data", folder / "pairs.csv", "--set", "refine=near", "--out", out]
    done = run("fit", "hippocampus-deformable", *words)
    assert done.exit_code == 2
    assert "refine: near is for rigid and affine models" in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not out.exists()


def test_bad_scans_are_one_line_and_exit_code_2(model, folder, tmp_path):
    image = nibabel.load(folder / "a.nii.gz")
    pixels = np.asanyarray(image.dataobj)
    bad = {
        "four": nibabel.Nifti1Image(np.stack([pixels] * 3, -1), image.affine),
        "flat": nibabel.Nifti1Image(np.zeros_like(pixels), image.affine),
        "thin": nibabel.Nifti1Image(pixels[:, :, :1], image.affine),
        "slice": nibabel.Nifti1Image(pixels[:, :, 0], image.affine),
    }
    nowhere = nibabel.Nifti1Image(pixels, image.affine)
    nowhere.header["sform_code"] = nowhere.header["qform_code"] = 0
    bad["nowhere"] = nowhere
    messages = {
        "four": "has 4 dimensions; expected one volume (3) or one slice (2)",
        "flat": "is constant",
        "thin": "is one voxel thin; expected a volume",
        "slice": "is a single slice or picture; expected a volume as moving scan",
        "nowhere": "has no orientation",
    }
    for name, one in bad.items():
        path = tmp_path / f"{name}.nii"
        one.to_filename(path)
        if name == "nowhere":
            content = bytearray(path.read_bytes())
            content[252:256] = bytes(4)
            path.write_bytes(content)
        out = tmp_path / f"out-{name}"
        done = run(
            "register", model, "--fixed", folder / "a.nii.gz", "--moving", path, "--out", out
        )
        assert done.exit_code == 2, done.output
        assert messages[name] in done.output
        assert len(done.output.strip().splitlines()) == 1
        assert not out.exists()


def test_a_bad_fixed_scan_and_scans_of_two_places_are_one_line_too(
    model, folder, tmp_path, monkeypatch
):
    image = nibabel.load(folder / "a.nii.gz")
    pixels = np.asanyarray(image.dataobj)
    flat = tmp_path / "flat.nii"
    nibabel.Nifti1Image(np.ones_like(pixels), image.affine).to_filename(flat)
    far = image.affine.copy()
    far[:3, 3] += 500
    nibabel.Nifti1Image(pixels, far).to_filename(tmp_path / "far.nii")
    # A model that goes by the headers refuses what they place apart.
    monkeypatch.setattr("tests.registration.aligners.ByMass.grids", {"moving": "fixed"})
    for fixed, moving, message in (
        (flat, folder / "a.nii.gz", "flat.nii: is constant"),
        (folder / "a.nii.gz", tmp_path / "far.nii", "far.nii: does not overlap"),
    ):
        words = ["--fixed", fixed, "--moving", moving, "--out", tmp_path / fixed.name]
        done = run("register", model, *words)
        assert done.exit_code == 2, done.output
        assert message in done.output
        assert len(done.output.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def flipped(folder, tmp_path_factory) -> tuple[Path, Path]:
    """A volume, and itself with left and right exchanged under the same header."""
    home = tmp_path_factory.mktemp("flipped")
    image = nibabel.load(folder / "a.nii.gz")
    pixels = np.asanyarray(image.dataobj).copy()
    pixels[18:24, 8:12, 6:10] += 900  # one side is not like the other
    files = home / "odd.nii", home / "flipped.nii"
    for file, own in zip(files, (pixels, pixels[::-1]), strict=True):
        nibabel.Nifti1Image(own, image.affine).to_filename(file)
    return files


def test_a_flipped_header_is_said_and_the_scan_registered(model, flipped, tmp_path):
    words = ["--fixed", flipped[0], "--moving", flipped[1]]
    done = run("register", model, *words, "--out", tmp_path / "out")
    assert done.exit_code in (0, 1), done.output
    assert "fits the fixed scan better with left and right exchanged" in done.output
    assert (tmp_path / "out" / "moved.nii.gz").exists()


def test_a_verb_of_another_task_says_so(model, quick_model, folder, tmp_path):
    done = run("score", model, folder / "a.nii.gz", "--out", tmp_path / "o")
    assert done.exit_code == 2
    assert "does register; score is for models that detect" in done.output
    words = ["--fixed", folder / "a.nii.gz", "--moving", folder / "b.nii.gz"]
    done = run("register", quick_model, *words, "--out", tmp_path / "o")
    assert done.exit_code == 2
    assert "does detect; register is for models that register" in done.output


def test_an_endpoint_takes_two_scans_and_gives_transform_and_moved_scan(model, folder, tmp_path):
    import base64
    import gzip

    import mlflow
    import pandas as pd
    import SimpleITK as sitk

    from ganatomy.served import Answers, Refused

    loaded = mlflow.pyfunc.load_model(str(model))
    assert [column.name for column in loaded.metadata.signature.inputs] == ["fixed", "moving"]
    names = ("a", "b")
    row = [(folder / f"{name}.nii.gz").read_bytes() for name in names]
    (answer,) = loaded.predict(pd.DataFrame([row], columns=["fixed", "moving"])).to_dict("records")
    (tmp_path / "t.tfm").write_text(answer["transform"])
    (tmp_path / "m.nii").write_bytes(gzip.decompress(base64.b64decode(answer["moved"])))
    images = [sitk.ReadImage(str(folder / f"{name}.nii.gz"), sitk.sitkFloat64) for name in names]
    own = sitk.ReadImage(str(tmp_path / "m.nii"), sitk.sitkFloat64)
    moved = sitk.Resample(images[1], images[0], sitk.ReadTransform(str(tmp_path / "t.tfm")))
    a, b = map(sitk.GetArrayFromImage, (own, moved))
    np.testing.assert_allclose(a[b > 20], b[b > 20], atol=0.5)
    assert 0 <= answer["failure"] <= 1
    assert answer["failed"] == (answer["failure"] > 0.5)
    assert answer["overlap"] > 0.5
    assert answer["folds"] == 0
    assert answer["smallest_jacobian"] == pytest.approx(1, abs=1e-5)  # it only shifts
    assert answer["largest_jacobian"] == pytest.approx(1, abs=1e-5)
    assert answer["remarks"] == ""
    assert [column.name for column in loaded.metadata.signature.outputs] == [*answer]
    assert np.isfinite(loaded.predict(loaded.input_example)["alignment_score"]).all()
    with pytest.raises(Refused, match="no column moving; expected fixed, moving"):
        Answers(model).predict(pd.DataFrame({"fixed": row[:1]}))
    with pytest.raises(Refused, match="row 0 moving: is no image"):
        Answers(model).predict(pd.DataFrame({"fixed": row[:1], "moving": [b"nothing"]}))
    with pytest.raises(Refused, match="row 0 fixed: fixed is not bytes"):
        Answers(model).predict(pd.DataFrame({"fixed": [3], "moving": row[:1]}))


def test_an_endpoint_says_what_is_odd_about_a_pair(model, flipped):
    import mlflow
    import pandas as pd

    row = [file.read_bytes() for file in flipped]
    table = pd.DataFrame([row], columns=["fixed", "moving"])
    (answer,) = mlflow.pyfunc.load_model(str(model)).predict(table).to_dict("records")
    assert answer["remarks"].startswith("row 0 moving: fits the fixed scan better")
    assert "\n" not in answer["remarks"]


def test_evaluate_lays_others_beside_the_model(model, folder, tmp_path, monkeypatch):
    from registration.baselines import identity

    named = {"identity": identity, "another": identity}
    monkeypatch.setattr("registration.evaluation.baselines", lambda bends: named)
    words = ["evaluate", model, "--json", tmp_path / "m.json"]
    done = run(*words, "--data", folder / "pairs.csv", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    measures = json.loads((tmp_path / "m.json").read_text())
    assert set(measures["methods"]) == set(named)
    assert measures["measures"]["dice"]["value"] > measures["methods"]["another"]["dice"]["value"]
    assert "error median" in done.output
    assert (tmp_path / "out" / "pairs.csv").exists()
    done = run(*words, "--data", folder / "a.nii.gz", "--known-transforms", 2)
    assert done.exit_code == 0, done.output
    assert "2 known transforms" in done.output
    done = run(*words, "--data", folder / "a.nii.gz")
    assert done.exit_code == 2
    assert "fixed, moving" in done.output


def test_a_detector_knows_no_transforms(quick_model, folder):
    done = run("evaluate", quick_model, "--data", folder, "--known-transforms", 2)
    assert done.exit_code == 2
    assert "--known-transforms is for models that register" in done.output
