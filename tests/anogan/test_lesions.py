"""Lesions of maps whose places and sizes are known."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from anogan.lesions import find_lesions

# 2 × 1.5 × 5 mm, turned: the first axis runs to the left, the second to superior.
AFFINE = np.array([[-2.0, 0, 0, 50], [0, 0, 5, -30], [0, 1.5, 0, 10], [0, 0, 0, 1]])


def volume() -> np.ndarray:
    array = np.zeros((20, 16, 12), np.float32)
    array[3:5, 4:8, 2:4] = 2.0
    array[4, 6, 3] = 5.0
    array[12:16, 10:12, 6:9] = 3.0
    array[10, 3, 10] = 9.0
    return array


def test_volume_place_peak_and_mean_of_each_the_highest_peak_first():
    labels, found = find_lesions(volume(), 1.0, AFFINE)
    assert [lesion.peak for lesion in found] == [9, 5, 3]
    assert [lesion.pixels for lesion in found] == [1, 16, 24]
    single, planted, flat = found
    assert planted.volume_ml == pytest.approx(16 * 2 * 1.5 * 5 / 1000)
    assert planted.mean == pytest.approx((15 * 2 + 5) / 16)
    assert planted.centroid == pytest.approx((3.5, 5.5, 2.5))
    assert planted.peak_at == (4, 6, 3)
    assert planted.centroid_mm == pytest.approx((50 - 7, -30 + 12.5, 10 + 8.25))
    assert planted.peak_mm == pytest.approx(nib.affines.apply_affine(AFFINE, (4, 6, 3)))
    assert flat.mean == 3
    assert single.peak_mm == pytest.approx((30, 20, 14.5))
    for number, lesion in enumerate(found, start=1):
        own = labels == number
        assert own.sum() == lesion.pixels
        assert own[lesion.peak_at]
    assert (labels > 0).sum() == 41


def test_what_is_too_small_is_neither_listed_nor_labelled():
    labels, found = find_lesions(volume(), 1.0, AFFINE, smallest_ml=0.3)
    assert [lesion.peak for lesion in found] == [3]
    assert set(np.unique(labels)) == {0, 1}
    _, found = find_lesions(volume(), 1.0, AFFINE, smallest_pixels=2)
    assert [lesion.peak for lesion in found] == [5, 3]


def test_the_threshold_itself_is_no_lesion_and_nan_is_none():
    array = volume()
    array[12:16] = np.nan
    assert [lesion.peak for lesion in find_lesions(array, 5.0).found] == [9]
    nothing = find_lesions(array, 9.0, AFFINE)
    assert nothing.found == []
    assert not nothing.labels.any()
    assert nothing.largest_ml == find_lesions(array, 9.0).largest_ml == 0


def test_corners_connect():
    array = np.zeros((6, 6))
    array[[1, 2, 4], [1, 2, 5]] = 1
    assert [lesion.pixels for lesion in find_lesions(array, 0.5).found] == [2, 1]


def test_a_picture_has_places_in_pixels_and_no_volume():
    array = np.zeros((30, 40))
    array[10:14, 20:22] = 2
    lesions = find_lesions(array, 1)
    [lesion] = lesions.found
    assert lesion.centroid == (11.5, 20.5)
    assert lesion.volume_ml is lesion.centroid_mm is lesion.peak_mm is None
    assert lesions.largest_ml is None


def test_a_slice_alone_has_its_place_and_its_thickness():
    array = np.zeros((30, 40))
    array[10:14, 20:22] = 2
    [lesion] = find_lesions(array, 1, AFFINE).found
    assert lesion.volume_ml == pytest.approx(8 * 15 / 1000)
    assert lesion.centroid_mm == pytest.approx((50 - 23, -30, 10 + 1.5 * 20.5))
