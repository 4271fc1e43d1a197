"""Reading many: in order, and nothing a file does ends the run."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganatomy.scans import Scan, ScanError, read_scan, read_scans, reading
from tests.ganatomy.scans.conftest import DATA


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths:
        Image.fromarray(random.integers(0, 255, (16, 16), dtype=np.uint8)).save(path)
    return paths


def test_scans_come_in_order_and_errors_in_their_place(pictures):
    pictures[2].write_text("broken")
    paths = [*pictures, DATA / "body-ct"]
    results = list(read_scans(paths, workers=2))
    assert [type(r) for r in results] == [Scan, Scan, ScanError, Scan, Scan, Scan]
    assert str(results[2]).startswith(str(pictures[2]))
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, Scan):
            assert result.content_id == read_scan(path).content_id
    assert results[-1].header[0].Modality == "CT"


def test_a_scan_that_takes_too_long_is_reported_and_the_rest_is_read(tmp_path, pictures):
    first = next(iter(read_scans(pictures[:1], workers=1, seconds=60)))
    assert isinstance(first, Scan)
    results = list(read_scans(pictures[:2], workers=1, seconds=0))
    assert all("not decoded within 0 s" in str(r) for r in results)


def test_a_worker_that_dies_costs_its_scan_only(pictures, monkeypatch):
    collect = reading._Worker.collect

    def struck(self, path, seconds):
        if path == pictures[1]:
            self.process.send_signal(signal.SIGSTOP)  # it may have answered: make it too late
            while self.connection.poll(0):
                self.connection.recv()
            self.process.kill()
            self.process.wait()
        return collect(self, path, seconds)

    monkeypatch.setattr(reading._Worker, "collect", struck)
    results = list(read_scans(pictures, workers=1))
    assert "ended the process that decoded it" in str(results[1])
    assert [isinstance(r, Scan) for r in results] == [True, False, True, True, True]


def test_memory_is_bounded(tmp_path):
    Image.fromarray(np.eye(9000, dtype=np.uint8)).save(tmp_path / "large.png")
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "small.png")
    paths = [tmp_path / "large.png", tmp_path / "small.png"]
    large, small = read_scans(paths, workers=1, memory=700 << 20)
    assert "needs more memory than there is" in str(large)
    assert isinstance(small, Scan)


def test_importing_the_room_is_light():
    code = (
        "import sys, ganatomy.scans; "
        "print([m for m in ('pydicom', 'nibabel', 'scipy', 'PIL', 'keras') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
