"""Many files to prepared samples, in worker processes: one file can end a worker, not the run."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import TimeoutError
from itertools import islice
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

from ganatomy.scans import Prepared, Preprocessing, Scan, ScanError, read_scan

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
    workers: int | None = None,
    timeout: float = 120.0,
    memory: int = 8 << 30,
) -> Iterator[Decoded]:
    """Read and prepare scans, in order, a few ahead of the reader.

    Args:
        paths: files and series folders.
        preprocessing: fitted; its `voi` says how DICOM is read.
        workers: processes; 0 reads in this one. As many as processors where None, and none for
            a handful of scans.
        timeout: seconds after which a scan is given up and its worker ended.
        memory: bytes of address space that a worker may take.

    Yields:
        A `Decoded` for every path; a scan that is refused, takes too long or ends its worker
        comes with its `ScanError` and stops nothing.
    """
    paths = iter(paths)
    head = list(islice(paths, FEW))
    if workers is None:
        workers = 0 if len(head) < FEW else len(os.sched_getaffinity(0))
    if not workers:
        for path in head:
            yield _decode_one(path, preprocessing)
        for path in paths:
            yield _decode_one(path, preprocessing)
        return

    from pebble import ProcessExpired, ProcessPool

    with ProcessPool(
        max_workers=workers, initializer=_limit_memory, initargs=[memory], context=_Context()
    ) as pool:
        waiting: deque = deque()

        def put(path: Path) -> None:
            future = pool.schedule(_decode_one, [path, preprocessing], timeout=timeout)
            waiting.append((path, future))

        for path in head[: 4 * workers]:
            put(path)
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
            following = next(rest, None) or next(paths, None)
            if following is not None:
                put(following)


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


def _decode_one(path: Path, preprocessing: Preprocessing) -> Decoded:
    try:
        scan = read_scan(path, window=preprocessing.voi)
        return Decoded(path, scan, preprocessing.apply(scan), None)
    except ScanError as error:
        return Decoded(path, error=error)
    except MemoryError:
        return Decoded(path, error=ScanError(path, "needs too much memory", "a smaller scan"))


def _limit_memory(limit: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
