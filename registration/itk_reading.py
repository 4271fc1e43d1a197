"""Transforms read as ITK, ANTs, elastix and 3D Slicer write them."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.nifti import nifti_version
from ganatomy.scans.planes import LPS_TO_RAS
from ganatomy.scans.safety import MAX_PIXEL_BYTES, check_sizes, quiet, read_gzip, read_start
from registration.conventions import (
    StoredTransform,
    axes,
    checked_field,
    checked_matrix,
    other_axes,
)
from registration.itk_files import (
    FIELD_SUFFIXES,
    HDF5_SUFFIXES,
    LINEAR_SUFFIXES,
    TEXT_SUFFIXES,
    suffix_of,
)

HDF5 = b"\x89HDF\r\n\x1a\n"
TEXT = b"#Insight Transform File"
MAX_LINEAR_BYTES = 1 << 20
VECTOR, DISPLACEMENT = 1007, 1006  # NIfTI's intents; ITK takes the second to be in RAS


def read_itk(path: str | Path) -> StoredTransform:
    """Read a linear transform, a displacement field, or a composite of these.

    Several linear parts become one matrix; one before the field is carried through it, exactly.

    Args:
        path: `.tfm`, `.txt`, `.mat`, `.h5`, or a displacement field in `.nii`, `.nii.gz`.

    Raises:
        ScanError: no transform, damaged, of another kind (B-splines, two fields), singular, or
            not finite.
    """
    path = Path(path)
    start = read_start(path)
    try:
        if suffix_of(path) in FIELD_SUFFIXES:
            field, grid = checked_field(*_read_field(path))
            return StoredTransform(np.eye(len(grid)), field, grid)
        return _reduced(_flat(_read(path, start)), path)
    except ValueError as error:  # of the checks that writing has too
        problem, _, expected = str(error).partition("; expected ")
        raise ScanError(path, f"is no transform to use: {problem}", expected) from error


def _arrays(image) -> tuple[np.ndarray, np.ndarray]:
    import SimpleITK as sitk

    rank = image.GetDimension()
    columns = np.array(image.GetDirection()).reshape(rank, rank) * image.GetSpacing()
    vectors = sitk.GetArrayFromImage(image)
    if rank == 3:
        vectors = vectors.transpose(2, 1, 0, 3)
    else:
        columns = columns[:, ::-1]
    grid = np.eye(rank + 1)
    grid[:rank, :rank] = axes(rank) @ columns
    grid[:rank, rank] = axes(rank) @ image.GetOrigin()
    field = np.ascontiguousarray(vectors @ axes(rank).T.astype(vectors.dtype), np.float32)
    return checked_field(field, grid)


def _read_field(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read by nibabel: ITK fills a file that is cut short with zeros, and puts 0 where NaN was."""
    import nibabel as nib

    packed = suffix_of(path) == ".nii.gz"
    expected = "a displacement field (X, Y, Z, 1, 3) of intent 1007"
    start = _bytes(path, packed, 540)
    version = nifti_version(start)
    if version == 0:
        raise ScanError(path, "is not a NIfTI file", expected)
    image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    with quiet():
        try:
            header = image_class.header_class.from_fileobj(io.BytesIO(start), check=False)
            shape, dtype = header.get_data_shape(), header.get_data_dtype()
            intent, offset = int(header["intent_code"]), int(header["vox_offset"])
            placed = max(int(header["sform_code"]), int(header["qform_code"])) > 0
        except Exception as error:  # nibabel raises many kinds on damaged headers
            raise ScanError(path, "has a damaged header", expected) from error
    rank = 2 if shape[2:] == (1, 1, 2) else 3
    if len(shape) != 5 or shape[3:] != (1, rank) or dtype.kind not in "fiu":
        raise ScanError(path, "is an image but no displacement field", expected)
    if intent not in (VECTOR, DISPLACEMENT):
        raise ScanError(path, f"has the intent {intent}, not that of displacements", expected)
    if not placed:
        raise ScanError(path, "has no orientation", "an sform or a qform")
    check_sizes(str(path), shape[:3], max(4, dtype.itemsize) * rank)
    length = offset + math.prod(shape) * dtype.itemsize
    content = _bytes(path, packed, length) if 0 < offset <= 1 << 20 else b""
    if len(content) < length:
        raise ScanError(path, "is cut short", f"{length} bytes as its header says")
    with quiet():
        try:
            image = image_class.from_stream(io.BytesIO(content))
            field = np.asanyarray(image.dataobj).reshape(*shape[:rank], rank)
            affine = np.array(image.affine, np.float64)
        except Exception as error:
            raise ScanError(path, "has a damaged header", expected) from error
    if rank == 3:
        return field if intent == DISPLACEMENT else field @ LPS_TO_RAS[:3, :3], affine
    # ITK's coordinates of a picture are (column, row), and its axes X, Y of the file
    told = (LPS_TO_RAS @ affine)[np.ix_([0, 1, 3], [0, 1, 3])]
    vectors = field if intent == VECTOR else -field
    return vectors.transpose(1, 0, 2)[..., ::-1], other_axes(told)


