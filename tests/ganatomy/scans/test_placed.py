"""Scans and labels on another scan's grid: by what the headers say, to the voxel."""

from __future__ import annotations

import numpy as np
import pytest

from ganatomy.scans import Preprocessing, Scan, ScanError
from ganatomy.scans.placed import labels_on, on_grid

OBLIQUE = np.array(
    [[0.9, -0.3, 0.2, -20.0], [0.35, 1.1, -0.1, 8.0], [-0.1, 0.2, 2.4, -3.0], [0, 0, 0, 1]]
)
AFFINE = np.array([[1.5, 0, 0, -25.0], [0, 1, 0, 14], [0, 0, 2, 4], [0, 0, 0, 1]])
GRID = (18, 20, 12)


def ramp(affine: np.ndarray, shape=(24, 26, 14)) -> Scan:
    """Each voxel holds its own place: x + 2 y - 3 z, mm."""
    index = np.stack([*np.indices(shape), np.ones(shape)])
    place = np.tensordot(affine, index, 1)
    return Scan((place[0] + 2 * place[1] - 3 * place[2])[..., None], affine)


def test_a_scan_on_anothers_grid_shows_what_lies_there():
    moved = on_grid(ramp(OBLIQUE), ramp(AFFINE, GRID))
    expected = ramp(AFFINE, GRID).pixels
    index = np.stack([*np.indices(GRID), np.ones(GRID)])
    found = np.tensordot(np.linalg.inv(OBLIQUE) @ AFFINE, index, 1)[:3]
    sides = np.array([24, 26, 14]).reshape(3, 1, 1, 1)
    # Smoothing reaches beyond the grid's own voxels, and a ramp is bent at its ends only.
    inner = ((found > 3) & (found < sides - 4)).all(0)
    assert inner.sum() > 20
    np.testing.assert_allclose(moved.pixels[inner], expected[inner], atol=1e-3)
    outside = ((found < -1) | (found > sides)).any(0)
    assert outside.any()
    assert set(moved.pixels[outside].ravel()) == {ramp(OBLIQUE).pixels.min()}
    np.testing.assert_array_equal(moved.affine, AFFINE)


def test_a_scan_on_a_grid_like_its_own_is_left_as_it_is():
    scan = ramp(OBLIQUE)
    assert on_grid(scan, ramp(OBLIQUE)) is scan


def test_a_coarser_grid_sees_means_and_not_single_voxels():
    noise = np.random.default_rng(0).normal(size=(40, 40, 40, 1))
    coarse = Scan(np.zeros((9, 9, 9, 1)), np.diag([4.0, 4, 4, 1]) + 2 * np.eye(4, k=3))
    assert on_grid(Scan(noise, np.eye(4)), coarse).pixels.std() < 0.2


def test_scans_of_two_places_are_refused():
    away = OBLIQUE.copy()
    away[:3, 3] += 500
    with pytest.raises(ScanError, match="does not overlap"):
        on_grid(ramp(OBLIQUE), ramp(away))


@pytest.mark.parametrize("moved", [False, True])
def test_labels_stand_where_the_samples_of_their_scan_stand(moved):
    draw = np.random.default_rng(1)
    scan = Scan(draw.normal(size=(12, 10, 9, 1)), np.diag([-1.0, 1, 1, 1]))
    labels = Scan(draw.integers(0, 4, (12, 10, 9, 1)), scan.affine)
    if moved:  # the same labels in a larger file, its axes in another order
        pixels = np.pad(labels.pixels, [(2, 1), (0, 0), (3, 0), (0, 0)]).transpose(2, 1, 0, 3)
        affine = scan.affine @ np.array([[0, 0, 1, -2], [0, 1, 0, 0], [1, 0, 0, -3], [0, 0, 0, 1]])
        labels = Scan(pixels, affine)
    settings = Preprocessing(rank=3, size=(14, 8, 9), spacing=(1, 1, 1))
    found = labels_on(labels, scan, settings.apply(scan))
    assert found.shape == (1, 14, 8, 9, 1)
    assert found.dtype == np.float32
    # The first axis runs to the right; the grid is one voxel longer at both ends of it.
    original = np.random.default_rng(1)
    original.normal(size=(12, 10, 9, 1))
    expected = np.pad(original.integers(0, 4, (12, 10, 9))[::-1, 1:9], [(1, 1), (0, 0), (0, 0)])
    np.testing.assert_array_equal(found[0, ..., 0], expected)


def test_labels_of_slices_of_a_volume_and_of_pictures():
    scan = Scan(np.random.default_rng(2).normal(size=(8, 8, 5, 1)), np.eye(4))
    labels = Scan(np.arange(8 * 8 * 5).reshape(8, 8, 5, 1), np.eye(4))
    settings = Preprocessing(rank=2, size=(8, 8))
    found = labels_on(labels, scan, settings.apply(scan))
    # Rows to posterior and columns to the patient's left, as radiologists see it.
    expected = labels.pixels[::-1, ::-1].transpose(2, 1, 0, 3)
    np.testing.assert_array_equal(found, expected)
    picture = Scan(np.random.default_rng(3).normal(size=(16, 12, 1)))
    small = Preprocessing(rank=2, size=(8, 6)).apply(picture)
    found = labels_on(Scan(np.arange(192).reshape(16, 12, 1)), picture, small)
    assert found.shape == (1, 8, 6, 1)
    assert set(found.ravel()) <= set(range(192))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Scan(np.full((6, 6, 1), 0.5)), "does not hold labels; expected whole numbers"),
        (Scan(np.zeros((6, 6, 3))), "does not hold labels; expected whole numbers"),
        (Scan(np.zeros((5, 6, 1))), "has 5×6 pixels, array 6×6"),
    ],
)
def test_what_are_no_labels_of_a_scan_is_said(labels, message):
    scan = Scan(np.random.default_rng(4).normal(size=(6, 6, 1)))
    with pytest.raises(ScanError) as caught:
        labels_on(labels, scan, Preprocessing(rank=2, size=(6, 6)).apply(scan))
    assert message in str(caught.value)
