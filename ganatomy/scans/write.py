"""Maps and masks on a scan's grid, written as the kind of file that came in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.scans.scan import Scan


def write_map(
    scan: Scan,
    array: np.ndarray,
    path_stem: str | Path,
    *,
    title: str,
    settings: Mapping[str, Any],
) -> list[Path]:
    """Write a map: NIfTI for NIfTI, a DICOM parametric map for DICOM, an overlay for a picture.

    DICOM without a place in the patient, as a radiograph is, gets a 16-bit secondary capture
    with a rescale: a parametric map needs positions. A picture's map is `.png` (the heat over
    the picture in grey, of the picture's size) and `.tif` (the float32 values). NaN, where the
    model saw nothing, is kept (in a secondary capture as its padding value).
    DICOM and NIfTI maps carry the scan's identity over, as an archive needs.

    Args:
        scan: what was scored.
        array: `[i, j(, k)]`, the scan's grid.
        path_stem: the path without suffix; its folder exists.
        title: what the map shows, e.g. 'Anomaly map'.
        settings: of what made it: 'model', 'version', and where known 'threshold' and 'high'
            (the value that gets the hottest colour; else the map's 99.5th percentile).

    Returns:
        The files written.

    Raises:
        ValueError: the array is not on the scan's grid.
    """
    array = np.asarray(array, np.float32)
    if array.shape != scan.shape:
        raise ValueError(f"the map has shape {array.shape}, the scan {scan.shape}")
    stem = Path(path_stem)
    if scan.kind == "dicom":
        from ganatomy.scans.derived_image import derived_image
        from ganatomy.scans.parametric_map import parametric_map

        path = stem.with_name(stem.name + ".dcm")
        make = derived_image if scan.affine is None else parametric_map
        make(scan, array, title, settings).save_as(path, enforce_file_format=True)
        return [path]
    if scan.affine is not None:
        path = stem.with_name(stem.name + ".nii.gz")
        _nifti(scan, array, title, settings).to_filename(path)
        return [path]
    if scan.rank == 2:
        from ganatomy.scans.overlay import overlay, raw

        picture = stem.with_name(stem.name + ".png")
        values = stem.with_name(stem.name + ".tif")
        overlay(scan, array, settings.get("high")).save(picture)
        raw(array).save(values)
        return [picture, values]
    path = stem.with_name(stem.name + ".npy")  # a bare array has no place to write down
    np.save(path, array)
    return [path]


def write_mask(
    scan: Scan,
    mask: np.ndarray,
    path_stem: str | Path,
    *,
    title: str,
    settings: Mapping[str, Any],
) -> Path:
    """Write a mask: NIfTI (0, 1) for NIfTI, a DICOM segmentation for DICOM, a PNG for a picture.

    DICOM without a place in the patient, as a radiograph is, gets a secondary capture of 0 and 1:
    a segmentation needs a frame of reference. A PNG is black and white; a bare array stays one.

    Args:
        scan: what was looked at.
        mask: bool `[i, j(, k)]`, the scan's grid.
        path_stem: the path without suffix; its folder exists.
        title: what the mask marks, e.g. 'Lesions'.
        settings: see `write_map`.

    Returns:
        The file written.

    Raises:
        ScanError: a DICOM header that nothing can be derived from.
        ValueError: the mask is not on the scan's grid.
    """
    mask = np.asarray(mask, bool)
    if mask.shape != scan.shape:
        raise ValueError(f"the mask has shape {mask.shape}, the scan {scan.shape}")
    stem = Path(path_stem)

    def named(suffix: str) -> Path:
        return stem.with_name(stem.name + suffix)

    if scan.kind == "dicom":
        from ganatomy.scans.derived_image import derived_image
        from ganatomy.scans.segmentation import segmentation

        if scan.affine is None:
            made = derived_image(scan, mask.astype(np.float32), title, settings)
        else:
            made = segmentation(scan, mask, title, settings)
        made.save_as(named(".dcm"), enforce_file_format=True)
        return named(".dcm")
    if scan.affine is not None:
        _nifti(scan, mask.astype(np.uint8), title, settings).to_filename(named(".nii.gz"))
        return named(".nii.gz")
    if scan.rank == 2:
        from PIL import Image

        Image.fromarray(mask).save(named(".png"))
        return named(".png")
    np.save(named(".npy"), mask)
    return named(".npy")


def _nifti(scan: Scan, array: np.ndarray, title: str, settings: Mapping[str, Any]):
    import nibabel as nib

    header = scan.header.copy() if scan.header is not None else nib.Nifti1Header()
    header.extensions.clear()  # they describe the scan's own making
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = image_class(array, scan.affine, header)
    image.header.set_data_dtype(array.dtype)
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm")
    image.header["cal_min"] = image.header["cal_max"] = 0
    text = f"{title} {settings.get('model', '')} {settings.get('version', '')}".strip()
    image.header["descrip"] = text.encode("ascii", "replace")[:79]
    return image
