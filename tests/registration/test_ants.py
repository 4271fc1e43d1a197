"""ANTs does with our files what numpy does, and what it writes is read."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from registration.itk_files import write_affine, write_composite, write_field
from registration.itk_reading import read_itk
from tests.registration.placing import (
    FIXED_SHAPE,
    FLIP,
    MOVING_SHAPE,
    affine_map,
    fixed_grid,
    moving_grid,
    place,
    points_of,
    sent,
    smooth_field,
    turn,
)

LINEAR = (".tfm", ".txt", ".mat", ".h5")
CENTRE = np.array([10.0, -20.0, 40.0])
WITHIN = 1e-3  # mm


@pytest.fixture
def ants():
    return pytest.importorskip("ants", reason="antspyx is not installed")


@pytest.mark.parametrize("suffix", [*LINEAR, ".nii.gz", "composite.h5"])
def test_ants_samples_where_it_is_told(ants, tmp_path, suffix):
    path, matrix, field = tmp_path / f"t{suffix}", affine_map(), None
    if suffix in LINEAR:
        write_affine(path, matrix, CENTRE)
    else:
        field = smooth_field(FIXED_SHAPE)
        if suffix == ".nii.gz":
            matrix = np.eye(4)
            write_field(path, field, fixed_grid())
        else:
            write_composite(path, matrix, field, fixed_grid())

    def image(array, grid, name):
        nib.save(nib.Nifti1Image(array.astype(np.float32), grid), tmp_path / name)
        return ants.image_read(str(tmp_path / name))

    fixed = image(np.zeros(FIXED_SHAPE), fixed_grid(), "fixed.nii.gz")
    places = points_of(moving_grid(), MOVING_SHAPE)
    found = []
    for axis in range(3):
        moving = image(places[..., axis], moving_grid(), f"moving{axis}.nii.gz")
        moved = ants.apply_transforms(fixed, moving, [str(path)], interpolator="linear")
        found.append(moved.numpy())
    points = points_of(fixed_grid(), FIXED_SHAPE)
    expected = sent(points, matrix, field, None if field is None else fixed_grid())
    np.testing.assert_allclose(np.stack(found, -1), expected, atol=WITHIN)


def test_what_ants_writes_is_read(ants, tmp_path):
    """Its warp comes first and its matrix then, in two files or in one."""
    shape, bend = (30, 26, 22), smooth_field((30, 26, 22), size=1.5)
    grid = place(turn((10, -15, 20)) * (1.0, 1.2, 2.0), shape, (5.0, 10.0, -5.0))
    places = points_of(grid, shape)
    images = []
    for name, seen in (("fixed", places), ("moving", places @ turn((2, -1, 3)) + bend)):
        blob = np.exp(-(((seen - (5, 10, -5)) / (9, 8, 12)) ** 2).sum(-1)) + np.sin(seen / 4).sum(
            -1
        )
        nib.save(nib.Nifti1Image(blob.astype(np.float32), grid), tmp_path / f"{name}.nii")
        images.append(ants.image_read(str(tmp_path / f"{name}.nii")))
    points = points_of(grid, shape)[4:-4:5, 4:-4:5, 4:-4:5].reshape(-1, 3) + 0.1
    told = pd.DataFrame(points @ FLIP, columns=["x", "y", "z"])
    for together in (False, True):
        out = str(tmp_path / f"out{together}")
        found = ants.registration(
            *images,
            "SyN",
            outprefix=out,
            reg_iterations=(5, 0, 0),
            write_composite_transform=together,
        )["fwdtransforms"]
        files = [found] if isinstance(found, str) else found
        expected = ants.apply_transforms_to_points(3, told, files).to_numpy()[:, :3] @ FLIP
        there = points
        for file in files:
            there = sent(there, *read_itk(file)[:3])
        assert len(files) == (1 if together else 2)
        assert np.abs(expected - points).max() > 0.2
        np.testing.assert_allclose(there, expected, atol=WITHIN)
