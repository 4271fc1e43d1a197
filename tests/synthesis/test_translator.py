"""Whole scans through a translation model: any size, no seams, units of the target, files."""

from __future__ import annotations

import base64
import gzip
import io
import re
import shutil
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from PIL import Image

from ganatomy import artifacts, registry
from ganatomy.cli import cli
from ganatomy.report import write_report
from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.serving import signature
from ganatomy.tables import read_table
from synthesis import Translator
from synthesis.values import Values
from synthesis.writing import write_translation
from tests.synthesis.translators import CT, Negative, artifact, preset

DATA = Path(__file__).parents[1] / "data"


def volume(shape=(21, 19, 13), seed=0):
    pixels = np.random.default_rng(seed).uniform(0, 2000, shape)
    return Scan(pixels[..., None], np.diag([1.0, 1.0, 2.0, 1.0]), path="a", kind="nifti")


def seam(image: np.ndarray, ends: range) -> float:
    """How far the jump where a window ends stands out of those beside it, in mean jumps.

    Args:
        image: [n, ...], smooth along the first axis but for seams.
        ends: first pixels of windows.
    """
    jumps = np.diff(image, axis=0).reshape(len(image) - 1, -1).mean(-1)
    out = [abs(jumps[n - 1] - (jumps[n - 2] + jumps[n]) / 2) for n in ends]
    return float(max(out) / np.abs(jumps).mean())


@pytest.mark.parametrize(("rank", "neighbours"), [(2, 0), (2, 1), (3, 0)])
def test_a_scan_of_any_size_comes_back_on_its_grid_in_units_of_the_target(rank, neighbours):
    settings = {"rank": rank, "size": [16, 12, 8][:rank], "overlap": 0.5, "neighbours": neighbours}
    scan = volume()
    model = artifact(rank, CT, preprocessing=settings, hyperparameters={"target_channels": 1})
    (made,) = Translator(model).translate([scan])
    assert (made.units, made.modality, made.kind) == ("HU", "CT", "nifti")
    np.testing.assert_array_equal(made.affine, scan.affine)
    low, high = scan.pixels.min(), scan.pixels.max()
    share = (scan.pixels - low) / (high - low)
    np.testing.assert_allclose(made.pixels, 1000 - 2000 * share, atol=0.02)
    assert np.unique(made.pixels).size > 2000  # more shades than 8 bits hold


@pytest.mark.parametrize("rank", [2, 3])
def test_windows_that_differ_leave_no_seam(rank):
    smooth = np.linspace(0, 1, 64)[:, None, None] + np.zeros((64, 16, 9))
    scan = Scan(smooth[..., None], np.eye(4), kind="nifti")
    model = artifact(
        rank,
        CT,
        preprocessing={
            "rank": rank,
            "size": [16, 16, 8][:rank],
            "orientation": None,
            "overlap": 0.5,
        },
        hyperparameters={"tilt": 0.5},
    )
    translator = Translator(model)
    blended = translator.generated(scan)[..., 0]
    assert seam(blended, range(8, 56, 8)) < 0.5
    if rank == 2:  # Windows side by side would show where each ends: the measure tells.
        windows = [scan.pixels[None, b : b + 16, :, 0] * 2 - 1 for b in range(0, 64, 16)]
        parts = [translator.artifact_.model.translate(window)[0] for window in windows]
        assert seam(np.concatenate(parts), range(16, 64, 16)) > 2


def test_arrays_in_arrays_out():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 30, 20, 1)).astype(np.float32)
    translator = Translator(artifact())
    np.testing.assert_allclose(translator.translate_arrays(x), -x, atol=1e-6)
    np.testing.assert_array_equal(
        translator.translate_arrays(x)[1], translator.translate_arrays(x[1:])[0]
    )
    with pytest.raises(ValueError, match="expected sides of"):
        translator.translate_arrays(x[:, :8])
    with pytest.raises(ValueError, match="expected"):
        translator.translate_arrays(x[..., 0])


def test_memory_does_not_grow_with_the_windows():
    scan = volume((64, 64, 48))
    settings = {"rank": 3, "size": [16, 16, 16], "overlap": 0.75}
    translator = Translator(artifact(3, CT, preprocessing=settings))
    translator.translate([volume((16, 16, 16))])
    tracemalloc.start()
    translator.translate([scan])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 13 × 13 × 9 windows of 16³ would take 31 times the scan.
    assert peak < 12 * scan.pixels.nbytes


def test_what_the_model_never_saw_is_dark_and_told():
    settings = {"size": [8, 8], "spacing": [1, 1], "orientation": None}
    scan = volume((21, 19, 3))
    made, unseen = Translator(artifact(2, CT, preprocessing=settings)).translated(scan)
    assert unseen == pytest.approx(1 - 64 / (21 * 19), abs=0.02)
    assert made.pixels[0, 0, 0, 0] == -1000
    assert "lies outside what the model sees" in made.notes[-1]
    with pytest.raises(ScanError, match="a volume"):
        Translator(artifact(3)).translate(Scan(np.eye(32)[..., None]))


