"""NIfTI-1 and NIfTI-2, single file, packed or not."""

import io
import math
import struct
from pathlib import Path

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.planes import singular
from ganatomy.scans.safety import check_pixels, check_sizes, quiet, read_gzip
from ganatomy.scans.scan import Scan

HEADER_BYTES = {1: 348, 2: 540}
BYTES_PER_VOXEL = {
    2: 1, 4: 2, 8: 4, 16: 4, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8,
}  # fmt: skip
RGB24 = 128
MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown (read as mm), metre, mm, micrometre


def nifti_version(start: bytes) -> int:
    """1 or 2 by the header's size and magic, 0 for anything else."""
    for order in "<>":
        if len(start) >= 348 and struct.unpack(order + "i", start[:4])[0] == 348:
            return 1 if start[344:348] in (b"n+1\0", b"ni1\0") else 0
        if len(start) >= 12 and struct.unpack(order + "i", start[:4])[0] == 540:
            return 2 if start[4:8] in (b"n+2\0", b"ni2\0") else 0
    return 0


def read_nifti(source: Path | bytes, name: str, packed: bool, max_pixels: int | None) -> Scan:
    """A volume (or a slice) in the file's own index order, with its affine in mm.

    Several values a voxel, such as registered contrasts, lie along the fifth dimension.

    The header is checked before nibabel sees it, and no more is unpacked than the
    header's own grid needs.

    Raises:
        ScanError: damaged, cut short, too large, a time series, or without a usable orientation.
    """
    import nibabel as nib

    start = _read(source, name, packed, 540)
    version = nifti_version(start)
    if version == 0:
        raise ScanError(name, "is not a NIfTI file", "a NIfTI-1 or NIfTI-2 header")
    if start[344:346] == b"ni" or start[4:6] == b"ni":
        raise ScanError(name, "is half of a .hdr/.img pair", "a single .nii or .nii.gz")
    length = _check_header(start, version, name, max_pixels)
    content = _read(source, name, packed, length)
    if len(content) < length:
        raise ScanError(name, "is cut short", f"{length} bytes as its header says")
    image_class = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    with quiet():
        try:
            image = image_class.from_stream(io.BytesIO(content))
            affine = np.array(image.affine, dtype=np.float64)
            pixels = _pixels(image)
        except MemoryError:
            raise
        except Exception as error:  # nibabel raises many kinds on damaged headers
            raise ScanError(name, "has a damaged header", "a valid NIfTI header") from error
    _check_affine(affine, name)
    affine[:3] *= MM_PER_UNIT[int(image.header["xyzt_units"]) & 7]
    return Scan(pixels, affine, path=name, kind="nifti", header=image.header)


def _read(source: Path | bytes, name: str, packed: bool, length: int) -> bytes:
    if packed:
        return read_gzip(name, source, length)
    if isinstance(source, bytes):
        return source[:length]
    with open(source, "rb") as file:
        return file.read(length)


def _check_header(start: bytes, version: int, name: str, max_pixels: int | None) -> int:
    """How many bytes the file needs, after refusing what cannot be right."""
    if len(start) < HEADER_BYTES[version]:
        raise ScanError(name, "is cut short in its header", f"{HEADER_BYTES[version]} bytes")
    order = "<" if struct.unpack("<i", start[:4])[0] == HEADER_BYTES[version] else ">"
    if version == 1:
        dims = struct.unpack(order + "8h", start[40:56])
        (datatype,) = struct.unpack(order + "h", start[70:72])
        pixdim = struct.unpack(order + "8f", start[76:108])
        (offset,) = struct.unpack(order + "f", start[108:112])
        units = start[123]
        codes = struct.unpack(order + "2h", start[252:256])
        smallest = 352
    else:
        (datatype,) = struct.unpack(order + "h", start[12:14])
        dims = struct.unpack(order + "8q", start[16:80])
        pixdim = struct.unpack(order + "8d", start[104:168])
        (offset,) = struct.unpack(order + "q", start[168:176])
        codes = struct.unpack(order + "2i", start[344:352])
        (units,) = struct.unpack(order + "i", start[500:504])
        smallest = 544
    if not 1 <= dims[0] <= 7:
        raise ScanError(name, "has an impossible number of dimensions", "2 or 3")
    sides = dims[1 : 1 + dims[0]]
    if any(side < 1 for side in sides):
        raise ScanError(name, "has a dimension without voxels", "at least 1 along each axis")
    if dims[0] == 1 or any(side > 1 for side in (*sides[3:4], *sides[5:])):
        raise ScanError(
            name,
            f"has {dims[0]} dimensions",
            "one volume (3) or one slice (2), with channels along the fifth",
        )
    if datatype not in BYTES_PER_VOXEL:
        raise ScanError(name, "has voxels of an unsupported type", "integers, floats or RGB")
    check_sizes(name, sides, max(4, BYTES_PER_VOXEL[datatype]))
    check_pixels(name, math.prod(sides) * (3 if datatype == RGB24 else 1), max_pixels)
    if not (math.isfinite(offset) and smallest <= offset <= 1 << 20):
        raise ScanError(name, "has an impossible vox_offset", f"{smallest} to {1 << 20}")
    if codes[0] <= 0 and codes[1] <= 0:
        raise ScanError(name, "has no orientation", "an sform or a qform")
    if codes[1] <= 0 and any(not (math.isfinite(p) and p > 0) for p in pixdim[1:4]):
        raise ScanError(name, "has a zero or broken pixdim", "positive spacings")
    if units & 7 not in MM_PER_UNIT:
        raise ScanError(name, "has an unknown unit of length", "mm, metre or micrometre")
    return int(offset) + math.prod(sides) * BYTES_PER_VOXEL[datatype]


def _check_affine(affine: np.ndarray, name: str) -> None:
    if not np.isfinite(affine).all():
        raise ScanError(name, "has an affine that is not finite", "finite numbers")
    if singular(affine):
        raise ScanError(name, "has a singular affine", "three independent axes")


def _pixels(image) -> np.ndarray:
    data = np.asanyarray(image.dataobj)
    if data.ndim > 4 and data.shape[4] > 1:  # a vector a voxel is NIfTI's fifth dimension
        data = data.reshape(*data.shape[:3], data.shape[4])
        if data.dtype.names:
            raise ValueError("colours of several channels")
        return data.astype(np.float32)
    data = data.reshape(data.shape[:3])
    if data.dtype.names:  # RGB is a structured type
        return np.stack([data[n] for n in data.dtype.names[:3]], axis=-1).astype(np.float32)
    return data.astype(np.float32)[..., None]
