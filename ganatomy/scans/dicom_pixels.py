"""Stored DICOM values to the values they stand for."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import UID, RLELossless

from ganatomy.scans.dicom_header import PIXEL_KEYWORDS, numbers, text, whole
from ganatomy.scans.dose import dose_units, is_dose
from ganatomy.scans.errors import ScanError
from ganatomy.scans.safety import check_sizes, quiet


class Claim(NamedTuple):
    """The pixels that a header says there are.

    Attributes:
        samples: stored for a pixel; a palette's single one becomes three.
        stored: bits of a sample.
        pixels: of all frames, each counted once a decoded sample.
    """

    rows: int
    columns: int
    frames: int
    samples: int
    stored: int
    pixels: int


def claim(dataset: Dataset, name: str) -> Claim:
    """What a header claims, after the checks that hold for any file.

    Raises:
        ScanError: impossible, or more than can be held.
    """
    rows, columns = whole(dataset, "Rows", name), whole(dataset, "Columns", name)
    frames = whole(dataset, "NumberOfFrames", name, 1)
    samples = whole(dataset, "SamplesPerPixel", name, 1)
    stored = whole(dataset, "BitsAllocated", name)
    if samples not in (1, 3, 4) or stored not in (1, 8, 16, 32, 64):
        raise ScanError(name, "has an unknown form of pixels", "1 or 3 samples of 1 to 64 bits")
    colours = 3 if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR" else samples
    check_sizes(name, (rows, columns), max(4, stored / 8), frames, colours)
    return Claim(rows, columns, frames, samples, stored, rows * columns * frames * colours)


def decode(dataset: Dataset, name: str, window: bool) -> np.ndarray:
    """Decoded pixels, float32 `[frame, row, column, c]`.

    Rescale slope and intercept (or the modality table) are applied, MONOCHROME1 is inverted
    so that more is brighter, palettes and YBR become RGB.

    Args:
        dataset: from open_dicom, with its pixels.
        name: what errors call it.
        window: apply the file's own first VOI window or table.

    Raises:
        ScanError: impossible or untrue claims, an unknown transfer syntax, damaged pixels.
    """
    rows, columns, frames, samples, stored, _ = claim(dataset, name)
    keyword = next((k for k in PIXEL_KEYWORDS if k in dataset), None)
    if keyword is None:
        raise ScanError(name, "is DICOM but holds no pixels", "PixelData")
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        problem = "has a transfer syntax that is not a still image's"
        raise ScanError(name, problem, "uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000") from error
    plugin = ""
    if syntax.is_encapsulated:
        _check_encapsulated(dataset, name, rows, columns, frames, samples * stored / 8)
        # pylibjpeg's RLE raises past `except Exception` on hostile input
        plugin = "pydicom" if syntax == RLELossless else "pylibjpeg"
    with quiet():
        try:
            values, _ = decoder.as_array(dataset, decoding_plugin=plugin, raw=False)
        except MemoryError:
            raise
        except Exception as error:
            raise ScanError(name, "has damaged or missing pixels", "intact PixelData") from error
        shape = (frames, rows, columns, samples)
        if values.size != math.prod(shape):
            raise ScanError(name, "holds other pixels than it claims", "Rows × Columns × frames")
        values = values.reshape(shape)
        try:
            return _presented(dataset, values, name, window)
        except (ScanError, MemoryError):
            raise
        except Exception as error:
            raise ScanError(name, "has a broken value table or rescale", "a valid one") from error


def _presented(dataset: Dataset, values: np.ndarray, name: str, window: bool) -> np.ndarray:
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        coloured = apply_color_lut(values[..., 0], dataset)
        return coloured.astype(np.float32)[..., :3]
    if values.shape[-1] != 1:
        return values.astype(np.float32)[..., :3]
    bits = whole(dataset, "BitsStored", name, whole(dataset, "BitsAllocated", name))
    signed = whole(dataset, "PixelRepresentation", name, 0)
    # the ends of the stored range, so that an inversion does not depend on the content
    ends = np.array([-(1 << bits - 1), (1 << bits - 1) - 1] if signed else [0, (1 << bits) - 1])
    out = np.empty(values.shape, np.float32)
    for index, frame in enumerate(values):
        source = _frame_header(dataset, index)
        real = apply_modality_lut(frame, source)
        if window:
            real = apply_voi_lut(real, source, index=0)
        if photometric == "MONOCHROME1":
            limits = apply_modality_lut(ends, source)
            if window:
                limits = apply_voi_lut(limits, source, index=0)
            real = float(limits[0]) + float(limits[1]) - np.asarray(real, np.float64)
        out[index] = real
    return out


def _frame_header(dataset: Dataset, index: int) -> Dataset:
    """The data set itself, or for enhanced files one with the frame's own rescale and window."""
    found = [
        group[0]
        for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence")
        if (group := functional_group(dataset, index, keyword))
    ]
    if not found:
        return dataset
    merged = Dataset()
    for keyword in ("BitsStored", "BitsAllocated", "PixelRepresentation", "SOPClassUID"):
        if keyword in dataset:
            merged[keyword] = dataset[keyword]
    for item in found:
        merged.update(item)
    return merged