def test_the_values_of_targets_are_learned_from_those_trained_on(tmp_path):
    for n in range(3):
        for role in ("scan", "target"):
            image = nib.Nifti1Image(volume(seed=n).pixels[..., 0] + n, np.eye(4))  # pyright: ignore
            nib.save(image, tmp_path / f"{n}-{role}.nii.gz")  # pyright: ignore
    pair = {"scan": "joined", "target": "joined"}
    table = read_table([f"{role}={tmp_path}/*-{role}.nii.gz" for role in pair], pair)
    window = {"target": {"normalise": "window", "window": [-100, 300]}}
    found = Values.of_targets(preset(by_role=window), table, {"target": "scan"})
    assert (found.low, found.high, found.exact) == (-100, 300, True)
    own = Values.of_targets(preset(), table, {})
    assert not own.exact
    assert own.units == "unknown"
    assert own.low == pytest.approx(1, abs=1.5)
    assert Values.from_facts(own.facts()) == own


# Files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved model, and what makes its class one that a preset offers."""
    folder = tmp_path_factory.mktemp("negative") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "model_class", lambda path: Negative)
        patch.setattr(registry, "model_class", lambda path: Negative)
        settings = {"size": [16, 12], "overlap": 0.5, "grey": True}
        Translator(artifact(2, preprocessing=settings)).save(folder)
        yield folder


@pytest.fixture
def scans(tmp_path):
    """A DICOM series, NIfTI, 8 and 16-bit pictures, and a broken file."""
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copytree(DATA / "brain-mr", folder / "series")
    nib.save(nib.Nifti1Image(volume().pixels[..., 0], volume().affine), folder / "v.nii.gz")  # pyright: ignore
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(folder / "p.png")
    (folder / "broken.nii.gz").write_bytes(b"no scan")
    return folder


def run(*words):
    return CliRunner().invoke(cli, ["translate", *map(str, words)])


def test_translate_writes_what_came_in_and_goes_on(model, scans, tmp_path):
    out = tmp_path / "out"
    done = run(model, scans, "--out", out)
    assert done.exit_code == 1, done.output
    assert "broken.nii.gz" in done.output
    assert "1 of 4 scans failed" in done.output

    series = read_scan(out / "images" / "series")
    source = read_scan(scans / "series")
    np.testing.assert_allclose(series.affine, source.affine, atol=1e-5)
    low, high = source.pixels.min(), source.pixels.max()
    share = (source.pixels - low) / (high - low)
    np.testing.assert_allclose(series.pixels, 900 * (1 - share), atol=0.6)
    files = sorted((out / "images" / "series").iterdir())
    first = pydicom.dcmread(files[0])
    assert first.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert first.SeriesDescription == "Synthetic negative"
    assert len(first.SourceImageSequence) == len(files) == 8

    back = nib.load(out / "images" / "v.nii.gz")
    assert back.get_data_dtype() == np.int16
    np.testing.assert_allclose(back.affine, volume().affine)
    with Image.open(out / "images" / "p.png") as image:
        assert image.mode.startswith("I")
        assert np.asarray(image).max() == 900

    rows = (out / "translations.csv").read_text().splitlines()
    before = {file: file.stat().st_mtime_ns for file in files}
    nib.save(nib.Nifti1Image(volume().pixels[..., 0], np.eye(4)), scans / "broken.nii.gz")  # pyright: ignore
    assert run(model, scans, "--out", out).exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in files} == before
    assert len((out / "translations.csv").read_text().splitlines()) == len(rows) == 5

    (out / "model.json").write_text('{"preset": "another", "data": null}')
    refused = run(model, scans, "--out", out)
    assert refused.exit_code == 2
    assert "another model's results" in refused.output


@pytest.mark.parametrize(
    ("high", "peak", "kind", "written"),
    [(900, 200, "I;16", 200), (900, 0.7, "I;16", 1), (255, 0.7, "L", 1), (1, 0.7, "L", 178)],
)
def test_what_the_targets_reach_decides_how_deep_a_picture_is(tmp_path, high, peak, kind, written):
    made = Scan(np.linspace(0, peak, 12, dtype=np.float32).reshape(4, 3, 1))
    path = write_translation(made, made, tmp_path / "a", {}, high)
    with Image.open(path) as image:
        assert image.mode == kind
        assert np.asarray(image).max() == written


def by_simpleitk(folder):
    """A DICOM series as SimpleITK reads it."""
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return reader.Execute()


