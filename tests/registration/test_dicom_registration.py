"""Registration objects say what the standard says they do, and no validator objects."""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from ganatomy.scans import Scan, ScanError
from registration.conventions import StoredTransform
from registration.dicom_reading import read_registration
from registration.dicom_registration import deformable_registration, spatial_registration
from registration.transform_files import read_transform, write_transform
from tests.registration.placing import (
    FIXED_SHAPE,
    FLIP,
    affine_map,
    fixed_grid,
    inner_points,
    mirrored_grid,
    rigid_map,
    sent,
    smooth_field,
)

DATA = Path(__file__).parents[1] / "data"
MADE_BY = {"model": "air-net", "version": "2"}
MAPS = {"rigid": rigid_map, "affine": affine_map}
WITHIN = 1e-3  # mm
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed"
)


def spatial(path: Path, fixed: Scan, moving: Scan, matrix: np.ndarray) -> Dataset:
    made = spatial_registration(fixed, moving, matrix, title="Aligned", settings=MADE_BY)
    made.save_as(path, enforce_file_format=True)
    return dcmread(path)


def deformable(path: Path, fixed: Scan, moving: Scan, matrix, field, grid) -> Dataset:
    made = deformable_registration(
        fixed, moving, matrix, field, grid, title="Aligned", settings=MADE_BY
    )
    made.save_as(path, enforce_file_format=True)
    return dcmread(path)


def matrix_of(item: Dataset) -> np.ndarray:
    return np.array(item.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)


def by_the_standard(dataset: Dataset, points: np.ndarray) -> np.ndarray:
    """PS3.3, C.20.3.1.1 word for word: from the registered frame to the source, LPS, one by one."""
    [item] = dataset.DeformableRegistrationSequence
    [grid] = item.DeformableRegistrationGridSequence
    sides = [int(n) for n in grid.GridDimensions]
    vectors = np.frombuffer(grid.VectorGridData, "<f4").reshape(-1, 3)
    row, column = np.array(grid.ImageOrientationPatient, float).reshape(2, 3)
    axes = np.array([row, column, np.cross(row, column)])
    found = []
    for point in points:
        index = axes @ (point - np.array(grid.ImagePositionPatient, float)) / grid.GridResolution
        low = np.floor(index).astype(int)
        offset = np.zeros(3)
        for corner in np.ndindex(2, 2, 2):
            at, part = low + corner, np.where(corner, index - low, 1 - index + low)
            number = at[0] + sides[0] * (at[1] + sides[1] * at[2])
            offset += vectors[number] * math.prod(part)
        there = point + offset
        if "PostDeformationMatrixRegistrationSequence" in item:
            [after] = item.PostDeformationMatrixRegistrationSequence
            there = (matrix_of(after) @ [*there, 1])[:3]
        found.append(there)
    return np.array(found)


@pytest.mark.parametrize("kind", list(MAPS))
def test_the_spatial_matrix_sends_moving_to_fixed_in_lps(tmp_path, fixed, moving, kind):
    made = spatial(tmp_path / "r.dcm", fixed, moving, MAPS[kind]())
    own, other = made.RegistrationSequence
    assert made.FrameOfReferenceUID == own.FrameOfReferenceUID
    assert own.FrameOfReferenceUID == fixed.header[0].FrameOfReferenceUID
    assert other.FrameOfReferenceUID == moving.header[0].FrameOfReferenceUID
    [holder] = own.MatrixRegistrationSequence[0].MatrixSequence
    np.testing.assert_array_equal(matrix_of(holder), np.eye(4))
    [holder] = other.MatrixRegistrationSequence[0].MatrixSequence
    assert holder.FrameOfReferenceTransformationMatrixType == kind.upper()
    there = sent(inner_points(), MAPS[kind]())  # in the moving scan, RAS
    back = (there @ FLIP) @ matrix_of(holder)[:3, :3].T + matrix_of(holder)[:3, 3]
    np.testing.assert_allclose(back @ FLIP, inner_points(), atol=WITHIN)


@pytest.mark.parametrize("kind", list(MAPS))
def test_a_spatial_registration_is_read_back(tmp_path, fixed, moving, kind):
    spatial(tmp_path / "r.dcm", fixed, moving, MAPS[kind]())
    back = read_transform(tmp_path / "r.dcm")
    np.testing.assert_allclose(back.matrix, MAPS[kind](), atol=1e-10)
    assert back.field is None
    frames = tuple(scan.header[0].FrameOfReferenceUID for scan in (fixed, moving))
    assert back.frames == frames


