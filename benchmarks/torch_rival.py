"""The process with PyTorch that a benchmark is compared with, and how both are timed.

GANATOMY_TORCH_PYTHON names the Python that has PyTorch where this one does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.harness import Row, rates, ratios, row

_seen: dict[str, str] = {}


def versions() -> dict[str, str]:
    """The libraries of the other process, once it was built."""
    return _seen


class Spent(NamedTuple):
    """Seconds of the clock and seconds of processors."""

    wall: float
    processor: float


class Clock:
    """Starts when it is made."""

    def __init__(self):
        self.began = Spent(time.perf_counter(), time.process_time())

    def read(self) -> Spent:
        return Spent(
            time.perf_counter() - self.began.wall, time.process_time() - self.began.processor
        )


def spent(answer: dict[str, Any]) -> Spent:
    """What the other process says it spent."""
    return Spent(answer["wall"], answer["processor"])


def beside(
    what: str, unit: str, amount: int, ours: list[Spent], theirs: list[Spent], of: str
) -> list[Row]:
    """Rates of both and their ratios, pair by pair."""
    walls = [each.wall for each in ours], [each.wall for each in theirs]
    busy = [each.processor for each in ours], [each.processor for each in theirs]
    return [
        row(f"{what}: ours", unit, rates(amount, walls[0]), of),
        row(f"{what}: PyTorch", unit, rates(amount, walls[1]), of),
        row(f"{what}: ours / PyTorch", "×", ratios(walls[1], walls[0]), of),
        row(f"{what}: the same by processor time", "×", ratios(busy[1], busy[0]), of),
    ]


class Rival:
    """The process that has PyTorch: a line of JSON in, a line out.

    Args:
        script: the file of this folder that it runs.
    """

    def __init__(self, script: str):
        python = os.environ.get("GANATOMY_TORCH_PYTHON", sys.executable)
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def build(self, **what: Any) -> dict[str, Any]:
        """Have its side built; what it answers, its version of PyTorch noted."""
        built = self.ask("build", **what)
        _seen["torch"] = built["torch"]
        return built

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(
                "the process with PyTorch ended; is it installed? (pip install '.[bench]')"
            )
        return json.loads(line)

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def train_in_turns(
    model: Any,
    stage: Any,
    arrays: Mapping[str, np.ndarray],
    batch: int,
    rival: Rival,
    repeats: int,
    steps: int,
) -> tuple[list[Spent], list[Spent]]:
    """What blocks of steps took, ours and theirs in turns, within one `fit`.

    Args:
        model: a game.
        stage: of the game; the rival knows it by its name.
        arrays: by role, [n, *size, c].
        batch: samples a step.
        rival: what it is compared with.
        repeats: blocks that count, after one of each that does not.
        steps: in a block.
    """
    import keras

    from ganatomy.batches import batches

    ours: list[Spent] = []
    theirs: list[Spent] = []

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.clock = Clock()

        def on_epoch_end(self, epoch, logs=None):
            mine = self.clock.read()
            other = spent(rival.ask(stage.name, steps=steps))
            if epoch:  # the first compiles
                ours.append(mine)
                theirs.append(other)

    model.enter(stage)
    data = batches(
        arrays,
        model.noise,
        roles=model.roles,
        batch_size=batch,
        updates=stage.updates,
        first_step=0,
        steps=(repeats + 1) * steps,
        seed=0,
    )
    model.fit(data, epochs=repeats + 1, steps_per_epoch=steps, callbacks=[Turns()], verbose=0)
    return ours, theirs
