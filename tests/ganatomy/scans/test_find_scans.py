"""What counts as a scan below a folder."""

import time

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from ganatomy.scans import ScanError, find_scans, read_scan
from tests.ganatomy.scans.conftest import DATA, ct_slice


def test_series_are_folders_and_everything_else_is_a_file(make_series, tmp_path):
    folder = make_series()
    (folder / "readme.txt").write_text("")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(pictures / "b.png")
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(pictures / "a.JPG", "JPEG")
    (pictures / ".hidden.png").touch()
    (pictures / "table.csv").touch()
    (pictures / "odd.bin").write_text("?")
    (tmp_path / "v.nii.gz").touch()
    found = [str(p.relative_to(tmp_path)) for p in find_scans(tmp_path)]
    # odd.bin is kept, so that reading it reports it
    assert found == ["pictures/a.JPG", "pictures/b.png", "pictures/odd.bin", "series", "v.nii.gz"]
    with pytest.raises(ScanError, match=r"odd\.bin: is no image"):
        read_scan(pictures / "odd.bin")


def test_dicom_files_of_different_series_are_scans_of_their_own(make_series):
    def change(dataset, number):
        dataset.SeriesInstanceUID = generate_uid()

    assert len(find_scans(make_series(change))) == 6


def test_radiographs_of_one_series_are_scans_of_their_own(make_series):
    def change(dataset, number):
        del dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    found = find_scans(make_series(change))
    assert len(found) == 6
    assert read_scan(found[0]).affine is None


def test_two_series_in_one_folder_are_reported_not_split(make_series):
    other = generate_uid()

    def change(dataset, number):
        if number > 2:
            dataset.SeriesInstanceUID = other

    folder = make_series(change)
    assert find_scans(folder) == [folder]
    with pytest.raises(ScanError, match="mixes several series"):
        read_scan(folder)


def test_one_dicom_file_alone_is_itself(tmp_path):
    path = tmp_path / "one"
    ct_slice(np.eye(8)).save_as(path, enforce_file_format=True)
    assert find_scans(tmp_path) == [path]
    assert find_scans(path) == [path]


def test_the_samples():
    names = [p.name for p in find_scans(DATA) if "parity" not in p.parts]
    assert names == ["body-ct", "brain-lesion-mr.nii.gz", "brain-mr"]


def test_links_are_kept_for_the_report_and_not_followed(tmp_path, make_series):
    folder = make_series()
    away = tmp_path / "links"
    away.mkdir()
    (away / "s").symlink_to(folder, target_is_directory=True)
    assert find_scans(away) == [away / "s"]
    with pytest.raises(ScanError, match="is a link"):
        read_scan(away / "s")


def test_a_missing_path():
    with pytest.raises(ScanError, match="does not exist"):
        find_scans("no/such/folder")


def test_ten_thousand_pictures_are_found_by_name_alone(tmp_path):
    for number in range(10_000):
        (tmp_path / f"{number:05d}.png").touch()
    start = time.perf_counter()
    assert len(find_scans(tmp_path)) == 10_000
    assert time.perf_counter() - start < 2
