"""Who made a derived DICOM file, of what, and what it takes over from its source."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError

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
# Of these body parts no side is to be told (PS3.16, annex L; the common ones).
UNPAIRED = {
    *("ABDOMEN", "ABDOMENPELVIS", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "CSPINE"),
    *("HEAD", "HEADNECK", "HEART", "LIVER", "LSPINE", "NECK", "PELVIS", "PROSTATE", "SKULL"),
    *("SPINE", "TSPINE", "WHOLEBODY"),
}


def identity(title: str, settings: Mapping[str, Any], series_number: int) -> dict[str, Any]:
    """What highdicom asks of the maker of any derived object: new identifiers and equipment.

    Args:
        title: becomes the series description.
        settings: see `write_map`.
        series_number: of the new series.
    """
    model, software, described = made_by(title, settings)
    return {
        "series_instance_uid": generate_uid(),
        "series_number": series_number,
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": "ganatomy",
        "manufacturer_model_name": model[:64],
        "software_versions": software,
        "device_serial_number": "1",
        "series_description": title[:64],
        "contributing_equipment": [
            hd.ContributingEquipment(
                manufacturer="ganatomy",
                purpose_of_reference=codes.DCM.ProcessingEquipment,
                manufacturer_model_name=model[:64],
                software_versions=software,
                contribution_description=described,
            )
        ],
    }


def made_by(title: str, settings: Mapping[str, Any]) -> tuple[str, tuple[str, str], str]:
    """The model's name, the software versions and one sentence, from write_map's settings."""
    model, release = str(settings.get("model", "model")), str(settings.get("version", "0"))
    threshold = settings.get("threshold")
    stated = "" if threshold is None else f", threshold {threshold:.6g}"
    software = ("ganatomy " + version("ganatomy"), f"{model} {release}"[:64])
    return model, software, f"{title} by {model} {release}{stated}; research use only"


def carry_over(made: Dataset, source: Dataset, described: str) -> None:
    """What highdicom leaves out of an image and an archive asks for."""
    carry_body_part(made, source)
    made.DerivationDescription = described
    made.BurnedInAnnotation = "NO"


def carry_body_part(made: Dataset, source: Dataset) -> None:
    """The body part and its side, which a series of any kind states."""
    for keyword in ("BodyPartExamined", "Laterality"):
        if text(source, keyword):
            setattr(made, keyword, source[keyword].value)
    if text(made, "BodyPartExamined") not in UNPAIRED and "Laterality" not in made:
        made.Laterality = None  # asked for of a part that may have two sides; empty is unknown


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
