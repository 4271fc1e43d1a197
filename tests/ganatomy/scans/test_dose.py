"""Radiotherapy dose grids: Gy where the file says so, and frames where their offsets say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RTDoseStorage

from ganatomy.scans import ScanError, read_scan
from tests.ganatomy.scans.conftest import ct_slice

STORED = np.random.default_rng(4).integers(0, 2**20, (3, 4, 5)).astype("<u4")


def rt_dose(stored: np.ndarray = STORED) -> Dataset:
    """A dose of 32 bits a voxel, frames 3 mm apart, its first voxel at (-10, -20, 7)."""
    dataset = ct_slice(np.zeros(stored.shape[1:], np.int16))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTDoseStorage
    dataset.Modality, dataset.DoseUnits, dataset.DoseType = "RTDOSE", "GY", "PHYSICAL"
    dataset.DoseSummationType, dataset.DoseGridScaling = "PLAN", "0.00005"
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit, dataset.PixelRepresentation = 31, 0
    dataset.NumberOfFrames = len(stored)
    dataset.ImagePositionPatient = [-10, -20, 7]
    dataset.GridFrameOffsetVector = [3.0 * n for n in range(len(stored))]
    dataset.PixelData = stored.astype("<u4").tobytes()
    return dataset


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Dataset], object]:
    def saved(dataset: Dataset):
        dataset.save_as(tmp_path / "dose.dcm", enforce_file_format=True)
        return read_scan(tmp_path / "dose.dcm")

    return saved


def test_a_dose_is_in_gray_where_its_offsets_say(read):
    scan = read(rt_dose())
    assert (scan.units, scan.modality, scan.shape) == ("Gy", "RTDOSE", (4, 5, 3))
    np.testing.assert_allclose(scan.pixels[..., 0], np.moveaxis(STORED, 0, 2) * 5e-5, rtol=1e-6)
    np.testing.assert_allclose(scan.affine @ [0, 0, 0, 1], [10, 20, 7, 1])
    np.testing.assert_allclose(scan.affine @ [1, 0, 2, 1], [10, 20 - 0.75, 13, 1])


@pytest.mark.parametrize("upside_down", [False, True])
def test_offsets_may_be_z_of_the_planes_and_frames_in_any_order(read, upside_down):
    dataset = rt_dose()
    dataset.GridFrameOffsetVector = [7, 4, 1]
    if upside_down:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    scan = read(dataset)
    for frame, z in enumerate([7, 4, 1]):
        i, j, k, _ = np.linalg.inv(scan.affine) @ [10, 20, z, 1]
        at = scan.pixels[round(i), round(j), round(k), 0]
        assert at == pytest.approx(STORED[frame, 0, 0] * 5e-5, rel=1e-6)


def test_a_share_of_a_dose_is_no_gray(read):
    dataset = rt_dose()
    dataset.DoseUnits = "RELATIVE"
    assert read(dataset).units == "unknown"


def test_one_plane_of_a_dose_is_scaled_too(read):
    dataset = rt_dose(STORED[:1])
    del dataset.GridFrameOffsetVector
    scan = read(dataset)
    assert scan.units == "Gy"
    np.testing.assert_allclose(scan.pixels[..., 0], STORED[0] * 5e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("element", "value", "problem"),
    [
        ("DoseGridScaling", None, "DoseGridScaling is missing or broken"),
        ("DoseGridScaling", "0", "DoseGridScaling is not positive"),
        ("GridFrameOffsetVector", None, "GridFrameOffsetVector is missing or broken"),
        ("GridFrameOffsetVector", [0, 3], "GridFrameOffsetVector is broken"),
        ("GridFrameOffsetVector", [5, 8, 11], "begins neither at 0 nor at the first plane"),
        ("GridFrameOffsetVector", [0, 3, 9], "is spaced unequally"),
    ],
)
def test_a_broken_dose_is_refused_in_one_line(read, element, value, problem):
    dataset = rt_dose()
    if value is None:
        del dataset[element]
    else:
        setattr(dataset, element, value)
    with pytest.raises(ScanError) as caught:
        read(dataset)
    assert problem in str(caught.value)
    assert "dose.dcm" in str(caught.value)
    assert "\n" not in str(caught.value)
