"""Decoded, prepared scans on disk: done once for files and settings, then memory-mapped.

The longest unused are removed where all together take more than GANATOMY_CACHE_LIMIT gigabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganatomy.decoding import Decoded, decode
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing, ScanError
from ganatomy.tables import Table, TableError, fingerprint

# Another number where the same files and settings give other samples than the version before.
CACHE_FORMAT = 1
# Whose releases may decode, resample or equalise otherwise.
LIBRARIES = ("numpy", "scipy", "scikit-image", "pillow", "pydicom", "nibabel", "simpleitk")
# Bytes that are hashed at a time.
PIECE = 2**24
# Gigabytes that caches may take in all, unless GANATOMY_CACHE_LIMIT says otherwise.
LIMIT = 20.0

# Decodes the scans that indices name, in their order.
Read = Callable[[Sequence[int]], Iterator[Decoded]]


class Samples(NamedTuple):
    """Prepared samples of many scans.

    Attributes:
        array: [n, *size, channels] float32, memory-mapped.
        owner: [n], the position among the paths of the scan that sample came from.
        failures: the scans that could not be read.
        fingerprint: of the files and the settings, the cache's name.
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
    places: Sequence[Path] | None = None,
    labels: bool = False,
    place_settings: Preprocessing | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """The samples of many scans, from the cache where it holds them.

    Args:
        paths: files and series folders.
        preprocessing: fitted.
        places: of each scan the one on whose grid it is prepared; None where each is by itself.
        labels: the paths are labels of the scans in `places`: the nearest of each, as they are.
        place_settings: see `ganatomy.decoding.decode`.
        progress: called with (scans done, scans in all).

    Raises:
        TableError: not one scan could be read.
        WrongUse: GANATOMY_CACHE_LIMIT is no number.
    """
    limit = _limit()
    settings = preprocessing.model_dump_json()
    state = preprocessing.state()
    beside = [] if places is None else [f"on {'labels' * labels}", fingerprint(places)]
    if preprocessing.mask == "place" and place_settings is not None:
        beside.append(place_settings.model_dump_json())
    key = fingerprint(
        paths,
        *beside,
        f"cache {CACHE_FORMAT}",
        *(f"{name} {version(name)}" for name in LIBRARIES),
        settings,
        *(f"{k}:{hash_of(v)}" for k, v in sorted(state.items())),
    )
    folder = cache_folder() / key

    def read(which: Sequence[int]) -> Iterator[Decoded]:
        own = [paths[i] for i in which]
        if places is None:
            return decode(own, preprocessing)
        grids = [places[i] for i in which]
        return decode(
            own, preprocessing, places=grids, labels=labels, place_settings=place_settings
        )

    if not (folder / "done.json").exists() or _mended(folder, paths, read):
        _fill(folder, len(paths), read, progress)
        prune(folder, limit)
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


def prepare_table(
    table: Table,
    preprocessing: Preprocessing,
    *,
    by_role: Mapping[str, Preprocessing] | None = None,
    grids: Mapping[str, str] | None = None,
    progress: Callable[[str], Callable[[int, int], None] | None] = lambda role: None,
) -> tuple[Table, dict[str, Samples]]:
    """The samples of a table by role; sample i of every joined role is of the same place.

    Labels stand on the grid of their scans' samples, and go with them.

    Args:
        table: paths by role; an independent role without any is left out.
        preprocessing: fitted; of every role that has none of its own.
        by_role: a role's own, by which its labels are prepared too.
        grids: by role, the role on whose scans' grid in mm its own are prepared, where the two are
            joined. Every other scan has a grid of its own.
        progress: gives for each role what is called with (scans done, scans in all).

    Returns:
        The table without the rows of which not every joined scan can be used, and the samples of
        what is left; their failures name those scans, and the partners that go with them.

    Raises:
        TableError: of a role not one scan could be read, or of the joined not one row.
    """
    placed = {role: on for role, on in (grids or {}).items() if role not in table.independent}
    beside = {**placed, **table.labels}

    def settings(role: str) -> Preprocessing:
        return (by_role or {}).get(table.labels.get(role, role), preprocessing)

    def place(role: str) -> str:
        return place(beside[role]) if role in beside else role

    def all_of(table: Table) -> dict[str, Samples]:
        return {
            role: prepare(
                paths,
                settings(role),
                places=table.paths[place(role)] if role in beside else None,
                labels=role in table.labels,
                place_settings=settings(place(role)),
                progress=progress(role),
            )
            for role, paths in table.paths.items()
            if paths or role in table.joined
        }

    samples = all_of(table)
    rest, failures = table, {}
    for stream, roles in {"": table.joined, **table.streams()}.items():
        if len(roles) == 1 or not table.paths[roles[0]]:
            continue
        whole, refused = _whole(table, roles, samples)
        if not whole.all():
            rest = rest.keeping(stream, whole) if stream else rest.rows(whole)
            failures |= refused
    if failures:
        samples = all_of(rest)
    return rest, samples | {
        role: samples[role]._replace(failures=own) for role, own in failures.items()
    }


