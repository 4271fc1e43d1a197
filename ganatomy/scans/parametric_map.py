"""A map as a DICOM parametric map beside the images it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import LPS_TO_RAS
from ganatomy.scans.safety import quiet
from ganatomy.scans.scan import Scan

# patient and study are type 2 for a derived image: present, possibly empty
CARRIED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
SERIES_NUMBER = 9001


def parametric_map(
    scan: Scan, array: np.ndarray, title: str, settings: Mapping[str, Any]
) -> hd.pm.ParametricMap:
    """A float32 parametric map with the scan's geometry, references and patient.

    Frames may be stored in another order than the slices: read back by plane position.

    Args:
        scan: of kind 'dicom'.
        array: `[row, column(, slice)]`, NaN where nothing is known.
        title: becomes the series description.
        settings: 'model' and 'version' name the equipment; 'threshold' goes to the description.

    Raises:
        ScanError: the scan's header lacks what a derived object must refer to.
    """
    sources = [complete(header, scan.path) for header in scan.header]
    model, software, described = made_by(title, settings)
    frames = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    known = frames[np.isfinite(frames)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="MAP",
        lut_explanation=title[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    with quiet():
        try:
            made = hd.pm.ParametricMap(
                sources,
                np.ascontiguousarray(frames, np.float32),
                series_instance_uid=generate_uid(),
                series_number=SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="ganatomy",
                manufacturer_model_name=model[:64],
                software_versions=software,  # pyright: ignore[reportArgumentType]
                device_serial_number="1",
                contains_recognizable_visual_features=False,
                real_world_value_mappings=[mapping],
                window_center=(low + high) / 2,
                window_width=max(high - low, 1e-6),
                content_description=described[:64],
                content_label="ANOMALY_MAP",
                series_description=title[:64],
                contributing_equipment=[equipment(model, software, described)],
                **_geometry(scan, sources[0]),
            )
        except Exception as error:  # its messages quote values of the header
            problem = "has a header that no derived DICOM file can be made from"
            raise ScanError(scan.path, problem, "complete identifiers and geometry") from error
    carry_over(made, sources[0], described)
    return made


def made_by(title: str, settings: Mapping[str, Any]) -> tuple[str, tuple[str, str], str]:
    """The model's name, the software versions and one sentence, from write_map's settings."""
    model, release = str(settings.get("model", "model")), str(settings.get("version", "0"))
    threshold = settings.get("threshold")
    stated = "" if threshold is None else f", threshold {threshold:.6g}"
    software = ("ganatomy " + version("ganatomy"), f"{model} {release}"[:64])
    return model, software, f"{title} by {model} {release}{stated}; research use only"


def carry_over(made: Dataset, source: Dataset, described: str) -> None:
    """What highdicom leaves out and an archive asks for."""
    for keyword in ("BodyPartExamined", "Laterality"):
        if text(source, keyword):
            setattr(made, keyword, source[keyword].value)
    made.DerivationDescription = described
    made.BurnedInAnnotation = "NO"


def complete(header: Dataset, name: str) -> Dataset:
    """A copy of a scan's header with the elements that a derived object refers to.

    Raises:
        ScanError: no SOP class or instance to refer to.
    """
    if any(not text(header, k) for k in ("SOPClassUID", "SOPInstanceUID")):
        raise ScanError(name, "has no SOPInstanceUID to refer to", "a complete DICOM file")
    source = Dataset()
    source.update(header)
    source.file_meta = header.file_meta
    for keyword in CARRIED:
        if keyword not in source:
            setattr(source, keyword, None)
    if "ImagePositionPatient" in source and not text(source, "FrameOfReferenceUID"):
        # one frame of reference a series, as the positions already claim
        seed = ["FrameOfReferenceUID", text(source, "SeriesInstanceUID")]
        source.FrameOfReferenceUID = generate_uid(entropy_srcs=seed)
    return source


def equipment(model: str, software: tuple[str, str], described: str) -> hd.ContributingEquipment:
    """Who computed a derived file, in the fields that DICOM has for it."""
    return hd.ContributingEquipment(
        manufacturer="ganatomy",
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=model[:64],
        software_versions=software,
        contribution_description=described,
    )


def _geometry(scan: Scan, source: Dataset) -> dict[str, Any]:
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