def test_scans_of_one_frame_and_swapped_items_are_told_apart(tmp_path, fixed, moving):
    for header in moving.header:
        header.FrameOfReferenceUID = fixed.header[0].FrameOfReferenceUID
    made = spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    np.testing.assert_allclose(
        read_registration(tmp_path / "r.dcm").matrix, rigid_map(), atol=1e-10
    )
    made.RegistrationSequence = list(made.RegistrationSequence)[::-1]
    made.save_as(tmp_path / "swapped.dcm")
    back = read_registration(tmp_path / "swapped.dcm")
    np.testing.assert_allclose(back.matrix, rigid_map(), atol=1e-10)
    made.RegistrationSequence = list(made.RegistrationSequence)[:1]
    made.save_as(tmp_path / "one.dcm")
    back = read_registration(tmp_path / "one.dcm")
    np.testing.assert_allclose(back.matrix, rigid_map(), atol=1e-10)


@pytest.mark.parametrize("grid", [fixed_grid, mirrored_grid])
@pytest.mark.parametrize("matrix", [None, affine_map])
def test_the_deformation_sends_fixed_to_moving(tmp_path, fixed, moving, grid, matrix):
    after = np.eye(4) if matrix is None else matrix()
    field = smooth_field(FIXED_SHAPE)
    made = deformable(tmp_path / "d.dcm", fixed, moving, after, field, grid())
    expected = sent(inner_points(), after, field, grid())
    found = by_the_standard(made, inner_points() @ FLIP) @ FLIP
    np.testing.assert_allclose(found, expected, atol=WITHIN)
    assert np.abs(sent(inner_points(), after) - expected).max() > 1  # the field is not lost
    back = read_transform(tmp_path / "d.dcm")
    np.testing.assert_allclose(sent(inner_points(), *back[:3]), expected, atol=WITHIN)
    np.testing.assert_allclose(back.matrix, after, atol=1e-10)
    assert back.frames == tuple(s.header[0].FrameOfReferenceUID for s in (fixed, moving))
    if grid is fixed_grid:  # right-handed: as it is
        np.testing.assert_array_equal(back.field, field)
        np.testing.assert_allclose(back.grid, grid(), atol=1e-9)


def test_the_grid_of_a_series_itself_takes_a_field(tmp_path, fixed, moving):
    """Its cosines are rounded, and its axes are rows, columns and slices."""
    field = smooth_field(fixed.shape)
    deformable(tmp_path / "d.dcm", fixed, moving, np.eye(4), field, fixed.affine)
    back = read_registration(tmp_path / "d.dcm")
    index = np.random.default_rng(0).uniform(0.1, 0.9, (50, 3)) * (np.array(fixed.shape) - 1)
    points = index @ fixed.affine[:3, :3].T + fixed.affine[:3, 3]
    expected = sent(points, np.eye(4), field, fixed.affine)
    np.testing.assert_allclose(sent(points, *back[:3]), expected, atol=WITHIN)


def test_a_matrix_before_the_deformation_is_read(tmp_path, fixed, moving):
    """As other programs write it; here none is."""
    before, field = affine_map(), smooth_field((40, 40, 40))
    grid = fixed_grid()
    grid[:3, 3] -= grid[:3, :3] @ (10, 10, 10)
    made = deformable(tmp_path / "d.dcm", fixed, moving, rigid_map(), field, grid)
    [item] = made.DeformableRegistrationSequence
    holder = Dataset()
    told = np.diag([-1, -1, 1, 1]) @ before @ np.diag([-1, -1, 1, 1])
    holder.FrameOfReferenceTransformationMatrix = [f"{v:.10g}" for v in told.ravel()]
    holder.FrameOfReferenceTransformationMatrixType = "AFFINE"
    item.PreDeformationMatrixRegistrationSequence = [holder]
    made.save_as(tmp_path / "d.dcm")
    back = read_registration(tmp_path / "d.dcm")
    # the grid stands in the registered frame; what it adds, it adds after the first matrix
    moved = (
        sent(inner_points(), before) + sent(inner_points(), np.eye(4), field, grid) - inner_points()
    )
    np.testing.assert_allclose(
        sent(inner_points(), *back[:3]), sent(moved, rigid_map()), atol=WITHIN
    )


