"""DICOM: one file, a multi-frame file, or a folder that holds one series."""

import hashlib
import logging
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from ganatomy.scans.dicom_header import light, numbers, open_dicom, text
from ganatomy.scans.dicom_pixels import claim, decode, functional_group, pixel_spacing, units_of
from ganatomy.scans.dose import dose_planes, dose_scaling, is_dose
from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import Plane, stack
from ganatomy.scans.safety import MAX_FRAMES, MAX_PIXEL_BYTES, check_pixels
from ganatomy.scans.scan import Scan

log = logging.getLogger(__name__)


def read_dicom(source: Path | bytes, name: str, window: bool, max_pixels: int | None) -> Scan:
    """One DICOM file: a slice or radiograph (rank 2), or a multi-frame volume (rank 3).

    A slice keeps its full affine; its third column is the slice thickness along the normal
    (1 mm where none is given), which says nothing about its neighbours. A radiotherapy dose is a
    volume in Gy.

    Raises:
        ScanError: see decode and stack; also frames without positions.
    """
    dataset = open_dicom(source, name)
    check_pixels(name, claim(dataset, name).pixels, max_pixels)
    pixels = decode(dataset, name, window)
    if is_dose(dataset):
        pixels = pixels * np.float32(dose_scaling(dataset, name))
    notes: list[str] = []
    if len(pixels) == 1:
        pixels, affine = pixels[0], None
        holder = _plane_holder(dataset, 0)
        if holder is not None:
            plane = _plane(holder, name)
            affine = plane.affine(plane.normal * _thickness(holder))
    else:
        planes = _frames(dataset, len(pixels), name)
        order, affine, notes = stack(planes, name)
        pixels = np.moveaxis(pixels[order], 0, 2)
    header = light(dataset)
    notes += _mend_identifiers([header], name)
    return _scan(pixels, affine, [header], name, notes, window)


def _frames(dataset: Dataset, count: int, name: str) -> list[Plane]:
    """Where the frames of a multi-frame file lie."""
    holders = [_plane_holder(dataset, i) for i in range(count)]
    if is_dose(dataset) and holders[0] is not None:
        return dose_planes(_plane(holders[0], name), dataset, count)
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame or len(per_frame) != count or any(h is None for h in holders):
        problem = f"has {count} frames without a position each"
        raise ScanError(name, problem, "one image, or functional groups that place each frame")
    planes = [_plane(h, name) for h in holders if h is not None]
    _check_parallel(planes, name)
    return planes


def read_series(folder: Path, files: list[Path], window: bool, max_pixels: int | None) -> Scan:
    """A folder whose files are the slices of one series, ordered along the slice normal.

    Raises:
        ScanError: files of several series or shapes, duplicates, missing or unequal slices.
    """
    if len(files) > MAX_FRAMES:
        raise ScanError(folder, f"holds {len(files)} files", f"at most {MAX_FRAMES} slices")
    planes, headers, slices, held, claimed = [], [], [], 0, 0
    for file in files:
        dataset = open_dicom(file, str(file))
        holder = _plane_holder(dataset, 0)
        if holder is None:
            problem = "has no ImagePositionPatient, so its place in the series is unknown"
            raise ScanError(file, problem, "a slice with position and orientation")
        claimed += claim(dataset, str(file)).pixels
        check_pixels(str(folder), claimed, max_pixels)
        pixels = decode(dataset, str(file), window)
        if len(pixels) != 1:
            raise ScanError(file, "is a multi-frame file among others", "one file alone")
        held += pixels.nbytes
        if held > MAX_PIXEL_BYTES:
            limit = f"at most {MAX_PIXEL_BYTES >> 20} MiB"
            raise ScanError(folder, "holds more pixels than can be held", limit)
        planes.append(_plane(holder, str(file)))
        headers.append(light(dataset))
        slices.append(pixels[0])
    notes = _mend_identifiers(headers, str(folder))
    _check_one_series(headers, planes, slices, folder)
    order, affine, remarks = stack(planes, str(folder))
    pixels = np.stack([slices[i] for i in order], axis=2)
    headers = [headers[i] for i in order]
    return _scan(pixels, affine, headers, str(folder), notes + remarks, window)


