"""Volumes for the report: which, turned how, which slices, and that they stay small."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anogan.detector import Findings
from anogan.examples import picture
from anogan.result import Result
from anogan.volume_pictures import SIDE, SLICES, slices_of_volume, volume_slices, write_volumes
from ganatomy.scans import Preprocessing, Scan


def result_of(pixels: np.ndarray, affine: np.ndarray, maps, **settings) -> Result:
    scan = Scan(pixels[..., None], affine)
    prepared = Preprocessing(**settings).apply(scan)
    made = maps(prepared) if callable(maps) else maps
    found = Findings(prepared.samples, made, np.zeros(len(made)), np.zeros((len(made), 1)))
    return Result("v", 1.0, scan=scan, prepared=prepared, findings=found, maps=made)


def marked(shape=(20, 30, 12)) -> np.ndarray:
    """Bright at the patient's right, front and top, in RAS."""
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    pixels[-4:, -6:, -3:] = 5
    return pixels


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("settings", [{"size": (30, 20)}, {"rank": 3, "size": (20, 30, 12)}])
def test_axial_slices_are_seen_as_radiologists_see_them(flips, settings):
    pixels = marked()[:: flips[0], :: flips[1], :: flips[2]]
    slices = volume_slices(
        result_of(
            pixels,
            np.diag([*flips, 1.0]),
            lambda p: np.zeros(p.samples.shape[:-1], np.float32),
            **settings,
        )
    )
    top = slices["input"][-1].astype(int)
    assert top.shape == (30, 20)
    # front at the top, the patient's right at the left of the picture
    assert top[:6, :4].mean() > 250
    assert top[6:].mean() < 100
    assert top[:6, 4:].mean() < 100
    assert slices["input"][0].mean() < 100


def test_the_highest_slice_is_among_the_few_that_are_shown_and_pixels_are_square():
    def maps(prepared):
        made = np.full(prepared.samples.shape[:-1], 0.5, np.float32)
        made[17] = 3
        return made

    pixels = np.random.default_rng(0).random((400, 100, 61))
    slices = volume_slices(result_of(pixels, np.diag([1, 4, 2, 1.0]), maps, size=(16, 16)))
    assert slices["input"].shape == slices["map"].shape == (SLICES, SIDE, SIDE)
    assert 17 in slices["numbers"]
    assert slices["numbers"][int(slices["map"].max((1, 2)).argmax())] == 17
    assert list(slices["numbers"]) == sorted(set(slices["numbers"]))
    assert slices["slices"] == 61


def test_slices_that_were_not_seen_are_not_shown():
    pixels = np.random.default_rng(0).random((20, 20, 10))
    slices = volume_slices(
        result_of(
            pixels,
            np.eye(4),
            lambda p: np.ones(p.samples.shape[:-1], np.float32),
            size=(16, 16),
            slices=(0.2, 0.7),
        )
    )
    assert list(slices["numbers"]) == [2, 3, 4, 5, 6]


def test_volumes_stand_in_a_file_and_pictures_leave_none(quick_model, draw_chest, tmp_path):
    from anogan import AnomalyScorer

    scorer = AnomalyScorer.load(quick_model)
    paths, out = [], tmp_path / "out"
    out.mkdir()

    def written(scores):
        results = zip(paths, scorer.results(paths), strict=True)
        made = {path.name: slices_of_volume(result) for path, result in results}
        write_volumes(made, scores, out)

    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(draw_chest(number)).save(paths[-1])
    scores = {path.name: float(number) for number, path in enumerate(paths)}
    written(scores)
    assert list(out.iterdir()) == []
    for number, depth in ((5, 3), (6, 30)):
        paths.append(tmp_path / f"{number}.nii")
        scores[paths[-1].name] = float(number)
        stack = np.repeat(draw_chest(number)[..., None], depth, axis=2).astype(np.float32)
        nib.Nifti1Image(stack, np.eye(4)).to_filename(paths[-1])
    written(scores)
    with np.load(out / "volumes.npz", allow_pickle=False) as stored:
        assert list(stored["names"]) == ["6.nii", "5.nii"]
        assert list(stored["score"]) == [6, 5]
        assert list(stored["slices"]) == [30, 3]
        assert list((stored["numbers"] >= 0).sum(1)) == [SLICES, 3]
        assert stored["input"].shape == stored["map"].shape == (2, SLICES, 48, 48)
        assert np.isnan(stored["map"][1, 3:]).all()
    assert [file.name for file in out.iterdir()] == ["volumes.npz"]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
@pytest.mark.parametrize("settings", [{"size": (30, 20)}, {"rank": 3, "size": (20, 30, 12)}])
def test_flat_pictures_of_a_volume_are_of_one_slice_and_turned_alike(flips, settings):
    def maps(prepared):
        # The score is highest in one slice, the mean of the map in another.
        made = np.ones(prepared.samples.shape[:-1], np.float32)
        made[(0, ..., 9) if settings.get("rank") == 3 else 9] = 3
        return made

    pixels = np.random.default_rng(0).random((20, 30, 12)) + np.arange(12) / 4
    result = result_of(
        pixels[:: flips[0], :: flips[1], :: flips[2]], np.diag([*flips, 1.0]), maps, **settings
    )
    scored = np.zeros(len(result.prepared))
    scored[min(3, len(scored) - 1)] = 1
    result.slice_scores = scored
    if settings.get("rank") == 3:
        result.findings.residual[0, ..., 3] = 9
    flat = picture(result)
    assert flat["seen"].shape == (30, 20)
    shown = flat["input"][:, 5:25]  # the picture is a square
    assert np.corrcoef(shown.ravel(), flat["seen"].ravel())[0, 1] > 0.99


def test_flat_pictures_keep_proportions_in_mm():
    result = result_of(
        np.ones((40, 10, 8)) * np.linspace(0, 1, 8),
        np.diag([1, 4, 1, 1.0]),
        lambda p: np.ones(p.samples.shape[:-1], np.float32),
        size=(16, 16),
    )
    result.slice_scores = np.arange(8.0)
    flat = picture(result)
    assert flat["input"].shape == (40, 40)
    assert np.isfinite(flat["map"]).all()
