"""A folder that is not one regular series is refused by name."""

import warnings

import numpy as np
import pytest
from pydicom.uid import generate_uid

from ganatomy.scans import ScanError, read_scan
from tests.ganatomy.scans.conftest import ct_slice


def series_of_another(dataset, number):
    if number == 3:
        dataset.SeriesInstanceUID = generate_uid()


def localizer(dataset, number):
    if number == 0:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def other_size(dataset, number):
    if number == 2:
        dataset.Rows = 11
        dataset.PixelData = dataset.PixelData[: 11 * 9 * 2]


def other_spacing(dataset, number):
    if number == 2:
        dataset.PixelSpacing = [0.75, 0.51]


def same_instance(dataset, number):
    if number == 4:
        uid = ct_slice(np.zeros((2, 2)), 1).SOPInstanceUID
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid


def one_missing(dataset, number):
    return number != 2


def two_missing(dataset, number):
    return number not in (3, 4)


def phases(dataset, number):
    dataset.ImagePositionPatient = [-10, -20, number // 2 * 2.5]


def uneven(dataset, number):
    if number == 3:
        dataset.ImagePositionPatient = [-10, -20, 3 * 2.5 + 0.4]


def tilted(dataset, number):
    shift = number * 2.5 * np.tan(np.radians(15))
    dataset.ImagePositionPatient = [-10, -20 + shift, number * 2.5]


def skewed(dataset, number):
    dataset.ImageOrientationPatient = [1, 0, 0, 0.1, 0.995, 0]


def no_position(dataset, number):
    if number == 1:
        del dataset.ImagePositionPatient


def nan_position(dataset, number):
    if number == 1:
        with warnings.catch_warnings(action="ignore"):
            dataset.ImagePositionPatient = [-10, "nan", 2.5]


def no_spacing(dataset, number):
    if number == 1:
        del dataset.PixelSpacing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (series_of_another, "mixes several series.*SeriesInstanceUID; expected the slices of one"),
        (localizer, "mixes several series.*ImageOrientationPatient"),
        (other_size, "mixes several series.*Rows"),
        (other_spacing, "mixes several series.*PixelSpacing"),
        (same_instance, r"holds a slice twice: \d.dcm and \d.dcm"),
        (one_missing, r"1 slice\(s\) missing after slice 2 of 5; expected a slice every 2.5 mm"),
        (two_missing, r"2 slice\(s\) missing after slice 3 of 4"),
        (phases, "several slices at one position"),
        (uneven, "spaced unequally: a slice is 0.40 mm off"),
        (tilted, "gantry was tilted by 15.0°"),
        (skewed, "not orthonormal"),
        (no_position, "no ImagePositionPatient"),
        (nan_position, "ImagePositionPatient is broken"),
        (no_spacing, "PixelSpacing is missing"),
    ],
)
def test_irregular_series_are_refused(make_series, change, message):
    folder = make_series(change)
    with pytest.raises(ScanError, match=message) as caught:
        read_scan(folder)
    assert "Secret" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_positions_rounded_to_a_tenth_are_accepted_and_noted(make_series):
    def change(dataset, number):
        dataset.ImagePositionPatient = [-10, -20, round(number * 1.3333, 1)]

    scan = read_scan(make_series(change))
    assert any("off the regular grid" in note for note in scan.notes)
    assert scan.spacing[2] == pytest.approx(1.34, abs=0.01)


def test_oblique_positions_rounded_to_a_tenth_are_accepted(make_series):
    cosine, sine = np.cos(0.3), np.sin(0.3)

    def change(dataset, number):
        dataset.ImageOrientationPatient = [1, 0, 0, 0, cosine, sine]
        step = number * 1.7 * np.array([0, -sine, cosine])
        dataset.ImagePositionPatient = [round(float(v), 1) for v in step - (10, 20, 5)]

    assert read_scan(make_series(change)).spacing[2] == pytest.approx(1.7, abs=0.05)


@pytest.mark.parametrize("degrees", [4, 20, 60])
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("step", [0.5, 2.5])
def test_a_short_stack_is_not_let_lean(make_series, degrees, count, step):
    def change(dataset, number):
        shift = number * step * np.tan(np.radians(degrees))
        dataset.ImagePositionPatient = [-10.03, -20 + round(shift, 6), number * step]
        return number < count

    with pytest.raises(ScanError, match=f"gantry was tilted by {degrees}.0°"):
        read_scan(make_series(change))


@pytest.mark.parametrize(("shift", "degrees"), [(0.0, 0), (0.1, 11.3), (0.3, 31.0)])
def test_what_rounded_positions_may_lean_is_noted_and_no_more(make_series, shift, degrees):
    def change(dataset, number):
        dataset.ImagePositionPatient = [-10, -20 + number * shift, number * 0.5]
        return number < 2

    folder = make_series(change)
    if degrees > 20:
        with pytest.raises(ScanError, match=f"gantry was tilted by {degrees}°"):
            read_scan(folder)
        return
    leaning = [note for note in read_scan(folder).notes if "lean" in note]
    assert leaning == (
        [f"slices lean by {degrees}°, as far as rounded positions can tell"] if degrees else []
    )


def test_strangers_in_the_folder_are_named(make_series):
    folder = make_series()
    (folder / "notes.txt").write_text("side files are fine")
    (folder / ".hidden").write_text("so are hidden ones")
    read_scan(folder)
    (folder / "thumb.bin").write_text("this is not")
    with pytest.raises(ScanError, match=r"thumb.bin: is not DICOM"):
        read_scan(folder)


def test_a_link_among_the_slices_is_not_followed(make_series, tmp_path):
    folder = make_series()
    moved = (folder / "7.dcm").rename(tmp_path / "elsewhere.dcm")
    (folder / "7.dcm").symlink_to(moved)
    with pytest.raises(ScanError, match=r"7.dcm: is a link"):
        read_scan(folder)


def test_empty_folders_and_folders_of_folders(tmp_path):
    with pytest.raises(ScanError, match="is an empty folder"):
        read_scan(tmp_path)
    (tmp_path / "inner").mkdir()
    with pytest.raises(ScanError, match="holds only folders"):
        read_scan(tmp_path)
