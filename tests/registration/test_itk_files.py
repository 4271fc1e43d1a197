"""Transforms written here do in ITK, and in ANTs, what they do in numpy; and are read back."""

from __future__ import annotations

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ganatomy.errors import WrongUse
from ganatomy.scans import ScanError
from registration.conventions import total_field
from registration.itk_files import write_affine, write_composite, write_field
from registration.itk_reading import read_itk
from tests.registration.placing import (
    FIXED_SHAPE,
    FLIP,
    MOVING_SHAPE,
    affine_map,
    fixed_grid,
    inner_points,
    mirrored_grid,
    moving_grid,
    points_of,
    rigid_map,
    sent,
    smooth_field,
    turn,
)

MAPS = {"rigid": rigid_map, "affine": affine_map}
LINEAR = (".tfm", ".txt", ".mat", ".h5")
WITHIN = 1e-3  # mm
CENTRE = np.array([10.0, -20.0, 40.0])


def itk_image(array: np.ndarray, grid: np.ndarray) -> sitk.Image:
    """An image as ITK would have read it from a file in RAS: made here, not by the code tested."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0, 3)), isVector=True)
    columns = FLIP @ grid[:3, :3]
    spacing = np.sqrt((columns**2).sum(0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin((FLIP @ grid[:3, 3]).tolist())
    return image


def sampled_where(transform: sitk.Transform) -> np.ndarray:
    """Where ITK's resampler looks for each voxel of the fixed grid, mm RAS `[*grid, 3]`.

    The moving image's voxels hold their own places, which linear interpolation reproduces.
    """
    moving = itk_image(points_of(moving_grid(), MOVING_SHAPE), moving_grid())
    fixed = itk_image(np.zeros((*FIXED_SHAPE, 3)), fixed_grid())
    moved = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 1e6)
    return sitk.GetArrayFromImage(moved).transpose(2, 1, 0, 3)


def field_transform(path) -> sitk.Transform:
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


@pytest.mark.parametrize("centre", [None, CENTRE])
@pytest.mark.parametrize("suffix", LINEAR)
@pytest.mark.parametrize("kind", list(MAPS))
def test_a_matrix_samples_in_itk_where_it_does_here(tmp_path, kind, suffix, centre):
    path, matrix = tmp_path / f"t{suffix}", MAPS[kind]()
    write_affine(path, matrix, centre)
    transform = sitk.ReadTransform(str(path))
    expected = sent(points_of(fixed_grid(), FIXED_SHAPE), matrix)
    np.testing.assert_allclose(sampled_where(transform), expected, atol=WITHIN)
    assert transform.GetName() == {"rigid": "Euler3DTransform"}.get(kind, "AffineTransform")
    np.testing.assert_allclose(read_itk(path).matrix, matrix, atol=1e-9)
    if centre is not None:
        np.testing.assert_allclose(transform.GetFixedParameters()[:3], FLIP @ centre)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (90, 0, 0), (0, -90, 0), (180, 90, 45)])
def test_angles_at_which_euler_breaks_are_kept(tmp_path, degrees):
    matrix = rigid_map()
    matrix[:3, :3] = turn(degrees)
    write_affine(tmp_path / "t.tfm", matrix, CENTRE)
    back = read_itk(tmp_path / "t.tfm").matrix
    np.testing.assert_allclose(sent(inner_points(), back), sent(inner_points(), matrix), atol=1e-5)


def test_a_rotation_of_float32_is_rigid_and_a_mirror_is_not(tmp_path):
    write_affine(tmp_path / "r.tfm", rigid_map().astype(np.float32))
    assert sitk.ReadTransform(str(tmp_path / "r.tfm")).GetName() == "Euler3DTransform"
    back = read_itk(tmp_path / "r.tfm").matrix
    np.testing.assert_allclose(
        sent(inner_points(), back), sent(inner_points(), rigid_map()), atol=1e-4
    )
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    write_affine(tmp_path / "m.tfm", mirror)
    assert sitk.ReadTransform(str(tmp_path / "m.tfm")).GetName() == "AffineTransform"
    np.testing.assert_array_equal(read_itk(tmp_path / "m.tfm").matrix, mirror)


@pytest.mark.parametrize("grid", [fixed_grid, mirrored_grid])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_field_samples_in_itk_where_it_does_here(tmp_path, suffix, grid):
    path, field = tmp_path / f"field{suffix}", smooth_field(FIXED_SHAPE)
    write_field(path, field, grid())
    expected = sent(points_of(fixed_grid(), FIXED_SHAPE), np.eye(4), field, grid())
    np.testing.assert_allclose(sampled_where(field_transform(path)), expected, atol=WITHIN)

    image = nib.load(path)
    assert image.shape == (*FIXED_SHAPE, 1, 3)
    assert image.header.get_intent("code")[0] == 1007
    np.testing.assert_allclose(image.affine, grid(), atol=1e-4)
    np.testing.assert_allclose(np.asarray(image.dataobj)[:, :, :, 0], field @ FLIP, atol=1e-6)

    back = read_itk(path)
    np.testing.assert_array_equal(back.field, field)
    np.testing.assert_allclose(back.grid, grid(), atol=1e-4)
    np.testing.assert_array_equal(back.matrix, np.eye(4))


def test_a_composite_displaces_first_and_turns_then(tmp_path):
    path, matrix, field = tmp_path / "t.h5", affine_map(), smooth_field(FIXED_SHAPE)
    write_composite(path, matrix, field, mirrored_grid(), CENTRE)
    expected = sent(points_of(fixed_grid(), FIXED_SHAPE), matrix, field, mirrored_grid())
    transform = sitk.ReadTransform(str(path))
    np.testing.assert_allclose(sampled_where(transform), expected, atol=WITHIN)
    wrong = sent(points_of(fixed_grid(), FIXED_SHAPE), matrix) + field
    assert np.abs(wrong - expected).max() > 0.5  # so that the order is told apart
    between = [transform.TransformPoint((FLIP @ p).tolist()) for p in inner_points()]
    expected = sent(inner_points(), matrix, field, mirrored_grid())
    np.testing.assert_allclose(between @ FLIP, expected, atol=WITHIN)
    back = read_itk(path)
    np.testing.assert_allclose(back.matrix, matrix, atol=1e-9)
    np.testing.assert_array_equal(back.field, field)
    np.testing.assert_allclose(back.grid, mirrored_grid(), atol=1e-9)


def test_one_field_does_what_matrix_and_field_do(tmp_path):
    matrix, field = affine_map(), smooth_field(FIXED_SHAPE)
    write_field(tmp_path / "all.nii.gz", total_field(matrix, field, fixed_grid()), fixed_grid())
    expected = sent(inner_points(), matrix, field, fixed_grid())
    transform = field_transform(tmp_path / "all.nii.gz")
    between = [transform.TransformPoint((FLIP @ p).tolist()) for p in inner_points()]
    np.testing.assert_allclose(between @ FLIP, expected, atol=WITHIN)


def test_a_matrix_before_the_field_is_carried_through_it(tmp_path):
    """As other programs write composites: two matrices around a field, and one inside another."""
    first, last, field = rigid_map(), affine_map(), smooth_field((30, 30, 20))
    grid = moving_grid()
    write_affine(tmp_path / "first.tfm", first)
    write_composite(tmp_path / "rest.h5", last, field, grid)
    whole = sitk.CompositeTransform(3)
    whole.AddTransform(sitk.ReadTransform(str(tmp_path / "rest.h5")))
    whole.AddTransform(sitk.ReadTransform(str(tmp_path / "first.tfm")))
    whole.FlattenTransform()
    sitk.WriteTransform(whole, str(tmp_path / "whole.h5"))
    back = read_itk(tmp_path / "whole.h5")
    expected = sent(sent(inner_points(), first), last, field, grid)
    assert np.abs(expected - sent(sent(inner_points(), first), last)).max() > 1
    np.testing.assert_allclose(
        sent(inner_points(), back.matrix, back.field, back.grid), expected, atol=WITHIN
    )


@pytest.mark.parametrize(
    "transform",
    [
        sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
        sitk.VersorTransform((1.0, 2.0, 3.0), 0.3),
        sitk.Similarity3DTransform(1.2, (1.0, 2.0, 3.0), 0.3, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    ],
    ids=lambda transform: transform.GetName(),
)
def test_linear_transforms_of_other_kinds_are_read(tmp_path, transform):
    sitk.WriteTransform(transform, str(tmp_path / "t.tfm"))
    expected = [transform.TransformPoint((FLIP @ p).tolist()) for p in inner_points()]
    back = sent(inner_points(), read_itk(tmp_path / "t.tfm").matrix)
    np.testing.assert_allclose(back, expected @ FLIP, atol=1e-9)


def test_a_field_whose_header_says_ras_is_turned(tmp_path):
    """Intent 1006 means displacements in RAS; ITK turns their signs, and so does reading here."""
    field = smooth_field(FIXED_SHAPE)
    image = nib.Nifti1Image(field[:, :, :, None], fixed_grid())
    image.header.set_intent(1006)
    nib.save(image, tmp_path / "ras.nii.gz")
    np.testing.assert_allclose(read_itk(tmp_path / "ras.nii.gz").field, field, atol=1e-6)


@pytest.mark.parametrize("skew", [1e-5, 4e-4])
def test_rounded_directions_leave_the_field_where_it_is(tmp_path, skew):
    grid = fixed_grid()
    grid[:3, 0] += skew * grid[:3, 1]
    points = points_of(grid, FIXED_SHAPE)
    field = np.float32((points - points.mean((0, 1, 2))) @ turn((40, 50, 60)))  # a shift would show
    write_field(tmp_path / "f.nii", field, grid)
    write_composite(tmp_path / "f.h5", np.eye(4), field, grid)
    inner = points[1:-1, 1:-1, 1:-1]
    for name in ("f.nii", "f.h5"):
        there = sent(inner, *read_itk(tmp_path / name)[:3])
        np.testing.assert_allclose(there, sent(inner, np.eye(4), field, grid), atol=WITHIN)


# Pictures: [row, column] here, (column, row) in ITK.

PICTURE_GRID = np.array([[0.5, 0, 3.0], [0, 2.0, -1.0], [0, 0, 1]])
PICTURE_SHAPE = (21, 9)


def picture_map(degrees: float, scale: float = 1.0) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c * scale, -s, 1.5], [s, c, -0.7], [0, 0, 1]])


@pytest.mark.parametrize("suffix", LINEAR)
@pytest.mark.parametrize(("scale", "name"), [(1.0, "Euler2DTransform"), (1.2, "AffineTransform")])
def test_pictures_have_transforms_in_two_dimensions(tmp_path, suffix, scale, name):
    path, matrix = tmp_path / f"t{suffix}", picture_map(20, scale)
    write_affine(path, matrix, np.array([4.0, 5.0]))
    transform = sitk.ReadTransform(str(path))
    assert (transform.GetName(), transform.GetDimension()) == (name, 2)
    points = np.random.default_rng(0).uniform(-9, 9, (50, 2))
    there = np.array([transform.TransformPoint(p[::-1].tolist()) for p in points])[:, ::-1]
    np.testing.assert_allclose(there, sent(points, matrix), atol=1e-9)
    np.testing.assert_allclose(read_itk(path).matrix, matrix, atol=1e-12)


@pytest.mark.parametrize("suffix", [".nii.gz", ".h5"])
def test_pictures_have_fields_in_two_dimensions(tmp_path, suffix):
    path, matrix = tmp_path / f"t{suffix}", picture_map(10)
    field = smooth_field(PICTURE_SHAPE, size=1.0)
    if suffix == ".h5":
        write_composite(path, matrix, field, PICTURE_GRID)
        transform = sitk.ReadTransform(str(path))
    else:
        matrix = np.eye(3)
        write_field(path, field, PICTURE_GRID)
        transform = field_transform(path)
    # the moving picture as SimpleITK would read it: an array of rows, whose pixels are places
    moving = sitk.GetImageFromArray(np.moveaxis(np.indices((60, 60)) - 20.0, 0, -1), isVector=True)
    moving.SetOrigin((-20, -20))
    fixed = sitk.Image(9, 21, sitk.sitkUInt8)
    fixed.SetSpacing((2.0, 0.5))
    fixed.SetOrigin((-1.0, 3.0))
    moved = sitk.GetArrayFromImage(
        sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 1e6, sitk.sitkVectorFloat64)
    )
    expected = sent(points_of(PICTURE_GRID, PICTURE_SHAPE), matrix, field, PICTURE_GRID)
    np.testing.assert_allclose(moved, expected, atol=WITHIN)
    back = read_itk(path)
    np.testing.assert_array_equal(back.field, field)
    np.testing.assert_allclose(back.grid, PICTURE_GRID, atol=1e-6)
    np.testing.assert_allclose(back.matrix, matrix, atol=1e-12)


# What is refused, in one line.


def refused(path, match: str) -> None:
    with pytest.raises(ScanError, match=match) as caught:
        read_itk(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", ["t.tfm", "t.txt", "t.mat", "t.h5", "t.nii.gz", "t.nii", "t.png"])
@pytest.mark.parametrize(
    "content",
    [
        b"nonsense" * 100,
        b"\x89HDF\r\n\x1a\n" + b"0" * 600,
        b"#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n",
    ],
)
def test_what_is_no_transform_is_refused(tmp_path, capfd, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "expected")
    assert "HDF5-DIAG" not in capfd.readouterr().err


def test_a_missing_an_empty_and_a_cut_file_are_refused(tmp_path):
    refused(tmp_path / "none.h5", "does not exist")
    (tmp_path / "empty.h5").touch()
    refused(tmp_path / "empty.h5", "is empty")
    write_field(tmp_path / "f.nii.gz", smooth_field(FIXED_SHAPE), fixed_grid())
    whole = gzip.decompress((tmp_path / "f.nii.gz").read_bytes())
    (tmp_path / "cut.nii").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.nii", "is cut short")


def test_images_and_fields_of_voxels_are_no_transforms(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", "is an image but no displacement field")
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7, 3), np.float32), np.eye(4)), tmp_path / "b.nii.gz")
    refused(tmp_path / "b.nii.gz", "is an image but no displacement field")


def test_transforms_that_cannot_be_used_are_refused(tmp_path):
    flat = sitk.AffineTransform(3)
    flat.SetMatrix((1, 0, 0, 0, 1, 0, 0, 0, 0))
    sitk.WriteTransform(flat, str(tmp_path / "flat.tfm"))
    refused(tmp_path / "flat.tfm", "singular")
    spline = sitk.BSplineTransform(3, 3)
    sitk.WriteTransform(spline, str(tmp_path / "spline.h5"))
    refused(tmp_path / "spline.h5", "BSplineTransform")
    field = np.zeros((*FIXED_SHAPE, 3), np.float32)
    field[3, 3, 3, 1] = np.nan
    nib_image = nib.Nifti1Image(field[:, :, :, None], fixed_grid())
    nib_image.header.set_intent(1007)
    nib.save(nib_image, tmp_path / "nan.nii.gz")
    refused(tmp_path / "nan.nii.gz", "not finite")
    nowhere = nib.Nifti1Image(smooth_field(FIXED_SHAPE)[:, :, :, None], None)
    nowhere.header.set_intent(1007)
    nib.save(nowhere, tmp_path / "nowhere.nii.gz")
    refused(tmp_path / "nowhere.nii.gz", "has no orientation")
    twice = sitk.CompositeTransform(3)
    for _ in range(2):
        twice.AddTransform(
            sitk.DisplacementFieldTransform(sitk.Image([4, 4, 4], sitk.sitkVectorFloat64))
        )
    sitk.WriteTransform(twice, str(tmp_path / "twice.h5"))
    refused(tmp_path / "twice.h5", "at most one displacement field")


def test_a_file_that_claims_too_much_is_refused_before_it_is_held(tmp_path):
    import h5py

    write_affine(tmp_path / "t.h5", rigid_map())
    with h5py.File(tmp_path / "t.h5", "a") as file:
        group = file["TransformGroup/0"]
        del group["TransformParameters"]
        group.create_dataset("TransformParameters", shape=(1 << 32,), dtype="f8", chunks=True)
    refused(tmp_path / "t.h5", "claims a larger field")
    shutil.copy(tmp_path / "t.h5", tmp_path / "t.tfm")
    refused(tmp_path / "t.tfm", "is no transform that can be read")


def test_what_cannot_be_written_is_refused(tmp_path):
    field, grid = smooth_field(FIXED_SHAPE), fixed_grid()
    with pytest.raises(WrongUse, match="suffix"):
        write_affine(tmp_path / "t.json", rigid_map())
    with pytest.raises(WrongUse, match="existing folder"):
        write_affine(tmp_path / "none" / "t.tfm", rigid_map())
    with pytest.raises(WrongUse, match="existing folder"):
        write_field(tmp_path / "none" / "f.nii.gz", field, grid)
    with pytest.raises(ValueError, match="shape"):
        write_affine(tmp_path / "t.tfm", np.eye(5))
    with pytest.raises(ValueError, match="singular"):
        write_affine(tmp_path / "t.tfm", np.diag([1.0, 1, 0, 1]))
    with pytest.raises(ValueError, match="last row"):
        write_affine(tmp_path / "t.tfm", np.ones((4, 4)))
    with pytest.raises(ValueError, match="not finite"):
        write_affine(tmp_path / "t.tfm", np.full((4, 4), np.nan))
    with pytest.raises(ValueError, match="not finite"):
        write_field(tmp_path / "f.nii", np.full_like(field, np.nan), grid)
    with pytest.raises(ValueError, match="shape"):
        write_field(tmp_path / "f.nii", field[..., :2], grid)
    with pytest.raises(ValueError, match="one voxel thin"):
        write_field(tmp_path / "f.nii", field[:, :, :1], grid)
    with pytest.raises(ValueError, match="differ in rank"):
        total_field(np.eye(3), field, grid)
    with pytest.raises(ValueError, match="differ in rank"):
        write_composite(tmp_path / "f.h5", np.eye(3), field, grid)
    grid[:3, 0] += 0.1 * grid[:3, 1]
    with pytest.raises(ValueError, match="sheared"):
        write_field(tmp_path / "f.nii", field, grid)
    assert list(tmp_path.iterdir()) == []
