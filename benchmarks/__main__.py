"""`python -m benchmarks [NAME…] [--quick]`: run all benchmarks or the named ones."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys

from benchmarks import harness

NAMES = (
    "latent_fit",
    "latent_search",
    "fanogan_torch",
    "translation_torch",
    "warp",
    "registration_rigid",
    "hippocampus",
    "motions",
    "input_pipeline",
    "scoring_peak",
    "startup",
    "serving",
    "archive",
    "recalibration",
    "choosing",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="fewer repeats; not for the docs")
    parser.add_argument("--render", action="store_true", help="only write docs/benchmarks.md")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {sorted(unknown)[0]!r}; there are {', '.join(NAMES)}")
    if chosen.render:
        harness.render(NAMES)
        return 0
    names = chosen.names or NAMES
    if len(names) == 1:
        run(names[0], chosen.quick)
        return 0
    # Each in a process of its own: thread pools and memory of one are not the next one's.
    flags = ["--quick"] if chosen.quick else []
    codes = [subprocess.call([sys.executable, "-m", "benchmarks", n, *flags]) for n in names]
    return max(codes)


def run(name: str, quick: bool) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    benchmark = importlib.import_module(f"benchmarks.{name}")
    on = harness.machine()
    result = benchmark.measure(quick)
    # What the rival's process is made of is known once it ran.
    on["libraries"].update(getattr(benchmark, "versions", dict)())
    harness.write(name, benchmark.QUESTION, result, on, quick)
    print(f"\n{benchmark.QUESTION}\n{harness.table([vars(r) for r in result.rows])}", flush=True)
    for note in result.notes:
        print(f"- {note}")
    if not quick:
        harness.render(NAMES)


if __name__ == "__main__":
    sys.exit(main())