def _whole(
    table: Table, roles: Sequence[str], samples: Mapping[str, Samples]
) -> tuple[np.ndarray, dict[str, list[ScanError]]]:
    """Of roles that go together: whose samples are alike in number, and by role what is left out.

    Raises:
        TableError: no scan has all its partners.
    """
    length = len(table.paths[roles[0]])
    counts = {role: np.bincount(samples[role].owner, minlength=length) for role in roles}
    every = np.stack(list(counts.values()))
    whole = (every == every[0]).all(0) & (every > 0).all(0)
    if not whole.any():
        raise TableError(f"no row has all its joined scans: {', '.join(counts)}")
    failures = {role: list(samples[role].failures) for role in counts}
    for row in np.flatnonzero(~whole):
        found = {role: int(count[row]) for role, count in counts.items()}
        words = ", ".join(f"{role} {number}" for role, number in found.items())
        for role, number in found.items():
            if number:
                path, problem = table.paths[role][row], f"is left out: samples by role are {words}"
                failures[role].append(ScanError(path, problem, "the same number in joined roles"))
    return whole, failures


def check_labels(table: Table, samples: Mapping[str, Samples], most: int) -> None:
    """Refuse labels that a model does not learn, which would have no part in its terms.

    Args:
        table: as `prepare_table` gives it.
        samples: of the table.
        most: the highest number that is learned; 0 where labels may be any.

    Raises:
        ScanError: the first file with another label.
    """
    for role, part in samples.items():
        if not most or role not in table.labels:
            continue
        voxels = tuple(range(1, part.array.ndim))
        odd = np.flatnonzero((part.array.min(voxels) < 0) | (part.array.max(voxels) > most))
        if len(odd):
            path = table.paths[role][part.owner[odd[0]]]
            problem = f"holds {role.replace('_', ' ')} that the model does not learn"
            raise ScanError(path, problem, f"0 to {most}, or another --set labels=N")


def hash_of(array: np.ndarray) -> str:
    """sha256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def content_hash(samples: Mapping[str, Samples]) -> str:
    """sha256 of the prepared samples of every role: wherever the same data lie, the same.

    Args:
        samples: by role, in the order of the model's roles.
    """
    digest = hashlib.sha256()
    for role, part in samples.items():
        digest.update(f"{role} {part.array.dtype.str} {part.array.shape}\n".encode())
        many = max(1, PIECE // part.array[0].nbytes)
        for begin in range(0, len(part.array), many):
            digest.update(part.array[begin : begin + many].tobytes())
    return digest.hexdigest()


def prune(keep: Path, limit: float = LIMIT) -> None:
    """Remove what is too much in the folder of caches: the longest unused first.

    A cache that another process has open stays readable to it.

    Args:
        keep: the cache that is never removed.
        limit: gigabytes that caches may take in all.
    """
    yesterday = time.time() - 24 * 3600
    caches = []
    for folder in keep.parent.iterdir():
        with contextlib.suppress(OSError):  # another process removed it first
            used = folder.stat().st_mtime
            # What a killed run left half full; a younger one may be being filled.
            if folder.name.startswith("part-") and used < yesterday:
                shutil.rmtree(folder, ignore_errors=True)
            elif re.fullmatch("[0-9a-f]{32}", folder.name) and (folder / "done.json").is_file():
                size = sum(file.stat().st_size for file in folder.iterdir())
                caches.append((folder == keep, used, size, folder))
    total = 0
    for kept, _, size, folder in sorted(caches, reverse=True):
        total += size
        if total > limit * 1e9 and not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _limit() -> float:
    text = os.environ.get("GANATOMY_CACHE_LIMIT") or LIMIT
    try:
        return float(text)
    except ValueError:
        raise WrongUse(f"GANATOMY_CACHE_LIMIT={text}: expected gigabytes, e.g. 20") from None


def _mended(folder: Path, paths: Sequence[Path], read: Read) -> bool:
    """Whether a scan that could not be read when the cache was filled can be now.

    A full disk, a slow network or too little memory fails without a change of the file.
    """
    failures = json.loads((folder / "done.json").read_text())["failures"]
    # A slice may be named that cannot be read, where the scan is its folder.
    failed = {name for path, *_ in failures for name in (path, str(Path(path).parent))}
    numbers = [number for number, path in enumerate(paths) if str(path) in failed]
    return any(item.error is None for item in read(numbers))


def _fill(folder: Path, count: int, read: Read, progress) -> None:
    """Write a cache aside and move it into place, so that a killed run leaves none half full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix="part-"))
    try:
        owner: list[int] = []
        failures = []
        with open(aside / "samples.raw", "wb") as raw:
            shape: tuple[int, ...] = ()
            for number, item in enumerate(read(range(count))):
                error = item.error
                if error is not None:
                    failures.append([str(error.path), error.problem, error.expected])
                else:
                    samples = np.ascontiguousarray(item.prepared.samples, np.float32)
                    shape = samples.shape[1:]
                    raw.write(samples.tobytes())
                    owner += [number] * len(samples)
                if progress is not None:
                    progress(number + 1, count)
        if owner:
            # The header is written once the length is known; the pixels are not copied in memory.
            flat = np.memmap(aside / "samples.raw", np.float32, "r", shape=(len(owner), *shape))
            np.save(aside / "samples.npy", flat)
            del flat
        (aside / "samples.raw").unlink()
        np.save(aside / "owner.npy", np.array(owner, np.int64))
        (aside / "done.json").write_text(json.dumps({"samples": len(owner), "failures": failures}))
        if folder.exists():  # filled when fewer could be read
            os.replace(folder, aside / "before")
        try:
            os.replace(aside, folder)
        except OSError:  # another run was faster
            if not (folder / "done.json").exists():
                raise
        shutil.rmtree(folder / "before", ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
