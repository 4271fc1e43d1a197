"""A registration as a folder of files that other programs read."""

from __future__ import annotations

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.artifacts import write_whole
from ganatomy.scans import Scan, ScanError
from ganatomy.scans.planes import sheared
from registration.landmarks import write_points
from registration.pictures import write_pictures
from registration.registration import LIMIT, Registration, grid_of
from registration.slices import as_itk_has_it, itk_places
from registration.storing import stored
from registration.transform_files import write_transform
from registration.transforms import Affine

SUMMARY, ROW, PICTURES = "registration.json", "registration.csv", "registration.npz"
# Of summary and row alike: what is one number, text or yes and no.
COLUMNS = (
    *("fixed", "moving", "alignment_score", "failure", "failed", "overlap", "folds"),
    *("smallest_jacobian", "largest_jacobian", "log_jacobian_deviation", "unit"),
    *("median_displacement_mm", "largest_displacement_mm", "translate", "refinement", "seconds"),
)


def write_registration(
    found: Registration, folder: Path, *, model: str, points: Path | None = None
) -> dict[str, Any]:
    """Write a registration and what it carried along.

    `moved` is NIfTI for NIfTI, a folder of DICOM for a DICOM series, PNG and float32 TIFF for a
    picture; `transform` is what `write_transform` writes, of single slices with a header in ITK's
    coordinates, with a DICOM registration object between two series of one patient; `labels` and
    `points.csv` where they were given; a summary, also as the row of a table, and pictures for the
    report.

    Args:
        found: by `Registrar.register`.
        folder: exists; files of these names are written over.
        model: the preset's name.
        points: the file that the landmarks came from, whose other columns are kept.

    Returns:
        What the summary holds.

    Raises:
        ScanError: the transform bends on a sheared grid, which no file of a displacement field
            can tell; nothing is written.
        ScanError, WrongUse, OSError: something cannot be written.
    """
    if not isinstance(found.transform, Affine) and sheared(grid_of(found.fixed)):
        problem = "has a sheared grid, on which no displacement field can be written"
        raise ScanError(found.fixed.path, problem, "axes at right angles: resample it first")
    settings = {"model": model, "version": version("ganatomy")}
    remarks = list(found.remarks)
    files = _write_moved(found, folder, settings, remarks)
    files += _write_transform(found, folder, settings, remarks)
    if found.labels is not None:
        files.append(_write_labels(found, folder))
    if found.landmarks is not None and points is not None:
        write_points(folder / "points.csv", found.landmarks, points)
        files.append(folder / "points.csv")
        lost = int(np.isnan(found.landmarks).any(-1).sum())
        if lost:
            remarks.append(f"{points}: {lost} of {len(found.landmarks)} points lie nowhere")
    write_pictures(found, folder / PICTURES)
    summary = {**summary_of(found), "model": model, "remarks": remarks}
    summary["files"] = [file.relative_to(folder).as_posix() for file in files]
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2))
    with open(folder / ROW, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerow(["" if summary[name] is None else summary[name] for name in COLUMNS])
    return summary


def summary_of(found: Registration) -> dict[str, Any]:
    """The figures of a registration, by name; None where unknown.

    What a name says is in mm is in `unit`, which is pixels for pictures without a spacing.
    """
    jacobian = found.jacobian
    rising = jacobian[jacobian > 0]
    length = _displacements(found)
    figures = {
        "fixed": found.fixed.path,
        "moving": found.moving.path,
        "alignment_score": found.alignment_score,
        "failure": found.failure,
        "failed": found.failed,
        "limit_mm": LIMIT,
        "unit": found.unit,
        "overlap": found.overlap,
        "folds": found.folds,
        "smallest_jacobian": float(jacobian.min()),
        "largest_jacobian": float(jacobian.max()),
        "log_jacobian_deviation": float(np.log(rising).std()) if rising.size else None,
        "median_displacement_mm": float(np.median(length)),
        "largest_displacement_mm": float(length.max()),
        "seconds": found.seconds,
        **_translation(found),
        **_refinement(found),
    }
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in figures.items()
    }


def _translation(found: Registration) -> dict[str, Any]:
    """By what model's image of the moving scan it was aligned."""
    if found.translated_by is None:
        return {"translate": None}
    name, preset = found.translated_by
    return {"translate": name, "translate_preset": preset}


def _refinement(found: Registration) -> dict[str, Any]:
    """What was done to the network's transform, which is kept beside the refined one."""
    done = found.refinement
    if done is None:
        return {"refinement": "none"}
    points = _some_points(found)
    gap = np.linalg.norm(found.transform.map(points) - done.before.map(points), axis=-1)
    return {
        "refinement": done.reach,
        "refined_by_mm": float(gap.mean()),
        "information_before": done.information_before,
        "information": done.information,
        "seconds_refining": done.seconds,
        "matrix_before": done.before.matrix.tolist(),
    }


