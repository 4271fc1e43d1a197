"""PNG, JPEG and TIFF."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ganatomy.scans.errors import ScanError
from ganatomy.scans.safety import check_pixels, check_sizes, quiet, read_start
from ganatomy.scans.scan import Scan

MAX_PICTURE_PIXELS = 100_000_000
GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}


def read_picture(source: Path | bytes, name: str, max_pixels: int | None) -> Scan:
    """A picture as `[row, column, c]`: grey is one channel, colour three.

    16-bit grey is kept, palettes are resolved, transparency is dropped, and a camera's
    rotation tag is applied.

    Raises:
        ScanError: damaged, too large, several pages, or 16-bit colour.
    """
    deep = _deep_png(source)
    with quiet():
        try:
            opened = Image.open(
                io.BytesIO(source) if isinstance(source, bytes) else source,
                formats=("PNG", "JPEG", "TIFF"),
            )
        except Image.DecompressionBombError as error:
            raise _too_large(name) from error
        except Exception as error:  # Pillow raises many kinds on damaged files
            raise ScanError(name, "is damaged", "an intact PNG, JPEG or TIFF") from error
        with opened as image:
            width, height = image.size
            check_sizes(name, (height, width), 4, samples=3)
            if width * height > MAX_PICTURE_PIXELS:
                raise _too_large(name)
            check_pixels(name, width * height * (1 if image.mode in GREY else 3), max_pixels)
            pages = getattr(image, "n_frames", 1)
            if pages != 1:
                raise ScanError(name, f"has {pages} pages", "one image a file")
            if image.mode not in ("I", *GREY) and (deep or _deep_tiff(image)):
                raise ScanError(name, "is 16-bit colour", "8-bit colour or 16-bit grey")
            try:
                pixels = _pixels(ImageOps.exif_transpose(image))
            except MemoryError:
                raise
            except Exception as error:
                raise ScanError(name, "is damaged or cut short", "an intact picture") from error
    return Scan(pixels, path=name, kind="picture")


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode in ("LA", "La"):
        image = image.convert("LA").getchannel(0)
    elif image.mode not in GREY:
        image = image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    pixels = np.asarray(image).astype(np.float32)
    return pixels[..., None] if pixels.ndim == 2 else pixels


# Pillow halves 16-bit colour to 8 bits without a word; the file's own header tells


def _deep_png(source: Path | bytes) -> bool:
    start = source[:26] if isinstance(source, bytes) else read_start(source, 26)
    return start.startswith(b"\x89PNG") and start[24:25] == b"\x10"


def _deep_tiff(image: Image.Image) -> bool:
    if image.format != "TIFF":
        return False
    bits = image.tag_v2.get(258, (8,))  # pyright: ignore[reportAttributeAccessIssue]
    return max(np.atleast_1d(bits)) > 8


def _too_large(name: str) -> ScanError:
    limit = f"at most {MAX_PICTURE_PIXELS // 1_000_000} million pixels"
    return ScanError(name, "is too large a picture", limit)
