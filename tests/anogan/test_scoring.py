"""A folder of scores: whose they are, what is done, what failed and what is tried again."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from anogan import AnomalyScorer
from anogan.score_rows import COLUMNS
from anogan.scoring import safe, score_to
from ganatomy.artifacts import ArtifactError
from ganatomy.tables import Table, read_table


@pytest.fixture(scope="module")
def scorer(quick_model) -> AnomalyScorer:
    return AnomalyScorer.load(quick_model)


@pytest.fixture
def scans(tmp_path, draw_chest) -> Path:
    root = tmp_path / "scans"
    root.mkdir()
    for seed in range(5):
        Image.fromarray(draw_chest(seed)).save(root / f"{seed}.png")
    return root


def table(*places: Path) -> Table:
    return read_table([str(place) for place in places], {"scan": "joined"})


def rows(folder: Path, name: str = "scores.csv") -> list[dict[str, str]]:
    with open(folder / name, newline="") as stored:
        return list(csv.DictReader(stored))


def volume(path: Path, seed: int) -> None:
    import nibabel

    pixels = np.random.default_rng(seed).normal(100, 20, (40, 40, 3))
    nibabel.Nifti1Image(pixels.astype(np.float32), np.eye(4)).to_filename(path)


def test_a_file_of_the_same_name_does_not_get_anothers_score(scorer, scans, tmp_path, draw_chest):
    out, other = tmp_path / "out", tmp_path / "other"
    assert score_to(scorer, table(scans), out, maps=False) == []
    before = (out / "scores.csv").read_bytes()
    other.mkdir()
    Image.fromarray(draw_chest(99, abnormal=True)).save(other / "0.png")
    with pytest.raises(ArtifactError, match=r"score of another file named 0\.png: choose another"):
        score_to(scorer, table(other), out, maps=False)
    Image.fromarray(draw_chest(99, abnormal=True)).save(scans / "3.png")
    with pytest.raises(ArtifactError, match=r"score of another file named 3\.png"):
        score_to(scorer, table(scans), out, maps=False)
    assert (out / "scores.csv").read_bytes() == before


def test_scores_of_another_folder_with_other_names_are_added(scorer, scans, tmp_path, draw_chest):
    out, other = tmp_path / "out", tmp_path / "other"
    score_to(scorer, table(scans), out, maps=False)
    before = (out / "scores.csv").read_bytes()
    other.mkdir()
    Image.fromarray(draw_chest(99)).save(other / "new.png")
    score_to(scorer, table(other), out, maps=False)
    assert (out / "scores.csv").read_bytes().startswith(before)
    assert [row["scan"] for row in rows(out)] == [f"{n}.png" for n in range(5)] + ["new.png"]


def test_a_repaired_scan_is_tried_again_and_the_others_are_not(scorer, scans, tmp_path):
    out, whole = tmp_path / "out", (scans / "2.png").read_bytes()
    (scans / "2.png").write_bytes(whole[:200])
    [line] = score_to(scorer, table(scans), out, maps=False)
    assert "2.png" in line
    before = {row["scan"]: row for row in rows(out)}
    (scans / "2.png").write_bytes(whole)
    assert score_to(scorer, table(scans), out, maps=False) == []
    after = {row["scan"]: row for row in rows(out)}
    assert len(rows(out)) == len(after) == 5
    assert float(after["2.png"]["anomaly_score"]) > 0
    assert not after["2.png"]["error"]
    assert all(after[name] == before[name] for name in before if name != "2.png")


def test_a_map_that_cannot_be_written_costs_neither_the_score_nor_the_others(
    scorer, scans, tmp_path
):
    out = tmp_path / "out"
    dicom = pydicom.dcmread(str(get_testdata_file("MR_small.dcm")))
    del dicom.SOPInstanceUID, dicom.file_meta.MediaStorageSOPInstanceUID
    dicom.save_as(scans / "1.dcm")
    [line] = score_to(scorer, table(scans), out)
    assert "scored, but without a map" in line
    assert "SOPInstanceUID" in line
    found = {row["scan"]: row for row in rows(out)}
    assert len(found) == 6
    assert all(row["anomaly_score"] for row in found.values())
    assert {name for name, row in found.items() if row["error"]} == {"1.dcm"}
    assert {file.stem for file in (out / "maps").glob("*.png")} == {f"{n}.png" for n in range(5)}
    # It is named again as long as it has no map, and has one row.
    assert score_to(scorer, table(scans), out) == [line]
    assert len(rows(out)) == 6


def test_a_folder_that_cannot_be_written_to_costs_maps_alone(scorer, scans, tmp_path):
    out = tmp_path / "out"
    score_to(scorer, table(scans / "0.png"), out, maps=False)
    (out / "maps").write_text("a file where the folder should be")
    assert len(score_to(scorer, table(scans), out)) == 4
    assert all(row["anomaly_score"] for row in rows(out))


def test_maps_of_different_scans_are_different_files(scorer, scans, tmp_path):
    (scans / "a").mkdir()
    shutil.copy(scans / "0.png", scans / "a" / "b.png")
    shutil.copy(scans / "1.png", scans / "a_b.png")
    long = scans / ("x" * 120)
    long.mkdir()
    shutil.copy(scans / "2.png", long / f"{'y' * 200}.png")
    out = tmp_path / "out"
    assert score_to(scorer, table(scans), out) == []
    assert len(list((out / "maps").glob("*.png"))) == 8


def test_safe_names():
    assert safe("00.png") == "00.png"
    assert safe("brain#2") == "brain#2"
    hostile = ["a/b.png", "a_b.png", "../a", "/etc/x", ".", "", "a b", "x" * 300, "x" * 301]
    hostile += ["é" * 150, "\udcff"]
    made = [safe(name) for name in hostile]
    assert len(set(made)) == len(made)
    for name in made:
        assert "/" not in name
        assert not name.startswith(".")
        assert 0 < len(name.encode()) < 200


def test_the_header_is_written_once_though_nothing_was_scored(scorer, scans, tmp_path):
    out = tmp_path / "out"
    score_to(scorer, table(scans), out, maps=False)
    header = (out / "scores.csv").read_bytes().splitlines(keepends=True)[0]
    # As a kill leaves it before the first row, and in the middle of the header.
    for left in (header, header[:7], b""):
        (out / "scores.csv").write_bytes(left)
        score_to(scorer, table(scans), out, maps=False)
        assert (out / "scores.csv").read_bytes().count(header) == 1
        assert [row["scan"] for row in rows(out)] == [f"{n}.png" for n in range(5)]


def test_scores_in_other_columns_are_not_added_to(scorer, scans, tmp_path):
    out = tmp_path / "out"
    score_to(scorer, table(scans), out, maps=False)
    (out / "scores.csv").write_bytes(b"scan,score\r\n0.png,1\r\n")
    with pytest.raises(ArtifactError, match="other columns"):
        score_to(scorer, table(scans), out, maps=False)


def test_slices_have_a_header_and_none_twice_after_a_kill(scorer, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for seed in range(3):
        volume(scans / f"{seed}.nii", seed)
    score_to(scorer, table(scans), out, maps=False)
    whole = rows(out, "slices.csv")
    assert list(whole[0]) == ["scan", "slice", "anomaly_score"]
    assert [(row["scan"], row["slice"]) for row in whole] == [
        (f"{scan}.nii", str(place)) for scan in range(3) for place in range(3)
    ]
    # A kill after two slices of the last volume and a piece of the third.
    lines = (out / "scores.csv").read_bytes().splitlines(keepends=True)
    (out / "scores.csv").write_bytes(b"".join(lines[:3]))
    text = (out / "slices.csv").read_bytes()
    (out / "slices.csv").write_bytes(text[:-5])
    score_to(scorer, table(scans), out, maps=False)
    assert rows(out, "slices.csv") == whole
    assert (out / "scores.csv").read_bytes() == b"".join(lines)


def test_pictures_leave_no_slices_and_no_pieces(scorer, scans, tmp_path):
    out = tmp_path / "out"
    score_to(scorer, table(scans), out, maps=False)
    names = {file.name for file in out.iterdir()}
    assert names == {"model.json", "scores.csv", "worklist.csv", "examples.npz"}
    with np.load(out / "examples.npz", allow_pickle=False) as stored:
        assert len(stored["names"]) == len(stored["map"]) == 5
    with open(out / "scores.csv", newline="") as stored:
        assert next(csv.reader(stored)) == list(COLUMNS)


@pytest.fixture
def asked(scorer, monkeypatch) -> list[str]:
    """The names of the scans that were scored so far; the scoring itself is the real one."""
    seen: list[str] = []
    real = scorer.results

    def counting(paths):
        seen.extend(Path(path).name for path in paths)
        return real(paths)

    monkeypatch.setattr(scorer, "results", counting)
    return seen


def test_every_scan_is_scored_once(scorer, scans, asked, tmp_path, draw_chest):
    for seed in range(5, 20):
        Image.fromarray(draw_chest(seed)).save(scans / f"{seed}.png")
    for seed in (1, 2):
        volume(scans / f"{seed}.nii", seed)
    (scans / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    score_to(scorer, table(scans), out, maps=False)
    assert sorted(asked) == sorted(path.name for path in scans.iterdir())
    best = sorted(rows(out), key=lambda row: -float(row["anomaly_score"] or -1))[:12]
    with np.load(out / "examples.npz", allow_pickle=False) as stored:
        assert stored["names"].tolist() == [row["scan"] for row in best]
        assert stored["score"].tolist() == [float(row["anomaly_score"]) for row in best]
    volumes = [row["scan"] for row in best if row["scan"].endswith("nii")]
    if volumes:
        with np.load(out / "volumes.npz", allow_pickle=False) as stored:
            assert stored["names"].tolist() == volumes


def test_a_finished_folder_is_not_scored_again(scorer, scans, asked, tmp_path):
    out = tmp_path / "out"
    score_to(scorer, table(scans), out, maps=False)
    before = (out / "examples.npz").read_bytes()
    asked.clear()
    score_to(scorer, table(scans), out, maps=False)
    assert asked == []
    (out / "examples.npz").unlink()  # as a kill before the end leaves it
    score_to(scorer, table(scans), out, maps=False)
    assert sorted(asked) == [f"{n}.png" for n in range(5)]
    assert (out / "examples.npz").read_bytes() == before


def test_a_resumed_run_scores_again_what_it_shows_of_the_one_before(
    scorer, scans, asked, tmp_path, draw_chest
):
    for seed in range(5, 18):
        Image.fromarray(draw_chest(seed, abnormal=seed % 2 == 0)).save(scans / f"{seed}.png")
    whole, out = tmp_path / "whole", tmp_path / "out"
    score_to(scorer, table(scans), whole, maps=False)
    lines = (whole / "scores.csv").read_bytes().splitlines(keepends=True)
    shutil.copytree(whole, out)
    (out / "scores.csv").write_bytes(b"".join(lines[:8]))  # killed after seven scans
    for name in ("examples.npz", "worklist.csv"):
        (out / name).unlink()
    asked.clear()
    score_to(scorer, table(scans), out, maps=False)
    names = [row["scan"] for row in rows(whole)]
    best = [row["scan"] for row in rows(whole, "worklist.csv")[:12]]
    again = [name for name in best if name in names[:7]]
    assert asked == names[7:] + again
    assert 0 < len(again) < 7
    with np.load(out / "examples.npz") as own, np.load(whole / "examples.npz") as other:
        assert own["names"].tolist() == other["names"].tolist()
        for key in other:
            if key != "names":
                np.testing.assert_allclose(own[key], other[key], rtol=1e-4, atol=1e-5)


def test_small_and_large_scans_are_shown_together(scorer, tmp_path, draw_chest):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for side in (40, 64, 300):
        Image.fromarray(draw_chest(side, side=side)).save(scans / f"{side}.png")
    score_to(scorer, table(scans), out, maps=False)
    with np.load(out / "examples.npz", allow_pickle=False) as stored:
        shown = dict(zip(stored["names"], stored["map"], strict=True))
        assert stored["input"].shape == stored["map"].shape == (3, 224, 224)
        assert np.isfinite(stored["input"]).all()
    seen = {name: int(np.isfinite(picture).sum()) for name, picture in shown.items()}
    assert seen["40.png"] <= 40 * 40 < seen["64.png"] <= 64 * 64 < seen["300.png"]


@pytest.fixture
def finder(quick_model) -> AnomalyScorer:
    """A scorer whose maps are above the threshold of pixels here and there."""
    scorer = AnomalyScorer.load(quick_model)
    scorer.calibration_ = dataclasses.replace(scorer.calibration_, pixel_threshold=2.0)
    return scorer


@pytest.fixture
def mixed(scans, tmp_path, draw_chest) -> Path:
    """Five healthy pictures, one with an opacity and a volume with a bright ball."""
    import nibabel

    Image.fromarray(draw_chest(50, abnormal=True)).save(scans / "opacity.png")
    pixels = np.repeat(draw_chest(3).T[:, ::-1, None], 4, axis=2).astype(np.float32)
    pixels[8:18, 20:30, 1:3] += 120
    nibabel.Nifti1Image(pixels, np.diag([2.0, 2, 5, 1])).to_filename(scans / "ball.nii.gz")
    return scans


def test_lesions_have_rows_and_masks_that_agree(finder, mixed, tmp_path):
    import nibabel

    out = tmp_path / "out"
    assert score_to(finder, table(mixed), out) == []
    listed = rows(out, "lesions.csv")
    counted = {row["scan"]: row for row in rows(out)}
    for name, row in counted.items():
        own = [lesion for lesion in listed if lesion["scan"] == name]
        assert int(row["lesions"]) == len(own)
        peaks = [float(lesion["peak"]) for lesion in own]
        assert peaks == sorted(peaks, reverse=True)
        assert min(peaks, default=9.0) > 2.0
    assert int(counted["opacity.png"]["lesions"]) > 0
    assert counted["opacity.png"]["largest_ml"] == ""  # nobody knows the mm of a picture
    shown = np.asarray(Image.open(out / "lesions" / "opacity.png.png"))
    pixels = [int(lesion["pixels"]) for lesion in listed if lesion["scan"] == "opacity.png"]
    assert shown.astype(bool).sum() == sum(pixels)

    image = nibabel.load(out / "lesions" / "ball.nii.gz.nii.gz")
    ball = np.asarray(image.dataobj)
    first = next(lesion for lesion in listed if lesion["scan"] == "ball.nii.gz")
    index = [int(first[f"peak_{axis}"]) for axis in "ijk"]
    assert ball[tuple(index)] == 1
    assert [float(first[f"peak_{axis}"]) for axis in "ras"] == [
        index[0] * 2,
        index[1] * 2,
        index[2] * 5,
    ]
    assert float(first["volume_ml"]) == pytest.approx(int(first["pixels"]) * 0.02)
    largest = max(float(row["volume_ml"]) for row in listed if row["scan"] == "ball.nii.gz")
    assert float(counted["ball.nii.gz"]["largest_ml"]) == pytest.approx(largest)


def test_dicom_has_a_map_and_a_segmentation_of_one_place(finder, tmp_path):
    import highdicom as hd

    series = Path(__file__).parents[1] / "data" / "brain-mr"
    out = tmp_path / "out"
    assert score_to(finder, table(series), out) == []
    [map_file], [mask_file] = (list((out / name).iterdir()) for name in ("maps", "lesions"))
    array = hd.imread(map_file).get_volume(dtype=np.float32)
    mask = hd.seg.segread(mask_file).get_volume(combine_segments=True)
    np.testing.assert_allclose(array.affine, mask.affine, atol=1e-4)
    above = np.nan_to_num(array.array) > 2.0
    inside = mask.array.astype(bool)
    assert inside.any()
    assert not (inside & ~above).any()  # lesions that are too small are not in it
    assert pydicom.dcmread(mask_file).Modality == "SEG"
    assert "threshold 2" in pydicom.dcmread(mask_file).DerivationDescription


def test_the_worklist_has_the_most_abnormal_first_and_those_that_failed_not(
    finder, mixed, tmp_path
):
    out = tmp_path / "out"
    (mixed / "broken.png").write_bytes(b"no picture")
    assert len(score_to(finder, table(mixed), out)) == 1
    work, scored = rows(out, "worklist.csv"), {row["scan"]: row for row in rows(out)}
    assert [int(row["rank"]) for row in work] == list(range(1, 8))
    assert {row["scan"] for row in work} == set(scored) - {"broken.png"}
    found = [float(row["anomaly_score"]) for row in work]
    assert found == sorted(found, reverse=True)
    for row in work:
        same = ("anomaly_score", "p_value", "abnormal", "lesions", "largest_ml")
        assert [row[name] for name in same] == [scored[row["scan"]][name] for name in same]
    assert work[0]["scan"] in ("opacity.png", "ball.nii.gz")
    with np.load(out / "volumes.npz", allow_pickle=False) as stored:
        assert list(stored["names"]) == ["ball.nii.gz"]


def test_small_lesions_are_left_out_as_the_model_says(finder, mixed, tmp_path):
    finder.postprocessing_ = finder.postprocessing_.model_copy(
        update={"smallest_ml": 1e6, "smallest_share": 1.0}
    )
    out = tmp_path / "out"
    assert score_to(finder, table(mixed), out) == []
    assert {row["lesions"] for row in rows(out)} == {"0"}


def test_lesions_stand_once_after_a_kill(finder, mixed, tmp_path):
    out = tmp_path / "out"
    score_to(finder, table(mixed), out)
    files = {name: (out / name).read_bytes() for name in ("lesions.csv", "worklist.csv")}
    lines = (out / "scores.csv").read_bytes().splitlines(keepends=True)
    assert lines[-1].startswith(b"opacity.png")
    (out / "scores.csv").write_bytes(b"".join(lines[:-1]))
    (out / "lesions.csv").write_bytes(files["lesions.csv"][:-3])
    score_to(finder, table(mixed), out)
    assert {name: (out / name).read_bytes() for name in files} == files


def test_without_maps_nobody_looked_for_lesions(finder, mixed, tmp_path):
    out = tmp_path / "out"
    score_to(finder, table(mixed), out, maps=False)
    assert {row["lesions"] for row in rows(out)} == {""}
    assert not (out / "lesions").exists()
    assert not (out / "lesions.csv").exists()
