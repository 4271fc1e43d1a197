"""Bounds that hold before anything is decoded: a file may claim or unfold to any size."""

import gzip
import io
import logging
import math
import os
import stat
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

from ganatomy.scans.errors import ScanError

MAX_FILE_BYTES = 2 << 30
MAX_PIXEL_BYTES = 2 << 30
MAX_INFLATED_BYTES = 512 << 20
MAX_SIDE = 16384
MAX_FRAMES = 4096
MAX_DEPTH = 16  # real headers nest sequences three or four deep


def check_path(path: Path) -> os.stat_result:
    """The stat of a file or folder that exists and is neither link nor device.

    Raises:
        ScanError: missing, a link, or something special such as a pipe.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError as error:
        raise ScanError(path, "does not exist", "a file or a folder") from error
    except OSError as error:
        raise ScanError(path, "cannot be opened", "a readable file or folder") from error
    if stat.S_ISLNK(status.st_mode):
        raise ScanError(path, "is a link", "the file itself (links are not followed)")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ScanError(path, "is not a regular file", "a file or a folder")
    return status


def read_start(path: Path, length: int = 512) -> bytes:
    """The first bytes of a regular, readable file of bounded size."""
    status = check_path(path)
    if status.st_size == 0:
        raise ScanError(path, "is empty", "a DICOM, NIfTI, PNG, JPEG or TIFF file")
    if status.st_size > MAX_FILE_BYTES:
        raise ScanError(path, f"has {status.st_size >> 20} MiB", f"at most {MAX_FILE_BYTES >> 20}")
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except PermissionError as error:
        raise ScanError(path, "may not be read (permission denied)", "a readable file") from error
    except OSError as error:
        raise ScanError(path, "cannot be read", "a readable file") from error


def check_sizes(
    name: str, shape: tuple[int, ...], bytes_each: float, frames: int = 1, samples: int = 1
) -> None:
    """Refuse a claimed grid that is empty, too wide or too large to hold.

    Args:
        name: the file.
        shape: pixels along each axis of one frame, or of a volume.
        bytes_each: bytes of one sample.
        frames: how many frames.
        samples: samples a pixel.
    """
    if any(not 1 <= side <= MAX_SIDE for side in shape):
        raise ScanError(name, "claims an impossible image size", f"1 to {MAX_SIDE} pixels a side")
    if not 1 <= frames <= MAX_FRAMES:
        raise ScanError(name, f"claims {frames} frames", f"1 to {MAX_FRAMES}")
    if math.prod(shape) * frames * samples * bytes_each > MAX_PIXEL_BYTES:
        limit = f"at most {MAX_PIXEL_BYTES >> 20} MiB"
        raise ScanError(name, "claims more pixels than can be held", limit)


def check_pixels(name: str, claimed: int, most: int | None) -> None:
    """Refuse more pixels than the caller's own bound, where it has one.

    Args:
        name: the file or folder.
        claimed: pixels of all frames or slices, times samples a pixel.
        most: the bound; None for none but `check_sizes`.
    """
    if most is not None and claimed > most:
        raise ScanError(name, f"claims {claimed} pixels", f"at most {most}")


def read_gzip(name: str, source: Path | bytes, length: int) -> bytes:
    """At most `length` unpacked bytes of a gzip stream, however much it would unfold to."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    try:
        with stream, gzip.GzipFile(fileobj=stream) as unpacked:
            return unpacked.read(length)
    except (OSError, EOFError, zlib.error) as error:
        raise ScanError(name, "is a damaged gzip file", "an intact .nii.gz") from error


def check_deflated(name: str, packed: bytes) -> None:
    """Refuse a deflated data set that unfolds beyond the bound (1 MB may hold 2 GB)."""
    unpacker, size, waiting = zlib.decompressobj(-zlib.MAX_WBITS), 0, packed
    try:
        while waiting and not unpacker.eof:
            size += len(unpacker.decompress(waiting, 1 << 20))
            if size > MAX_INFLATED_BYTES:
                limit = f"at most {MAX_INFLATED_BYTES >> 20} MiB"
                raise ScanError(name, "is deflated and unfolds too far", limit)
            waiting = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ScanError(name, "is a damaged deflated DICOM file", "an intact stream") from error


@contextmanager
def quiet():
    """Silence readers whose warnings and log lines quote values of the file."""
    loggers = [logging.getLogger(n) for n in ("pydicom", "nibabel", "PIL", "pylibjpeg")]
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, state in zip(loggers, before, strict=True):
                logger.disabled = state