@pytest.mark.parametrize("name", ["brain-mr", "body-ct"])
def test_a_translated_series_lies_where_its_scan_does_for_simpleitk_too(model, tmp_path, name):
    shutil.copytree(DATA / name, tmp_path / "scans" / "series")
    done = run(model, tmp_path / "scans", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    source, made = map(by_simpleitk, (DATA / name, tmp_path / "out" / "images" / "series"))
    assert made.GetSize() == source.GetSize()
    np.testing.assert_allclose(made.GetOrigin(), source.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(made.GetSpacing(), source.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(made.GetDirection(), source.GetDirection(), atol=1e-5)
    # And its slices in the same order.
    values, theirs = map(sitk.GetArrayFromImage, (source, made))
    share = (values - values.min()) / np.ptp(values)
    np.testing.assert_allclose(theirs, 900 * (1 - share), atol=0.6)


def test_served_bytes_in_bytes_out(model):
    from ganatomy.served import Answers

    pd = pytest.importorskip("pandas")
    answers = Answers(model)
    stream = io.BytesIO()
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(stream, "PNG")
    nifti = nib.Nifti1Image(volume().pixels[..., 0], volume().affine).to_bytes()  # pyright: ignore
    slice_ = (DATA / "brain-mr" / "00.dcm").read_bytes()
    frame = answers.predict(pd.DataFrame({"scan": [stream.getvalue(), nifti, slice_]}))
    assert list(frame["kind"]) == ["picture", "nifti", "dicom"]
    content = [base64.b64decode(text) for text in frame["translation"]]
    assert read_scan(content[0]).pixels.max() == 900
    assert nib.Nifti1Image.from_bytes(gzip.decompress(content[1])).shape == volume().shape
    one = pydicom.dcmread(io.BytesIO(content[2]))
    assert one.SeriesDescription == "Synthetic negative"
    assert signature(artifacts.read_config(model)).inputs.input_names() == ["scan"]


def test_evaluate_measures_a_model_beside_the_input_as_it_is(model, tmp_path):
    import json

    lines = ["scan,target,patient"]
    for n in range(4):
        scan = volume(seed=n).pixels[..., 0]
        target = scan.max() - scan + np.random.default_rng(n).normal(0, 20, scan.shape)
        for role, pixels in {"scan": scan, "target": target}.items():
            nib.save(
                nib.Nifti1Image(pixels.astype(np.float32), np.eye(4)), tmp_path / f"{n}{role}.nii"
            )  # pyright: ignore
        lines.append(f"{n}scan.nii,{n}target.nii,{n // 2}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    words = [model, model, "--data", tmp_path / "pairs.csv", "--out", tmp_path / "e"]
    words += ["--json", tmp_path / "m.json"]
    done = CliRunner().invoke(cli, ["evaluate", *map(str, words)])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "m.json").read_text())
    assert set(found) == {"model", "model-2"}
    own, plain = found["model"]["measures"], found["model"]["methods"]["the input as the output"]
    assert found["model"]["n_pairs"] == 4
    assert found["model"]["patients"]
    assert 0.005 < own["mae"]["value"] < 0.02  # of the noise, and of what it does to the range
    assert own["mae"]["low"] <= own["mae"]["value"] <= own["mae"]["high"]
    assert own["psnr_db"]["value"] > 30 > 10 > plain["psnr_db"]["value"]
    assert own["ssim"]["value"] > 0.9 > 0 > plain["ssim"]["value"]
    assert 0 < own["perceptual"]["value"] < plain["perceptual"]["value"]
    assert own["mae"]["value"] < own["rmse"]["value"] < 2 * own["mae"]["value"]
    fid = {name: one[0]["value"] for name, one in found["model"]["sets"].items()}
    assert fid["this model"] < fid["the input as the output"]
    assert "n = 52 and 52" in found["model"]["sets"]["this model"][0]["definition"]
    gap = found["model-2"]["first model minus this"]["mae"]
    assert gap == {"value": 0, "low": 0, "high": 0}
    # All that `compare` measures of pairs, with intervals; the terminal shows the first few.
    others = {"nmse", "snr_db", "uqi", "mi", "nmi"}  # VIF and FSIM need more pixels
    assert others < set(own)
    assert others < set(found["model"]["definitions"])
    assert all(own[name]["low"] <= own[name]["value"] <= own[name]["high"] for name in others)
    assert own["nmi"]["value"] > plain["nmi"]["value"]
    assert own["snr_db"]["value"] > plain["snr_db"]["value"]
    assert not [line for line in done.output.splitlines() if re.match(r" +(nmse|uqi|nmi)\b", line)]
    assert "--json and --out also write mi, nmi, nmse, snr_db, uqi" in done.output
    assert "uqi of model minus" not in done.output
    names = [one["name"].partition("[")[0] for one in found["model"]["sets"]["this model"]]
    assert names == ["FID", "KID", "JS", "Wasserstein"]
    far = {one["name"]: one["value"] for one in found["model"]["sets"]["this model"]}
    assert 0 < far["Wasserstein"] < 0.02
    assert "uniform window of 7" in found["model"]["definitions"]["ssim"]
    assert (tmp_path / "e" / "model-2" / "pairs.csv").exists()
    write_report(tmp_path / "e", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "2 models measured on 4 pairs of scans" in html
    assert html.count('aria-label="Perception–distortion plane of RMSE') == 2
    write_report(tmp_path / "e" / "model", tmp_path / "one.html")
    head = re.search(
        r"PSNR ([\d.]+) dB \(.*?\) on 4 pairs of scans, where the input itself has",
        (tmp_path / "one.html").read_text(),
    )
    assert head is not None
    assert float(head[1]) == pytest.approx(own["psnr_db"]["value"], rel=0.01)
