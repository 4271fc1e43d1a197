"""Radiotherapy dose grids: where their frames lie, and what their values stand for."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from ganatomy.scans.dicom_header import numbers, text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import SAME_PLACE, Plane

OFFSETS = "GridFrameOffsetVector"


def is_dose(dataset: Dataset) -> bool:
    """Whether a data set is of Modality RTDOSE."""
    return text(dataset, "Modality") == "RTDOSE"


def dose_scaling(dataset: Dataset, name: str) -> float:
    """What a stored value is multiplied by to become a dose.

    Raises:
        ScanError: DoseGridScaling is missing or not positive.
    """
    (scaling,) = numbers(dataset, "DoseGridScaling", 1, name)
    if scaling <= 0:
        raise ScanError(name, "DoseGridScaling is not positive", "a dose a stored value")
    return scaling


def dose_units(dataset: Dataset) -> str:
    """'Gy' where the file says so; a share of a reference dose is 'unknown'."""
    return "Gy" if text(dataset, "DoseUnits") == "GY" else "unknown"


def dose_planes(first: Plane, dataset: Dataset, frames: int) -> list[Plane]:
    """The planes of all frames, from that of the first and the file's offsets.

    Offsets from 0 lie along the normal; others are the z coordinates of transverse planes.

    Args:
        first: by ImagePositionPatient.
        dataset: of the dose.
        frames: how many.

    Raises:
        ScanError: no offsets, too few, or such as are of neither kind.

    Reference: DICOM PS3.3, C.8.8.3.2.
    """
    offsets = np.array(numbers(dataset, OFFSETS, frames, first.name))
    direction = first.normal
    if offsets[0] != 0:
        upright = abs(abs(direction[2]) - 1) < 1e-4
        if not upright or abs(offsets[0] - first.position[2]) > SAME_PLACE:
            problem = f"{OFFSETS} begins neither at 0 nor at the first plane"
            raise ScanError(first.name, problem, "offsets, or z of transverse planes")
        offsets, direction = offsets - offsets[0], np.array([0.0, 0.0, 1.0])
    return [
        Plane(
            first.name,
            first.position + offset * direction,
            first.along_row,
            first.along_column,
            first.spacing,
        )
        for offset in offsets
    ]
