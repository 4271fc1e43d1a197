"""A process with PyTorch: it answers lines of JSON and clocks itself; imports nothing of ours.

The rivals that `benchmarks.torch_rival` starts are scripts of this folder, and find this one in it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def clocked(work: Callable[[], object]) -> dict[str, float]:
    """Seconds of the clock and of processors that some work takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def peak_memory() -> dict[str, float]:
    """The most that this process had resident so far, in MiB: all, and without mapped files."""
    # What getrusage says counts the parent's memory, which a child shares until it runs its own.
    status = Path("/proc/self/status").read_text()
    peak, files = (
        int(status.partition(f"{name}:")[2].split()[0]) / 1024 for name in ("VmHWM", "RssFile")
    )
    # Pages of libraries only grow in number: at the peak there were no more of them than now.
    return {"peak": peak, "own": peak - files}


def serve(answer: Callable[[dict, dict], dict[str, Any]]) -> None:
    """Answer every line of standard input; the state lasts from one to the next."""
    state: dict = {}
    for line in sys.stdin:
        print(json.dumps(answer(state, json.loads(line))), flush=True)
