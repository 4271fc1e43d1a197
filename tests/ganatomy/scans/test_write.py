"""Maps out, as what came in."""

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from ganatomy.scans import Scan, read_scan, write_map
from ganatomy.scans.overlay import heat_colours
from tests.ganatomy.scans.conftest import DATA, ct_slice

MADE_BY = {"model": "f-anogan", "version": "3", "threshold": 0.25}


def map_of(scan) -> np.ndarray:
    values = np.random.default_rng(0).random(scan.shape).astype(np.float32)
    values[:3] = np.nan
    return values


def test_nifti_keeps_affine_values_and_nan(tmp_path):
    scan = read_scan(DATA / "brain-lesion-mr.nii.gz")
    values = map_of(scan)
    [path] = write_map(scan, values, tmp_path / "a.b", title="Anomaly map", settings=MADE_BY)
    assert path == tmp_path / "a.b.nii.gz"
    image = nib.load(path)
    np.testing.assert_allclose(image.affine, scan.affine, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj), values)
    assert image.get_data_dtype() == np.float32
    assert b"f-anogan 3" in image.header["descrip"].tobytes()


@pytest.mark.parametrize("series", ["brain-mr", "body-ct"])
def test_a_parametric_map_lies_where_the_slices_lay(tmp_path, series):
    scan = read_scan(DATA / series)
    values = map_of(scan)
    [path] = write_map(scan, values, tmp_path / "map", title="Anomaly map", settings=MADE_BY)
    stored = hd.imread(path)
    volume = stored.get_volume(dtype=np.float32)  # by plane position, not by frame number
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    to_scan = np.linalg.inv(scan.affine) @ lps_to_ras @ volume.affine
    index = np.stack(
        np.meshgrid(*[np.arange(n) for n in volume.array.shape[:3]], indexing="ij"), -1
    )
    there = index @ to_scan[:3, :3].T + to_scan[:3, 3]
    nearest = np.rint(there).astype(int)
    np.testing.assert_allclose(there, nearest, atol=1e-3)
    expected = values[nearest[..., 0], nearest[..., 1], nearest[..., 2]]
    np.testing.assert_array_equal(volume.array.reshape(expected.shape), expected)


def test_a_parametric_map_names_its_sources_and_its_maker(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    [path] = write_map(scan, map_of(scan), tmp_path / "m", title="Anomaly map", settings=MADE_BY)
    made = dcmread(path)
    source = scan.header[0]
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.PatientID == source.PatientID
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    assert made.ManufacturerModelName == "f-anogan"
    assert "f-anogan 3" in list(made.SoftwareVersions)
    assert "threshold 0.25" in made.DerivationDescription
    assert made.BodyPartExamined == source.BodyPartExamined
    purposes = [
        item.PurposeOfReferenceCodeSequence[0].CodeValue
        for item in made.ContributingEquipmentSequence
    ]
    assert "109102" in purposes
    listed = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {i.ReferencedSOPInstanceUID for i in listed} == {h.SOPInstanceUID for h in scan.header}
    assert not any(element.tag.is_private for element in made)


def test_each_frame_refers_to_the_slice_it_covers(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    [path] = write_map(scan, map_of(scan), tmp_path / "m", title="Anomaly map", settings=MADE_BY)
    positions = {h.SOPInstanceUID: np.array(h.ImagePositionPatient, float) for h in scan.header}
    for frame in dcmread(path).PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        here = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        np.testing.assert_allclose(here, positions[source.ReferencedSOPInstanceUID], atol=1e-3)


def test_a_written_map_can_be_read_as_a_scan(tmp_path):
    scan = read_scan(DATA / "brain-mr")
    values = np.random.default_rng(0).random(scan.shape).astype(np.float32)
    [path] = write_map(scan, values, tmp_path / "m", title="Anomaly map", settings=MADE_BY)
    again = read_scan(path)
    np.testing.assert_allclose(again.affine, scan.affine, atol=1e-3)
    np.testing.assert_array_equal(again.pixels[..., 0], values)


def test_a_slice_and_a_radiograph(tmp_path):
    dataset = ct_slice(np.arange(2000).reshape(40, 50))
    dataset.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    scan = read_scan(tmp_path / "slice.dcm")
    values = map_of(scan)
    [path] = write_map(scan, values, tmp_path / "m", title="Anomaly map", settings=MADE_BY)
    np.testing.assert_array_equal(hd.imread(path).get_frames(dtype=np.float32)[0], values)

    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
        delattr(dataset, keyword)
    dataset.save_as(tmp_path / "radiograph.dcm", enforce_file_format=True)
    scan = read_scan(tmp_path / "radiograph.dcm")
    assert scan.affine is None
    [path] = write_map(scan, values, tmp_path / "r", title="Anomaly map", settings=MADE_BY)
    made = dcmread(path)
    stored = made.pixel_array
    assert (stored[:3] == made.PixelPaddingValue).all()
    real = stored * float(made.RescaleSlope) + float(made.RescaleIntercept)
    np.testing.assert_allclose(real[3:], values[3:], atol=1e-4)
    reference = made.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert list(made.ImageType)[:2] == ["DERIVED", "SECONDARY"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pictures_overlay_has_its_size_and_its_values_are_kept(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, channels))
    scan = Scan(pixels, path="a.png", kind="picture")
    values = np.zeros((40, 60), np.float32)
    values[10:20, 30:40] = 2
    values[:, :5] = np.nan
    overlay, raw = write_map(scan, values, tmp_path / "a", title="Anomaly map", settings=MADE_BY)
    np.testing.assert_array_equal(np.asarray(Image.open(raw)), values)
    shown = np.asarray(Image.open(overlay)).astype(int)
    assert shown.shape == (40, 60, 3)
    coloured = np.ptp(shown, axis=-1) > 20
    assert coloured[10:20, 30:40].all()
    assert not coloured[values != 2].any()


def test_the_hottest_colour_can_be_fixed_so_that_pictures_compare(tmp_path):
    scan = Scan(np.random.default_rng(0).random((20, 20, 1)), kind="picture")
    values = np.full((20, 20), 0.1, np.float32)
    made = [
        np.asarray(Image.open(write_map(scan, values, tmp_path / "a", title="", settings=s)[0]))
        for s in ({}, {"high": 10.0})
    ]
    assert np.ptp(made[0].astype(int), axis=-1).mean() > 30
    assert np.ptp(made[1].astype(int), axis=-1).mean() < 5


def test_the_heat_scale_grows_evenly_in_lightness():
    srgb = heat_colours().astype(float) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16  # CIE L*, another space than the scale was made in
    steps = np.diff(lightness[::8])
    assert (steps > 0).all()
    assert steps.max() < 2.5 * steps.min()


def test_a_map_on_another_grid_is_refused(tmp_path):
    scan = Scan(np.random.default_rng(0).random((20, 20, 1)), kind="picture")
    with pytest.raises(ValueError, match="the map has shape"):
        write_map(scan, np.zeros((20, 21)), tmp_path / "a", title="", settings={})


def test_an_array_without_a_place_is_written_as_an_array(tmp_path):
    scan = Scan(np.random.default_rng(0).random((5, 6, 7, 1)))
    values = map_of(scan)
    [path] = write_map(scan, values, tmp_path / "a", title="", settings={})
    np.testing.assert_array_equal(np.load(path), values)
