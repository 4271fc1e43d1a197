"""Pictures in: depth, colour, palettes, and files that are no pictures."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from ganatomy.scans import ScanError, read_scan

GREY = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_is_one_channel_row_by_column(tmp_path, suffix):
    Image.fromarray(GREY).save(tmp_path / f"a{suffix}")
    scan = read_scan(tmp_path / f"a{suffix}")
    assert scan.rank == 2
    assert scan.affine is None
    assert scan.spacing is None
    np.testing.assert_array_equal(scan.pixels[..., 0], GREY)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    deep = GREY.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_scan(tmp_path / f"a{suffix}").pixels[..., 0], deep)


def test_colour_is_three_channels_and_transparency_goes(tmp_path):
    alpha = np.dstack([COLOUR, GREY])
    Image.fromarray(alpha).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.png").pixels, COLOUR)
    Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_scan(tmp_path / "b.png").pixels[..., 0], GREY)


def test_palettes_are_resolved(tmp_path):
    picture = Image.fromarray(COLOUR).quantize(64)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_scan(tmp_path / "a.png").pixels, picture.convert("RGB"))


def test_a_cameras_rotation_is_applied(tmp_path):
    picture = Image.fromarray(GREY)
    exif = picture.getexif()
    exif[0x0112] = 6  # shown turned by 90°
    picture.save(tmp_path / "a.png", exif=exif)
    turned = read_scan(tmp_path / "a.png").pixels[..., 0]
    np.testing.assert_array_equal(turned, np.rot90(GREY, -1))


def test_what_a_file_is_is_told_by_its_content(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read_scan(tmp_path / "a.jpg").pixels[..., 0], GREY)
    np.testing.assert_array_equal(read_scan(stream.getvalue()).pixels[..., 0], GREY)


def test_sixteen_bit_colour_is_refused_not_halved(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", COLOUR.astype(np.uint16) * 257, photometric="rgb")
    with pytest.raises(ScanError, match="is 16-bit colour"):
        read_scan(tmp_path / "a.tif")


def test_several_pages_are_refused(tmp_path):
    page = Image.fromarray(GREY)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(ScanError, match="has 2 pages; expected one image a file"):
        read_scan(tmp_path / "a.tif")


def test_a_constant_picture_is_refused_unless_asked_for(tmp_path):
    Image.fromarray(np.full((9, 9), 7, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ScanError, match="is constant") as caught:
        read_scan(tmp_path / "a.png")
    assert "7" not in str(caught.value).removeprefix(str(tmp_path))
    assert read_scan(tmp_path / "a.png", constant=True).pixels.max() == 7


def test_files_that_are_no_pictures(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(GREY).save(stream, "PNG")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[:300])
    with pytest.raises(ScanError, match="damaged or cut short; expected an intact picture"):
        read_scan(tmp_path / "half.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(ScanError, match="is no image that can be read"):
        read_scan(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ScanError, match="is empty"):
        read_scan(tmp_path / "empty.png")
    with pytest.raises(ScanError, match="does not exist"):
        read_scan(tmp_path / "absent.png")
    with pytest.raises(ScanError, match="upload: is empty"):
        read_scan(b"")


def test_links_and_pipes_are_not_followed(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ScanError, match="is a link"):
        read_scan(tmp_path / "b.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ScanError, match="not a regular file"):
        read_scan(tmp_path / "pipe.png")


def test_permission_denied(tmp_path, monkeypatch):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    if os.geteuid() == 0:  # the superuser reads everything, so the refusal is played
        import builtins

        def refuse(path, *rest, **named):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(ScanError, match="permission denied"):
        read_scan(tmp_path / "a.png")
