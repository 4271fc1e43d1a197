"""A detector that sees a volume tile by tile: trained, calibrated, saved, scored and measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

from anogan import AnomalyScorer
from anogan.residuals import Postprocessing, highest
from anogan.result import Result, in_groups
from ganatomy import registry
from ganatomy.errors import WrongUse
from ganatomy.registry import Member, Preset, PresetError
from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from ganatomy.tables import read_labelled_table, read_table
from ganatomy.training import fit

SHAPE, PLACE = (22, 26, 18), (15, 7, 10)
ROLES = {"scan": "joined"}


class Volumes(NamedTuple):
    """Healthy volumes, and a table of labelled ones with masks."""

    healthy: Path
    labelled: Path


def volume(seed: int, *, lesion: bool = False) -> np.ndarray:
    """Waves along three axes, that start anywhere, and noise; perhaps a bright ball."""
    draw = np.random.default_rng(seed)
    grid = np.indices(SHAPE)
    starts = draw.uniform(0, 2 * np.pi, 3)
    image = sum(np.sin(axis / 3 + start) for axis, start in zip(grid, starts, strict=True))
    image = image + draw.normal(0, 0.05, SHAPE) + 2 * lesion * ball()
    return image.astype(np.float32)


def ball() -> np.ndarray:
    grid = np.moveaxis(np.indices(SHAPE), 0, -1)
    return np.linalg.norm(grid - np.array(PLACE), axis=-1) < 3


def write(path: Path, array: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, 1, 1.5, 1])), path)
    return path


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Volumes:
    root = tmp_path_factory.mktemp("volumes")
    (root / "healthy").mkdir()
    for seed in range(24):
        write(root / "healthy" / f"{seed}.nii.gz", volume(seed))
    mask = write(root / "mask.nii.gz", ball().astype(np.float32))
    with open(root / "labelled.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["scan", "label", "mask"])
        for seed in range(100, 112):
            sick = seed % 2 == 0
            scan = write(root / f"{seed}.nii.gz", volume(seed, lesion=sick))
            rows.writerow([scan, int(sick), mask if sick else ""])
    return Volumes(root / "healthy", root / "labelled.csv")


def recipe(*settings: str) -> Preset:
    """Principal components of tiles: waves that start anywhere lie in a space of 6."""
    preset = registry.preset("linear").model_copy(
        update={
            "rank": 3,
            "preprocessing": {
                "rank": 3,
                "size": [8, 8, 8],
                "overlap": 0.5,
                "spacing": [1, 1, 1],
                "normalise": "window",
                "window": [-4, 4],
            },
            "postprocessing": {"pooled": True, "top": 0.1, "slices": 0.02},
        }
    )
    return preset.set(["components=6", "training.holdout=0.5", *settings])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, volumes: Volumes) -> Path:
    out = tmp_path_factory.mktemp("models") / "tiles"
    fit(recipe(), read_table([str(volumes.healthy)], ROLES), out, fpr=0.1)
    return out


@pytest.fixture(scope="module")
def scorer(folder: Path) -> AnomalyScorer:
    return AnomalyScorer.load(folder)


def test_a_lesion_is_found_where_it_is_on_the_scans_own_grid(scorer):
    affine = np.diag([-1.0, 1, 1.5, 1])
    scans = [Scan(volume(200, lesion=sick)[..., None], affine) for sick in (True, False)]
    sick, healthy = scorer.results(scans)
    assert sick.map.shape == SHAPE
    assert np.isfinite(sick.map).all()
    inside = ball()
    assert np.median(sick.map[inside]) > 3 * np.quantile(sick.map[~inside], 0.9)
    peak = np.unravel_index(sick.map.argmax(), SHAPE)
    assert np.linalg.norm(np.subtract(peak, PLACE)) < 4
    assert sick.abnormal
    assert not healthy.abnormal


def test_a_scans_score_is_the_mean_of_its_highest_tiles(scorer):
    (result,) = scorer.results([Scan(volume(201)[..., None], np.diag([1.0, 1, 1.5, 1]))])
    tiles = len(result.prepared)
    assert tiles == len(result.slice_scores) == len(result.maps) == 5 * 6 * 6
    assert result.anomaly_score == highest(result.slice_scores, 0.02)
    assert result.anomaly_score == np.sort(result.slice_scores)[-round(0.02 * tiles) :].mean()
    assert result.maps.shape[1:] == (8, 8, 8)


def test_a_volume_scores_the_same_alone_and_in_company(scorer):
    scans = [Scan(volume(300 + n)[..., None], np.eye(4)) for n in range(3)]
    alone = [next(scorer.results([scan])) for scan in scans]
    for one, other in zip(scorer.results(scans), alone, strict=True):
        assert one.anomaly_score == other.anomaly_score
        np.testing.assert_array_equal(one.map, other.map)


def test_the_healthy_map_of_tiles_is_one_mean_and_deviation(scorer, folder):
    state = scorer.postprocessing_.state()
    assert [array.shape for array in state.values()] == [(), ()]
    with np.load(folder / "arrays.npz") as stored:
        assert stored["postprocessing/deviation"].shape == ()
        assert stored["postprocessing/deviation"] > 0


def test_a_pooled_map_is_over_all_pixels_that_are_known():
    draw = np.random.default_rng(0)
    residuals = draw.normal(1, 2, (30, 4, 5)).astype(np.float32)
    residuals[:, 0] = np.nan
    post = Postprocessing(smooth=0, pooled=True).fit(residuals)
    known = residuals[np.isfinite(residuals)]
    mean, deviation = post.state().values()
    assert mean == pytest.approx(known.mean(), rel=1e-5)
    assert deviation == pytest.approx(known.std(), rel=1e-5)
    new = np.full((1, 4, 5), 7, np.float32)
    np.testing.assert_allclose(post.maps(new), (7 - known.mean()) / known.std(), rtol=1e-5)
    rest = Postprocessing(smooth=0, pooled=True).fit(residuals[5:]).state()
    for name, array in post.without(residuals[:5]).state().items():
        np.testing.assert_allclose(array, rest[name], rtol=1e-5)
    with pytest.raises(WrongUse, match="two or more healthy patients"):
        post.without(residuals)
    one = Postprocessing(smooth=0, pooled=True, centre=False).fit(residuals).state()
    assert one["mean"] == 0
    assert one["deviation"] == pytest.approx(np.sqrt(np.square(known).mean()), rel=1e-5)


def test_masks_measure_maps_of_tiles(scorer, volumes, tmp_path):
    table = read_labelled_table([str(volumes.labelled)], ROLES)
    measures = scorer.evaluate(table, tmp_path).measures
    assert measures["measures"]["auroc"]["value"] == 1
    assert measures["pixels"]["measures"]["pixel_auroc"]["value"] > 0.95
    assert measures["pixels"]["measures"]["pixel_average_precision"]["value"] > 0.5
    assert (tmp_path / "volumes.npz").exists()
    with np.load(tmp_path / "examples.npz") as shown:
        assert shown["seen"].shape[1:] == (8, 8)


def test_a_folder_of_scores_has_a_row_a_tile_and_maps_on_the_grid(scorer, volumes, tmp_path):
    table = read_labelled_table([str(volumes.labelled)], ROLES).rows(np.arange(12) < 2)
    assert scorer.score_to(table, tmp_path) == []
    with open(tmp_path / "scores.csv") as file:
        rows = list(csv.DictReader(file))
    with open(tmp_path / "slices.csv") as file:
        tiles = list(csv.DictReader(file))
    assert len(rows) == 2
    assert len(tiles) == 2 * 5 * 6 * 6
    assert int(rows[0]["lesions"]) >= 1
    for file in (tmp_path / "maps").iterdir():
        assert read_scan(file).shape == SHAPE
    assert (tmp_path / "volumes.npz").exists()


def test_a_threshold_of_another_site_and_a_served_map(folder, volumes, tmp_path):
    scorer = AnomalyScorer.load(folder)
    assert scorer.calibrate(read_table([str(volumes.healthy)], ROLES), 0.1) == []
    scorer.save(tmp_path / "here")
    again = AnomalyScorer.load(tmp_path / "here")
    assert again.threshold_ == scorer.threshold_
    assert again.preprocessing_.overlap == 0.5
    scan = Scan(volume(400, lesion=True)[..., None], np.eye(4))
    (answer,) = again.answer([scan], map=True)
    assert answer["abnormal"]
    np.testing.assert_allclose(np.array(answer["map"]), scorer.anomaly_map([scan])[0], rtol=1e-6)


def test_a_healthy_map_at_each_pixel_of_tiles_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "scans").mkdir()
    write(tmp_path / "scans" / "a.nii.gz", volume(0))
    table = read_table([str(tmp_path / "scans")], ROLES)
    with pytest.raises(WrongUse, match=r"^postprocessing.pooled: tiles .* --set pooled=true$"):
        fit(recipe("pooled=false"), table, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # A map that is not over what healthy scans show takes no statistics by pixel.
    post = {"pooled": False, "healthy_map": False}
    AnomalyScorer.check_settings(post, Preprocessing(size=(8, 8), overlap=0.5))
    AnomalyScorer.check_settings({"pooled": False}, Preprocessing(size=(8, 8)))


def test_the_controls_beside_a_model_see_its_tiles(volumes):
    from anogan.finishing import control_presets

    for control in control_presets(recipe()).values():
        seen = Preprocessing(**control.preprocessing)
        assert seen.overlap == 0.5
        AnomalyScorer.check_settings(control.postprocessing, seen)


def ensemble(*settings: dict) -> Preset:
    base = registry.preset("linear")
    return base.model_copy(
        update={
            "model": "",
            "members": [
                Member(preset="linear", set={"align": False, **own}, name=f"m{number}")
                for number, own in enumerate(settings)
            ],
        }
    )


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({"overlap": 0.5}, {}, "overlap is 0.5 for m0, None for m1"),
        ({}, {"overlap": 0.5}, "overlap is None for m0, 0.5 for m1"),
        ({"overlap": 0.5}, {"overlap": 0.5, "size": [16, 16]}, "size is"),
        ({"overlap": 0.5}, {"overlap": 0.5, "mask": "body"}, "mask is None for m0"),
    ],
)
def test_members_that_cut_other_tiles_are_refused(first, second, says):
    with pytest.raises(PresetError, match=says):
        registry.members(ensemble(first, second))
    assert len(registry.members(ensemble(first, first))) == 2
    # Whole scans may have other sizes.
    assert len(registry.members(ensemble({}, {"size": [16, 16]}))) == 2


def test_results_are_gathered_by_samples(scorer):
    made = list(scorer.results([Scan(volume(n)[..., None], np.eye(4)) for n in range(3)]))
    broken = Result("b", error=ScanError("b", "is broken", "another"))
    groups = list(in_groups([made[0], broken, made[1], made[2]], len(made[0].prepared) + 1))
    assert [len(group) for group in groups] == [2, 2]
    assert groups[0][1] is broken
    assert [len(group) for group in in_groups(made, 1)] == [1, 1, 1]
    assert list(in_groups([], 4)) == []


def test_the_card_and_configuration_say_what_was_seen(folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["shape"] == [8, 8, 8, 1]
    assert config["preset"]["preprocessing"]["overlap"] == 0.5
    assert config["data"]["samples"] > 100 * config["data"]["scans"]
