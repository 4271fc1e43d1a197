"""An image that no scanner made, on the planes of the DICOM series it was computed from."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from ganatomy.scans.derived_series import (
    CT,
    MR,
    OF_PLACE,
    UNTOLD,
    as_stored,
    lie,
    reference,
    show,
)
from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import sheared
from ganatomy.scans.provenance import carry_body_part, complete, identity, made_by
from ganatomy.scans.scan import Scan

SERIES_NUMBER = 9006
SECONDARY = "1.2.840.10008.5.1.4.1.1.7"
CLASSES = {"CT": CT, "MR": MR}  # of any other modality a secondary capture with a place
# What has to be there, empty where nobody knows.
ASKED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
ASKED += ("StudyID", "AccessionNumber", "ReferringPhysicianName", "PatientPosition")


def synthetic_series(
    source: Scan, pixels: np.ndarray, modality: str, title: str, settings: Mapping[str, Any]
) -> list[Dataset]:
    """One file a plane, marked as synthetic, in the study and frame of reference of its source.

    Nothing is kept of how the source was acquired: it is not true of what no scanner made. Whole
    numbers stay what they are, others get a rescale. Every file names the source's instances.

    Args:
        source: a DICOM series, slice or multi-frame file with its place in the patient.
        pixels: [i, j(, k)], on its grid, in the units of what they imitate.
        modality: that they imitate: 'CT', 'MR', or another of DICOM's codes.
        title: becomes the series description, after 'Synthetic'.
        settings: see `write_map`.

    Raises:
        ScanError: what no series can be made of, and why.
        ValueError: pixels that are not on the grid of the source.
    """
    if pixels.shape != source.shape:
        raise ValueError(f"the image has shape {pixels.shape}, its source {source.shape}")
    if source.kind != "dicom" or not source.header or source.affine is None:
        raise ScanError(source.path, "is no DICOM series", "DICOM with its place in the patient")
    if sheared(source.affine):
        raise ScanError(source.path, "has a sheared grid", "planes stacked along their normal")
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    base = _base(complete(source.header[0], source.path), modality, title, settings)
    whole, scale = as_stored(planes, base.SOPClassUID)
    references = [reference(complete(one, source.path), "YES") for one in source.header]
    made = []
    for number, plane in enumerate(whole):
        one = copy.deepcopy(base)
        one.SourceImageSequence = references
        one.SOPInstanceUID = generate_uid()
        one.InstanceNumber = number + 1
        lie(one, source, number)
        show(one, plane, scale)
        if scale is not None and one.SOPClassUID != CT:
            one.RescaleType = "US"
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        made.append(one)
    return made


def _base(header: Dataset, modality: str, title: str, settings: Mapping[str, Any]) -> Dataset:
    """What all files of the series have in common."""
    title = f"Synthetic {title}"
    new = identity(title, settings, SERIES_NUMBER)
    base = Dataset()
    for keyword in OF_PLACE:
        if keyword in header:
            setattr(base, keyword, header[keyword].value)
    for keyword in set(ASKED) - set(base.dir()):
        setattr(base, keyword, None)
    if text(header, "SpecificCharacterSet"):
        base.SpecificCharacterSet = header.SpecificCharacterSet
    base.SOPClassUID = CLASSES.get(modality, SECONDARY)
    # A secondary capture is no dose object: no planning system should take it for one.
    base.Modality = "OT" if modality in ("unknown", "RTDOSE") else modality
    base.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    base.Manufacturer = new["manufacturer"]
    base.ManufacturerModelName = new["manufacturer_model_name"]
    base.SoftwareVersions = list(new["software_versions"])
    base.SeriesInstanceUID = new["series_instance_uid"]
    base.SeriesNumber = new["series_number"]
    base.SeriesDescription = new["series_description"]
    base.ContributingEquipmentSequence = new["contributing_equipment"]
    base.DerivationDescription = f"Synthetic: {made_by(title, settings)[-1]}"
    base.ImageComments = "Synthetic image, computed and not acquired; research use only"
    base.BurnedInAnnotation = "NO"
    base.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    if base.SOPClassUID == CT:
        base.KVP = base.AcquisitionNumber = None
    elif base.SOPClassUID == MR:
        for keyword, unknown in UNTOLD.items():
            setattr(base, keyword, unknown)
        base.RepetitionTime = None
    else:
        base.ConversionType = "SYN"
        base.PatientOrientation = None
    carry_body_part(base, header)
    return base