def _displacements(found: Registration) -> np.ndarray:
    """How far points of the fixed scan are from where they are found, mm, on some of its voxels."""
    points = _some_points(found)
    return np.linalg.norm(found.transform.map(points) - points, axis=-1)


def _some_points(found: Registration) -> np.ndarray:
    """Spread evenly over the fixed scan, [n, rank], mm."""
    shape, grid = found.fixed.shape, grid_of(found.fixed)
    axes = [np.unique(np.linspace(0, n - 1, min(n, 24)).round()) for n in shape]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    return index @ grid[:-1, :-1].T + grid[:-1, -1]


def _write_moved(
    found: Registration, folder: Path, settings: dict[str, Any], remarks: list[str]
) -> list[Path]:
    moved = found.moved
    if moved.kind == "dicom":
        try:
            return [_write_dicom(found, moved, folder, settings)]
        except ScanError as error:
            remarks.append(f"the moved scan is no DICOM: {error}")
    if moved.affine is not None:
        header = moved.header if moved.kind == "nifti" else None
        path = folder / "moved.nii.gz"
        pixels = moved.pixels[..., 0]
        if moved.channels > 1:  # colours are NIfTI's fifth dimension
            pixels = moved.pixels.reshape(*moved.shape, *[1] * (4 - moved.rank), moved.channels)
        _nifti(pixels, moved.affine, header).to_filename(path)
        return [path]
    from PIL import Image

    shade = found.moving.pixels
    low, high = float(shade.min()), float(shade.max())
    scale = 255 if high > 255 or low < 0 else high
    grey = moved.pixels if scale == high else 255 * (moved.pixels - low) / max(high - low, 1e-12)
    picture = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    Image.fromarray(picture[..., 0] if moved.channels == 1 else picture).save(folder / "moved.png")
    raw = Image.fromarray(moved.pixels.mean(-1).astype(np.float32))
    raw.save(folder / "moved.tif")
    return [folder / "moved.png", folder / "moved.tif"]


def _write_dicom(found: Registration, moved: Scan, folder: Path, settings: dict[str, Any]) -> Path:
    from ganatomy.scans.derived_image import derived_image
    from ganatomy.scans.derived_series import derived_series, write_series

    if moved.affine is None:  # a radiograph, which has no place in the patient
        path = folder / "moved.dcm"
        made = derived_image(moved, moved.pixels.mean(-1), "Moved", settings)
        made.save_as(path, enforce_file_format=True)
        return path
    files = derived_series(found.fixed, found.moving, moved.pixels[..., 0], "Moved", settings)
    return write_series(files, folder / "moved")


def _write_transform(
    found: Registration, folder: Path, settings: dict[str, Any], remarks: list[str]
) -> list[Path]:
    fixed, moving, stem = found.fixed, found.moving, folder / "transform"
    if not itk_places(fixed, moving):
        remarks.append(
            "the transform is in mm from the first pixels of the two slices, columns first: ITK "
            "has a place only for slices that lie across the patient"
        )
    transform = as_itk_has_it(stored(found), fixed, moving)
    if fixed.kind == moving.kind == "dicom" and fixed.affine is not None:
        try:
            if fixed.rank == 2:
                raise ScanError(fixed.path, "is a single slice", "two volumes")
            return write_transform(stem, transform, fixed=fixed, moving=moving, settings=settings)
        except ScanError as error:
            remarks.append(f"there is no DICOM registration object: {error}")
    return write_transform(stem, transform, settings=settings)


def _write_labels(found: Registration, folder: Path) -> Path:
    labels, affine = found.labels, found.fixed.affine
    assert labels is not None
    whole = np.rint(labels)
    kind = np.uint8 if whole.min() >= 0 and whole.max() <= 255 else np.int32
    if affine is not None:
        path = folder / "labels.nii.gz"
        _nifti(whole.astype(kind), affine, None).to_filename(path)
        return path
    from PIL import Image

    path = folder / ("labels.png" if kind == np.uint8 else "labels.tif")
    Image.fromarray(whole.astype(kind)).save(path)
    return path


def _nifti(array: np.ndarray, affine: np.ndarray, header: Any) -> Any:
    """An image with another's header but for its grid."""
    import nibabel

    kept = None if header is None else header.copy()
    two = isinstance(kept, nibabel.Nifti2Header)
    image = (nibabel.Nifti2Image if two else nibabel.Nifti1Image)(array, affine, kept)
    image.header.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm")
    # Both places say the same, or other programs might believe the one that was the moving scan's.
    code = int(image.header["sform_code"]) or 1
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    return image