def _scan(
    pixels, affine, headers: list[Dataset], name: str, notes: list[str], window: bool
) -> Scan:
    if notes:
        log.warning("%s: %s", name, "; ".join(notes))
    return Scan(
        pixels,
        affine,
        # a display window leaves shades behind, whatever they were made of
        "unknown" if window else units_of(headers[0]),  # pyright: ignore[reportArgumentType]
        text(headers[0], "Modality") or "unknown",
        name,
        "dicom",
        headers,
        notes,
    )


def _plane_holder(dataset: Dataset, index: int) -> Dataset | None:
    """A data set with position, orientation and spacing of a frame; None if it has no place."""
    if "ImagePositionPatient" in dataset and "ImageOrientationPatient" in dataset:
        return dataset
    merged = Dataset()
    for keyword in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
        group = functional_group(dataset, index, keyword)
        if not group:
            return None
        merged.update(group[0])
    return merged


def _plane(holder: Dataset, name: str) -> Plane:
    orientation = np.array(numbers(holder, "ImageOrientationPatient", 6, name))
    position = np.array(numbers(holder, "ImagePositionPatient", 3, name))
    spacing = pixel_spacing(holder, name)
    return Plane(name, position, orientation[:3], orientation[3:], spacing)


def _thickness(holder: Dataset) -> float:
    try:
        value = float(text(holder, "SliceThickness"))
    except ValueError:
        return 1.0
    return value if 0 < value < 1000 else 1.0


def _check_parallel(planes: list[Plane], name: str) -> None:
    first = planes[0]
    for plane in planes[1:]:
        if _differs(plane, first):
            raise ScanError(name, "mixes orientations or pixel spacings", "parallel slices")


def _differs(a: Plane, b: Plane) -> str:
    turned = np.abs(a.along_row - b.along_row).max(), np.abs(a.along_column - b.along_column).max()
    if max(turned) > 1e-3:
        return "ImageOrientationPatient"
    if np.abs(np.subtract(a.spacing, b.spacing)).max() > 1e-4:
        return "PixelSpacing"
    return ""


def _check_one_series(headers, planes, slices, folder: Path) -> None:
    instances: dict[str, str] = {}
    for header, plane, pixels in zip(headers, planes, slices, strict=True):
        different = ""
        for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID"):
            if text(header, keyword) != text(headers[0], keyword):
                different = keyword
        if pixels.shape != slices[0].shape:
            different = different or "Rows, Columns or channels"
        different = different or _differs(plane, planes[0])
        if different:
            files = f"{Path(planes[0].name).name} and {Path(plane.name).name} differ"
            problem = f"mixes several series: {files} in {different}"
            raise ScanError(folder, problem, "the slices of one series and nothing else")
        instance = text(header, "SOPInstanceUID")
        if instance in instances:
            pair = f"{Path(instances[instance]).name} and {Path(plane.name).name}"
            problem = f"holds a slice twice: {pair}"
            raise ScanError(folder, problem, "each SOPInstanceUID once")
        instances[instance] = plane.name


def _mend_identifiers(headers: list[Dataset], name: str) -> list[str]:
    """Fill empty identifiers from the meta header; one new study and series for the folder."""
    notes: set[str] = set()
    sources = {"SOPClassUID": "MediaStorageSOPClassUID"}
    sources["SOPInstanceUID"] = "MediaStorageSOPInstanceUID"
    for header in headers:
        for keyword, source in sources.items():
            if not text(header, keyword) and text(header.file_meta, source):
                setattr(header, keyword, header.file_meta[source].value)
                notes.add(f"{keyword} was empty and is taken from the meta header")
    instances = sorted(text(header, "SOPInstanceUID") for header in headers)
    seed = hashlib.sha256("\n".join(instances).encode()).hexdigest()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if all(not text(header, keyword) for header in headers):
            made = generate_uid(entropy_srcs=[keyword, seed])
            for header in headers:
                setattr(header, keyword, made)
            notes.add(f"{keyword} was empty; one new identifier stands for the whole scan")
    return sorted(notes)
