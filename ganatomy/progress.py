"""How far long work is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


def counter(title: str, out: Any = None) -> Callable[[int, int], None]:
    """A function to be called with (done, total); it writes to standard error.

    On a terminal one line is kept up to date; elsewhere a line is written every tenth part, and
    nothing at all for work that ends within two seconds.
    """
    out = out or sys.stderr
    began = time.monotonic()
    last = [began, -1]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if now - began < 2 and done < total:
            return
        if out.isatty():
            if now - last[0] > 0.1 or done == total:
                end = "\n" if done == total else ""
                print(f"\r{title} {done}/{total}", end=end, file=out, flush=True)
                last[0] = now
        elif now - began >= 2 and done * 10 // total > last[1]:
            print(f"{title} {done}/{total}", file=out, flush=True)
            last[1] = done * 10 // total

    return show
