"""Transforms written as ITK, ANTs, elastix and 3D Slicer read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganatomy.errors import WrongUse
from registration.conventions import (
    axes,
    checked_field,
    checked_matrix,
    other_axes,
    rigid,
    straight,
)

HDF5_SUFFIXES = (".h5", ".hdf5")
TEXT_SUFFIXES = (".tfm", ".txt")
LINEAR_SUFFIXES = (*TEXT_SUFFIXES, ".mat", *HDF5_SUFFIXES)
FIELD_SUFFIXES = (".nii", ".nii.gz")


def write_affine(path: str | Path, matrix: np.ndarray, centre: np.ndarray | None = None) -> None:
    """Write a matrix as an ITK transform of fixed points to moving points, in LPS.

    What is rigid becomes an Euler3DTransform (Euler2DTransform), anything else an
    AffineTransform. A rotation that is one to 1e-6 only is written as the nearest exact one.

    Args:
        path: `.tfm` or `.txt` (text), `.mat` or `.h5`; the folder exists.
        matrix: `[4, 4]`, fixed mm RAS to moving mm RAS; 2D: `[3, 3]`, `[row, column]`.
        centre: mm; the point the rotation is told about, which does not change the map.

    Raises:
        WrongUse: another suffix, or a path that cannot be written.
        ValueError: a matrix that is no invertible affine map.
    """
    _check_suffix(path, LINEAR_SUFFIXES)
    _write(_linear(matrix, centre), path)


def write_field(path: str | Path, field: np.ndarray, grid: np.ndarray) -> None:
    """Write a displacement field as NIfTI: `[X, Y, Z, 1, 3]`, intent 1007, components in LPS.

    ITK and ANTs take it as a transform: `moved(x) = moving(x + u(x))`, in 2D as a field of two
    components. Outside the grid they displace nothing.

    Args:
        path: `.nii` or `.nii.gz`; the folder exists.
        field: float32 `[*grid, 3]`, mm RAS; 2D: `[*grid, 2]`, `[row, column]`.
        grid: voxel to mm RAS, `[4, 4]`; 2D: `[3, 3]`.

    Raises:
        WrongUse: another suffix, or a path that cannot be written.
        ValueError: a field that does not fit its grid, is not finite, or a sheared grid.
    """
    import SimpleITK as sitk

    _check_suffix(path, FIELD_SUFFIXES)
    image = _image(*straight(*checked_field(field, grid)))
    try:
        sitk.WriteImage(image, str(path))
    except RuntimeError as error:
        raise WrongUse(f"{path}: cannot be written; expected an existing folder") from error


def write_composite(
    path: str | Path,
    matrix: np.ndarray,
    field: np.ndarray,
    grid: np.ndarray,
    centre: np.ndarray | None = None,
) -> None:
    """Write field and matrix as one ITK composite transform, `x -> matrix(x + u(x))`.

    ITK applies what was added last first; the field comes last in the file, so that it is asked
    on the fixed scan's grid, as in ANTs' composites.

    Args:
        path: `.h5`; the folder exists.
        matrix: `[4, 4]`, mm RAS, applied after the field; 2D: `[3, 3]`.
        field: float32 `[*grid, 3]`, mm RAS; 2D: `[*grid, 2]`.
        grid: voxel to mm RAS.
        centre: mm; see `write_affine`.

    Raises:
        WrongUse: another suffix, or a path that cannot be written.
        ValueError: see `write_affine` and `write_field`; ranks that differ.
    """
    import SimpleITK as sitk

    _check_suffix(path, HDF5_SUFFIXES)
    image = _image(*checked_field(field, grid))  # unlike an image's, this grid may be sheared
    linear = _linear(matrix, centre)
    if linear.GetDimension() != image.GetDimension():
        raise ValueError("matrix and field differ in rank; expected both 2D or both 3D")
    composite = sitk.CompositeTransform(linear.GetDimension())
    composite.AddTransform(linear)
    composite.AddTransform(
        sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))
    )
    _write(composite, path)


def _linear(matrix: np.ndarray, centre: np.ndarray | None):
    import SimpleITK as sitk

    matrix = checked_matrix(matrix)
    rank = len(matrix) - 1
    middle = axes(rank) @ (np.zeros(rank) if centre is None else np.asarray(centre, float))
    exact = rigid(matrix)
    told = other_axes(matrix if exact is None else exact)
    linear, offset = told[:rank, :rank], told[:rank, rank]
    if exact is None:
        transform = sitk.AffineTransform(rank)
    else:
        transform = sitk.Euler3DTransform() if rank == 3 else sitk.Euler2DTransform()
    transform.SetCenter(middle.tolist())
    transform.SetMatrix(linear.ravel().tolist())
    transform.SetTranslation((offset + linear @ middle - middle).tolist())
    return transform


def _image(field: np.ndarray, grid: np.ndarray):
    """The field as ITK's image: in 3D with its own order of axes, in 2D columns first."""
    import SimpleITK as sitk

    rank = len(grid) - 1
    vectors = field @ axes(rank).T.astype(np.float32)
    columns = axes(rank) @ grid[:rank, :rank]
    if rank == 3:
        vectors = vectors.transpose(2, 1, 0, 3)  # SimpleITK's arrays run backwards
    else:
        columns = columns[:, ::-1]
    spacing = np.linalg.norm(columns, axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(vectors), isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((columns / spacing).ravel().tolist())
    image.SetOrigin((axes(rank) @ grid[:rank, rank]).tolist())
    return image


def _write(transform, path: str | Path) -> None:
    import SimpleITK as sitk

    try:
        sitk.WriteTransform(transform, str(path))
    except RuntimeError as error:
        raise WrongUse(f"{path}: cannot be written; expected an existing folder") from error


def _check_suffix(path: str | Path, suffixes: tuple[str, ...]) -> None:
    if suffix_of(path) not in suffixes:
        raise WrongUse(f"{path}: another suffix was expected: {', '.join(suffixes)}")


def suffix_of(path: str | Path) -> str:
    """What a file name ends in, in lower case; `.nii.gz` is one suffix."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix
