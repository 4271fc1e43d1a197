"""Many files to prepared samples, in worker processes: one file can end a worker, not the run."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError
from itertools import chain, islice, repeat
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

from ganatomy.scans import Prepared, Preprocessing, Scan, ScanError, read_scan
from ganatomy.scans.placed import labels_on, on_grid

# A folder shorter than this is read in the process itself: starting workers costs seconds.
FEW = 40


# None where there is an error, which every reader looks at first.
ABSENT: Any = None


class Decoded(NamedTuple):
    """One scan as a model sees it, or why it cannot be had."""

    path: Path
    scan: Scan = ABSENT
    prepared: Prepared = ABSENT
    error: ScanError | None = None


def decode(
    paths: Iterable[Path],
    preprocessing: Preprocessing,
    *,
    places: Iterable[Path] | None = None,
    labels: bool = False,
    place_settings: Preprocessing | None = None,
    workers: int | None = None,
    timeout: float = 120.0,
    memory: int = 8 << 30,
) -> Iterator[Decoded]:
    """Read and prepare scans, in order, a few ahead of the reader.

    Args:
        paths: files and series folders.
        preprocessing: fitted; its `voi` says how DICOM is read.
        places: of each scan the one on whose grid it is prepared; None where each is by itself.
        labels: the paths are labels of the scans in `places`, and keep their numbers.
        place_settings: by which the mask of a scan in `places` is found, where `preprocessing`
            asks for the place's; fitted.
        workers: processes; 0 reads in this one. As many as processors where None, and none for
            a handful of scans.
        timeout: seconds after which a scan is given up and its worker ended.
        memory: bytes of address space that a worker may take.

    Yields:
        A `Decoded` for every path; a scan that is refused, takes too long or ends its worker
        comes with its `ScanError` and stops nothing.
    """
    beside = repeat(None) if places is None else places
    scans = zip(paths, beside, strict=places is not None)
    head = list(islice(scans, FEW))
    if workers is None:
        workers = 0 if len(head) < FEW else len(os.sched_getaffinity(0))
    if not workers:
        for path, place in chain(head, scans):
            yield _decode_one(path, preprocessing, place, labels, place_settings)
        return

    from pebble import ProcessExpired, ProcessPool

    with ProcessPool(
        max_workers=workers, initializer=_limit_memory, initargs=[memory], context=_Context()
    ) as pool:
        waiting: deque = deque()

        def put(path: Path, place: Path | None) -> None:
            given = [path, preprocessing, place, labels, place_settings]
            waiting.append((path, pool.schedule(_decode_one, given, timeout=timeout)))

        for path, place in head[: 4 * workers]:
            put(path, place)
        rest = iter(head[4 * workers :])
        while waiting:
            path, future = waiting.popleft()
            try:
                yield future.result()
            except TimeoutError:
                problem = f"was not decoded within {timeout:.0f} seconds"
                yield Decoded(path, error=ScanError(path, problem, "a scan of usual size"))
            except (ProcessExpired, MemoryError):
                problem = "ended the process that decoded it"
                yield Decoded(path, error=ScanError(path, problem, "an intact scan"))
            following = next(rest, None) or next(scans, None)
            if following is not None:
                put(*following)


class _Process(ForkServerProcess):
    """A worker that does not import the caller's script.

    multiprocessing would run it again in each worker: TensorFlow and all, and without end where
    the script has no `if __name__ == "__main__"`.
    """

    @staticmethod
    def _Popen(process: Any) -> Any:
        main = sys.modules["__main__"]
        hidden = {n: vars(main).pop(n) for n in ("__file__", "__spec__") if n in vars(main)}
        main.__spec__ = None
        try:
            return ForkServerProcess._Popen(process)
        finally:
            vars(main).update(hidden)


class _Context(ForkServerContext):
    Process = _Process


def _decode_one(
    path: Path,
    preprocessing: Preprocessing,
    place: Path | None = None,
    labels: bool = False,
    place_settings: Preprocessing | None = None,
) -> Decoded:
    try:
        scan = read_scan(path, window=preprocessing.voi and not labels)
        if place is None:
            return Decoded(path, scan, preprocessing.apply(scan), None)
        try:
            other = read_scan(place, window=preprocessing.voi)
            seen = other if labels else on_grid(scan, other)
            of_place = place_settings if preprocessing.mask == "place" else None
            found = preprocessing.apply(seen, of_place and of_place.mask_of(other))
        except ScanError as error:
            problem = f"goes with {place}, which {error.problem}"
            raise ScanError(path, problem, error.expected) from error
        if labels:
            found = Prepared(labels_on(scan, other, found), found.field)
        return Decoded(path, scan, found, None)
    except ScanError as error:
        return Decoded(path, error=error)
    except MemoryError:
        return Decoded(path, error=ScanError(path, "needs too much memory", "a smaller scan"))


def _limit_memory(limit: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
