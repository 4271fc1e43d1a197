"""A registration as files: what other programs do with them is what it says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from ganatomy.scans import Scan, ScanError, read_scan
from registration.answering import answer
from registration.deformations import Displacement
from registration.known_transforms import middle_of
from registration.registrar import Registrar
from registration.registration import Registration
from registration.slices import as_scans_have_it
from registration.storing import stored
from registration.transform_files import read_transform
from registration.transforms import Affine
from registration.writing import write_registration
from tests.registration.aligners import artifact
from tests.registration.conftest import DATA
from tests.registration.placing import (
    affine_map,
    inner_points,
    place,
    points_of,
    rigid_map,
    sent,
    smooth_field,
    turn,
)

SHAPES = (31, 35, 27), (57, 41, 13)


def placed() -> tuple[np.ndarray, np.ndarray]:
    fixed = place(turn((10, -15, 20)) * (1.1, 1.3, 1.7), SHAPES[0], (12.0, -30.0, 45.0))
    return fixed, place(turn((-8, 12, 5)) * (0.9, 1.4, 5.3), SHAPES[1], (15.0, -25.0, 50.0))


@pytest.fixture
def volumes(tmp_path) -> tuple[Path, Path]:
    """Two NIfTI files of other grids, and labels and points of the second."""
    paths = []
    for name, shape, grid in zip(("fixed", "moving"), SHAPES, placed(), strict=True):
        away = points_of(grid, shape) - (13.0, -29.0, 46.0)
        body = 1000 * np.exp(-((away / (9.0, 7.0, 8.0)) ** 2).sum(-1))
        image = nibabel.Nifti1Image(body.astype(np.int16), grid)
        image.header["descrip"] = f"{name} of nobody"
        image.header.set_xyzt_units("mm")
        paths.append(tmp_path / f"{name}.nii.gz")
        image.to_filename(paths[-1])
        if name == "moving":
            labels = nibabel.Nifti1Image((body > 300).astype(np.uint8) * 2, grid)
            labels.to_filename(tmp_path / "labels.nii.gz")
    return paths[0], paths[1]


def bent(scan: Scan) -> Displacement:
    return Displacement(smooth_field(scan.shape, size=2.0), scan.affine)


def test_itk_moves_the_file_that_came_in_to_the_file_that_went_out(volumes, tmp_path):
    fixed, moving = (read_scan(path) for path in volumes)
    for name, transform in {
        "rigid": Affine(rigid_map()),
        "bent": bent(fixed).then(Affine(affine_map())),
    }.items():
        out = tmp_path / name
        out.mkdir()
        found = Registration(fixed, moving, transform, 0.5)
        write_registration(found, out, model="m")
        images = [sitk.ReadImage(str(path), sitk.sitkFloat64) for path in volumes]
        for file in [*out.glob("*.tfm"), *out.glob("*.h5")]:
            moved = sitk.Resample(images[1], images[0], sitk.ReadTransform(str(file)))
            own = sitk.ReadImage(str(out / "moved.nii.gz"), sitk.sitkFloat64)
            assert own.GetSize() == moved.GetSize()
            np.testing.assert_allclose(own.GetOrigin(), moved.GetOrigin(), atol=1e-4)
            a, b = map(sitk.GetArrayFromImage, (own, moved))
            seen = found.inside.transpose(2, 1, 0) & (b > 0)
            np.testing.assert_allclose(a[seen], b[seen], atol=0.5)
            assert np.ptp(b[seen]) > 500


def test_a_stored_transform_is_the_transform(volumes):
    fixed, moving = (read_scan(path) for path in volumes)
    for transform in (
        Affine(rigid_map()),
        bent(fixed),
        Affine(rigid_map()).then(bent(fixed)).then(Affine(affine_map())),
    ):
        found = stored(Registration(fixed, moving, transform, 0.0))
        voxels = points_of(fixed.affine, fixed.shape)[::5, ::5, ::5]
        np.testing.assert_allclose(sent(voxels, *found[:3]), transform.map(voxels), atol=1e-3)
    far = np.array([[500.0, 400.0, -300.0]])
    np.testing.assert_allclose(
        sent(far, *found[:3]), Affine(affine_map() @ rigid_map()).map(far), atol=1e-3
    )


def test_nifti_stays_nifti_with_the_fixed_scans_affine(volumes, tmp_path):
    found = Registrar(artifact()).register(*volumes, labels=tmp_path / "labels.nii.gz")
    write_registration(found, tmp_path, model="m")
    moved = nibabel.load(tmp_path / "moved.nii.gz")
    fixed = nibabel.load(volumes[0])
    np.testing.assert_allclose(moved.affine, fixed.affine, atol=1e-5)
    np.testing.assert_allclose(moved.get_qform(), fixed.affine, atol=1e-4)
    assert moved.shape == fixed.shape
    assert bytes(moved.header["descrip"]).startswith(b"moving of nobody")
    labels = nibabel.load(tmp_path / "labels.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(labels.dataobj), found.labels)


def test_dicom_becomes_a_series_in_the_fixed_frame_of_reference(fixed, moving, tmp_path):
    matrix = rigid_map()
    matrix[:3, 3] = middle_of(moving) - matrix[:3, :3] @ middle_of(fixed)
    found = Registration(fixed, moving, Affine(matrix), 0.1)
    summary = write_registration(found, tmp_path, model="m")
    assert summary["files"] == ["moved", "transform.tfm", "transform.dcm"]
    back = read_scan(tmp_path / "moved")
    np.testing.assert_allclose(back.affine, fixed.affine, atol=1e-6)
    np.testing.assert_allclose(back.pixels, found.moved.pixels, atol=0.51)
    assert back.units == "HU"
    assert back.header[0].FrameOfReferenceUID == fixed.header[0].FrameOfReferenceUID
    points = inner_points()
    for name in ("transform.tfm", "transform.dcm"):
        read = read_transform(tmp_path / name)
        np.testing.assert_allclose(sent(points, *read[:3]), sent(points, matrix), atol=1e-3)


# Single slices: ITK takes their place from the header, and here they have none.

ODD = ((46, 40), (52, 44))


def flipped(columns: np.ndarray, corner: tuple[float, float]) -> np.ndarray:
    grid = np.diag([1.0, 1.0, 5.0, 1.0])
    grid[:2, :2], grid[:3, 3] = columns, (*corner, 30.0)
    return grid


def tilted(columns: np.ndarray, corner: tuple[float, float]) -> np.ndarray:
    lean = np.eye(4)
    lean[:3, :3] = turn((0, 25, 0))
    return lean @ flipped(columns, corner)


def slice_of(path: Path, shape: tuple[int, int], grid: np.ndarray, centre: np.ndarray) -> Scan:
    """A slice in a file, with a bright spot at an index."""
    away = (np.moveaxis(np.indices(shape), 0, -1) - centre) / (5.0, 4.0)
    body = 1000 * np.exp(-(away**2).sum(-1))
    nibabel.Nifti1Image(body.astype(np.float32), grid).to_filename(path)
    return read_scan(path)


GRIDS = {
    "flipped": (
        flipped(np.diag([0.8, -1.3]), (-120.0, 44.0)),
        flipped(np.diag([-0.7, 1.1]), (61.0, -9.0)),
    ),
    "turned": (
        flipped(turn((0, 0, 20))[:2, :2] * (0.8, 1.3), (-120.0, 44.0)),
        flipped(np.array([[0, -1.1], [0.7, 0]]), (61.0, -9.0)),
    ),
    "tilted": (
        tilted(np.diag([0.8, 1.3]), (-120.0, 44.0)),
        flipped(np.diag([-0.7, 1.1]), (61.0, -9.0)),
    ),
}


@pytest.mark.parametrize("kind", ["matrix", "field"])
@pytest.mark.parametrize("name", GRIDS)
def test_itk_moves_a_slice_by_its_header_as_it_was_moved_here(tmp_path, name, kind):
    spots = np.array([20.0, 18.0]), np.array([27.0, 15.0])
    files = [tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz"]
    made = zip(files, ODD, GRIDS[name], spots, strict=True)
    fixed, moving = (slice_of(*one) for one in made)
    # The two images agree where the transform sends the one spot to the other.
    c, s = np.cos(0.1), np.sin(0.1)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    matrix[:2, 2] = spots[1] * moving.spacing - matrix[:2, :2] @ (spots[0] * fixed.spacing)
    transform = Affine(matrix)
    if kind == "field":
        grid = np.diag([*fixed.spacing, 1.0])
        transform = Displacement(smooth_field(fixed.shape, size=2.0), grid).then(transform)
    found = Registration(fixed, moving, transform, 0.0)
    summary = found.save(tmp_path)
    assert summary["remarks"] == []
    expected = "transform.tfm" if kind == "matrix" else "transform-field.nii.gz"
    assert expected in summary["files"]

    images = [sitk.ReadImage(str(file), sitk.sitkFloat64) for file in files]
    own = sitk.ReadImage(str(tmp_path / "moved.nii.gz"), sitk.sitkFloat64)
    inner = found.inside.copy()
    inner[:2], inner[-2:], inner[:, :2], inner[:, -2:] = False, False, False, False
    assert inner.mean() > 0.5
    voxels = points_of(np.eye(3), fixed.shape)
    goals = transform.map(voxels * fixed.spacing) / moving.spacing  # the moving scan's indices
    for file in (path for path in summary["files"] if path.startswith("transform")):
        read = (
            sitk.DisplacementFieldTransform(
                sitk.ReadImage(str(tmp_path / file), sitk.sitkVectorFloat64)
            )
            if file.endswith(".nii.gz")
            else sitk.ReadTransform(str(tmp_path / file))
        )
        moved = sitk.GetArrayFromImage(sitk.Resample(images[1], images[0], read)).T
        np.testing.assert_allclose(moved[inner], sitk.GetArrayFromImage(own).T[inner], atol=0.5)
        index = np.array(
            [
                images[1].TransformPhysicalPointToContinuousIndex(
                    read.TransformPoint(images[0].TransformIndexToPhysicalPoint(voxel.tolist()))
                )
                for voxel in voxels[inner].astype(int)
            ]
        )
        np.testing.assert_allclose(index * moving.spacing, goals[inner] * moving.spacing, atol=1e-3)
        back = as_scans_have_it(read_transform(tmp_path / file), fixed, moving)
        there = sent((voxels * fixed.spacing)[inner], *back[:3])
        np.testing.assert_allclose(there, (goals * moving.spacing)[inner], atol=1e-3)


def test_an_endpoint_answers_a_slices_transform_by_its_header(tmp_path):
    made = zip("fm", ODD, GRIDS["turned"], ((20.0, 18.0), (27.0, 15.0)), strict=True)
    scans = [slice_of(tmp_path / f"{role}.nii", *rest) for role, *rest in made]
    found = Registration(*scans, Affine(np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]])), 0.0)
    found.save(tmp_path)
    assert answer(found)["transform"] == (tmp_path / "transform.tfm").read_text()


def test_slices_that_itk_has_no_place_for_keep_their_own_coordinates(tmp_path):
    coronal = np.eye(4)[[0, 2, 1, 3]]
    scan = slice_of(tmp_path / "s.nii", ODD[0], coronal, np.array([20.0, 18.0]))
    matrix = np.array([[1.0, 0, 2], [0, 1, -3], [0, 0, 1]])
    summary = Registration(scan, scan, Affine(matrix), 0.0).save(tmp_path)
    (remark,) = summary["remarks"]
    assert "in mm from the first pixels" in remark
    np.testing.assert_array_equal(read_transform(tmp_path / "transform.tfm").matrix, matrix)


@pytest.mark.parametrize("side", [2.5e-4, 9e-3])
def test_what_a_microscope_saw_is_written(tmp_path, side):
    place = np.diag([side, side, side, 1.0])
    for shape in ((20, 24), (12, 10, 8)):
        pixels = np.random.default_rng(0).uniform(size=(*shape, 1))
        scan = Scan(pixels, place, path="scan", kind="nifti")
        shift = np.eye(len(shape) + 1)
        shift[0, -1] = 2 * side
        out = tmp_path / f"{len(shape)}"
        found = Registration(scan, scan, Affine(shift), 0.0)
        found.save(out)
        np.testing.assert_allclose(found.moved.pixels[:-2], scan.pixels[2:], atol=1e-4)
        back = read_scan(out / "moved.nii.gz")
        np.testing.assert_allclose(back.affine, place, rtol=1e-6)
        np.testing.assert_array_equal(back.pixels, found.moved.pixels)


def test_two_slices_of_dicom_have_no_registration_object(tmp_path):
    fixed, moving = (read_scan(DATA / "brain-mr" / name) for name in ("00.dcm", "01.dcm"))
    assert fixed.rank == 2
    for name, transform in {
        "straight": Affine(np.array([[1.0, 0, 2], [0, 1, -3], [0, 0, 1]])),
        "bent": Displacement(smooth_field(fixed.shape), np.diag([*fixed.spacing, 1.0])),
    }.items():
        out = tmp_path / name
        summary = Registration(fixed, moving, transform, 0.0).save(out)
        assert summary["files"][0] == "moved"
        assert not (out / "transform.dcm").exists()
        (remark,) = summary["remarks"]
        assert "no DICOM registration object" in remark
        assert "expected two volumes" in remark


def test_another_patients_scan_does_not_enter_the_study(fixed, moving, tmp_path):
    for header in moving.header:
        header.PatientID = "another"
    found = Registration(fixed, moving, Affine(rigid_map()), 0.1)
    summary = write_registration(found, tmp_path, model="m")
    assert summary["files"] == ["moved.nii.gz", "transform.tfm"]
    assert len(summary["remarks"]) == 2
    assert all("of another patient" in remark for remark in summary["remarks"])


def test_the_summary_is_a_row_too(volumes, tmp_path):
    scans = [read_scan(path) for path in volumes]
    found = Registration(*scans, bent(scans[0]), 0.25, failure=0.7)
    summary = write_registration(found, tmp_path, model="m")
    assert json.loads((tmp_path / "registration.json").read_text()) == summary
    assert summary["failed"] is True
    assert summary["smallest_jacobian"] == pytest.approx(found.jacobian.min())
    with open(tmp_path / "registration.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["alignment_score"]) == 0.25
    assert row["failed"] == "True"
    assert float(row["largest_displacement_mm"]) == summary["largest_displacement_mm"] > 1


def test_distances_are_mm_where_both_scans_state_them(volumes):
    still = Affine.identity(2)
    bare = Scan(np.ones((4, 5, 1)), path="p", kind="picture")
    placed = Scan(np.ones((4, 5, 1)), np.diag([0.2, 0.2, 1.0, 1.0]), path="r", kind="dicom")
    assert Registration(placed, placed, still, 0.0).unit == "mm"
    assert Registration(placed, bare, still, 0.0).unit == "pixels"
    assert Registration(bare, placed, still, 0.0).unit == "pixels"
    scans = [read_scan(path) for path in volumes]
    assert Registration(*scans, Affine.identity(3), 0.0).unit == "mm"


def test_points_keep_their_other_columns(volumes, tmp_path):
    given = tmp_path / "p.csv"
    given.write_text("name,x,y,z\nfirst,13,-29,46\nsecond,14.5,-30,47\n")
    found = Registrar(artifact()).register(*volumes, points=given)
    write_registration(found, tmp_path, model="m", points=given)
    with open(tmp_path / "points.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["first", "second"]
    written = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    np.testing.assert_allclose(written, found.landmarks)
    # What is marked on the moving scan is found again through the transform.
    np.testing.assert_allclose(found.transform.map(written)[0], (13, -29, 46), atol=2e-3)


def test_pictures_are_written_as_pictures(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).uniform(0, 255, (20, 26, 3))
    scan = Scan(np.rint(pixels), path="p", kind="picture")
    matrix = np.array([[1.0, 0, 2], [0, 1, -3], [0, 0, 1]])
    labels = (pixels[..., 0] > 128).astype(np.uint8)
    found = Registration(scan, scan, Affine(matrix), 0.0)
    found.labels = found.warp(labels)
    summary = write_registration(found, tmp_path, model="m")
    assert summary["files"] == ["moved.png", "moved.tif", "transform.tfm", "labels.png"]
    assert summary["unit"] == "pixels"
    shown = np.asarray(Image.open(tmp_path / "moved.png"))
    np.testing.assert_array_equal(shown[0, 3], scan.pixels[2, 0])
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "labels.png"))[0, 3], labels[2, 0]
    )
    transform = sitk.ReadTransform(str(tmp_path / "transform.tfm"))
    assert transform.TransformPoint((3.0, 0.0)) == pytest.approx((0.0, 2.0))


def test_what_bends_on_a_sheared_grid_is_refused_and_nothing_written(volumes, tmp_path):
    fixed, moving = map(read_scan, volumes)
    assert fixed.affine is not None
    fixed.affine[:3, 1] += 0.2 * fixed.affine[:3, 0]
    out = tmp_path / "out"
    bending = Registrar(artifact(bends=True)).register(fixed, moving)
    with pytest.raises(ScanError, match=r"fixed\.nii\.gz: has a sheared grid"):
        bending.save(out)
    assert not list(out.iterdir())
    # A matrix is no image, and tells the same on any grid.
    Registrar(artifact()).register(fixed, moving).save(out)
    assert (out / "transform.tfm").exists()
