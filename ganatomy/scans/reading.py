"""Many scans read by worker processes, so that no file can end the run.

A decoder may crash, hang or ask for all memory on a hostile or damaged file. Each worker has a
memory limit, each scan a time limit; a worker that dies costs its scan only.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from ganatomy.scans.errors import ScanError
from ganatomy.scans.scan import Scan

MEMORY = 8 << 30  # bytes of address space; decoders and their libraries map about 2 GiB unused
SECONDS = 120.0
START_SECONDS = 60.0  # a worker's own imports on a busy machine


def read_scans(
    paths: Iterable[str | os.PathLike],
    *,
    workers: int = 2,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    window: bool = False,
    constant: bool = False,
) -> Iterator[Scan | ScanError]:
    """Read scans ahead in worker processes, in the order of the paths.

    Args:
        paths: what `read_scan` takes, except bytes.
        workers: processes; as many scans are read ahead.
        seconds: time for one scan.
        memory: bytes a worker may map.
        window: see `read_scan`.
        constant: see `read_scan`.

    Yields:
        The scan, or the ScanError that reading it raised.
    """
    options = {"window": window, "constant": constant}
    crew = [_Worker(memory) for _ in range(max(1, workers))]
    busy: list[tuple[_Worker, Path]] = []
    try:
        for path in map(Path, paths):
            if len(busy) == len(crew):
                worker, earlier = busy.pop(0)
                yield worker.collect(earlier, seconds)
            else:
                worker = crew[len(busy)]
            worker.start(path, options)
            busy.append((worker, path))
        for worker, path in busy:
            yield worker.collect(path, seconds)
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that reads one scan at a time, started again when it dies."""

    def __init__(self, memory: int):
        self.memory = memory
        self.process: subprocess.Popen | None = None
        self.connection: Connection | None = None

    def start(self, path: Path, options: dict) -> None:
        if self.process is None or self.process.poll() is not None:
            self.end()
            ours, theirs = socket.socketpair()
            # a fresh interpreter: forking a process that holds TensorFlow deadlocks, and
            # multiprocessing would run the caller's main script again
            code = "from ganatomy.scans.reading import serve; serve()"
            command = [sys.executable, "-c", code, str(theirs.fileno()), str(self.memory)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
            theirs.close()
            self.connection = Connection(ours.detach())
            if not self._answers(START_SECONDS):
                self.end()
                raise RuntimeError("a worker process for reading scans did not start")
        assert self.connection is not None
        self.connection.send((str(path), options))

    def collect(self, path: Path, seconds: float) -> Scan | ScanError:
        assert self.connection is not None
        try:
            if self.connection.poll(seconds):
                return self.connection.recv()
            problem = f"was not decoded within {seconds:g} s"
        except (EOFError, OSError):
            problem = "ended the process that decoded it"
        self.end()
        return ScanError(path, problem, "a file that decodes without harm")

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        if self.connection is not None:
            self.connection.close()
        self.process = self.connection = None

    def _answers(self, seconds: float) -> bool:
        assert self.connection is not None
        try:
            return self.connection.poll(seconds) and self.connection.recv() == "ready"
        except (EOFError, OSError):
            return False


def serve() -> None:
    """The worker: read what is asked for until the connection closes."""
    import resource

    from ganatomy.scans.read import read_scan

    connection, memory = Connection(int(sys.argv[1])), int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    connection.send("ready")
    while True:
        try:
            path, options = connection.recv()
        except EOFError:
            return
        try:
            answer: Scan | ScanError = read_scan(path, **options)
        except ScanError as error:
            answer = error
        try:
            connection.send(answer)
        except MemoryError:  # the message is a second copy
            limit = f"a scan that fits {memory >> 20} MiB"
            connection.send(ScanError(path, "needs more memory than there is", limit))