def functional_group(dataset: Dataset, index: int, keyword: str):
    """A functional group of one frame: its own, or the one all frames share; None if absent."""
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    if own and index < len(own) and own[index].get(keyword):
        return own[index].get(keyword)
    shared = dataset.get("SharedFunctionalGroupsSequence")
    return shared[0].get(keyword) if shared else None


def _check_encapsulated(
    dataset: Dataset, name: str, rows: int, columns: int, frames: int, bytes_each: float
) -> None:
    """Compare each compressed frame's own claims with the header's, before it is decoded."""
    try:
        compressed = list(generate_frames(dataset.PixelData, number_of_frames=frames))
    except Exception as error:
        raise ScanError(name, "has damaged compressed pixels", "intact fragments") from error
    rle = UID(dataset.file_meta.TransferSyntaxUID) == RLELossless
    for frame in compressed:
        if rle:
            # honest RLE grows by at most 1/128 and its header; a bomb is a long frame
            if len(frame) > 2 * rows * columns * bytes_each + LARGEST_RLE_HEADER:
                raise ScanError(name, "unfolds to more pixels than claimed", "Rows × Columns")
            continue
        if _codestream_size(frame) != (rows, columns):
            raise ScanError(name, "holds other pixels than it claims", "Rows × Columns")


LARGEST_RLE_HEADER = 4096


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 frame itself declares."""
    start = -1 if frame.startswith(b"\xff\xd8") else frame.find(b"\xff\x4f\xff\x51")
    if start >= 0:  # JPEG 2000's SIZ: extent minus offset
        width, height, left, top = (
            int.from_bytes(frame[start + 8 + 4 * k : start + 12 + 4 * k], "big") for k in range(4)
        )
        return height - top, width - left
    for marker, at in _jpeg_segments(frame):
        if marker in _FRAME_MARKERS:
            height, width = frame[at + 3 : at + 5], frame[at + 5 : at + 7]
            return int.from_bytes(height, "big"), int.from_bytes(width, "big")
    return None


# SOF0 to SOF15 without DHT, JPG and DAC, and JPEG-LS
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}


def _jpeg_segments(frame: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        yield marker, at + 2
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")


def units_of(dataset: Dataset) -> str:
    """'HU' for rescaled CT, 'Gy' or 'counts' where the file says so, else 'unknown'."""
    if is_dose(dataset):
        return dose_units(dataset)
    modality, kind = text(dataset, "Modality"), text(dataset, "RescaleType")
    if modality == "CT" and kind in ("", "HU"):
        has_rescale = "RescaleSlope" in dataset or functional_group(
            dataset, 0, "PixelValueTransformationSequence"
        )
        return "HU" if has_rescale else "unknown"
    if text(dataset, "Units") in ("CNTS", "CPS"):
        return "counts"
    return "unknown"


def pixel_spacing(dataset: Dataset, name: str) -> tuple[float, float]:
    """mm between rows and between columns."""
    between_rows, between_columns = numbers(dataset, "PixelSpacing", 2, name)
    if between_rows <= 0 or between_columns <= 0:
        raise ScanError(name, "PixelSpacing is not positive", "two positive numbers")
    return between_rows, between_columns
