"""A scan's grid as the functional groups that place the frames of a derived DICOM file."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from ganatomy.scans.dicom_header import text
from ganatomy.scans.planes import LPS_TO_RAS
from ganatomy.scans.scan import Scan


def geometry(scan: Scan, source: Dataset) -> dict[str, Any]:
    """Planes from the scan's affine, so that slice k of the map lies where slice k was."""
    if scan.affine is None:
        return {}
    lps = LPS_TO_RAS @ scan.affine  # its own inverse
    down, across, step = (lps[:3, axis] for axis in range(3))
    spacing = np.linalg.norm(down), np.linalg.norm(across)
    gap = float(np.linalg.norm(step))
    count = scan.shape[2] if scan.rank == 3 else 1
    orientation = [*(across / spacing[1]), *(down / spacing[0])]
    patient = hd.CoordinateSystemNames.PATIENT
    return {
        "plane_orientation": hd.PlaneOrientationSequence(patient, orientation),
        "plane_positions": [
            hd.PlanePositionSequence(patient, list(lps[:3, 3] + k * step)) for k in range(count)
        ],
        "pixel_measures": hd.PixelMeasuresSequence(
            pixel_spacing=[float(v) for v in spacing],
            slice_thickness=_thickness(source, gap),
            spacing_between_slices=gap if count > 1 else None,
        ),
    }


def _thickness(source: Dataset, gap: float) -> float:
    try:
        return float(text(source, "SliceThickness"))
    except ValueError:
        return gap
