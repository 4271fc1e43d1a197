"""DICOM in: order, geometry, values, transfer syntaxes."""

import logging
import shutil

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from ganatomy.decoding import decode
from ganatomy.scans import Preprocessing, ScanError, read_scan
from tests.ganatomy.scans.conftest import DATA, ct_slice


def save(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_slices_are_ordered_by_position_not_by_name_or_number(make_series, voxels):
    scan = read_scan(make_series())
    assert scan.rank == 3
    np.testing.assert_array_equal(scan.pixels[..., 0], np.moveaxis(voxels, 0, 2) * 2.0 - 1000)


def test_the_affine_maps_row_column_slice_to_ras(make_series):
    scan = read_scan(make_series())
    # row 1, column 2, slice 3: LPS (-10 + 2·0.5, -20 + 1·0.75, 3·2.5), then L and P change sign
    place = scan.affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(place, [9.0, 19.25, 7.5, 1])
    np.testing.assert_allclose(scan.spacing, (0.75, 0.5, 2.5))  # the gap, not the thickness


def test_names_of_files_do_not_matter(make_series, tmp_path):
    folder = make_series()
    other = tmp_path / "other"
    other.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.copy(file, other / f"IM{(number * 5) % 6}")
    first, second = read_scan(folder), read_scan(other)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.affine, second.affine)


@pytest.mark.parametrize("series", ["brain-mr", "body-ct"])
def test_geometry_and_pixels_equal_simpleitk(series):
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / series)))
    image = reader.Execute()
    scan = read_scan(DATA / series)
    theirs = sitk.GetArrayFromImage(image)  # [slice, row, column]
    np.testing.assert_array_equal(scan.pixels[..., 0], np.moveaxis(theirs, 0, 2))
    rows, columns, slices = scan.shape
    for corner in np.ndindex(2, 2, 2):
        i, j, k = np.array(corner) * (rows - 1, columns - 1, slices - 1)
        lps = image.TransformContinuousIndexToPhysicalPoint([float(j), float(i), float(k)])
        ours = scan.affine @ [i, j, k, 1]
        np.testing.assert_allclose(ours[:3], np.array(lps) * [-1, -1, 1], atol=5e-4)


def test_ct_is_in_hounsfield_units_and_mr_is_not():
    assert read_scan(DATA / "body-ct").units == "HU"
    assert read_scan(DATA / "brain-mr").units == "unknown"


def test_empty_identifiers_are_replaced_and_said(caplog):
    with caplog.at_level(logging.WARNING, "ganatomy"):
        scan = read_scan(DATA / "body-ct")
    assert "SeriesInstanceUID was empty" in caplog.text
    series = {header.SeriesInstanceUID for header in scan.header}
    instances = {header.SOPInstanceUID for header in scan.header}
    assert len(series) == 1
    assert "" not in series
    assert len(instances) == 6
    again = read_scan(DATA / "body-ct")
    assert again.header[0].SeriesInstanceUID == scan.header[0].SeriesInstanceUID


def test_a_single_slice_keeps_its_place(make_series):
    scan = read_scan(make_series() / "6.dcm")
    assert scan.rank == 2
    np.testing.assert_allclose(scan.affine @ [1, 2, 0, 1], [9.0, 19.25, 7.5, 1])


def test_bytes_equal_the_file(make_series):
    path = make_series() / "6.dcm"
    scan = read_scan(path.read_bytes(), name="upload.dcm")
    np.testing.assert_array_equal(scan.pixels, read_scan(path).pixels)
    assert scan.path == "upload.dcm"


def test_the_header_keeps_no_pixels_and_nothing_private(make_series):
    def change(dataset, number):
        dataset.private_block(0x11, "maker", create=True).add_new(1, "LO", "secret")

    header = read_scan(make_series(change)).header[0]
    assert "PixelData" not in header
    assert not any(tag.is_private for tag in header.keys())  # noqa: SIM118


