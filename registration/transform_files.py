"""A transform written for every program that may ask for it, and read from any of these files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganatomy.scans.safety import read_start
from ganatomy.scans.scan import Scan
from registration.conventions import StoredTransform, total_field
from registration.itk_files import write_affine, write_composite, write_field
from registration.itk_reading import read_itk


def write_transform(
    stem: str | Path,
    transform: StoredTransform,
    *,
    fixed: Scan | None = None,
    moving: Scan | None = None,
    title: str = "Registration",
    settings: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a transform as ITK files and, between two DICOM series, as a registration object.

    Without a field: `STEM.tfm`. With one: `STEM.h5`, the composite of field and matrix, and
    `STEM-field.nii.gz`, a displacement field that does what both do, within its grid. With both
    scans: `STEM.dcm` as well, which is made first, so that nothing is left behind by an error.

    Args:
        stem: the path without suffix; its folder exists.
        transform: of fixed points to moving points; of single slices with a header, see
            `registration.slices.as_itk_has_it`.
        fixed: the DICOM series whose study takes the object; None for no object.
        moving: the other DICOM series.
        title: of the object's series.
        settings: 'model' and 'version' name the object's equipment.

    Returns:
        The files written.

    Raises:
        ScanError: scans that no registration object can refer to.
        WrongUse: a path that cannot be written.
        ValueError: arrays that are no transform, see `write_affine` and `write_field`.
    """
    stem = Path(stem)
    matrix, field, grid = transform[:3]
    made = None
    if fixed is not None and moving is not None:
        from registration import dicom_registration as dicom

        stated = {"title": title, "settings": settings or {}}
        if field is None or grid is None:
            made = dicom.spatial_registration(fixed, moving, matrix, **stated)
        else:
            made = dicom.deformable_registration(fixed, moving, matrix, field, grid, **stated)

    def named(suffix: str) -> Path:
        return stem.with_name(stem.name + suffix)

    if field is None or grid is None:
        written = [named(".tfm")]
        write_affine(written[0], matrix)
    else:
        whole = total_field(matrix, field, grid)
        written = [named(".h5"), named("-field.nii.gz")]
        write_composite(written[0], matrix, field, grid)
        write_field(written[1], whole, grid)
    if made is not None:
        written.append(named(".dcm"))
        made.save_as(written[-1], enforce_file_format=True)
    return written


def read_transform(path: str | Path) -> StoredTransform:
    """Read a transform from an ITK or ANTs file, a displacement field or a DICOM object.

    Args:
        path: `.tfm`, `.txt`, `.mat`, `.h5`, `.nii`, `.nii.gz`, or DICOM, by its content.

    Returns:
        It sends points of the fixed scan to the moving scan, in mm RAS, whatever the file's own
        direction and axes. Of single slices with a header it is what ITK has, see
        `registration.slices.as_scans_have_it`.

    Raises:
        ScanError: no transform, damaged, or one that cannot be used.
    """
    if read_start(Path(path))[128:132] == b"DICM":
        from registration.dicom_reading import read_registration

        return read_registration(path)
    return read_itk(path)