def test_every_slice_of_both_series_is_referred_to(tmp_path, fixed, moving):
    field = smooth_field(FIXED_SHAPE)
    rigid = spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    bent = deformable(tmp_path / "d.dcm", fixed, moving, np.eye(4), field, fixed_grid())

    def named(sequence) -> set[str]:
        return {item.ReferencedSOPInstanceUID for item in sequence}

    slices = {scan.path: {h.SOPInstanceUID for h in scan.header} for scan in (fixed, moving)}
    for item, scan in zip(rigid.RegistrationSequence, (fixed, moving), strict=True):
        assert named(item.ReferencedImageSequence) == slices[scan.path]
    [item] = bent.DeformableRegistrationSequence
    assert named(item.ReferencedImageSequence) == slices[moving.path]
    for made in (rigid, bent):
        [own] = made.ReferencedSeriesSequence
        assert own.SeriesInstanceUID == fixed.header[0].SeriesInstanceUID
        assert named(own.ReferencedInstanceSequence) == slices[fixed.path]
        [study] = made.StudiesContainingOtherReferencedInstancesSequence
        [other] = study.ReferencedSeriesSequence
        assert study.StudyInstanceUID == moving.header[0].StudyInstanceUID
        assert named(other.ReferencedInstanceSequence) == slices[moving.path]
        assert made.StudyInstanceUID == fixed.header[0].StudyInstanceUID
        assert made.PatientID == fixed.header[0].PatientID
        assert made.Modality == "REG"
        assert made.ManufacturerModelName == "air-net"
        assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
        assert not any(element.tag.is_private for element in made)
    assert rigid.SeriesInstanceUID != bent.SeriesInstanceUID


def test_series_of_one_study_are_named_together(tmp_path, fixed, moving):
    for header in moving.header:
        header.StudyInstanceUID = fixed.header[0].StudyInstanceUID
    made = spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    assert len(made.ReferencedSeriesSequence) == 2
    assert "StudiesContainingOtherReferencedInstancesSequence" not in made


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["rigid", "affine", "field", "field and matrix"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("one_study", [False, True])
def test_what_is_written_has_no_error_by_dciodvfy(tmp_path, fixed, moving, kind, turned, one_study):
    if one_study:
        for header in moving.header:
            header.StudyInstanceUID = fixed.header[0].StudyInstanceUID
    pair = (moving, fixed) if turned else (fixed, moving)
    path, field = tmp_path / "r.dcm", smooth_field(FIXED_SHAPE)
    if kind in MAPS:
        spatial(path, *pair, MAPS[kind]())
    else:
        matrix = np.eye(4) if kind == "field" else affine_map()
        deformable(path, *pair, matrix, field, mirrored_grid())
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    assert ("SpatialRegistration" if kind in MAPS else "DeformableSpatialRegistration") in said


def test_names_that_are_not_ascii_are_kept(tmp_path, fixed, moving):
    fixed.header[0].SpecificCharacterSet = "ISO_IR 100"
    fixed.header[0].PatientName = "Müller^Jörg"
    made = spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    assert str(made.PatientName) == "Müller^Jörg"


# Scans and files that are refused, in one line.


def refused(call, match: str) -> str:
    with pytest.raises(ScanError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("which", ["fixed", "moving"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: delattr(s.header[0], "FrameOfReferenceUID"), "has no FrameOfReferenceUID"),
        (lambda s: delattr(s.header[2], "SOPInstanceUID"), "has no SOPInstanceUID to refer to"),
        (lambda s: delattr(s.header[0], "SeriesInstanceUID"), "names no study or no series"),
        (lambda s: setattr(s, "affine", None), "has no place in the patient"),
        (lambda s: setattr(s, "kind", "nifti"), "is no DICOM"),
    ],
    ids=["frame", "instance", "series", "place", "kind"],
)
def test_a_scan_that_cannot_be_referred_to_is_refused(
    tmp_path, fixed, moving, which, change, match
):
    change({"fixed": fixed, "moving": moving}[which])
    path = {"fixed": fixed, "moving": moving}[which].path
    transform = StoredTransform(rigid_map())
    said = refused(
        lambda: write_transform(tmp_path / "t", transform, fixed=fixed, moving=moving), match
    )
    assert path in said
    assert list(tmp_path.iterdir()) == []


def test_scans_of_two_patients_are_refused_and_nobody_is_named(fixed, moving, caplog):
    caplog.set_level(logging.DEBUG)
    moving.header[0].PatientID = "another-4711"
    said = refused(lambda: spatial(Path("never"), fixed, moving, rigid_map()), "of another patient")
    assert "4711" not in said + caplog.text
    assert "brain-mr" not in caplog.text


def test_nobody_is_named_in_a_log(tmp_path, fixed, moving, caplog):
    for scan in (fixed, moving):
        for header in scan.header:
            header.PatientID, header.PatientName = "4711-secret", "Secret^Name"
    with caplog.at_level(logging.DEBUG):
        spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
        read_registration(tmp_path / "r.dcm")
    assert "secret" not in caplog.text.lower()


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.eye(3), np.diag([1.0, 1, 0, 1])])
def test_a_matrix_that_is_none_is_refused(fixed, moving, matrix):
    with pytest.raises(ValueError, match="expected"):
        spatial(Path("never"), fixed, moving, matrix)


