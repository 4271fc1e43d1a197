"""One transform in all its files does one thing."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from ganatomy.errors import WrongUse
from ganatomy.scans import ScanError
from registration.conventions import StoredTransform
from registration.transform_files import read_transform, write_transform
from tests.registration.placing import (
    FIXED_SHAPE,
    affine_map,
    inner_points,
    mirrored_grid,
    rigid_map,
    sent,
    smooth_field,
)


def test_files_of_a_matrix_agree(tmp_path, fixed, moving):
    made = write_transform(
        tmp_path / "case.1", StoredTransform(rigid_map()), fixed=fixed, moving=moving
    )
    assert [path.name for path in made] == ["case.1.tfm", "case.1.dcm"]
    for path in made:
        np.testing.assert_allclose(read_transform(path).matrix, rigid_map(), atol=1e-9)


def test_files_of_a_field_agree(tmp_path, fixed, moving):
    transform = StoredTransform(affine_map(), smooth_field(FIXED_SHAPE), mirrored_grid())
    made = write_transform(tmp_path / "t", transform, fixed=fixed, moving=moving)
    assert [path.name for path in made] == ["t.h5", "t-field.nii.gz", "t.dcm"]
    expected = sent(inner_points(), *transform[:3])
    for path in made:
        back = sent(inner_points(), *read_transform(path)[:3])
        np.testing.assert_allclose(back, expected, atol=1e-3)


def test_without_dicom_there_is_no_object(tmp_path):
    made = write_transform(tmp_path / "t", StoredTransform(rigid_map()))
    assert made == [tmp_path / "t.tfm"]
    assert sitk.ReadTransform(str(made[0])).GetName() == "Euler3DTransform"


def test_a_picture_has_a_transform_too(tmp_path):
    matrix = np.array([[1.0, 0.1, 3], [-0.1, 1, -2], [0, 0, 1]])
    field, grid = smooth_field((9, 12), size=1.0), np.diag([1.0, 2.0, 1.0])
    for transform in (StoredTransform(matrix), StoredTransform(matrix, field, grid)):
        points = np.random.default_rng(0).uniform(1, 7, (30, 2))
        for path in write_transform(tmp_path / "t", transform):
            back = sent(points, *read_transform(path)[:3])
            np.testing.assert_allclose(back, sent(points, *transform[:3]), atol=1e-3)


def test_what_cannot_be_written_or_read_is_said(tmp_path):
    with pytest.raises(WrongUse, match="existing folder"):
        write_transform(tmp_path / "none" / "t", StoredTransform(rigid_map()))
    with pytest.raises(ScanError, match="does not exist"):
        read_transform(tmp_path / "t.tfm")
