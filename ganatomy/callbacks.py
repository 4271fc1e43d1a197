"""What happens at the end of every report of a training run."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ganatomy.game import AdversarialModel


class Report(keras.callbacks.Callback):
    """Base of the callbacks here: Keras calls the end of a report the end of an epoch."""

    @property
    def game(self) -> AdversarialModel:
        assert self.model is not None
        return self.model

    @property
    def step(self) -> int:
        return int(self.game.step.numpy())


class Checkpoint(Report):
    """Saves all that training needs at the end of every report, whole or not at all."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        save_checkpoint(self.game, self.file)


def save_checkpoint(model: AdversarialModel, file: Path) -> None:
    """Networks, averages, optimizers and the step, in one file."""
    aside = file.with_name("part-" + file.name)
    model.save_weights(aside)
    os.replace(aside, file)


class AsTheyCome(keras.callbacks.CallbackList):
    """Callbacks that get the logs of a step as tensors; Keras would wait for the device first."""

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Means(Report):
    """Puts means over the report's steps where Keras reports the last step alone.

    It comes first among the callbacks: those after it get what it wrote. The logs of steps are
    read at the end of a report alone (`AsTheyCome`).
    """

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.steps: list[Mapping[str, Any]] = []

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.steps.append(logs or {})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs |= {
            name: float(np.mean([np.asarray(own[name], float) for own in self.steps]))
            for name in self.steps[0]
        }


class History(Report):
    """history.csv: a line a report, with every term that was played so far."""

    def __init__(self, file: Path):
        super().__init__()
        self.file = file

    def on_train_begin(self, logs: Any = None) -> None:
        self.rows: list[dict] = []
        if self.file.exists():
            with open(self.file, newline="") as stored:
                step = self.step
                # A run killed between checkpoint and line: what is played again is written again.
                self.rows = [row for row in csv.DictReader(stored) if int(row["step"]) <= step]

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        values = {name: f"{float(np.mean(value)):.6g}" for name, value in (logs or {}).items()}
        self.rows.append({"step": self.step, **values})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        aside = self.file.with_name("part-" + self.file.name)
        with open(aside, "w", newline="") as out:
            writer = csv.DictWriter(out, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(aside, self.file)


class StopAtNaN(Report):
    """Ends a run whose losses are no numbers any more, before a checkpoint keeps them."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        broken = [name for name, value in (logs or {}).items() if not np.isfinite(value).all()]
        if broken:
            player = broken[0].partition("/")[0]
            raise FloatingPointError(
                f"{broken[0]} is not finite at step {self.step}: lower the "
                f"learning rate, e.g. --set optimizers.{player}.learning_rate=1e-5"
            )


class Progress(Report):
    """A bar on a terminal, a plain line a report elsewhere."""

    def __init__(self, total: int, out: Any = None):
        super().__init__()
        self.total, self.out = total, out or sys.stderr

    def on_train_begin(self, logs: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self.bar = None
        self.began, self.first = time.monotonic(), self.step
        if self.out.isatty():
            self.bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}"),
                console=Console(file=self.out),
            )
            self.task = self.bar.add_task(
                self.game.stage.name, total=self.total, completed=self.first, losses=""
            )
            self.bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.bar is not None:
            self.bar.advance(self.task)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        losses = "  ".join(f"{k} {float(np.mean(v)):.3g}" for k, v in (logs or {}).items())
        if self.bar is not None:
            self.bar.update(self.task, losses=losses)
        else:
            step = self.step
            rate = (step - self.first) / max(time.monotonic() - self.began, 1e-9)
            print(
                f"{self.game.stage.name} {step}/{self.total}  {rate:.1f} steps/s  {losses}",
                file=self.out,
                flush=True,
            )

    def on_train_end(self, logs: Any = None) -> None:
        if self.bar is not None:
            self.bar.stop()
