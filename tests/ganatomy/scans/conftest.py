"""DICOM series made on the spot, so that each test breaks exactly one thing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

DATA = Path(__file__).parents[2] / "data"


def ct_slice(pixels: np.ndarray, number: int = 0, gap: float = 2.5) -> Dataset:
    """A plain axial CT slice at `number · gap` mm; int16 pixels [rows, columns]."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["test", str(number)])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    dataset.Modality = "CT"
    dataset.PatientName = "Secret^Name"
    dataset.PatientID = "4711"
    dataset.InstanceNumber = 100 - number
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1000"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-10, -20, number * gap]
    dataset.PixelSpacing = [0.75, 0.5]
    dataset.SliceThickness = "5"
    dataset.PixelData = pixels.astype("<i2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 1000, (6, 12, 9)).astype(np.int16)


@pytest.fixture
def make_series(tmp_path: Path, voxels: np.ndarray) -> Callable[..., Path]:
    """Write six slices; `change(dataset, number)` may edit each, returning False leaves it out."""

    def make(change: Callable[[Dataset, int], bool | None] | None = None) -> Path:
        folder = tmp_path / "series"
        folder.mkdir()
        for number, plane in enumerate(voxels):
            dataset = ct_slice(plane, number)
            if change is None or change(dataset, number) is not False:
                dataset.save_as(folder / f"{9 - number}.dcm", enforce_file_format=True)
        return folder

    return make
