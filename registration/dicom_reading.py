"""Spatial registration objects of DICOM, read as transforms of fixed points to moving points."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DeformableSpatialRegistrationStorage, SpatialRegistrationStorage

from ganatomy.scans.dicom_header import numbers, open_dataset, text
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import LPS_TO_RAS
from ganatomy.scans.safety import check_path, check_sizes, quiet
from registration.conventions import (
    StoredTransform,
    checked_field,
    checked_matrix,
    other_axes,
)

ORTHONORMAL = 1e-3
EXPECTED = "a spatial registration of two scans"


def read_registration(path: str | Path) -> StoredTransform:
    """Read a Spatial Registration or a Deformable Spatial Registration object.

    Of a rigid or affine one DICOM stores moving to fixed, of a deformable one fixed to moving;
    what is returned goes from fixed to moving, in mm RAS, for both. The fixed scan is the one
    whose frame is the object's own; where both scans have that frame, the one with the identity,
    or the first.
    A matrix before the deformation is carried through it, exactly. The field stands on the
    object's grid.

    Args:
        path: a DICOM file.

    Returns:
        The transform, with both frames of reference.

    Raises:
        ScanError: another kind of object, damaged, more than two scans, or a transform that is
            singular or not finite.
    """
    path = Path(path)
    check_path(path)
    dataset = open_dataset(path, str(path))
    kind = text(dataset, "SOPClassUID") or text(dataset.file_meta, "MediaStorageSOPClassUID")
    if kind not in (SpatialRegistrationStorage, DeformableSpatialRegistrationStorage):
        raise ScanError(path, "is DICOM but no registration object", EXPECTED)
    if not text(dataset, "FrameOfReferenceUID"):
        raise ScanError(path, "names no FrameOfReferenceUID of its own", "that of the fixed scan")
    try:
        return (_spatial if kind == SpatialRegistrationStorage else _deformable)(dataset, path)
    except ValueError as error:  # of the checks that writing has too
        problem, _, expected = str(error).partition("; expected ")
        raise ScanError(path, f"is no transform to use: {problem}", expected) from error


def _spatial(dataset: Dataset, path: Path) -> StoredTransform:
    own = text(dataset, "FrameOfReferenceUID")
    items = []
    for item in _items(dataset, "RegistrationSequence", path):
        [registration] = _items(item, "MatrixRegistrationSequence", path, 1)
        [holder] = _items(registration, "MatrixSequence", path, 1)
        items.append((text(item, "FrameOfReferenceUID") or own, _matrix(holder, path)))
    if len(items) == 1:  # the fixed scan goes without saying
        items.insert(0, (own, np.eye(4)))
    if len(items) != 2:
        raise ScanError(path, f"registers {len(items)} scans", EXPECTED)
    fixed, moving = items
    if _is_fixed(moving, own) and not _is_fixed(fixed, own):
        fixed, moving = moving, fixed
    if fixed[0] != own:
        raise ScanError(path, "registers neither scan to its own frame", EXPECTED)
    matrix = other_axes(np.linalg.inv(moving[1]) @ fixed[1])
    matrix[3] = 0, 0, 0, 1  # which an inverse only nearly has
    return StoredTransform(checked_matrix(matrix), frames=(fixed[0], moving[0]))


def _is_fixed(item: tuple[str, np.ndarray], own: str) -> bool:
    return item[0] == own and np.array_equal(item[1], np.eye(4))


def _deformable(dataset: Dataset, path: Path) -> StoredTransform:
    items = _items(dataset, "DeformableRegistrationSequence", path)
    deforming = [i for i in items if i.get("DeformableRegistrationGridSequence")]
    if len(deforming) != 1:
        raise ScanError(path, f"holds {len(deforming)} deformation grids", "one")
    [item] = deforming
    before, after = np.eye(4), np.eye(4)
    if item.get("PreDeformationMatrixRegistrationSequence"):
        before = _matrix(_items(item, "PreDeformationMatrixRegistrationSequence", path, 1)[0], path)
    if item.get("PostDeformationMatrixRegistrationSequence"):
        after = _matrix(_items(item, "PostDeformationMatrixRegistrationSequence", path, 1)[0], path)
    [holder] = _items(item, "DeformableRegistrationGridSequence", path, 1)
    little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    vectors, told = _grid(holder, "<f4" if little else ">f4", path)
    # post(pre(x) + d) = post(pre(x + u)); u is what the linear part of pre takes to d
    back = np.linalg.inv(before[:3, :3])
    flip = LPS_TO_RAS[:3, :3]
    field, grid = checked_field(vectors @ (flip @ back).T, LPS_TO_RAS @ told)
    frames = text(dataset, "FrameOfReferenceUID"), text(item, "SourceFrameOfReferenceUID")
    return StoredTransform(checked_matrix(other_axes(after @ before)), field, grid, frames)


def _items(holder: Dataset, keyword: str, path: Path, count: int | None = None) -> list[Dataset]:
    items = list(holder.get(keyword) or [])
    if not items or (count is not None and len(items) != count):
        expected = "one item" if count == 1 else "one item or more"
        raise ScanError(path, f"{keyword} has {len(items)} items", expected)
    return items


def _matrix(holder: Dataset, path: Path) -> np.ndarray:
    keyword = "FrameOfReferenceTransformationMatrix"
    matrix = np.array(numbers(holder, keyword, 16, str(path))).reshape(4, 4)
    return checked_matrix(matrix, keyword)


def _grid(holder: Dataset, order: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Displacements `[*grid, 3]` and their grid, both in LPS."""
    name = str(path)
    sides = numbers(holder, "GridDimensions", 3, name)
    shape = tuple(int(side) for side in sides)
    check_sizes(name, shape, 12)
    spacing = np.array(numbers(holder, "GridResolution", 3, name))
    if (spacing <= 0).any():
        raise ScanError(path, "GridResolution is broken", "positive distances")
    orientation = np.array(numbers(holder, "ImageOrientationPatient", 6, name)).reshape(2, 3)
    if np.abs(orientation @ orientation.T - np.eye(2)).max() > ORTHONORMAL:
        raise ScanError(path, "ImageOrientationPatient is broken", "two axes at right angles")
    cosines = np.column_stack([*orientation, np.cross(orientation[0], orientation[1])])
    told = np.eye(4)
    told[:3, :3] = cosines * spacing
    told[:3, 3] = numbers(holder, "ImagePositionPatient", 3, name)
    with quiet():
        try:
            data = bytes(holder["VectorGridData"].value)
        except Exception as error:
            raise ScanError(path, "VectorGridData is missing", "a deformation grid") from error
    if len(data) != 12 * math.prod(shape):
        raise ScanError(path, "VectorGridData is broken", "three floats for each of GridDimensions")
    vectors = np.frombuffer(data, order).reshape(*shape[::-1], 3).transpose(2, 1, 0, 3)
    return vectors.astype(np.float32), told
