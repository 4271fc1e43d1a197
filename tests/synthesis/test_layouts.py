"""Folders as collections of pairs come: a CT and a PET of each patient, on grids of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganatomy.cache import prepare_table
from ganatomy.scans import Preprocessing
from ganatomy.tables import read_table
from synthesis.pix2pix import Pix2Pix
from tests.ganatomy.scans.conftest import ct_slice


def series(folder: Path, modality: str, spacing: float, side: int, patient: float) -> None:
    """Slices 2 mm apart whose values are mm towards the feet of the image's rows, plus a number.

    Middles of the first voxels lie at (0, 0, 0) for all, so that grids differ by spacing alone.
    """
    folder.mkdir(parents=True)
    for number in range(4):
        rows = np.indices((side, side))[0] * spacing
        dataset = ct_slice((rows + 100 * number + patient).astype(np.int16), number)
        dataset.Modality = modality
        dataset.SOPClassUID = {
            "CT": "1.2.840.10008.5.1.4.1.1.2",
            "PT": "1.2.840.10008.5.1.4.1.1.128",
        }[modality]
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.Rows = dataset.Columns = side
        dataset.PixelSpacing = [spacing, spacing]
        dataset.ImagePositionPatient = [0, 0, 2 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SliceThickness = 2
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def test_a_pet_is_prepared_on_the_grid_of_its_ct(tmp_path):
    for patient in (1, 2):
        series(tmp_path / f"P{patient}" / "CT", "CT", 1.0, 24, patient)
        series(tmp_path / f"P{patient}" / "PET", "PT", 2.0, 12, patient)
    table = read_table([f"scan={tmp_path}/*/CT", f"target={tmp_path}/*/PET"], Pix2Pix.roles)
    assert table.names == ["P1", "P2"]
    settings = Preprocessing(size=(16, 16), spacing=(1.0, 1.0), normalise="window", window=(0, 500))
    _, samples = prepare_table(table, settings, grids=Pix2Pix.grids)
    scans, targets = (samples[role].array for role in ("scan", "target"))
    assert scans.shape == targets.shape == (8, 16, 16, 1)
    # Both show one linear ramp in mm: what stands in one place is of one place.
    np.testing.assert_allclose(targets, scans, atol=2 / 250)
    assert np.abs(np.diff(scans[..., 0], axis=1)).min() > 1 / 300
