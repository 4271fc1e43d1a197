"""Maps against masks: what `evaluate` makes of them, and which masks it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from anogan import AnomalyScorer
from anogan.calibration import Calibration
from anogan.evaluation import evaluate
from anogan.pixel_evaluation import read_mask
from ganatomy.measures import froc_measures
from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.tables import TableError, read_labelled_table, with_masks

SCAN = {"scan": "joined"}
COUNT = 8


@pytest.fixture(scope="module")
def planted(tmp_path_factory, draw_chest) -> Path:
    """Healthy pictures in `scans/normal`, with a bright square in `scans/planted`; `masks`."""
    root = tmp_path_factory.mktemp("planted")
    for folder in ("scans/normal", "scans/planted", "masks/planted"):
        (root / folder).mkdir(parents=True)
    for seed in range(COUNT):
        # Of unlike sizes: a map and its mask lie on the scan's own grid.
        side = 40 + 4 * (seed % 3)
        Image.fromarray(draw_chest(400 + seed, side=side)).save(root / f"scans/normal/{seed}.png")
        picture, mask = draw_chest(500 + seed, side=side), np.zeros((side, side), np.uint8)
        i, j = np.random.default_rng(seed).integers(10, side - 18, 2)
        mask[i : i + 8, j : j + 8] = 255
        # Inside the picture's range: brighter, it would darken all the rest.
        lifted = np.where(mask > 0, np.minimum(picture + 60.0, picture.max()), picture)
        Image.fromarray(np.uint8(lifted)).save(root / f"scans/planted/{seed}.png")
        Image.fromarray(mask).save(root / f"masks/planted/{seed}.png")
    return root


@pytest.fixture(scope="module")
def scorer(quick_model):
    found = AnomalyScorer.load(quick_model)
    found.controls_ = {"linear": AnomalyScorer.load(quick_model)}
    return found


@pytest.fixture(scope="module")
def table(planted):
    return read_labelled_table([str(planted / "scans")], SCAN)


@pytest.fixture(scope="module")
def found(scorer, table, planted, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    return evaluate(scorer, table, out, masks=planted / "masks"), out


def test_measures_are_those_of_the_maps(found, scorer, table, planted):
    pixels = found[0].measures["pixels"]
    assert (pixels["n_scans"], pixels["n_with_lesions"], pixels["n_lesions"]) == (16, 8, 8)
    assert pixels["unmasked"] == 0
    maps = scorer.anomaly_map(table.first)
    masks = [
        np.zeros(m.shape) if path is None else np.asarray(Image.open(path)) > 0
        for m, path in zip(maps, with_masks(table, planted / "masks").mask, strict=True)
    ]
    values, truth = (np.concatenate([one.ravel() for one in own]) for own in (maps, masks))
    assert not np.isnan(values[truth > 0]).any()
    seen = ~np.isnan(values)
    value = {name: measure["value"] for name, measure in pixels["measures"].items()}
    assert value["pixel_auroc"] == pytest.approx(roc_auc_score(truth[seen], values[seen]), abs=1e-3)
    called = values > scorer.calibration_.pixel_threshold
    hit = called[truth > 0].sum()
    assert value["dice"] == pytest.approx(2 * hit / (called.sum() + truth.sum()))
    assert value["best_dice_oracle"] >= value["dice"] > 0
    assert value["pixel_auroc"] > 0.9
    for measure in pixels["measures"].values():
        assert measure["low"] <= measure["value"] <= measure["high"]


def test_lesions_are_found_at_rates_of_false_positives(found):
    pixels = found[0].measures["pixels"]
    rates = [float(name) for name in pixels["lesion_sensitivity"] if name != "mean"]
    values = [pixels["lesion_sensitivity"][f"{rate:g}"]["value"] for rate in rates]
    assert values == sorted(values)
    assert pixels["lesion_sensitivity"]["mean"]["value"] == pytest.approx(np.mean(values))
    assert values[-1] > 0.8
    assert len(pixels["froc"]["rate"]) == len(pixels["froc"]["high"])


def test_they_are_written_and_a_control_stands_beside_them(found):
    measures = json.loads((found[1] / "measures.json").read_text())
    assert measures["pixels"] == found[0].measures["pixels"]
    control = measures["pixels"]["controls"]["linear control"]
    # It is the model itself.
    assert control["measures"] == measures["pixels"]["measures"]
    assert set(control["differences"]) == {
        "pixel_auroc",
        "pixel_average_precision",
        "dice",
        "lesion_sensitivity",
    }
    for difference in control["differences"].values():
        assert difference == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_two_models_differ_on_the_scans_of_both(found, scorer, table, planted):
    one = found[0].pixels
    half = evaluate(scorer, table.rows(np.arange(4, 14)), masks=planted / "masks").pixels
    half.found[""].marks.pop(table.names[4])
    half.found[""].counts.pop(table.names[4])
    gap = one.minus(half)
    assert gap["dice"].value == gap["lesion_sensitivity"].value == 0


def test_without_masks_nothing_is_said_of_pixels(scorer, table):
    assert "pixels" not in evaluate(scorer, table).measures


def test_an_abnormal_scan_without_a_mask_is_left_out_and_a_healthy_one_has_no_lesion(
    scorer, table, planted, tmp_path
):
    (tmp_path / "planted").mkdir()
    for number in range(3):
        file = planted / f"masks/planted/{number}.png"
        (tmp_path / f"planted/{number}.png").write_bytes(file.read_bytes())
    pixels = evaluate(scorer, table, masks=tmp_path).measures["pixels"]
    assert (pixels["n_scans"], pixels["n_with_lesions"], pixels["unmasked"]) == (11, 3, 5)


def test_a_mask_that_does_not_fit_is_named_and_the_rest_is_measured(
    scorer, table, planted, tmp_path
):
    for folder in ("planted", "normal"):
        (tmp_path / folder).mkdir()
    for number in range(3):
        file = planted / f"masks/planted/{number}.png"
        (tmp_path / f"planted/{number}.png").write_bytes(file.read_bytes())
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "planted/3.png")
    (tmp_path / "planted/4.png").write_bytes(b"nothing")
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(tmp_path / "normal/0.png")
    found = evaluate(scorer, table, masks=tmp_path).measures
    assert found["pixels"]["n_with_lesions"] == 3
    assert found["n_abnormal"] == COUNT  # its score is measured all the same
    assert found["failed"] == []
    lines = found["pixels"]["refused"]
    assert [Path(line.partition(":")[0]).name for line in lines] == ["0.png", "3.png", "4.png"]
    assert "labelled healthy" in lines[0]
    assert "has 9 × 9 pixels; expected the 40 × 40 of" in lines[1]


def test_where_no_mask_fits_the_first_reason_is_said(scorer, table, tmp_path):
    (tmp_path / "planted").mkdir()
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "planted/3.png")
    with pytest.raises(TableError, match=r"not one mask outlines a lesion of a scan: .* 9 × 9"):
        evaluate(scorer, table, masks=tmp_path)


def test_a_volume_and_its_mask_must_lie_in_one_place(tmp_path):
    import nibabel as nib

    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    label = np.zeros((6, 5, 4), np.uint8)
    label[2, 2, 2] = 4  # label maps number their tissues
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).random((6, 5, 4)), affine), tmp_path / "a.nii"
    )
    nib.save(nib.Nifti1Image(label, affine), tmp_path / "m.nii.gz")
    scan = read_scan(tmp_path / "a.nii")
    assert np.argwhere(read_mask(tmp_path / "m.nii.gz", scan)).tolist() == [[2, 2, 2]]
    nib.save(nib.Nifti1Image(label, affine @ np.diag([1, -1, 1, 1])), tmp_path / "m.nii.gz")
    with pytest.raises(ScanError, match="lies elsewhere in the patient"):
        read_mask(tmp_path / "m.nii.gz", scan)


def test_the_ringing_of_a_jpeg_outlines_nothing(tmp_path):
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    Image.fromarray(mask).save(tmp_path / "m.jpg", quality=50)
    found = read_mask(tmp_path / "m.jpg", Scan(np.zeros((32, 32, 1))))
    assert (found == (mask > 0)).mean() > 0.99


# The threshold of pixels ----------------------------------------------------------------------


def test_new_healthy_scans_have_about_the_stated_share_of_pixels_above_it(scorer, draw_chest):
    maps = scorer.anomaly_map([draw_chest(seed) for seed in range(1000, 1060)])
    threshold = scorer.calibration_.pixel_threshold
    share = np.mean([(one[~np.isnan(one)] > threshold).mean() for one in maps])
    assert share == pytest.approx(0.01, abs=0.005)


def test_calibrate_sets_it_anew_at_another_rate(quick_model, pictures, tmp_path):
    from ganatomy.tables import read_table

    other = AnomalyScorer.load(quick_model)
    healthy = read_table([str(pictures.healthy)], SCAN)
    thresholds = []
    for rate in (0.01, 0.1):
        other.calibrate(healthy, 0.05, rate)
        thresholds.append(other.calibration_.pixel_threshold)
        maps = other.anomaly_map(healthy.first)
        share = np.mean([(one[~np.isnan(one)] > thresholds[-1]).mean() for one in maps])
        assert rate * 0.9 < share <= rate
    assert thresholds[1] < thresholds[0]
    other.save(tmp_path / "again")
    again = AnomalyScorer.load(tmp_path / "again")
    assert again.calibration_.pixel_threshold == thresholds[1]
    assert again.calibration_.pixel_fpr == 0.1
    assert again.artifact_.facts["calibration"]["pixel_threshold"] == thresholds[1]


def test_a_model_of_before_has_none_and_is_measured_without(quick_model, table, planted):
    old = AnomalyScorer.load(quick_model)
    old.controls_ = {}
    state = {k: v for k, v in old.calibration_.state().items() if k in ("scores", "looks", "fpr")}
    old.calibration_ = Calibration.from_state(state)
    assert old.calibration_.pixel_threshold is None
    found = evaluate(old, table, masks=planted / "masks").measures
    assert found["pixels"]["threshold"] is None
    assert set(found["pixels"]["measures"]) == {
        "pixel_auroc",
        "pixel_average_precision",
        "best_dice_oracle",
    }
    assert set(found["shortcuts"]) == {"image aspect alone", "exposure alone", "alignment alone"}


def test_the_mean_of_the_rates_is_froc_s(found):
    marks = list(found[0].pixels.found[""].marks.values())
    assert found[0].measures["pixels"]["lesion_sensitivity"]["mean"]["value"] == (
        froc_measures(marks)["mean"].value
    )
