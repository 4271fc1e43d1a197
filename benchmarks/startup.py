"""How long a user waits before anything happens: commands and imports, each in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import trained
from benchmarks.harness import Result, in_turns, ratios, row

QUESTION = "Start-up: how long until something happens?"

LOAD = """
from anogan import AnomalyScorer
scorer = AnomalyScorer.load({model!r})
"""
FIRST = LOAD + "scorer.anomaly_score([{scan!r}])\n"
SECOND = """
import time
began = time.perf_counter()
scorer.anomaly_score([{scan!r}])
print(time.perf_counter() - began)
"""


def measure(quick: bool) -> Result:
    # In a process of its own, so that this one stays as light as it is.
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup"], check=True, stdout=subprocess.PIPE, text=True
    )
    names = {"model": found.stdout.strip().splitlines()[-1]}
    names["scan"] = str(next((trained.DATA / "test" / "normal").glob("*.jpeg")))
    ganatomy = str(Path(sys.executable).with_name("ganatomy"))

    def process(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def python(code: str) -> None:
        process(sys.executable, "-c", code)

    light = {
        "Python itself": lambda: python("pass"),
        "`ganatomy --help`": lambda: process(ganatomy, "--help"),
        "`ganatomy models`": lambda: process(ganatomy, "models"),
        "`import ganatomy.scans`": lambda: python("import ganatomy.scans"),
    }
    heavy = {
        "`import tensorflow`": lambda: python("import tensorflow"),
        "load a trained scorer": lambda: python(LOAD.format(**names)),
        "load it and score one picture": lambda: python(FIRST.format(**names)),
    }
    times = in_turns(light, 5 if quick else 11) | in_turns(heavy, 2 if quick else 5)
    rows = [row(name, "s", values, "new processes") for name, values in times.items()]
    loaded, tensorflow = times["load a trained scorer"], times["`import tensorflow`"]
    rows.append(row("load a trained scorer / `import tensorflow`", "×", ratios(loaded, tensorflow)))
    again = [
        float(subprocess.check_output(
            [sys.executable, "-c", (FIRST + SECOND).format(**names)],
            stderr=subprocess.DEVNULL, text=True,
        ))
        for _ in range(2 if quick else 5)
    ]  # fmt: skip
    rows.append(row("the second picture, in the same process", "s", again, "new processes"))
    return Result(
        rows,
        [
            "Each value is a process from its start to its end, with files in the system's cache "
            "(one run before is not counted). The scorer is the preset `fanogan-chest-xray` with "
            "its controls.",
        ],
    )


if __name__ == "__main__":
    print(trained.model_folder("fanogan-chest-xray", *trained.SHORT))
