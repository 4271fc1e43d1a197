"""A score's worth, from errors that are known."""

from __future__ import annotations

import numpy as np
import pytest

from ganatomy.scans import Scan
from ganatomy.tables import Table
from registration.calibrating import calibrate, known_case
from registration.confidence import Confidence
from registration.known_transforms import bent, displaced, error_of, middle_of, rigid, shown_points
from registration.registrar import Registrar
from registration.transforms import Affine
from tests.registration.aligners import artifact
from tests.registration.placing import place, points_of, turn


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


@pytest.mark.parametrize("draw", [rigid, bent])
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


def test_a_registrar_is_calibrated_on_what_was_held_out(scan, tmp_path):
    import nibabel

    path = tmp_path / "a.nii.gz"
    nibabel.Nifti1Image(scan.pixels[..., 0], scan.affine).to_filename(path)
    registrar = Registrar(artifact())
    assert registrar.register(scan, scan).failed is None
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [path], "moving": [path]}, ["a"]))
    confidence = registrar.confidence_
    assert confidence is not None
    # By centres of mass a rotation is not found: some have failed, and not all.
    assert 0 < confidence.failures < confidence.n
    found = registrar.register(scan, scan)
    assert found.failure < 0.5
    assert found.failed is False
    signs, error = known_case(registrar, scan, scan, 7, 0)
    assert len(signs) == 1
    assert np.isfinite([*signs, error]).all()


def test_without_held_out_scans_nothing_is_calibrated():
    registrar = Registrar(artifact())
    calibrate(registrar, Table({"fixed": [], "moving": []}, []))
    assert registrar.confidence_ is None
