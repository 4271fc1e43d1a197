"""An image computed on the planes of one DICOM series from another one, as a series of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat, format_number_as_ds

from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import LPS_TO_RAS, sheared
from ganatomy.scans.provenance import carry_body_part, complete, identity, made_by
from ganatomy.scans.scan import Scan

SERIES_NUMBER = 9004
CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
# What the file of one plane says of patient, study and frame; all else is the source's.
OF_PLACE = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID", "PatientPosition"),
)
# What was true of the source's own planes and pixels alone.
DROPPED = (
    *("SliceLocation", "SpacingBetweenSlices", "NumberOfFrames", "PixelAspectRatio"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "SmallestPixelValueInSeries", "LargestPixelValueInSeries"),
    *("IconImageSequence", "ReferencedImageSequence", "SourceImageSequence"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("PlanarConfiguration", "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime"),
    *("AcquisitionDateTime", "ImageIndex", "TemporalPositionIdentifier"),
    *("InStackPositionNumber", "StackID", "RequestAttributesSequence", "MACParametersSequence"),
    *("DigitalSignaturesSequence", "OriginalAttributesSequence", "ReferencedPatientSequence"),
    *("ReferencedStudySequence", "ReferencedPerformedProcedureStepSequence"),
)
# What an MR image has to say; a header that does not is completed by what stands for unknown.
UNTOLD = {"ScanningSequence": "RM", "SequenceVariant": "NONE"}
UNTOLD |= dict.fromkeys(("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength"))
LEAST_LEVELS = 255  # of whole numbers, below which a rescale tells values apart


def derived_series(
    place: Scan, source: Scan, pixels: np.ndarray, title: str, settings: Mapping[str, Any]
) -> list[Dataset]:
    """One file a plane of `place`, in its study and frame of reference.

    Modality and acquisition are the source's; whole numbers stay what they are, other values get a
    rescale. Every file names the source's instances.

    Args:
        place: a DICOM series or multi-frame file with an affine: patient, study, frame, planes.
        source: the DICOM series of the same patient that the image was computed from: CT, MR or
            PET, one instance a slice.
        pixels: [i, j(, k)], on the grid of `place`, in the source's units.
        title: becomes the series description.
        settings: see `write_map`.

    Raises:
        ScanError: what no derived series can be made of, and why.
        ValueError: pixels that are not on the grid of `place`.
    """
    if pixels.shape != place.shape:
        raise ValueError(f"the image has shape {pixels.shape}, its place {place.shape}")
    _check(place, source)
    planes = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
    header = complete(place.header[0], place.path)
    first = complete(source.header[0], source.path)
    new = identity(title, settings, SERIES_NUMBER)
    stored, scale = as_stored(planes, text(first, "SOPClassUID"))
    base = _base(header, first, new, made_by(title, settings)[-1])
    references = [reference(one) for one in source.header]
    made = []
    for number, plane in enumerate(stored):
        one = copy.deepcopy(base)  # to set an element is to change it wherever it is shared
        one.SourceImageSequence = references
        one.SOPInstanceUID = generate_uid()
        one.InstanceNumber = number + 1
        lie(one, place, number)
        show(one, plane, scale)
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        made.append(one)
    return made


def _check(place: Scan, source: Scan) -> None:
    for scan in (place, source):
        if scan.kind != "dicom" or not scan.header or scan.affine is None:
            expected = "DICOM with its place in the patient"
            raise ScanError(scan.path, "is no DICOM series", expected)
    first = source.header[0]
    if text(first, "SOPClassUID") not in (CT, MR, PET) or source.channels != 1:
        problem = "is of a kind that no derived series is written of"
        raise ScanError(source.path, problem, "CT, MR or PET, one instance a slice")
    patients = {text(scan.header[0], "PatientID") for scan in (place, source)} - {""}
    if len(patients) > 1:
        problem = f"is of another patient than {place.path}"
        raise ScanError(source.path, problem, "one patient, in whose study the series lies")
    if sheared(place.affine):  # pyright: ignore
        raise ScanError(place.path, "has a sheared grid", "planes stacked along their normal")


def _base(header: Dataset, first: Dataset, new: dict[str, Any], described: str) -> Dataset:
    """What all files of the series have in common."""
    base = copy.deepcopy(first)
    for keyword in DROPPED:
        if keyword in base:
            delattr(base, keyword)
    for keyword in OF_PLACE:
        if keyword in header:
            setattr(base, keyword, header[keyword].value)
        elif keyword in base:
            delattr(base, keyword)
    if text(header, "SpecificCharacterSet"):
        base.SpecificCharacterSet = header.SpecificCharacterSet
    if base.SOPClassUID == MR:
        for keyword in set(UNTOLD) - set(base.dir()):
            setattr(base, keyword, UNTOLD[keyword])
    kinds = [str(kind) for kind in (first.get("ImageType") or ())][2:]
    base.ImageType = ["DERIVED", "SECONDARY", *(kinds or ["OTHER"])]
    base.SeriesInstanceUID = new["series_instance_uid"]
    base.SeriesNumber = new["series_number"]
    base.SeriesDescription = new["series_description"]
    base.ContributingEquipmentSequence = new["contributing_equipment"]
    base.DerivationDescription = described
    base.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    base.AcquisitionNumber = None
    carry_body_part(base, first)
    return base


def lie(one: Dataset, place: Scan, number: int) -> None:
    """Give one file of a series its plane, in LPS.

    Args:
        one: with its SOP class.
        place: whose planes these are.
        number: which of them, from 0.
    """
    lps = LPS_TO_RAS @ place.affine
    down, across, step = (lps[:3, axis] for axis in range(3))
    spacing = float(np.linalg.norm(down)), float(np.linalg.norm(across))
    gap = float(np.linalg.norm(step))
    one.ImagePositionPatient = _decimals(lps[:3, 3] + number * step)
    one.ImageOrientationPatient = _decimals([*(across / spacing[1]), *(down / spacing[0])])
    one.PixelSpacing = _decimals(spacing)
    one.SliceThickness = DSfloat(gap, auto_format=True)
    if one.SOPClassUID == MR:
        one.SpacingBetweenSlices = DSfloat(gap, auto_format=True)
    if one.SOPClassUID == PET:
        one.ImageIndex = number + 1


def show(one: Dataset, plane: np.ndarray, scale: tuple[float, float] | None) -> None:
    """Give one file its pixels.

    Args:
        one: with its SOP class.
        plane: 16-bit [row, column], of `as_stored`.
        scale: slope and intercept, of `as_stored`.
    """
    signed = plane.dtype == np.int16
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.Rows, one.Columns = plane.shape
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation = 15, int(signed)
    if scale is not None:
        one.RescaleSlope, one.RescaleIntercept = (DSfloat(v, auto_format=True) for v in scale)
        if one.SOPClassUID == CT:
            one.RescaleType = "HU"
    one.PixelData = np.ascontiguousarray(plane).astype("<i2" if signed else "<u2").tobytes()


def as_stored(planes: np.ndarray, kind: str) -> tuple[np.ndarray, tuple[float, float] | None]:
    """16-bit planes, and slope and intercept where they have a rescale."""
    low, high = float(planes.min()), float(planes.max())
    whole = high - low >= LEAST_LEVELS and low >= -32768 and high <= (32767 if low < 0 else 65535)
    if whole and kind != PET:
        stored = np.rint(planes).astype(np.int16 if low < 0 else np.uint16)
        return stored, (1.0, 0.0) if kind == CT else None
    step = _rounded(max(high - low, 1e-12) / 65535)
    base = _rounded(low)
    return np.clip(np.rint((planes - base) / step), 0, 65535).astype(np.uint16), (step, base)


def reference(header: Dataset, preserved: str = "NO") -> Dataset:
    """An item that names the instance an image was computed from.

    Args:
        header: of that instance.
        preserved: "YES" where its pixels lie where those of the image do.
    """
    item = Dataset()
    item.ReferencedSOPClassUID = text(header, "SOPClassUID")
    item.ReferencedSOPInstanceUID = text(header, "SOPInstanceUID")
    item.SpatialLocationsPreserved = preserved
    purpose = Dataset()
    code = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator = code.value, code.scheme_designator
    purpose.CodeMeaning = code.meaning
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _rounded(value: float) -> float:
    """The value as a decimal string of 16 characters holds it."""
    return float(format_number_as_ds(value))


def _decimals(values: Any) -> list[Any]:
    return [DSfloat(float(value), auto_format=True) for value in values]


def write_series(files: Sequence[Dataset], folder: Path) -> Path:
    """Write the files of a series into a folder of their own, in place of what lies there.

    Returns:
        The folder.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.dcm"):
        old.unlink()
    for number, file in enumerate(files):
        file.save_as(folder / f"{number + 1:05d}.dcm", enforce_file_format=True)
    return folder
