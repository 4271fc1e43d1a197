"""NIfTI in: values, affine, and headers that claim what cannot be."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from ganatomy.scans import ScanError, read_scan
from tests.ganatomy.scans.conftest import DATA

AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0.1, 4, 30], [0, 0, 0, 1]])


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)


def write(path, data, affine=AFFINE, image_class=nib.Nifti1Image, **header):
    image = image_class(data, affine)
    image.header.set_xyzt_units("mm")
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def patch(path, offset, value: bytes):
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_values_and_affine_are_the_files_own(tmp_path, volume, suffix, image_class):
    path = write(tmp_path / f"a{suffix}", volume, image_class=image_class)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.pixels[..., 0], volume)
    np.testing.assert_allclose(scan.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(read_scan(path.read_bytes()).pixels, scan.pixels)


def test_the_sample_equals_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    path = DATA / "brain-lesion-mr.nii.gz"
    image = sitk.ReadImage(str(path))
    scan = read_scan(path)
    theirs = sitk.GetArrayFromImage(image)  # [k, j, i]
    np.testing.assert_array_equal(scan.pixels[..., 0], theirs.transpose(2, 1, 0))
    lps = np.array(image.TransformContinuousIndexToPhysicalPoint((3.0, 5.0, 7.0)))
    np.testing.assert_allclose((scan.affine @ [3, 5, 7, 1])[:3], lps * [-1, -1, 1], atol=1e-4)


def test_slope_and_intercept_apply(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "a.nii")
    stored = np.asarray(nib.load(tmp_path / "a.nii").dataobj)
    np.testing.assert_array_equal(read_scan(tmp_path / "a.nii").pixels[..., 0], stored)


def test_a_slice_is_a_scan_of_rank_two(tmp_path, volume):
    scan = read_scan(write(tmp_path / "a.nii", volume[..., 0]))
    assert scan.rank == 2
    assert scan.affine.shape == (4, 4)


def test_trailing_axes_of_one_are_dropped(tmp_path, volume):
    assert read_scan(write(tmp_path / "a.nii", volume[..., None])).shape == volume.shape


def test_several_values_a_voxel_are_channels(tmp_path, volume):
    stacked = np.stack([volume, 2 * volume], -1)[..., None, :]
    scan = read_scan(write(tmp_path / "a.nii.gz", stacked))
    np.testing.assert_array_equal(scan.pixels, stacked[..., 0, :])
    with pytest.raises(ScanError, match="channels along the fifth"):
        read_scan(write(tmp_path / "b.nii", stacked.repeat(3, 3)))


def test_metres_and_micrometres_become_mm(tmp_path, volume):
    path = write(tmp_path / "a.nii", volume, xyzt_units=3)
    np.testing.assert_allclose(read_scan(path).affine[:3], AFFINE[:3] / 1000, rtol=1e-6)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (40, np.int16([3, 0, 6, 7]), "a dimension without voxels"),
        (40, np.int16([3, -5, 6, 7]), "a dimension without voxels"),
        (40, np.int16([9, 5, 6, 7]), "impossible number of dimensions"),
        (40, np.int16([4, 5, 6, 7, 3]), "has 4 dimensions; expected one volume"),
        (40, np.int16([3, 32767, 32767, 32767]), "impossible image size"),
        (40, np.int16([3, 16000, 16000, 16000]), "claims more pixels than can be held"),
        (40, np.int16([3, 50, 60, 70]), "is cut short"),
        (70, np.int16([1536]), "voxels of an unsupported type"),
        (108, np.float32([1e9]), "impossible vox_offset"),
        (108, np.float32([np.nan]), "impossible vox_offset"),
        (108, np.float32([0]), "impossible vox_offset"),
        (252, np.int16([0, 0]), "has no orientation"),
        (280, np.float32([np.nan]), "an affine that is not finite"),
        (280, np.zeros(12, np.float32), "singular affine"),
        (344, np.frombuffer(b"ni1\0", np.uint8), "half of a .hdr/.img pair"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, volume, offset, value, message):
    path = patch(write(tmp_path / "a.nii", volume), offset, value.tobytes())
    with pytest.raises(ScanError, match=message):
        read_scan(path)


def test_zero_pixdim_is_refused_where_it_matters(tmp_path, volume):
    path = write(tmp_path / "a.nii", volume)
    patch(path, 252, np.int16([1, 0]).tobytes())  # qform only
    patch(path, 80, np.float32([0]).tobytes())
    with pytest.raises(ScanError, match="zero or broken pixdim"):
        read_scan(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_not_finite_are_refused(tmp_path, volume, bad):
    volume[1, 2, 3] = bad
    with pytest.raises(ScanError, match="not finite"):
        read_scan(write(tmp_path / "a.nii", volume))


def test_damaged_gzip(tmp_path, volume):
    content = write(tmp_path / "a.nii.gz", volume).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ScanError, match=r"damaged gzip|cut short"):
        read_scan(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(b"no header"))
    with pytest.raises(ScanError, match="is not a NIfTI file"):
        read_scan(tmp_path / "c.nii.gz")