def test_a_field_that_is_none_is_refused(fixed, moving):
    field = smooth_field(FIXED_SHAPE)
    field[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        deformable(Path("never"), fixed, moving, np.eye(4), field, fixed_grid())
    with pytest.raises(ValueError, match="shape"):
        deformable(Path("never"), fixed, moving, np.eye(4), field[0], fixed_grid())


def broken(path: Path, made: Dataset, change) -> Path:
    change(made)
    made.save_as(path)
    return path


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: delattr(d, "FrameOfReferenceUID"), "names no FrameOfReferenceUID"),
        (lambda d: d.RegistrationSequence.clear(), "RegistrationSequence has 0 items"),
        (lambda d: d.RegistrationSequence.extend(d.RegistrationSequence), "registers 4 scans"),
        (lambda d: set_matrix(d, np.eye(4) * 0), "last row"),
        (lambda d: set_matrix(d, np.diag([1, 1, 0, 1])), "singular"),
        (lambda d: set_matrix(d, np.eye(3)), "broken"),
        (lambda d: set_frames(d, "1.2.3"), "neither scan to its own frame"),
    ],
)
def test_a_spatial_registration_that_is_broken_is_refused(tmp_path, fixed, moving, change, match):
    made = spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    path = broken(tmp_path / "b.dcm", made, change)
    assert str(path) in refused(lambda: read_registration(path), match)


def set_matrix(dataset: Dataset, matrix: np.ndarray) -> None:
    [registration] = dataset.RegistrationSequence[1].MatrixRegistrationSequence
    [holder] = registration.MatrixSequence
    holder.FrameOfReferenceTransformationMatrix = [f"{v:g}" for v in matrix.ravel()]


def set_frames(dataset: Dataset, frame: str) -> None:
    for item in dataset.RegistrationSequence:
        item.FrameOfReferenceUID = frame


def set_vector(grid: Dataset, value: float) -> None:
    vectors = np.frombuffer(grid.VectorGridData, "<f4").copy()
    vectors[5] = value
    grid.VectorGridData = vectors.tobytes()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda g: set_vector(g, np.nan), "not finite"),
        (lambda g: setattr(g, "GridDimensions", [5, 5, 5]), "VectorGridData is broken"),
        (lambda g: setattr(g, "GridDimensions", [16000, 16000, 16000]), "more pixels than"),
        (lambda g: setattr(g, "GridResolution", [1.0, 0.0, 1.0]), "GridResolution is broken"),
        (lambda g: setattr(g, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "right angles"),
        (lambda g: delattr(g, "VectorGridData"), "VectorGridData is missing"),
        (lambda g: delattr(g, "ImagePositionPatient"), "ImagePositionPatient is missing"),
    ],
)
def test_a_deformation_that_is_broken_is_refused(tmp_path, fixed, moving, change, match):
    field = smooth_field(FIXED_SHAPE)
    made = deformable(tmp_path / "d.dcm", fixed, moving, np.eye(4), field, fixed_grid())
    [item] = made.DeformableRegistrationSequence
    change(item.DeformableRegistrationGridSequence[0])
    made.save_as(tmp_path / "b.dcm")
    assert "b.dcm" in refused(lambda: read_registration(tmp_path / "b.dcm"), match)


def test_other_objects_and_damaged_files_are_refused(tmp_path, fixed, moving):
    refused(lambda: read_transform(DATA / "brain-mr" / "00.dcm"), "no registration object")
    spatial(tmp_path / "r.dcm", fixed, moving, rigid_map())
    content = (tmp_path / "r.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[: len(content) * 2 // 3])
    refused(lambda: read_transform(tmp_path / "cut.dcm"), "expected")


def test_big_endian_grids_are_read(tmp_path, fixed, moving):
    field = smooth_field(FIXED_SHAPE)
    made = deformable_registration(
        fixed, moving, np.eye(4), field, fixed_grid(), title="Aligned", settings=MADE_BY
    )
    [item] = made.DeformableRegistrationSequence
    [grid] = item.DeformableRegistrationGridSequence
    grid.VectorGridData = np.frombuffer(grid.VectorGridData, "<f4").astype(">f4").tobytes()
    plain = Dataset(made)
    plain.file_meta = made.file_meta
    plain.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dcmwrite(tmp_path / "b.dcm", plain, enforce_file_format=True)
    np.testing.assert_array_equal(read_registration(tmp_path / "b.dcm").field, field)
