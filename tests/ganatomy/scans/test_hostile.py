"""Files that claim or unfold to any size end in one line, fast and in little memory."""

import gzip
import io
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from ganatomy.scans import ScanError, read_scan
from tests.ganatomy.scans.conftest import ct_slice

PLANE = np.arange(108, dtype=np.int16).reshape(12, 9)


@pytest.fixture
def little_memory():
    """At most 200 MiB may be taken while the test runs."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 << 20


def content_of(dataset) -> bytes:
    stream = DicomBytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def end_of_meta(content: bytes) -> int:
    return 144 + int(dcmread(io.BytesIO(content)).file_meta.FileMetaInformationGroupLength)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        ("NumberOfFrames", 10**9, "claims 1000000000 frames; expected 1 to 4096"),
        ("NumberOfFrames", -1, "claims -1 frames"),
        ("Rows", 0, "impossible image size"),
        ("Columns", 65535, "impossible image size"),
        ("NumberOfFrames", 4096, "damaged or missing pixels"),
        ("BitsAllocated", 12, "unknown form of pixels"),
        ("SamplesPerPixel", 7, "unknown form of pixels"),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_impossible_claims(keyword, value, message):
    dataset = ct_slice(PLANE)
    setattr(dataset, keyword, value)
    with pytest.raises(ScanError, match=message):
        read_scan(content_of(dataset), name="a.dcm")


@pytest.mark.usefixtures("little_memory")
def test_more_pixels_than_can_be_held():
    dataset = ct_slice(PLANE)
    dataset.Rows = dataset.Columns = 16384
    dataset.NumberOfFrames = 4096
    with pytest.raises(ScanError, match="claims more pixels than can be held"):
        read_scan(content_of(dataset))


@pytest.mark.usefixtures("little_memory")
def test_an_rle_bomb():
    dataset = ct_slice(PLANE)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    run = b"\x81\x00" * 2_000_000  # each pair unfolds to 128 bytes
    frame = struct.pack("<16I", 2, 64, 64 + len(run), *[0] * 13) + run + run
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    with pytest.raises(ScanError, match="unfolds to more pixels than claimed"):
        read_scan(content_of(dataset))


@pytest.mark.usefixtures("little_memory")
def test_rle_that_makes_a_decoder_panic():
    dataset = ct_slice(PLANE)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    frame = struct.pack("<16I", 2, 2**31, 7, *[0] * 13) + b"\x81"
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    with pytest.raises(ScanError, match="damaged or missing pixels"):
        read_scan(content_of(dataset))


@pytest.mark.usefixtures("little_memory")
def test_a_codestream_larger_than_the_header_says():
    dataset = dcmread(get_testdata_file("MR_small_jp2klossless.dcm"))
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    dataset.Rows = 32
    with pytest.raises(ScanError, match="holds other pixels than it claims"):
        read_scan(content_of(dataset))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("as_file", [True, False])
def test_a_deflated_bomb(tmp_path, as_file):
    dataset = ct_slice(PLANE)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    content = content_of(dataset)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    source = content[: end_of_meta(content)] + 600 * megabyte + packer.flush()
    assert len(source) < 1 << 20
    if as_file:
        (tmp_path / "a.dcm").write_bytes(source)
        source = tmp_path / "a.dcm"
    with pytest.raises(ScanError, match="is deflated and unfolds too far"):
        read_scan(source)


def test_an_honest_deflated_file_is_read():
    dataset = ct_slice(PLANE)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_scan(content_of(dataset)).pixels[..., 0], PLANE * 2 - 1000)


def nested(levels: int) -> bytes:
    """Explicit little endian sequences of undefined length, one in the other."""
    opened = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return opened * levels + closed * levels


@pytest.mark.parametrize("levels", [17, 300, 3000])
@pytest.mark.usefixtures("little_memory")
def test_deep_nesting(levels):
    dataset = ct_slice(PLANE)
    content = content_of(dataset)
    # the sequence belongs before the patient's group
    at = content.index(b"\x10\x00\x10\x00PN", end_of_meta(content))
    with pytest.raises(ScanError, match=r"too deeply|damaged DICOM"):
        read_scan(content[:at] + nested(levels) + content[at:])


def test_deep_nesting_of_defined_length():
    inner = Dataset()
    inner.PatientID = "x"
    for _ in range(40):
        outer = Dataset()
        outer.ReferencedStudySequence = Sequence([inner])
        inner = outer
    dataset = ct_slice(PLANE)
    dataset.ReferencedStudySequence = Sequence([inner])
    with pytest.raises(ScanError, match="nests its sequences too deeply"):
        read_scan(content_of(dataset))


def test_ordinary_nesting_is_read():
    dataset = ct_slice(PLANE)
    content = content_of(dataset)
    at = content.index(b"\x10\x00\x10\x00PN", end_of_meta(content))
    assert read_scan(content[:at] + nested(8) + content[at:]).shape == (12, 9)


@pytest.mark.usefixtures("little_memory")
def test_a_huge_private_element_stays_in_the_file(tmp_path):
    dataset = ct_slice(PLANE)
    content = content_of(dataset)
    at = content.index(b"\x10\x00\x10\x00PN", end_of_meta(content))
    size = 1 << 30
    with open(tmp_path / "a.dcm", "wb") as file:
        file.write(content[:at])
        file.write(b"\x09\x00\x10\x00LO\x06\x00MAKER ")
        file.write(b"\x09\x00\x01\x10OB\0\0" + size.to_bytes(4, "little"))
        file.seek(size, 1)  # a hole: the file system stores nothing
        file.write(content[at:])
    assert read_scan(tmp_path / "a.dcm").shape == (12, 9)


@pytest.mark.usefixtures("little_memory")
def test_a_nifti_bomb_unpacks_only_what_its_header_needs():
    image = nib.Nifti1Image(PLANE[..., None].astype(np.int16), np.eye(4))
    bomb = gzip.compress(image.to_bytes()) + 3000 * gzip.compress(bytes(1 << 20))
    np.testing.assert_array_equal(read_scan(bomb).pixels[..., 0, 0], PLANE)


@pytest.mark.usefixtures("little_memory")
def test_a_nifti_header_bomb():
    header = bytearray(nib.Nifti1Image(PLANE[..., None], np.eye(4)).to_bytes()[:352])
    header[108:112] = struct.pack("<f", 2**30)  # data behind a gigabyte of extension
    bomb = gzip.compress(header) + 1024 * gzip.compress(bytes(1 << 20))
    with pytest.raises(ScanError, match="impossible vox_offset"):
        read_scan(bomb)


@pytest.mark.usefixtures("little_memory")
def test_a_picture_larger_than_allowed():
    def png(width: int, height: int) -> bytes:
        def chunk(kind: bytes, data: bytes) -> bytes:
            check = struct.pack(">I", zlib.crc32(kind + data))
            return struct.pack(">I", len(data)) + kind + data + check

        header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", header)
            + chunk(b"IDAT", b"")
            + chunk(b"IEND", b"")
        )

    for size in [(16000, 16000), (60000, 10), (2**30, 2**30)]:
        with pytest.raises(ScanError, match=r"too large a picture|impossible image size"):
            read_scan(png(*size))
    stream = io.BytesIO()
    Image.fromarray(PLANE.astype(np.uint8)).save(stream, "PNG")
    assert read_scan(stream.getvalue()).shape == (12, 9)


def nifti_of(pixels: np.ndarray) -> bytes:
    return gzip.compress(nib.Nifti1Image(pixels, np.eye(4)).to_bytes())


def picture_of(pixels: np.ndarray, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def dicom_of(**changes) -> bytes:
    dataset = ct_slice(PLANE)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return content_of(dataset)


RGB24 = np.zeros((12, 9), [("R", "u1"), ("G", "u1"), ("B", "u1")])
RGB24["R"] = PLANE


# 12 × 9 is 108
@pytest.mark.parametrize(
    ("content", "pixels"),
    [
        (dicom_of(), 108),
        (nifti_of(PLANE), 108),
        (nifti_of(np.stack([PLANE] * 5, -1)), 540),
        (nifti_of(RGB24[..., None]), 324),
        (picture_of(PLANE, "L"), 108),
        (picture_of(PLANE, "LA"), 108),
        (picture_of(PLANE, "RGB"), 324),
        (picture_of(PLANE, "P"), 324),
    ],
    ids=["dicom", "nifti", "volume", "rgb-nifti", "grey", "transparent", "colour", "palette"],
)
def test_a_caller_may_set_a_tighter_bound(monkeypatch, content, pixels):
    assert read_scan(content, max_pixels=pixels).pixels.size == pixels
    # nothing is decoded or unpacked once the claim is known
    for place in (
        "ganatomy.scans.dicom.decode",
        "ganatomy.scans.nifti._pixels",
        "ganatomy.scans.picture._pixels",
    ):
        monkeypatch.setattr(place, lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ScanError) as caught:
        read_scan(content, name="a", max_pixels=pixels - 1)
    assert str(caught.value) == f"a: claims {pixels} pixels; expected at most {pixels - 1}"


@pytest.mark.usefixtures("little_memory")
def test_the_bound_holds_before_a_claim_is_believed():
    # within what any file may claim, and far beyond what the file holds
    header = bytearray(nib.Nifti1Image(PLANE[..., None], np.eye(4)).to_bytes())
    header[40:48] = struct.pack("<4h", 3, 800, 800, 800)
    sources = [dicom_of(Rows=16384, Columns=16384), bytes(header), gzip.compress(header)]
    for source in sources:
        with pytest.raises(ScanError, match=r"claims \d+ pixels; expected at most 67108864"):
            read_scan(source, max_pixels=64 << 20)


def test_frames_count_too():
    content = dicom_of(NumberOfFrames=2, BitsAllocated=8, BitsStored=8, HighBit=7)
    with pytest.raises(ScanError, match="2 frames without a position"):  # as far as it gets
        read_scan(content, max_pixels=216)
    with pytest.raises(ScanError, match="claims 216 pixels; expected at most 215"):
        read_scan(content, max_pixels=215)


def test_the_slices_of_a_series_count_together(make_series):
    folder = make_series()
    assert read_scan(folder, max_pixels=648).shape == (12, 9, 6)
    with pytest.raises(ScanError, match="series: claims 648 pixels; expected at most 647"):
        read_scan(folder, max_pixels=647)
