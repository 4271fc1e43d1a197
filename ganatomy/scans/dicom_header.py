"""Open a DICOM file so that nothing in its header can hang, fill memory or leak."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian

from ganatomy.scans.errors import ScanError
from ganatomy.scans.safety import MAX_DEPTH, check_deflated, quiet

LARGE = 65536  # bytes; longer values stay in the file until asked for
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def open_dicom(source: Path | bytes, name: str) -> Dataset:
    """The data set of one DICOM image after the checks that come before decoding.

    Args:
        source: the file or its content.
        name: what errors call it.

    Raises:
        ScanError: see `open_dataset`; also not an image.
    """
    dataset = open_dataset(source, name)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise ScanError(name, "is DICOM but holds no image", "Rows, Columns and pixels")
    return dataset


def open_dataset(source: Path | bytes, name: str) -> Dataset:
    """The data set of any DICOM object, an image or not.

    Args:
        source: the file or its content.
        name: what errors call it.

    Raises:
        ScanError: no preamble, damaged, nested too deeply, unfolding too far.
    """
    with quiet():
        try:
            _check_transfer(source, name)
            stream = io.BytesIO(source) if isinstance(source, bytes) else source
            # an upload is in memory already and could not be read from again
            defer = None if isinstance(source, bytes) else LARGE
            dataset = dcmread(stream, defer_size=defer)
        except (ScanError, MemoryError):
            raise
        except Exception as error:  # RecursionError among them
            raise ScanError(name, "is a damaged DICOM file", "an intact data set") from error
        _check_depth(dataset, name)
    return dataset


def peek(path: Path, keywords: list[str]) -> Dataset:
    """A few elements of a file's header, without the rest and without the pixels.

    Raises:
        ScanError: not a DICOM file that can be read.
    """
    with quiet():
        try:
            _check_transfer(path, str(path))
            return dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
        except ScanError:
            raise
        except Exception as error:
            raise ScanError(path, "is a damaged DICOM file", "an intact data set") from error


def _check_transfer(source: Path | bytes, name: str) -> None:
    """Find the transfer syntax without pydicom, which would inflate a deflated data set."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    with stream:
        start = stream.read(LARGE)
        syntax, end = _transfer_syntax(start)
        if not syntax:
            raise ScanError(name, "names no TransferSyntaxUID", "one in the file's meta header")
        if syntax == DeflatedExplicitVRLittleEndian:
            stream.seek(end)
            check_deflated(name, stream.read())


def _transfer_syntax(start: bytes) -> tuple[str, int]:
    """The transfer syntax in the meta header (explicit little endian) and where that ends."""
    syntax, at = "", 132
    while at + 8 <= len(start) and start[at : at + 2] == b"\x02\x00":
        element, vr = start[at + 2 : at + 4], start[at + 4 : at + 6]
        if vr in (b"OB", b"UN", b"OW", b"SQ", b"UT", b"UC", b"UR"):
            value, length = at + 12, int.from_bytes(start[at + 8 : at + 12], "little")
        else:
            value, length = at + 8, int.from_bytes(start[at + 6 : at + 8], "little")
        if element == b"\x10\x00":
            syntax = start[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = value + length
    return syntax, at


def _check_depth(dataset: Dataset, name: str) -> None:
    """Walk the sequences level by level and stop at the bound; recursion would hang."""
    level = [dataset]
    for _ in range(MAX_DEPTH):
        try:
            level = [item for parent in level for item in _items(parent)]
        except Exception as error:
            raise ScanError(name, "has a damaged sequence", "an intact data set") from error
        if not level:
            return
    raise ScanError(name, "nests its sequences too deeply", f"at most {MAX_DEPTH} levels")


def _items(dataset: Dataset) -> Iterator[Dataset]:
    # items() gives elements as they were read; get_item() would load what stayed in the file
    for tag, element in list(dataset.items()):
        kind = element.VR
        if kind is None:  # implicit: the dictionary knows; private ones stay raw, nobody asks
            kind = dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
        if kind == "SQ":
            value = dataset[tag].value
            if isinstance(value, Sequence):
                yield from value


def light(dataset: Dataset) -> Dataset:
    """The header kept with a scan: no pixels, and nothing long that stayed in the file."""
    kept = Dataset()
    for tag, element in list(dataset.items()):
        if tag.group == 0x7FE0 or tag.group & 0xFF00 == 0x6000 or tag.is_private:
            continue
        if isinstance(element, RawDataElement) and (element.value is None and element.length > 0):
            continue
        kept[tag] = element
    kept.file_meta = dataset.file_meta
    return kept


def numbers(dataset: Dataset, keyword: str, count: int, name: str) -> list[float]:
    """`count` finite numbers of one element.

    Raises:
        ScanError: missing, of another count, or not finite numbers.
    """
    expected = "a finite number" if count == 1 else f"{count} finite numbers"
    try:
        with quiet():
            value = dataset[keyword].value
        values = [float(v) for v in (value if count > 1 else [value])]
    except Exception as error:
        raise ScanError(name, f"{keyword} is missing or broken", expected) from error
    if len(values) != count or not all(math.isfinite(v) for v in values):
        raise ScanError(name, f"{keyword} is broken", expected)
    return values


def whole(dataset: Dataset, keyword: str, name: str, default: int | None = None) -> int:
    """A whole number; `default` where the element is missing or empty."""
    if default is not None and (keyword not in dataset or text(dataset, keyword) == ""):
        return default
    value = numbers(dataset, keyword, 1, name)[0]
    if value != int(value):
        raise ScanError(name, f"{keyword} is broken", "a whole number")
    return int(value)


def text(dataset: Dataset, keyword: str) -> str:
    """A value as text, '' where it is missing, empty or unreadable."""
    try:
        with quiet():
            value = dataset.get(keyword)
    except Exception:
        return ""
    return "" if value is None else str(value)
