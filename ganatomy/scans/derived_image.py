"""A map of a DICOM image that has no place in the patient, such as a radiograph."""

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.valuerep import DSfloat, format_number_as_ds

from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.parametric_map import SERIES_NUMBER
from ganatomy.scans.provenance import carry_over, complete, identity, made_by
from ganatomy.scans.safety import quiet
from ganatomy.scans.scan import Scan

LARGEST = 65535


def derived_image(
    scan: Scan, array: np.ndarray, title: str, settings: Mapping[str, Any]
) -> Dataset:
    """A 16-bit secondary capture with a rescale and a reference to its source.

    The stored value 0 is the padding value and stands for NaN; 1 to 65535 span the map.

    Args:
        scan: of kind 'dicom', rank 2, without an affine.
        array: `[row, column]`.
        title: becomes the series description.
        settings: see `write_map`.

    Raises:
        ScanError: the scan's header lacks what a derived object must refer to.
    """
    source = complete(scan.header[0], scan.path)
    described = made_by(title, settings)[-1]
    known = np.isfinite(array)
    low, high = (array[known].min(), array[known].max()) if known.any() else (0.0, 0.0)
    step = max(float(high) - float(low), 1e-12) / (LARGEST - 1)
    slope, intercept = _decimal(step), _decimal(float(low) - step)  # stored 1 is the lowest
    stored = (np.where(known, array, 0) - intercept) / slope
    stored = np.where(known, np.clip(np.rint(stored), 1, LARGEST), 0).astype(np.uint16)
    with quiet():
        try:
            made = hd.sc.SCImage.from_ref_dataset(
                source,
                stored,
                photometric_interpretation="MONOCHROME2",
                bits_allocated=16,
                coordinate_system="PATIENT",
                patient_orientation=("L", "F"),
                **identity(title, settings, SERIES_NUMBER),
            )
        except Exception as error:  # its messages quote values of the header
            problem = "has a header that no derived DICOM file can be made from"
            raise ScanError(scan.path, problem, "complete identifiers") from error
    # highdicom insists on a direction; the source's own, or none, is the truth
    made.PatientOrientation = source.get("PatientOrientation") or None  # pyright: ignore
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    made.RescaleSlope = DSfloat(slope, auto_format=True)
    made.RescaleIntercept = DSfloat(intercept, auto_format=True)
    made.RescaleType = "US"
    made.PixelPaddingValue = 0
    made.WindowCenter = DSfloat((float(low) + float(high)) / 2, auto_format=True)
    made.WindowWidth = DSfloat(max(float(high) - float(low), 1e-6), auto_format=True)
    made.VOILUTFunction = "LINEAR_EXACT"  # the default is for widths of 1 or more
    reference = Dataset()
    reference.ReferencedSOPClassUID = text(source, "SOPClassUID")
    reference.ReferencedSOPInstanceUID = text(source, "SOPInstanceUID")
    reference.SpatialLocationsPreserved = "YES"
    purpose = hd.sr.CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    reference.PurposeOfReferenceCodeSequence = [purpose]
    made.SourceImageSequence = [reference]
    carry_over(made, source, described)
    return made


def _decimal(value: float) -> float:
    """The value as a decimal string of 16 characters holds it, so that writing loses nothing."""
    return float(format_number_as_ds(value))
