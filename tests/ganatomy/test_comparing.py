"""`ganatomy compare`: pairs by name, sets always, a line for what cannot be compared."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio

from ganatomy.cli import cli
from ganatomy.measures.paired import over_images, paired_measures
from ganatomy.measures.seen import feature_distance


def run(*arguments):
    words = ["compare", *map(str, arguments)]
    return CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, draw_chest):
    """Six pictures, the same blurred, and those beside an unreadable one and a stranger."""
    root = tmp_path_factory.mktemp("pictures")
    for name in ("truth", "made"):
        (root / name).mkdir()
    for seed in range(6):
        truth = draw_chest(seed, abnormal=False)
        Image.fromarray(truth).save(root / "truth" / f"{seed}.png")
        made = gaussian_filter(truth.astype(float), 1.5).round().astype(np.uint8)
        Image.fromarray(made).save(root / "made" / f"{seed}.png")
    return root


def test_pairs_and_sets(folders, tmp_path):
    done = run(folders / "made", folders / "truth", "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    assert "6 images of A, 6 of B, 6 pairs" in done.output
    assert "KID[mednist:pooled@64]" in done.output
    found = json.loads((tmp_path / "found.json").read_text())
    low, high = found["range"]
    pairs = [
        [
            np.asarray(Image.open(folders / side / f"{seed}.png"), float)
            for side in ("truth", "made")
        ]
        for seed in range(6)
    ]
    assert (low, high) == (min(p[0].min() for p in pairs), max(p[0].max() for p in pairs))
    paired = {m["name"]: m for m in found["paired"]}
    theirs = [peak_signal_noise_ratio(*pair, data_range=high - low) for pair in pairs]
    assert paired["PSNR"]["value"]["value"] == pytest.approx(np.mean(theirs))
    assert paired["PSNR"]["value"]["low"] <= np.mean(theirs) <= paired["PSNR"]["value"]["high"]
    assert "uniform window of 7" in paired["SSIM"]["definition"]
    assert "mean of 6 images" in paired["SSIM"]["definition"]
    sets = {m["name"]: m for m in found["sets"]}
    assert set(sets) == {"JS", "Wasserstein", "FID[mednist:pooled@64]", "KID[mednist:pooled@64]"}
    assert "n = 6 and 6" in sets["FID[mednist:pooled@64]"]["definition"]
    each = {m["name"]: m["value"]["value"] for m in found["each"]}
    assert each["GCF of A"] < each["GCF of B"]  # what is blurred has less contrast


def test_what_cannot_be_compared_is_named(folders, tmp_path):
    for side in ("made", "truth"):
        (tmp_path / side).mkdir()
        for seed in range(4):
            shutil.copy(folders / side / f"{seed}.png", tmp_path / side)
    picture = Image.open(folders / "made" / "0.png")
    picture.resize((20, 24)).save(tmp_path / "made" / "0.png")
    (tmp_path / "made" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    picture.save(tmp_path / "made" / "other.png")
    done = run(tmp_path / "made", tmp_path / "truth", "--json", tmp_path / "found.json")
    assert done.exit_code == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["images"], found["pairs"]) == ([4, 4], 2)
    lines = "\n".join(found["failed"])
    assert "made/0.png is 24 × 20 × 1" in lines
    assert "made/1.png" in lines
    assert len(found["failed"]) == 2


def test_one_line_for_wrong_use(folders, tmp_path):
    (tmp_path / "none").mkdir()
    for words, line in [
        ((tmp_path / "none", folders / "truth"), "has no images"),
        ((folders / "made", folders / "truth", "--range", 3, 3), "the first is the lower"),
        ((folders / "made", folders / "truth", "--json", tmp_path / "no" / "x"), "no such folder"),
    ]:
        done = run(*words)
        assert done.exit_code == 2
        assert line in done.output
        assert "Traceback" not in done.output


def test_volumes_of_other_names_and_places(tmp_path):
    rng = np.random.default_rng(0)
    truth = gaussian_filter(rng.normal(size=(18, 20, 9)), 1.5).astype("float32")
    places = np.diag([2.0, 2, 2, 1]), np.diag([2.0, 2, 2, 1]), np.diag([3.0, 2, 2, 1])
    for name, place in zip(("truth", "made", "elsewhere"), places, strict=True):
        nib.Nifti1Image(truth, place).to_filename(tmp_path / f"{name}.nii.gz")
    done = run(tmp_path / "made.nii.gz", tmp_path / "truth.nii.gz", "--json", tmp_path / "f.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "f.json").read_text())
    paired = {m["name"]: m for m in found["paired"]}
    assert found["pairs"] == 1
    assert "PSNR" not in paired  # of equal images it is infinite
    assert paired["SSIM"]["value"]["value"] == pytest.approx(1)
    assert "in the volume" in paired["SSIM"]["definition"]
    assert {m["name"]: m["value"] for m in found["sets"]}["JS"] == 0
    done = run(tmp_path / "elsewhere.nii.gz", tmp_path / "truth.nii.gz")
    assert done.exit_code == 1
    assert "lie in different places" in done.output


def test_what_a_network_sees_grows_with_blur(folders):
    truth = np.asarray(Image.open(folders / "truth" / "0.png"), float)[..., None]
    values = [
        feature_distance(gaussian_filter(truth, (s, s, 0)), truth, 0, 255).value for s in (0, 1, 3)
    ]
    assert values[0] == 0
    assert 0 < values[1] < values[2]
    assert feature_distance(truth[:8], truth[:8], 0, 255) is None


def test_means_over_patients_and_what_is_left_out():
    rng = np.random.default_rng(0)
    truth = rng.random((4, 12, 12, 1))
    made = truth + 0.1 * rng.normal(size=truth.shape)
    made[3] = truth[3]
    each = [paired_measures(*pair, 1.0) for pair in zip(made, truth, strict=True)]
    means = {m.name: m for m in over_images(each, groups=["a", "a", "b", "b"])}
    psnr = means["PSNR"]
    assert psnr.value.value == pytest.approx(np.mean([e[3].value for e in each[:3]]))
    assert "mean of 3 images, 95 % interval over patients; 1 left out" in psnr.definition
    assert "left out" not in means["MAE"].definition
