"""Masks out as DICOM segmentations and as NIfTI; both DICOM kinds under a validator."""

import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from ganatomy.scans import Scan, ScanError, read_scan, write_map, write_mask
from tests.ganatomy.scans.conftest import DATA, ct_slice

MADE_BY = {"model": "f-anogan", "version": "3", "threshold": 0.25}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
needs_dciodvfy = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed"
)


def mask_of(scan: Scan) -> np.ndarray:
    mask = np.random.default_rng(0).random(scan.shape) > 0.7
    if scan.rank == 3:
        mask[:, :, 1] = False  # a slice without any
    return mask


def written(scan: Scan, folder: Path) -> Path:
    return write_mask(scan, mask_of(scan), folder / "m", title="Lesions", settings=MADE_BY)


@pytest.fixture
def radiograph(tmp_path) -> Scan:
    dataset = ct_slice(np.arange(2000).reshape(40, 50))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
        delattr(dataset, keyword)
    dataset.save_as(tmp_path / "radiograph.dcm", enforce_file_format=True)
    return read_scan(tmp_path / "radiograph.dcm")


@pytest.mark.parametrize("series", ["brain-mr", "body-ct"])
def test_a_segmentation_lies_where_the_slices_lay(tmp_path, series):
    scan = read_scan(DATA / series)
    volume = hd.seg.segread(written(scan, tmp_path)).get_volume(combine_segments=True)
    to_scan = np.linalg.inv(scan.affine) @ LPS_TO_RAS @ volume.affine
    index = np.stack(
        np.meshgrid(*[np.arange(n) for n in volume.array.shape[:3]], indexing="ij"), -1
    )
    there = index @ to_scan[:3, :3].T + to_scan[:3, 3]
    nearest = np.rint(there).astype(int)
    np.testing.assert_allclose(there, nearest, atol=1e-3)
    # each voxel of the scan once: empty slices are there as well
    assert len(np.unique(nearest.reshape(-1, 3), axis=0)) == np.prod(scan.shape)
    assert volume.array.size == np.prod(scan.shape)
    expected = mask_of(scan)[tuple(np.moveaxis(nearest, -1, 0))]
    np.testing.assert_array_equal(volume.array.astype(bool).reshape(expected.shape), expected)


def test_a_segmentation_names_its_sources_its_segment_and_its_maker(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    made, source = dcmread(written(scan, tmp_path)), scan.header[0]
    assert made.Modality == "SEG"
    assert made.SegmentationType == "BINARY"
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.PatientID == source.PatientID
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.ManufacturerModelName == "f-anogan"
    assert "threshold 0.25" in made.DerivationDescription
    listed = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {i.ReferencedSOPInstanceUID for i in listed} == {h.SOPInstanceUID for h in scan.header}
    assert not any(element.tag.is_private for element in made)
    [segment] = made.SegmentSequence
    assert segment.SegmentLabel == "Lesions"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    [algorithm] = segment.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "f-anogan"
    positions = {h.SOPInstanceUID: np.array(h.ImagePositionPatient, float) for h in scan.header}
    for frame in made.PerFrameFunctionalGroupsSequence:
        from_slice = frame.DerivationImageSequence[0].SourceImageSequence[0]
        here = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        there = positions[from_slice.ReferencedSOPInstanceUID]
        np.testing.assert_allclose(here, there, atol=1e-3)


def test_map_and_segmentation_are_of_one_study_in_two_series(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    values = np.zeros(scan.shape, np.float32)
    [path] = write_map(scan, values, tmp_path / "a", title="Anomaly map", settings=MADE_BY)
    made = dcmread(path), dcmread(written(scan, tmp_path))
    assert made[0].FrameOfReferenceUID == made[1].FrameOfReferenceUID
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber"):
        assert made[0][keyword].value != made[1][keyword].value


def test_a_slice_has_a_segmentation_and_a_radiograph_a_secondary_capture(tmp_path, radiograph):
    ct_slice(np.arange(2000).reshape(40, 50)).save_as(tmp_path / "s.dcm", enforce_file_format=True)
    scan = read_scan(tmp_path / "s.dcm")
    frames = dcmread(written(scan, tmp_path)).pixel_array
    np.testing.assert_array_equal(frames.reshape(scan.shape), mask_of(scan))

    made = dcmread(written(radiograph, tmp_path))
    assert list(made.ImageType)[:2] == ["DERIVED", "SECONDARY"]
    values = made.pixel_array * float(made.RescaleSlope) + float(made.RescaleIntercept)
    np.testing.assert_allclose(values, mask_of(radiograph), atol=1e-4)
    reference = made.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == radiograph.header[0].SOPInstanceUID


def test_nothing_found_is_written_as_nothing(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    path = write_mask(scan, np.zeros(scan.shape), tmp_path / "m", title="Lesions", settings=MADE_BY)
    made = dcmread(path)
    assert made.NumberOfFrames == len(scan.header)
    assert not made.pixel_array.any()


def test_a_header_without_identifiers_is_refused(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    del scan.header[0].SOPInstanceUID
    with pytest.raises(ScanError, match="has no SOPInstanceUID to refer to"):
        written(scan, tmp_path)


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["map", "mask"])
@pytest.mark.parametrize("source", ["brain-mr", "body-ct", "slice", "radiograph"])
def test_what_is_written_has_no_error_by_dciodvfy(tmp_path, radiograph, kind, source):
    if source == "slice":
        ct_slice(np.arange(2000).reshape(40, 50)).save_as(
            tmp_path / "slice.dcm", enforce_file_format=True
        )
        scan = read_scan(tmp_path / "slice.dcm")
    else:
        scan = radiograph if source == "radiograph" else read_scan(DATA / source)
    if kind == "map":  # narrower than 1, as many maps are
        values = np.random.default_rng(0).random(scan.shape) / 2
        [path] = write_map(scan, values, tmp_path / "m", title="Anomaly map", settings=MADE_BY)
    else:
        path = written(scan, tmp_path)
    said = subprocess.run(["dciodvfy", path], capture_output=True, text=True).stderr
    assert [line for line in said.splitlines() if line.startswith("Error")] == []
    assert "Segmentation" in said or "ParametricMap" in said or "SCImage" in said


def test_nifti_keeps_its_grid(tmp_path):
    scan = read_scan(DATA / "brain-lesion-mr.nii.gz")
    path = written(scan, tmp_path)
    image = nib.load(path)
    assert path.name == "m.nii.gz"
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, scan.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj), mask_of(scan))


def test_a_picture_gets_a_png_and_an_array_an_array(tmp_path):
    picture = Scan(np.random.default_rng(0).random((40, 60, 3)), kind="picture")
    shown = np.asarray(Image.open(written(picture, tmp_path)))
    np.testing.assert_array_equal(shown.astype(bool), mask_of(picture))
    array = Scan(np.random.default_rng(0).random((5, 6, 7, 1)))
    np.testing.assert_array_equal(np.load(written(array, tmp_path)), mask_of(array))


def test_a_mask_on_another_grid_is_refused(tmp_path):
    scan = Scan(np.random.default_rng(0).random((20, 20, 1)), kind="picture")
    with pytest.raises(ValueError, match="the mask has shape"):
        write_mask(scan, np.zeros((20, 21)), tmp_path / "a", title="", settings={})
