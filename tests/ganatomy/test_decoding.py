"""Decoding many scans: in order, and one file can end a worker but not the run."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganatomy.decoding import FEW, decode
from ganatomy.scans import Prepared, Preprocessing, Scan

SMALL = Preprocessing(size=(8, 8))


class Dangerous(Preprocessing):
    """Does to a scan what the value of its first pixel says."""

    def apply(self, scan: Scan) -> Prepared:
        what = scan.pixels[0, 0, 0]
        if what == 1:
            os._exit(9)  # as a decoder's segmentation fault would
        if what == 2:
            time.sleep(60)
        if what == 3:
            np.ones(64 << 30, np.uint8)
        if what == 4:
            time.sleep(0.5)
        return super().apply(scan)


def write(folder: Path, values: list[int]) -> list[Path]:
    """A picture for every value, with the value in its first pixel."""
    draw = np.random.default_rng(0)
    paths = []
    for number, value in enumerate(values):
        pixels = draw.integers(10, 250, (10, 10), dtype=np.uint8)
        pixels[0, 0] = value
        paths.append(folder / f"{number:03}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_kept_and_nothing_is_lost(tmp_path, workers):
    # The first scans take longest: those behind them are ready earlier.
    paths = write(tmp_path, [4, 4] + [9] * 18)
    found = list(decode(paths, Dangerous(size=(8, 8)), workers=workers))
    assert [item.path for item in found] == paths
    for path, item in zip(paths, found, strict=True):
        assert item.error is None
        assert item.prepared is not None
        with Image.open(path) as image:
            np.testing.assert_array_equal(item.scan.pixels[..., 0], np.asarray(image, np.float32))


def test_workers_give_what_one_process_gives(tmp_path):
    paths = write(tmp_path, [9] * 15)
    here, there = (list(decode(paths, SMALL, workers=n)) for n in (0, 2))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.prepared.samples, other.prepared.samples)
        np.testing.assert_array_equal(one.prepared.placements, other.prepared.placements)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_stops_nothing(tmp_path, workers):
    paths = write(tmp_path, [9] * 6)
    paths[2].write_bytes(b"not a picture")
    found = list(decode(paths, SMALL, workers=workers))
    assert [item.error is None for item in found] == [True, True, False, True, True, True]
    assert "is no image that can be read" in str(found[2].error)
    assert found[2].prepared is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1, "ended the process that decoded it"),
        (2, "was not decoded within 3 seconds"),
        (3, "needs too much memory"),
    ],
    ids=["dies", "hangs", "takes all memory"],
)
def test_a_worker_that_ends_is_reported_and_the_rest_goes_on(tmp_path, value, problem):
    paths = write(tmp_path, [9, 9, value] + [9] * 9)
    found = list(decode(paths, Dangerous(size=(8, 8)), workers=2, timeout=3.0, memory=4 << 30))
    assert [item.path for item in found] == paths
    assert [n for n, item in enumerate(found) if item.error is not None] == [2]
    assert found[2].error.problem == problem
    assert found[2].error.path == str(paths[2])


def test_several_deadly_files_are_each_reported(tmp_path):
    values = [1, 9, 1, 9, 9, 1] + [9] * 6
    found = list(decode(write(tmp_path, values), Dangerous(size=(8, 8)), workers=2))
    assert [item.error is not None for item in found] == [value == 1 for value in values]


def test_a_few_scans_need_no_workers(tmp_path):
    paths = write(tmp_path, [9] * (FEW - 1))
    found = list(decode(paths, _SaysProcess(size=(8, 8))))
    assert {item.prepared.alignment[0] for item in found} == {float(os.getpid())}


class _SaysProcess(Preprocessing):
    def apply(self, scan: Scan) -> Prepared:
        prepared = super().apply(scan)
        prepared.alignment = np.array([float(os.getpid())])
        return prepared


def test_many_scans_are_shared_among_processes(tmp_path):
    paths = write(tmp_path, [9] * (FEW + 4))
    found = list(decode(paths, _SaysProcess(size=(8, 8)), workers=2))
    assert float(os.getpid()) not in {item.prepared.alignment[0] for item in found}


def test_only_a_few_scans_are_read_ahead(tmp_path):
    # A list of a million paths is not put into memory: the reader sets the pace.
    paths, taken = write(tmp_path, [9] * 60), []

    def endless():
        for path in paths:
            taken.append(path)
            yield path

    stream = decode(endless(), SMALL, workers=2)
    for _ in range(5):
        next(stream)
    assert len(taken) <= FEW + 5 + 1
    stream.close()


def test_a_reader_that_stops_leaves_no_process(tmp_path):
    import psutil

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    stream = decode(write(tmp_path, [9] * 20), SMALL, workers=2)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        new = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
        # The fork server itself stays for the next folder.
        if len([c for c in new if c.parent() and c.parent().pid != os.getpid()]) == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"still there: {new}")


def test_a_script_without_a_main_guard_works(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    write(folder, [9] * 14)
    script = tmp_path / "plain.py"
    script.write_text(
        textwrap.dedent(f"""
            print("started", flush=True)
            from pathlib import Path
            from ganatomy.decoding import decode
            from ganatomy.scans import Preprocessing

            paths = sorted(Path({str(folder)!r}).iterdir())
            found = list(decode(paths, Preprocessing(size=(8, 8)), workers=2))
            print(sum(item.error is None for item in found))
        """)
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Once: a worker that ran the script again would print again.
    assert done.stdout.split() == ["started", "14"]


def bomb(path: Path, side: int) -> Path:
    """A PNG of a few kilobytes that claims, and unfolds to, side × side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + kind + body + check

    size = side.to_bytes(4, "big")
    rows = zlib.compressobj(9)
    row = b"\0" * (side + 1)
    packed = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )
    return path


def test_a_file_that_unfolds_beyond_a_workers_memory_is_refused_alone(tmp_path):
    paths = write(tmp_path, [9] * 3)
    paths.insert(1, bomb(tmp_path / "bomb.png", 12000))
    found = list(decode(paths, SMALL, workers=1, memory=1 << 30))
    assert [item.error is None for item in found] == [True, False, True, True]
