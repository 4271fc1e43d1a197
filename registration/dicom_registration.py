"""Transforms between two DICOM series as (deformable) spatial registration objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
from highdicom.base import SOPClass
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    DeformableSpatialRegistrationStorage,
    ExplicitVRLittleEndian,
    SpatialRegistrationStorage,
)
from pydicom.valuerep import DSfloat

from ganatomy.scans.dicom_header import text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import LPS_TO_RAS
from ganatomy.scans.provenance import carry_body_part, complete, identity
from ganatomy.scans.safety import quiet
from ganatomy.scans.scan import Scan
from registration.conventions import (
    checked_field,
    checked_matrix,
    other_axes,
    rigid,
    straight,
)

SERIES_NUMBER = 9003
BY_CONTENT = codes.DCM.ImageContentBasedAlignment


def spatial_registration(
    fixed: Scan,
    moving: Scan,
    matrix: np.ndarray,
    *,
    title: str,
    settings: Mapping[str, Any],
) -> Dataset:
    """A Spatial Registration object: the moving scan brought to the fixed scan's frame.

    DICOM's matrix sends points of a scan to the registered frame, which is the fixed scan's
    (PS3.3, C.20.2.1.1): from moving to fixed, in LPS, the inverse of the matrix given. The fixed
    scan is the first item, with the identity; the moving scan the second.

    Args:
        fixed: of kind 'dicom', with a frame of reference; its study takes the object.
        moving: the same, of the same patient.
        matrix: `[4, 4]`, fixed mm RAS to moving mm RAS. 'RIGID' is what is a rotation to 1e-6.
        title: becomes the series description.
        settings: 'model' and 'version' name the equipment.

    Raises:
        ScanError: a scan without DICOM's identifiers, place or frame of reference, or of another
            patient.
        ValueError: a matrix that is no invertible affine map in 3D.
    """
    made = _object(SpatialRegistrationStorage, fixed, moving, title, settings)
    told = _told(matrix)
    made.RegistrationSequence = [
        _registered(fixed, np.eye(4), codes.DCM.FrameOfReferenceIdentity),
        _registered(moving, np.linalg.inv(told), BY_CONTENT),
    ]
    return made


def deformable_registration(
    fixed: Scan,
    moving: Scan,
    matrix: np.ndarray,
    field: np.ndarray,
    grid: np.ndarray,
    *,
    title: str,
    settings: Mapping[str, Any],
) -> Dataset:
    """A Deformable Spatial Registration object: where to look in the moving scan.

    Here DICOM goes the other way (PS3.3, C.20.3.1.1): from the registered frame, which is the
    fixed scan's, to the moving scan, `post(pre(x) + u(x))`. So field and matrix are written as
    they are, in LPS, the matrix as the one after the deformation. The grid is right-handed there;
    a left-handed one is stored with its last axis reversed.

    Args:
        fixed: of kind 'dicom', with a frame of reference; its study takes the object.
        moving: the same, of the same patient.
        matrix: `[4, 4]`, applied after the field: `x -> matrix(x + u(x))`, mm RAS.
        field: float32 `[*grid, 3]`, mm RAS.
        grid: `[4, 4]`, voxel to mm RAS.
        title: becomes the series description.
        settings: 'model' and 'version' name the equipment.

    Raises:
        ScanError: see `spatial_registration`.
        ValueError: a field that does not fit its grid, is not finite, or a sheared grid.
    """
    made = _object(DeformableSpatialRegistrationStorage, fixed, moving, title, settings)
    told = _told(matrix)
    field, grid = checked_field(field, grid)
    if field.ndim != 4:
        raise ValueError("the field has two dimensions; expected three for DICOM")
    item = Dataset()
    item.SourceFrameOfReferenceUID = text(moving.header[0], "FrameOfReferenceUID")
    item.ReferencedImageSequence = _instances(moving)
    item.RegistrationTypeCodeSequence = [hd.sr.CodedConcept.from_code(BY_CONTENT)]
    item.DeformableRegistrationGridSequence = [_grid(*straight(field, grid))]
    if not np.array_equal(told, np.eye(4)):
        item.PostDeformationMatrixRegistrationSequence = [_matrix(told)]
    made.DeformableRegistrationSequence = [item]
    return made


def _told(matrix: np.ndarray) -> np.ndarray:
    """The matrix in LPS, an exact rotation where it is one but for rounding."""
    matrix = checked_matrix(matrix)
    if len(matrix) != 4:
        raise ValueError("the matrix has two dimensions; expected three for DICOM")
    exact = rigid(matrix)
    return other_axes(matrix if exact is None else exact)


def _object(
    kind: str, fixed: Scan, moving: Scan, title: str, settings: Mapping[str, Any]
) -> Dataset:
    """All of either object but the registration itself."""
    for scan in (fixed, moving):
        _check(scan)
    patients = {text(scan.header[0], "PatientID") for scan in (fixed, moving)} - {""}
    if len(patients) > 1:
        problem = "is of another patient than the fixed scan"
        raise ScanError(moving.path, problem, "one patient, in whose study the object lies")
    source = complete(fixed.header[0], fixed.path)
    new = identity(title, settings, SERIES_NUMBER)
    equipment = new.pop("contributing_equipment")
    with quiet():
        try:
            made = SOPClass(
                study_instance_uid=text(source, "StudyInstanceUID"),
                sop_class_uid=kind,
                modality="REG",
                transfer_syntax_uid=ExplicitVRLittleEndian,
                **new,
            )
            made.copy_patient_and_study_information(source)
        except Exception as error:  # its messages quote values of the header
            problem = "has a header that no registration object can be made from"
            raise ScanError(fixed.path, problem, "complete identifiers") from error
    if text(source, "SpecificCharacterSet"):
        made.SpecificCharacterSet = source.SpecificCharacterSet  # of the names copied
    made.ContributingEquipmentSequence = equipment
    carry_body_part(made, source)
    made.FrameOfReferenceUID = text(source, "FrameOfReferenceUID")
    made.PositionReferenceIndicator = None
    made.ContentLabel = "REGISTRATION"
    made.ContentDescription = title[:64]
    made.ContentCreatorName = None
    _refer(made, fixed, moving)
    return made


def _check(scan: Scan) -> None:
    expected = "a DICOM series with its place in the patient"
    if scan.kind != "dicom" or not scan.header:
        raise ScanError(scan.path, "is no DICOM, so no registration object refers to it", expected)
    if scan.affine is None:
        raise ScanError(scan.path, "has no place in the patient", expected)
    if not text(scan.header[0], "FrameOfReferenceUID"):
        problem = "has no FrameOfReferenceUID that a registration could refer to"
        raise ScanError(scan.path, problem, expected)
    if any(not text(scan.header[0], f"{level}InstanceUID") for level in ("Study", "Series")):
        raise ScanError(scan.path, "names no study or no series", expected)
    for header in scan.header:
        complete(header, scan.path)


def _refer(made: Dataset, *scans: Scan) -> None:
    """The Common Instance Reference module: this study's series, then other studies'."""
    studies: dict[str, dict[str, list[Dataset]]] = {}
    for scan in scans:
        study, series = (
            text(scan.header[0], f"{level}InstanceUID") for level in ("Study", "Series")
        )
        studies.setdefault(study, {})[series] = _instances(scan)
    others = []
    for study, held in studies.items():
        sequence = []
        for series, instances in held.items():
            item = Dataset()
            item.SeriesInstanceUID = series
            item.ReferencedInstanceSequence = instances
            sequence.append(item)
        if study == made.StudyInstanceUID:
            made.ReferencedSeriesSequence = sequence
        else:
            item = Dataset()
            item.StudyInstanceUID = study
            item.ReferencedSeriesSequence = sequence
            others.append(item)
    if others:
        made.StudiesContainingOtherReferencedInstancesSequence = others


def _instances(scan: Scan) -> list[Dataset]:
    made = []
    for header in scan.header:
        item = Dataset()
        item.ReferencedSOPClassUID = text(header, "SOPClassUID")
        item.ReferencedSOPInstanceUID = text(header, "SOPInstanceUID")
        made.append(item)
    return made


def _registered(scan: Scan, matrix: np.ndarray, how) -> Dataset:
    registration = Dataset()
    registration.RegistrationTypeCodeSequence = [hd.sr.CodedConcept.from_code(how)]
    registration.MatrixSequence = [_matrix(matrix)]
    item = Dataset()
    item.FrameOfReferenceUID = text(scan.header[0], "FrameOfReferenceUID")
    item.ReferencedImageSequence = _instances(scan)
    item.MatrixRegistrationSequence = [registration]
    return item


def _matrix(matrix: np.ndarray) -> Dataset:
    item = Dataset()
    item.FrameOfReferenceTransformationMatrix = _decimals(matrix)
    item.FrameOfReferenceTransformationMatrixType = "AFFINE" if rigid(matrix) is None else "RIGID"
    return item


def _grid(field: np.ndarray, grid: np.ndarray) -> Dataset:
    told = LPS_TO_RAS @ grid
    if np.linalg.det(told[:3, :3]) < 0:  # DICOM's third axis is the first two's cross product
        field = field[:, :, ::-1]
        told[:3, 3] += told[:3, 2] * (field.shape[2] - 1)
        told[:3, 2] *= -1
    spacing = np.linalg.norm(told[:3, :3], axis=0)
    cosines = told[:3, :3] / spacing
    vectors = field @ LPS_TO_RAS[:3, :3].astype(np.float32)
    item = Dataset()
    item.ImageOrientationPatient = _decimals(cosines[:, :2].T)
    item.ImagePositionPatient = _decimals(told[:3, 3])
    item.GridDimensions = list(field.shape[:3])
    item.GridResolution = spacing.tolist()
    item.VectorGridData = vectors.transpose(2, 1, 0, 3).astype("<f4").tobytes()  # x is fastest
    return item


def _decimals(values: np.ndarray) -> list:
    return [DSfloat(float(value), auto_format=True) for value in values.ravel()]