def test_monochrome1_is_inverted_within_its_stored_range(tmp_path, voxels):
    dataset = ct_slice(voxels[0])
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PixelRepresentation = 0
    dataset.BitsStored, dataset.HighBit = 12, 11
    scan = read_scan(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(scan.pixels[..., 0], (4095 - voxels[0]) * 2.0 - 1000)


def test_the_window_is_an_option(tmp_path, voxels):
    dataset = ct_slice(voxels[0])
    dataset.WindowCenter, dataset.WindowWidth = [-200, 40], [400, 80]
    path = save(dataset, tmp_path / "a.dcm")
    plain, windowed = read_scan(path), read_scan(path, window=True)
    below = plain.pixels < -401
    assert below.any()
    assert np.ptp(windowed.pixels[below]) == 0
    assert np.ptp(plain.pixels[below]) > 0
    assert (plain.units, windowed.units) == ("HU", "unknown")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_models_settings_say_whether_the_window_is_applied(make_series, workers):
    def change(dataset, number):
        dataset.WindowCenter, dataset.WindowWidth = -200, 400 + 50 * number

    folder = make_series(change)
    paths = [folder, *sorted(folder.iterdir())]
    seen = {}
    for voi in (False, True):
        preprocessing = Preprocessing(size=(12, 9), voi=voi)
        seen[voi] = [item.prepared for item in decode(paths, preprocessing, workers=workers)]
        for path, prepared in zip(paths, seen[voi], strict=True):
            expected = preprocessing.apply(read_scan(path, window=voi)).samples
            np.testing.assert_array_equal(prepared.samples, expected)
    for plain, windowed in zip(seen[False], seen[True], strict=True):
        # what lies below and above the window is one value each
        shown = windowed.samples
        assert (shown == -1).sum() > 2 * (plain.samples == -1).sum()
        assert (shown == 1).sum() > 2 * (plain.samples == 1).sum()


def test_the_window_is_off_unless_a_model_asks_for_it():
    assert Preprocessing().voi is False


def test_multi_frame_with_functional_groups_is_a_volume(tmp_path, voxels):
    dataset = ct_slice(np.concatenate(list(voxels)))
    dataset.Rows, dataset.NumberOfFrames = 12, 6
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.PixelSpacing
    del dataset.RescaleSlope, dataset.RescaleIntercept
    shared, orientation, measures, values = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing = [0.75, 0.5]
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = "2", "-1000", "HU"
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    shared.PixelValueTransformationSequence = [values]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number in range(6):  # frames run from the top down
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [-10, -20, (5 - number) * 2.5]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    scan = read_scan(save(dataset, tmp_path / "a.dcm"))
    assert scan.units == "HU"
    expected = np.moveaxis(voxels[::-1], 0, 2) * 2.0 - 1000
    np.testing.assert_array_equal(scan.pixels[..., 0], expected)
    np.testing.assert_allclose(scan.affine @ [1, 2, 3, 1], [9.0, 19.25, 7.5, 1])


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("MR_small_RLE.dcm", 0),
        ("MR_small_bigendian.dcm", 0),
        ("MR_small_implicit.dcm", 0),
        ("MR_small_jp2klossless.dcm", 0),
        ("MR_small_jpeg_ls_lossless.dcm", 0),
        ("MR_small_padded.dcm", 0),
    ],
)
def test_lossless_syntaxes_give_the_same_pixels(name, tolerance):
    plain = read_scan(get_testdata_file("MR_small.dcm"))
    packed = read_scan(get_testdata_file(name))
    np.testing.assert_allclose(packed.pixels, plain.pixels, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
    ],
)
def test_colour_becomes_rgb_within_lossy_error(name):
    plain = read_scan(get_testdata_file("SC_rgb_rle.dcm"))
    scan = read_scan(get_testdata_file(name))
    assert scan.pixels.shape == (100, 100, 3)
    assert np.abs(scan.pixels - plain.pixels).mean() < 6


@pytest.mark.parametrize(
    ("name", "shape", "low", "high"),
    [
        ("693_J2KI.dcm", (512, 512, 1), -4000, 2000),  # signed JPEG 2000
        ("J2K_pixelrep_mismatch.dcm", (512, 512, 1), -2000, 2000),
        ("JPGExtended.dcm", (1024, 256, 1), 0, 300),  # 12-bit extended
        ("JPEGLSNearLossless_16.dcm", (50, 10, 1), 0, 65535),
        ("image_dfl.dcm", (512, 512, 1), 0, 255),  # deflated
        ("examples_palette.dcm", (350, 800, 3), 0, 65535),
        ("liver_1frame.dcm", (512, 512, 1), 0, 1),  # one bit a pixel
    ],
)
def test_other_syntaxes_decode(name, shape, low, high):
    scan = read_scan(get_testdata_file(name))
    assert scan.pixels.shape == shape
    assert low <= scan.pixels.min() < scan.pixels.max() <= high


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("JPEG-lossy.dcm", "damaged or missing pixels"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "pixels"),
        ("MR_truncated.dcm", "damaged or missing pixels"),
        ("badVR.dcm", "NumberOfFrames is missing or broken"),
        ("rtplan.dcm", "holds no image"),
        ("no_meta.dcm", "no DICOM preamble"),
        ("meta_missing_tsyntax.dcm", "names no TransferSyntaxUID"),
        ("examples_ybr_color.dcm", "30 frames without a position each"),
    ],
)
def test_broken_files_are_named_in_one_line(name, problem):
    path = get_testdata_file(name)
    with pytest.raises(ScanError, match=problem) as caught:
        read_scan(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
