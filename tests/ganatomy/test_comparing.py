"""`ganatomy compare`: pairs by name, sets always, a line for what cannot be compared."""

import json
import re
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


def test_one_pair_has_no_interval(folders):
    several = run(folders / "made", folders / "truth")
    assert re.search(r"│ MAE +│ [\d.]+ +│ [\d.]+ to [\d.]+ +│", several.output)
    one = run(folders / "made" / "0.png", folders / "truth" / "0.png")
    assert re.search(r"│ MAE +│ [\d.]+ +│ +│", one.output)


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
        ((folders / "made", folders / "truth", "--labels", "--range", 0, 1), "no --range"),
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


@pytest.fixture
def regions(folders, tmp_path):
    """The left of each picture as a region, the right as its background; none of the last two."""
    (tmp_path / "regions").mkdir()
    for seed in range(4):
        shape = Image.open(folders / "truth" / f"{seed}.png").size[::-1]
        marks = np.zeros(shape, np.uint8)
        marks[:, :16], marks[:, -24:] = 1, 2
        Image.fromarray(marks).save(tmp_path / "regions" / f"{seed}.png")
    (tmp_path / "regions" / "0.png").write_bytes(b"no picture")
    Image.fromarray(np.ones((9, 8), np.uint8)).save(tmp_path / "regions" / "1.png")
    return tmp_path / "regions"


def test_noise_and_contrast_in_regions(folders, regions, tmp_path):
    done = run(
        *(folders / "made", folders / "truth", "--regions", regions),
        *("--json", tmp_path / "found.json"),
    )
    assert done.exit_code == 1
    found = json.loads((tmp_path / "found.json").read_text())
    each = {m["name"]: m for m in found["each"]}
    for side, name in (("made", "A"), ("truth", "B")):
        pages = [np.asarray(Image.open(folders / side / f"{seed}.png"), float) for seed in (2, 3)]
        left, right = ([part.ravel() for part in parts] for parts in (
            [page[:, :16] for page in pages], [page[:, -24:] for page in pages]
        ))  # fmt: skip
        noise = [one.std(ddof=1) for one in right]
        step = [a.mean() - b.mean() for a, b in zip(left, right, strict=True)]
        expected = {
            "noise": noise,
            "CBR": [s / b.mean() for s, b in zip(step, right, strict=True)],
            "CNR": [s / n for s, n in zip(step, noise, strict=True)],
        }
        for measure, values in expected.items():
            got = each[f"{measure} of {name}"]
            assert got["value"]["value"] == pytest.approx(np.mean(values))
            assert "mean of 2 images" in got["definition"]
    assert each["noise of A"]["value"]["value"] < each["noise of B"]["value"]["value"]
    lines = "\n".join(found["failed"])
    assert "0.png" in lines
    assert "a mask (9, 8) is not of an image" in lines
    assert "5.png has no label map of its name in" in lines


def test_label_maps_overlap_and_their_volumes_agree(tmp_path):
    spacing, truths = (1.5, 1.0, 2.0), []
    for n in range(4):
        truth = np.zeros((12, 10, 8), np.uint8)
        truth[2 : 6 + n, 2:7, 2:6] = 1
        truth[9:, 8:, :3] = 2
        made = np.roll(truth, 1, axis=1)
        made[:, :, 5] = 0
        if n == 3:
            made[made == 2] = 0
        truths.append((made, truth))
        for side, labels in (("made", made), ("truth", truth)):
            (tmp_path / side).mkdir(exist_ok=True)
            nib.Nifti1Image(labels, np.diag([*spacing, 1])).to_filename(
                tmp_path / side / f"{n}.nii.gz"
            )
    words = tmp_path / "made", tmp_path / "truth", "--labels", "--json", tmp_path / "f.json"
    done = run(*words)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "f.json").read_text())
    assert (found["images"], found["pairs"]) == ([4, 4], 4)
    paired = {m["name"]: m for m in found["paired"]}
    dice = [2 * ((a == 1) & (b == 1)).sum() / ((a == 1).sum() + (b == 1).sum()) for a, b in truths]
    assert paired["Dice of 1"]["value"]["value"] == pytest.approx(np.mean(dice))
    # A label that is not found overlaps by nothing, and is nowhere at all.
    assert "mean of 4 images" in paired["Dice of 2"]["definition"]
    assert "1 left out, where one map or both lack the label" in paired["HD95 of 2"]["definition"]
    agreement = {m["name"]: m for m in found["agreement"]}
    gaps = [((a == 1).sum() - 1.0 * (b == 1).sum()) * 3 / 1000 for a, b in truths]
    assert agreement["bias of 1"]["value"] == pytest.approx(np.mean(gaps))
    low = np.mean(gaps) - 1.96 * np.std(gaps, ddof=1)
    assert agreement["lower limit of 1"]["value"] == pytest.approx(low)
    assert "ml, A less B, 4 pairs" in agreement["upper limit of 1"]["definition"]
    assert 0 < agreement["ICC of 1"]["value"] < 1
    assert "ICC of 2" in done.output

    scan = np.random.default_rng(0).normal(size=(12, 10, 8)).astype("float32")
    nib.Nifti1Image(scan, np.diag([*spacing, 1])).to_filename(tmp_path / "made" / "0.nii.gz")
    done = run(*words)
    assert done.exit_code == 1
    assert "does not hold labels" in done.output


def test_label_pictures_have_pixels_and_no_mm(tmp_path):
    for side, end in (("made", 8), ("truth", 6)):
        (tmp_path / side).mkdir()
        for n in range(2):
            labels = np.zeros((10, 12), np.uint8)
            labels[2:end, 3 : 7 + n] = 1
            Image.fromarray(labels).save(tmp_path / side / f"{n}.png")
    words = tmp_path / "made", tmp_path / "truth", "--labels", "--json", tmp_path / "f.json"
    assert run(*words).exit_code == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert [m["name"] for m in found["paired"]] == ["Dice of 1", "Jaccard of 1"]
    bias = found["agreement"][0]
    assert (bias["name"], bias["value"]) == ("bias of 1", np.mean([2 * 4, 2 * 5]))
    assert "pixels, A less B" in bias["definition"]


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
