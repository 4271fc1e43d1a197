"""Paths and uploads to scans."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.nifti import nifti_version, read_nifti
from ganatomy.scans.picture import read_picture
from ganatomy.scans.safety import MAX_FILE_BYTES, check_path, read_start
from ganatomy.scans.scan import Scan

ANY_SCAN = "a DICOM, NIfTI, PNG, JPEG or TIFF file"
SIDE_SUFFIXES = {".txt", ".md", ".csv", ".tsv", ".json", ".html", ".yaml", ".yml", ".xml", ".pdf"}
KNOWN_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii"}


def read_scan(
    source: str | os.PathLike | bytes,
    *,
    window: bool = False,
    name: str | None = None,
    constant: bool = False,
    max_pixels: int | None = None,
) -> Scan:
    """Read one scan: a DICOM file, the folder of a DICOM series, NIfTI, PNG, JPEG or TIFF.

    What a file is is told by its content, not by its name.

    Args:
        source: a path, or a file's content as bytes.
        window: DICOM: apply the file's own first display window (VOI table or window).
        name: what errors and `Scan.path` call it; the path itself by default.
        constant: accept pixels that are all the same, as those of an empty mask are.
        max_pixels: rows × columns × frames or slices × samples a pixel that are decoded at
            most; what claims more is refused before. None: the bounds that hold for any file.

    Raises:
        ScanError: anything that cannot be read as one scan, in one line.
    """
    called = name or ("upload" if isinstance(source, bytes) else str(source))
    try:
        scan = _read(source, called, window, max_pixels)
    except MemoryError as error:
        raise ScanError(called, "needs more memory than there is", "a smaller scan") from error
    scan.path = called
    if not np.isfinite(scan.pixels).all():
        raise ScanError(scan.path, "has pixels that are not finite (NaN or infinite)", "numbers")
    if not constant and scan.pixels.min() == scan.pixels.max():
        raise ScanError(scan.path, "is constant: every pixel is the same", "an image")
    return scan


def _read(
    source: str | os.PathLike | bytes, name: str, window: bool, max_pixels: int | None
) -> Scan:
    if isinstance(source, bytes):
        return _read_file(source, source[:540], name, window, max_pixels)
    path = Path(source)
    check_path(path)
    if path.is_dir():
        return _read_folder(path, window, max_pixels)
    return _read_file(path, read_start(path, 540), name, window, max_pixels)


def sniff(start: bytes) -> str:
    """'dicom', 'nifti', 'gzip', 'picture' or '' by the first 540 bytes of a file."""
    if start[128:132] == b"DICM":
        return "dicom"
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    if start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")):
        return "picture"
    return "nifti" if nifti_version(start) else ""


def _read_file(
    source: Path | bytes, start: bytes, name: str, window: bool, max_pixels: int | None
) -> Scan:
    if isinstance(source, bytes) and not source:
        raise ScanError(name, "is empty", ANY_SCAN)
    if isinstance(source, bytes) and len(source) > MAX_FILE_BYTES:
        raise ScanError(name, "is too large", f"at most {MAX_FILE_BYTES >> 20} MiB")
    kind = sniff(start)
    if kind == "dicom":
        from ganatomy.scans.dicom import read_dicom

        return read_dicom(source, name, window, max_pixels)
    if kind in ("nifti", "gzip"):
        return read_nifti(source, name, kind == "gzip", max_pixels)
    if kind == "picture":
        return read_picture(source, name, max_pixels)
    suffix = Path(name).suffix.lower()
    if suffix in (".dcm", ".dicom"):
        raise ScanError(name, "has no DICOM preamble", "a DICOM file as PS3.10 defines it")
    raise ScanError(name, "is no image that can be read", ANY_SCAN)


def _read_folder(folder: Path, window: bool, max_pixels: int | None) -> Scan:
    from ganatomy.scans.dicom import read_dicom, read_series

    files = series_files(folder)
    if len(files) == 1:
        return read_dicom(files[0], str(files[0]), window, max_pixels)
    return read_series(folder, files, window, max_pixels)


def series_files(folder: Path) -> list[Path]:
    """The files of a folder that holds one DICOM series, sorted by name.

    Raises:
        ScanError: there are none, or one of them is not DICOM.
    """
    files = [p for p in _entries(folder) if not _is_side_file(p)]
    if not files:
        raise ScanError(folder, "is an empty folder", "the slices of one DICOM series")
    folders = [p for p in files if p.is_dir() and not p.is_symlink()]
    if len(folders) == len(files):
        raise ScanError(folder, "holds only folders", "the slices of one DICOM series")
    files = [p for p in files if p not in folders]
    for file in files:
        if sniff(read_start(file)) != "dicom":
            raise ScanError(file, "is not DICOM", "nothing but the slices of one series")
    return files


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(entry for entry in os.listdir(folder) if not entry.startswith("."))
    except OSError as error:
        raise ScanError(folder, "may not be read", "a readable folder") from error
    return [folder / entry for entry in names]


def _is_side_file(path: Path) -> bool:
    return path.suffix.lower() in SIDE_SUFFIXES or path.name.upper() == "DICOMDIR"


def find_scans(path: str | os.PathLike) -> list[Path]:
    """Every scan at or below a path, sorted.

    A folder with several DICOM slices of one series is one scan. Pictures, NIfTI files and
    DICOM files without a place in a series are scans of their own. Hidden files and obvious
    side files (text, tables, DICOMDIR) are left out; any other file is kept, so that reading
    it reports what is wrong. Links are kept, never followed.

    Raises:
        ScanError: the path does not exist or may not be read.
    """
    root = Path(path)
    if not root.is_dir():
        check_path(root)
        return [root]
    found: list[Path] = []
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        unknown: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                        continue
                    suffix = os.path.splitext(entry.name)[1].lower()
                    if suffix in KNOWN_SUFFIXES or entry.name.lower().endswith(".nii.gz"):
                        found.append(Path(entry.path))
                    elif suffix not in SIDE_SUFFIXES and entry.name.upper() != "DICOMDIR":
                        unknown.append(entry.path)
        except OSError as error:
            if folder == root:
                raise ScanError(root, "may not be read", "a readable folder") from error
            found.append(folder)
            continue
        found.extend(_group(folder, unknown))
    return sorted(found)


def _group(folder: Path, files: list[str]) -> list[Path]:
    """The folder if its DICOM files form a series (two slices or more), else each file."""
    series = {file: _series_of(file) for file in files} if len(files) > 1 else {}
    counts = Counter(s for s in series.values() if s is not None)
    if counts and max(counts.values()) > 1:
        # strangers among the slices stay inside: reading the folder names them
        return [folder]
    return [Path(file) for file in files]


def _series_of(file: str) -> str | None:
    """The series of a slice that has a place in the patient; None for anything else."""
    from ganatomy.scans.dicom_header import peek, text

    try:
        if sniff(read_start(Path(file))) != "dicom":
            return None
        tags = ["SeriesInstanceUID", "ImagePositionPatient", "NumberOfFrames"]
        header = peek(Path(file), tags)
    except ScanError:  # reading the file itself will say what is wrong with it
        return None
    if not text(header, "ImagePositionPatient") or text(header, "NumberOfFrames") not in ("", "1"):
        return None
    return text(header, "SeriesInstanceUID")
