"""A score's worth, from errors that are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score

from ganatomy import artifacts, registry
from ganatomy.artifacts import ArtifactError
from ganatomy.model_card import model_card
from ganatomy.scans import Scan
from ganatomy.tables import Table
from registration.calibrating import (
    Known,
    Placed,
    another,
    calibrate,
    found_case,
    known_pairs,
)
from registration.confidence import Confidence
from registration.evidence import SIGNS, Sampled, signs_of
from registration.known_transforms import (
    LINEAR,
    affine,
    away,
    bent,
    displaced,
    error_of,
    middle_of,
    rigid,
    shown_points,
)
from registration.lookalike import lookalike
from registration.registrar import Registrar, Settings
from registration.transforms import Affine
from tests.registration.aligners import ByMass, artifact
from tests.registration.placing import place, points_of, turn


@pytest.fixture
def few(monkeypatch) -> None:
    """Calibration on what a test has time for."""
    monkeypatch.setattr("registration.calibrating.PLACED", 24)
    monkeypatch.setattr("registration.calibrating.FOUND", 6)
    monkeypatch.setattr("registration.calibrating.TIME", 3600.0)  # however busy the machine is


@pytest.fixture
def joined(monkeypatch) -> None:
    """Pairs are of one patient, and lie on each other as their headers say."""
    monkeypatch.setattr(ByMass, "roles", {"fixed": "joined", "moving": "joined"})


@pytest.fixture
def scan() -> Scan:
    grid = place(turn((5, 10, -20)) * (2.0, 2.5, 3.0), (30, 25, 22), (10.0, 20.0, -30.0))
    away = points_of(grid, (30, 25, 22)) - (10.0, 20.0, -30.0)
    return Scan(np.exp(-((away / (14.0, 10.0, 12.0)) ** 2).sum(-1))[..., None], grid, path="s")


def test_a_better_score_is_less_likely_to_have_failed():
    draw = np.random.default_rng(0)
    failed = draw.random(200) < 0.4
    scores = np.where(failed, -1.0, 1.0) + draw.standard_normal(200)
    found = Confidence.fit(scores[:, None], failed)
    said = [found.probability([score]) for score in (-3.0, -1.0, 0.0, 1.0, 3.0)]
    assert said == sorted(said, reverse=True)
    assert said[0] > 0.9
    assert said[-1] < 0.1
    # Where the two kinds are as many, the odds are even half way: here 4 to 6.
    assert found.probability([0.0]) == pytest.approx(0.4, abs=0.12)
    assert Confidence.from_state(found.state()) == found


def test_a_score_that_falls_as_registrations_get_better_says_nothing():
    failed = np.arange(100) % 2 == 0
    found = Confidence.fit(np.where(failed, 1.0, -1.0)[:, None], failed)
    assert found.probability([5.0]) == pytest.approx(0.5, abs=0.01)


def test_no_failure_among_few_is_no_certainty():
    found = Confidence.fit(np.linspace(0, 1, 8)[:, None], np.zeros(8, bool))
    assert found.probability([0.5]) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match="one or more"):
        Confidence.fit(np.zeros((0, 1)), np.array([], bool))
    with pytest.raises(ValueError, match="finite signs"):
        Confidence.fit(np.array([[np.nan]]), np.array([True]))


def test_of_several_signs_those_count_that_tell():
    draw = np.random.default_rng(1)
    failed = draw.random(300) < 0.3
    telling = np.where(failed, 0.2, 0.6) + 0.1 * draw.standard_normal(300)
    found = Confidence.fit(np.stack([draw.standard_normal(300), telling], -1), failed)
    assert abs(found.slopes[0]) < 0.3 * abs(found.slopes[1])
    assert found.probability([0.0, 0.2]) > 0.8
    assert found.probability([0.0, 0.6]) < 0.1
    assert Confidence.from_state(found.state()) == found


@pytest.mark.parametrize("draw", [rigid, affine, bent])
def test_what_was_displaced_is_found_where_the_transform_says(scan, draw):
    known = draw(scan, 0, 3)
    seen = displaced(scan, known)
    bright = points_of(scan.affine, scan.shape)[scan.pixels[..., 0] > 0.97]
    there = known.points(bright)
    index = np.linalg.inv(scan.affine)
    at = np.rint(there @ index[:3, :3].T + index[:3, 3]).astype(int)
    assert seen.pixels[(*at.T, 0)].min() > 0.9
    assert not np.allclose(there, bright, atol=1.0)
    assert draw(scan, 0, 3).map(bright).tolist() == known.map(bright).tolist()


def test_a_wrong_place_is_off_by_0_to_20_mm_as_often_each(scan):
    points = shown_points(scan)
    errors = [error_of(away(scan, points, 0, number), points, points) for number in range(40)]
    assert min(errors) < 3
    assert 17 < max(errors) < 20.5
    assert 7 < np.mean(errors) < 13


def test_an_affine_map_moves_what_is_shown_by_0_to_20_mm_and_never_folds(scan):
    points = shown_points(scan)
    drawn = [affine(scan, 0, number) for number in range(40)]
    errors = [error_of(known, points, points) for known in drawn]
    assert min(errors) < 3
    assert 17 < max(errors) <= 20
    assert 7 < np.mean(errors) < 13
    linear = np.array([known.matrix[:3, :3] for known in drawn])
    assert np.abs(linear - np.eye(3)).max() <= LINEAR
    assert np.linalg.det(linear).min() > 0
    stretched = np.linalg.norm(np.swapaxes(linear, 1, 2) @ linear - np.eye(3), axis=(1, 2))
    assert (stretched > 0.1).sum() > 10  # it is no rigid draw by another name


def test_signs_fall_as_the_error_grows(scan):
    model, grid = artifact().model, scan.affine
    cut = scan.pixels[None, 7:23, 4:20, 3:19].astype(np.float32)
    sample = 2 * cut / cut.max() - 1
    pair = Sampled(sample, sample, grid, grid)
    found = []
    for step in (0.0, 4.0, 12.0):
        shift = np.eye(4)
        shift[0, 3] = step
        found.append(signs_of(model, pair, Affine(shift)))
    for name in SIGNS:
        values = [signs[name] for signs in found]
        assert values == sorted(values, reverse=True), name
        assert values[0] > values[2]
    assert found[0]["information"] == pytest.approx(1.0)


def test_an_error_is_a_distance_in_mm(scan):
    points = shown_points(scan)
    assert len(points) == 500
    inside = np.linalg.norm(points - middle_of(scan), axis=1)
    assert inside.max() < 20
    step = np.eye(4)
    step[:3, 3] = (3.0, 0.0, 4.0)
    assert error_of(Affine(step), points, points) == pytest.approx(5.0)
    lost = points.copy()
    lost[:10] = np.nan
    assert error_of(Affine(step), points, lost) == pytest.approx(5.0)


def test_a_registrar_is_calibrated_on_what_was_held_out(scan, tmp_path, few, joined):
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(scan.pixels[..., 0], scan.affine).to_filename(path)
    assert Registrar(artifact()).register(scan, scan).failed is None
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [path], "moving": [path]}, ["a"]))
    confidence = registrar.confidence_
    assert confidence is not None
    # By centres of mass a rotation is not found: some have failed, and not all.
    assert 0 < confidence.failures < confidence.n
    found = registrar.register(scan, scan)
    assert found.failure < 0.5
    assert found.failed is False
    known = Known(scan, scan)
    for signs, error in (
        Placed(registrar, known).case(7, 0),
        found_case(registrar, known, 7, 0),
    ):
        assert tuple(signs) == SIGNS
        assert np.isfinite([*signs.values(), error]).all()


def test_failures_are_told_on_transforms_that_were_not_calibrated_on(scan, tmp_path, few, joined):
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(scan.pixels[..., 0], scan.affine).to_filename(path)
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [path], "moving": [path]}, ["a"]))
    placed = Placed(registrar, Known(scan, scan))
    cases = [placed.case(11, number) for number in range(30)]
    errors = np.array([error for _, error in cases])
    assert 0 <= errors.min() < 5 < errors.max() <= 20.5
    said = [registrar.confidence_.probability([*signs.values()]) for signs, _ in cases]
    assert roc_auc_score(errors > 5, said) > 0.9


def test_registrations_to_calibrate_on_end_with_the_time_there_is(
    scan, tmp_path, few, joined, monkeypatch, capsys
):
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(scan.pixels[..., 0], scan.affine).to_filename(path)
    monkeypatch.setattr("registration.calibrating.TIME", 0.0)
    monkeypatch.setattr("registration.calibrating.PLACED", 5)
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [path], "moving": [path]}, ["a"]))
    assert registrar.confidence_.n == 5
    assert "calibrated on 0 of 6 registrations" in capsys.readouterr().err


def subjects(folder: Path, names: str) -> Table:
    """Scans of one anatomy whose grey values have nothing else in common."""
    import nibabel

    shape = (30, 25, 22)
    grid = place(turn((5, 10, -20)) * (2.0, 2.5, 3.0), shape, (10.0, 20.0, -30.0))
    away = points_of(grid, shape) - (10.0, 20.0, -30.0)
    body = np.exp(-((away / (14.0, 10.0, 12.0)) ** 2).sum(-1))
    paths = []
    for number, name in enumerate(names):
        draw = np.random.default_rng(number)
        grey = body * (1 + 0.5 * gaussian_filter(draw.standard_normal(shape), 1.0) / 0.17)
        paths.append(folder / f"{name}.nii.gz")
        nibabel.Nifti1Image(np.clip(grey, 0, None), grid).to_filename(paths[-1])
    whose = np.array([*names])
    return Table({"fixed": paths, "moving": paths}, [*names], independent={"moving": whose})


def test_between_subjects_a_fixed_scan_meets_the_next_that_is_of_another(tmp_path):
    paths = [tmp_path / name for name in "abcd"]
    both = {"fixed": paths, "moving": paths}
    whose = np.array(["p", "p", "q", "q"])
    table = Table(both, [*"abcd"], patient=whose, independent={"moving": whose})
    assert [another(table, row) for row in range(4)] == [paths[place] for place in (2, 2, 0, 0)]
    alone = Table(both, [*"abcd"], patient=whose[[0] * 4], independent={"moving": whose[[0] * 4]})
    assert another(alone, 0) is None
    # A scan is never met by itself, whoever it is called by.
    named = Table(
        {"fixed": paths[:1], "moving": paths[:1]}, ["a"], independent={"moving": whose[2:3]}
    )
    assert another(named, 0) is None
    rows = Table(both, [*"abcd"], patient=whose)  # of single scans, each joined to itself
    assert [another(rows, row) for row in range(4)] == [paths[place] for place in (2, 2, 0, 0)]


@pytest.mark.parametrize("bending", [0.0, 4.0])
def test_a_copy_of_a_scan_lies_on_it_and_is_not_the_same_picture(tmp_path, bending):
    registrar = Registrar(artifact())
    scan = registrar.read(subjects(tmp_path, "a").first[0])
    copies = [lookalike(scan, 0, number, bending) for number in range(4)]
    points = shown_points(scan)
    signs = [signs_of(registrar.artifact_.model, registrar.sampled(scan, scan), Affine(np.eye(4)))]
    for copy in copies:
        np.testing.assert_array_equal(copy.affine, scan.affine)
        assert scan.pixels.min() <= copy.pixels.min() < copy.pixels.max() <= scan.pixels.max()
        found = registrar.align(scan, copy)
        assert error_of(found.transform, points, points) < 2
        signs.append(found.signs)
    information = [one["information"] for one in signs]
    assert max(information[1:]) < 0.8 * information[0]
    assert len(set(information)) == 5
    again = lookalike(scan, 0, 3, bending)
    np.testing.assert_array_equal(again.pixels, copies[3].pixels)


def test_a_scan_joined_to_itself_is_not_calibrated_on_itself(tmp_path, few, joined):
    table = subjects(tmp_path, "abcd")
    table.independent = {}
    registrar = Registrar(artifact())
    for pair in known_pairs(registrar, table):
        assert pair.transform is None
        assert pair.copied
        assert not np.allclose(pair.fixed.pixels, pair.moving.pixels, atol=0.01)
    calibrate(registrar, table)
    facts = registrar.artifact_.facts
    assert facts["confidence"]["copies"]
    assert not facts["confidence"]["between_subjects"]
    card = model_card(registrar.preset, facts)
    assert "lay on copies of themselves" in card
    assert "by more than 5 mm." in card
    assert "5 mm, of pictures without a spacing 5 pixels." in model_card(artifact(2).preset, facts)
    # Two scans in a row are what they are.
    table.paths["moving"] = table.paths["moving"][1:] + table.paths["moving"][:1]
    for pair, path in zip(known_pairs(registrar, table), table.paths["moving"], strict=True):
        assert pair.moving.path == str(path)
        assert not pair.copied


def test_where_the_preset_says_so_single_scans_are_calibrated_on_pairs_of_subjects(
    tmp_path, few, joined
):
    table = subjects(tmp_path, "abcd")
    table.independent = {}
    own = artifact()
    own.preset.postprocessing["between_subjects"] = True
    registrar = Registrar(own)
    pairs = known_pairs(registrar, table)
    assert [pair.moving.path for pair in pairs] == [str(table.first[n]) for n in (1, 2, 3, 0)]
    assert all(pair.transform is not None and not pair.copied for pair in pairs)
    calibrate(registrar, table)
    assert own.facts["confidence"]["between_subjects"]
    assert "pairs of held-out scans of different subjects" in model_card(own.preset, own.facts)


def test_presets_say_whether_their_scans_are_of_different_subjects():
    said = {
        name: Settings(**preset.postprocessing).between_subjects
        for name, preset in registry.presets().items()
        if preset.task == "register" and preset.model.endswith(":AirNet")
    }
    assert said == {"brain-mr-rigid": False, "hippocampus-affine": True, "retina": False}


@pytest.mark.parametrize("name", ["signs", "confidence"])
def test_a_calibration_by_other_signs_is_refused_before_a_scan_is_read(tmp_path, monkeypatch, name):
    monkeypatch.setattr(artifacts, "model_class", lambda path: ByMass)
    own = artifact()
    state = Confidence.fit(np.linspace(0, 1, 8)[:, None], np.arange(8) < 4).state()
    if name == "confidence":
        state = {"confidence": np.zeros(6)}
    own.arrays = {f"confidence/{key}": array for key, array in state.items()}
    artifacts.save(own, tmp_path)
    with pytest.raises(ArtifactError, match=r"calibrated by 1 of the 4 signs.*overlap") as caught:
        Registrar.load(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: arrays.npz")
    assert str(caught.value).endswith("train it again")
    assert "\n" not in str(caught.value)
    with pytest.raises(ArtifactError, match=r"by-mass: .* by 1 of the 4"):
        _ = Registrar(own).confidence_


def test_a_good_pair_of_two_subjects_is_no_failure_and_a_bad_one_is(tmp_path, few):
    table = subjects(tmp_path, "abcd")
    registrar = Registrar(artifact())
    calibrate(registrar, table)
    confidence = registrar.confidence_
    assert confidence is not None
    others = [*map(registrar.read, subjects(tmp_path, "efgh").paths["fixed"])]
    good = [registrar.align(*pair) for pair in itertools.combinations(others, 2)]
    assert not any(found.failed for found in good)
    known = Known(others[0], others[1], good[0].transform)
    placed = Placed(registrar, known)
    cases = [placed.case(5, number) for number in range(30)]
    errors = np.array([error for _, error in cases])
    said = [confidence.probability([*signs.values()]) for signs, _ in cases]
    assert 0 <= errors.min() < 5 < errors.max() <= 20.5
    assert roc_auc_score(errors > 5, said) > 0.9


def test_the_error_between_subjects_is_the_distance_from_what_the_model_finds(scan):
    shift = np.eye(4)
    shift[:3, 3] = 3.0, -2.0, 1.0
    registrar = Registrar(artifact())
    known = Known(scan, displaced(scan, Affine(shift).inverse()), Affine(shift))
    placed = Placed(registrar, known)
    near, far = ([placed.case(s, n) for n in range(12)] for s in (0, 1))
    for signs, error in (*near, *far):
        assert tuple(signs) == SIGNS
        assert 0 <= error <= 20.5
    best = min((*near, *far), key=lambda case: case[1])
    worst = max((*near, *far), key=lambda case: case[1])
    assert best[0]["information"] > worst[0]["information"]
    signs, error = found_case(registrar, known, 0, 1)
    assert np.isfinite([*signs.values(), error]).all()


def test_held_out_scans_that_make_no_pair_are_said(tmp_path, few, capsys):
    registrar = Registrar(artifact())
    calibrate(registrar, subjects(tmp_path, "a"))
    assert registrar.confidence_ is None
    assert "make no pair" in capsys.readouterr().err


def test_without_held_out_scans_nothing_is_calibrated():
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [], "moving": []}, []))
    assert registrar.confidence_ is None
