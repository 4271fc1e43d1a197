"""Decoded, prepared scans on disk: done once for files and settings, then memory-mapped."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganatomy.decoding import decode
from ganatomy.scans import Preprocessing, ScanError
from ganatomy.tables import TableError, fingerprint


class Samples(NamedTuple):
    """Prepared samples of many scans.

    Attributes:
        array: [n, *size, channels] float32, memory-mapped.
        owner: [n], the position among the paths of the scan that sample came from.
        failures: the scans that could not be read.
        fingerprint: of the files and the settings.
    """

    array: np.ndarray
    owner: np.ndarray
    failures: list[ScanError]
    fingerprint: str


def cache_folder() -> Path:
    """Where caches lie: GANATOMY_CACHE, or ganatomy/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GANATOMY_CACHE") or Path(base) / "ganatomy")


def prepare(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """The samples of many scans, from the cache where it holds them.

    Args:
        paths: files and series folders.
        preprocessing: fitted.
        progress: called with (scans done, scans in all).

    Raises:
        TableError: not one scan could be read.
    """
    settings = preprocessing.model_dump_json()
    state = preprocessing.state()
    key = fingerprint(paths, settings, *(f"{k}:{hash_of(v)}" for k, v in sorted(state.items())))
    folder = cache_folder() / key
    if not (folder / "done.json").exists():
        _fill(folder, paths, preprocessing, progress)
    notes = json.loads((folder / "done.json").read_text())
    failures = [ScanError(Path(p), problem, expected) for p, problem, expected in notes["failures"]]
    if not notes["samples"]:
        raise TableError(f"none of {len(paths)} scans could be read; the first: {failures[0]}")
    os.utime(folder)  # so that the oldest can be told
    return Samples(
        np.load(folder / "samples.npy", mmap_mode="r", allow_pickle=False),
        np.load(folder / "owner.npy", allow_pickle=False),
        failures,
        key,
    )


def hash_of(array: np.ndarray) -> str:
    """sha256 of an array's bytes."""
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _fill(folder: Path, paths, preprocessing, progress) -> None:
    """Write a cache aside and move it into place, so that a killed run leaves none half full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="part-"))
    try:
        owner: list[int] = []
        failures = []
        with open(aside / "samples.raw", "wb") as raw:
            shape: tuple[int, ...] = ()
            for number, item in enumerate(decode(paths, preprocessing)):
                error = item.error
                if error is not None:
                    failures.append([str(error.path), error.problem, error.expected])
                else:
                    samples = np.ascontiguousarray(item.prepared.samples, np.float32)
                    shape = samples.shape[1:]
                    raw.write(samples.tobytes())
                    owner += [number] * len(samples)
                if progress is not None:
                    progress(number + 1, len(paths))
        if owner:
            # The header is written once the length is known; the pixels are not copied in memory.
            flat = np.memmap(aside / "samples.raw", np.float32, "r", shape=(len(owner), *shape))
            np.save(aside / "samples.npy", flat)
            del flat
        (aside / "samples.raw").unlink()
        np.save(aside / "owner.npy", np.array(owner, np.int64))
        (aside / "done.json").write_text(json.dumps({"samples": len(owner), "failures": failures}))
        try:
            os.replace(aside, folder)
        except OSError:  # another run was faster
            if not (folder / "done.json").exists():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