def _bytes(path: Path, packed: bool, length: int) -> bytes:
    if packed:
        return read_gzip(str(path), path, length)
    with open(path, "rb") as file:
        return file.read(length)


def _read(path: Path, start: bytes):
    import SimpleITK as sitk

    expected = f"an ITK transform ({', '.join(LINEAR_SUFFIXES)}) or a displacement field (.nii.gz)"
    suffix = suffix_of(path)
    if suffix in HDF5_SUFFIXES and start.startswith(HDF5):
        _check_hdf5(path)
    elif suffix in TEXT_SUFFIXES and start.startswith(TEXT):
        lines = [line.partition(b":")[0] for line in _linear_bytes(path).splitlines()]
        # ITK leaves the identity where a file was cut before its parameters
        if not 0 < lines.count(b"Parameters") == lines.count(b"FixedParameters"):
            raise ScanError(path, "is cut short", "parameters and fixed parameters")
    elif suffix == ".mat" and not start.startswith((HDF5, TEXT)):
        _linear_bytes(path)
    else:
        raise ScanError(path, "is no transform that can be read", expected)
    try:
        return sitk.ReadTransform(str(path))
    except RuntimeError as error:
        raise ScanError(path, "is no transform that can be read", expected) from error


def _linear_bytes(path: Path) -> bytes:
    """The content of a short file; a field in one would claim any size before its first number."""
    content = path.read_bytes() if path.stat().st_size <= MAX_LINEAR_BYTES else b""
    if not content or b"DisplacementField" in content:
        raise ScanError(path, "holds more than a linear transform", "fields as .h5 or .nii.gz")
    return content


def _check_hdf5(path: Path) -> None:
    """Refuse what claims too much before ITK makes room for it."""
    import h5py

    expected = "transforms as ITK writes them"
    try:
        with h5py.File(path) as file:
            groups: Any = file["TransformGroup"]
            claimed = sum(part.nbytes for group in groups.values() for part in group.values())
    except Exception as error:  # h5py raises many kinds on damaged files
        raise ScanError(path, "is HDF5 but holds no intact transform", expected) from error
    if claimed > MAX_PIXEL_BYTES:
        limit = f"at most {MAX_PIXEL_BYTES >> 20} MiB"
        raise ScanError(path, "claims a larger field than can be held", limit)


def _flat(transform) -> list:
    """The parts of a transform in the order ITK applies them."""
    import SimpleITK as sitk

    if transform.GetName() != "CompositeTransform":
        return [transform]
    composite = sitk.CompositeTransform(transform)
    count = composite.GetNumberOfTransforms()
    return [p for i in reversed(range(count)) for p in _flat(composite.GetNthTransform(i))]


def _reduced(parts: list, path: Path) -> StoredTransform:
    import SimpleITK as sitk

    rank = parts[0].GetDimension() if parts else 0
    if rank not in (2, 3):
        raise ScanError(path, f"is a transform in {rank} dimensions", "2 or 3")
    matrix, field, grid = np.eye(rank + 1), None, None
    for part in parts:
        if part.IsLinear():
            matrix = _matrix(part) @ matrix
        elif part.GetName() == "DisplacementFieldTransform" and field is None:
            image = sitk.DisplacementFieldTransform(part).GetDisplacementField()
            check_sizes(str(path), image.GetSize(), 8 * rank)
            field, grid = _arrays(image)
            # u(Bx) = B(w(x)), w on the grid that B sends to u's
            back = np.linalg.inv(checked_matrix(matrix))
            field = (field @ back[:rank, :rank].T).astype(np.float32)
            grid = back @ grid
        else:
            expected = "linear transforms and at most one displacement field"
            raise ScanError(path, f"holds a {part.GetName()} that has no place here", expected)
    return StoredTransform(checked_matrix(matrix), field, grid)


def _matrix(transform) -> np.ndarray:
    """Whatever kind of linear transform it is, its matrix, from where it sends the axes."""
    rank = transform.GetDimension()
    told = np.eye(rank + 1)
    told[:rank, rank] = transform.TransformPoint([0.0] * rank)
    for axis, unit in enumerate(np.eye(rank)):
        told[:rank, axis] = transform.TransformPoint(unit.tolist()) - told[:rank, rank]
    return other_axes(told)
