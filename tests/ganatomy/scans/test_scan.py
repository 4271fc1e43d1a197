"""The scan itself, and the room's manners."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from tests.ganatomy.scans.conftest import DATA


def test_pixels_are_float32_with_channels_last():
    scan = Scan(np.zeros((4, 5, 6, 2), np.int16))
    assert scan.pixels.dtype == np.float32
    assert (scan.rank, scan.shape, scan.channels) == (3, (4, 5, 6), 2)
    with pytest.raises(ValueError, match=r"\[i, j, c\]"):
        Scan(np.zeros((4, 5)))
    with pytest.raises(ValueError, match="4×4"):
        Scan(np.zeros((4, 5, 1)), affine=np.eye(3))


@pytest.mark.parametrize("name", ["brain-mr", "body-ct", "brain-lesion-mr.nii.gz"])
def test_scans_and_their_samples_travel_between_processes(name):
    scan = read_scan(DATA / name)
    prepared = Preprocessing(size=(16, 16)).apply(scan)
    there, seen = pickle.loads(pickle.dumps((scan, prepared)))
    np.testing.assert_array_equal(there.pixels, scan.pixels)
    maps = np.zeros(prepared.samples.shape[:-1], np.float32)
    np.testing.assert_array_equal(seen.back(maps), prepared.back(maps))


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(ScanError("a.png", "is empty", "a picture")))
    assert str(error) == "a.png: is empty; expected a picture"
    assert (error.path, error.problem, error.expected) == ("a.png", "is empty", "a picture")


def test_a_line_break_in_a_name_stays_one_line():
    error = ScanError("a\nb.png", "is empty", "a picture")
    assert str(error) == "a?b.png: is empty; expected a picture"


def test_memory_that_runs_out_is_a_scan_error(tmp_path):
    from PIL import Image

    Image.fromarray(np.eye(9000, dtype=np.uint8)).save(tmp_path / "large.png")
    code = (
        "import resource, sys; from ganatomy.scans import ScanError, read_scan; "
        "import ganatomy.scans.picture; "
        "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
        "try: read_scan(sys.argv[1])\n"
        "except ScanError as error: print(error)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "large.png"],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert "large.png: needs more memory than there is" in out.stdout


def test_importing_the_room_is_light():
    code = (
        "import sys, ganatomy.scans; "
        "print([m for m in ('pydicom', 'nibabel', 'scipy', 'PIL', 'keras') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
