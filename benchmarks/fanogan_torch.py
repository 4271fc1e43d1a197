"""f-AnoGAN's training steps and scoring: ours beside the same networks in plain PyTorch.

Both run on the same number of threads, in turns, from samples in memory. PyTorch has a process of
its own; GANATOMY_TORCH_PYTHON names the Python that has it where this one does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.harness import Result, Row, in_turns, rates, ratios, row

QUESTION = "f-AnoGAN: training steps and scoring, beside plain PyTorch"
BATCH = 64
# Both are 32×32; the first is the shipped preset's.
NETWORKS: dict[str, dict[str, Any]] = {
    "residual": {"width": 24, "latent": 32, "critic_norm": "layer"},
    "dcgan": {"width": 32, "latent": 64, "critic_norm": None},
}
COMMON: dict[str, Any] = {"critic_updates": 1}
DECAY = 0.99
_seen: dict[str, str] = {}


def versions() -> dict[str, str]:
    return _seen


def measure(quick: bool) -> Result:
    count = len(os.sched_getaffinity(0))
    trained.threads(count)
    from ganatomy import registry

    samples, *_ = trained.samples(registry.preset("fanogan-chest-xray"))
    samples = np.array(samples)
    result = Result()
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / "samples.npy"
        np.save(file, samples)
        for name, settings in NETWORKS.items():
            rival = Rival()
            told = {"network": name, **settings, **COMMON, "decay": DECAY}
            built = rival.ask("build", **told, batch=BATCH, samples=str(file), threads=count)
            _seen["torch"] = built["torch"]
            result.rows += compare(name, settings, samples, rival, built["parameters"], quick)
            rival.end()
    result.notes = [
        f"32×32 samples, batches of {BATCH}, one critic update a step, {count} threads on each "
        "side, the generator's moving average on both. The networks have the same layers and the "
        "same number of parameters, which is checked in the run. Ratios are ours over PyTorch: "
        "above 1, ours is faster.",
        "The residual networks are those of the preset `fanogan-chest-xray` (width 24). "
        "Ours computes convolution and resampling as one operation; PyTorch has them one after the "
        "other, as public repositories do.",
        "PyTorch: samples indexed from one tensor in memory, `torch.autograd.grad(create_graph="
        "True)` for the penalty, fresh fakes for the generator's move. Ours: `model.fit` with the "
        "project's input pipeline, as `ganatomy fit` runs it; one forward pass of the generator "
        "serves both players.",
        "Scoring is network passes alone (encoder, generator, features of both images) in chunks "
        "of 32, without reading files.",
    ]
    return result


def compare(
    name: str,
    settings: dict[str, Any],
    samples: np.ndarray,
    rival: Rival,
    parameters: dict[str, int],
    quick: bool,
) -> list[Row]:
    import keras

    from anogan.fanogan import FAnoGAN

    keras.utils.set_random_seed(0)
    model = FAnoGAN(
        samples.shape[1:], network=name, averages={"generator": DECAY}, **settings, **COMMON
    )
    own = {
        player: sum(int(np.prod(v.shape)) for v in model.networks[player].trainable_variables)
        for player in parameters
    }
    if own != parameters:
        raise AssertionError(f"the networks differ: ours {own}, PyTorch's {parameters}")
    repeats, steps = (3, 5) if quick else (10, 20)
    rows = []
    for stage in model.stage_list:
        ours, theirs = train_in_turns(model, stage, samples, rival, repeats, steps)
        rows += beside(f"{name}, {stage.name} stage", "steps/s", steps, ours, theirs,
                       f"blocks of {steps} steps")  # fmt: skip
    images = samples[:640]
    times = in_turns(
        {
            "ours": lambda: model.inspect(images) and None,
            "theirs": lambda: rival.ask("score", images=len(images))["seconds"],
        },
        repeats,
    )
    rows += beside(f"{name}, scoring", "images/s", len(images), times["ours"], times["theirs"],
                   f"passes over {len(images)} images")  # fmt: skip
    return rows


def train_in_turns(
    model: Any, stage: Any, samples: np.ndarray, rival: Rival, repeats: int, steps: int
) -> tuple[list[float], list[float]]:
    """Seconds of blocks of steps, ours and theirs in turns, within one `fit`."""
    import keras

    from ganatomy.batches import batches

    times: tuple[list[float], list[float]] = ([], [])

    class Turns(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            took = time.perf_counter() - self.began
            other = rival.ask(stage.name, steps=steps)["seconds"]
            if epoch:  # the first compiles
                times[0].append(took)
                times[1].append(other)

    model.enter(stage)
    data = batches(
        {"scan": samples},
        model.noise,
        roles=model.roles,
        batch_size=BATCH,
        updates=stage.updates,
        first_step=0,
        steps=(repeats + 1) * steps,
        seed=0,
    )
    model.fit(data, epochs=repeats + 1, steps_per_epoch=steps, callbacks=[Turns()], verbose=0)
    return times


def beside(
    what: str, unit: str, amount: int, ours: list[float], theirs: list[float], of: str
) -> list[Row]:
    return [
        row(f"{what}: ours", unit, rates(amount, ours), of),
        row(f"{what}: PyTorch", unit, rates(amount, theirs), of),
        row(f"{what}: ours / PyTorch", "×", ratios(theirs, ours), of),
    ]


class Rival:
    """The process that has PyTorch: a line of JSON in, a line out."""

    def __init__(self):
        python = os.environ.get("GANATOMY_TORCH_PYTHON", sys.executable)
        script = Path(__file__).with_name("torch_fanogan.py")
        self.process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

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
        self.process.stdin.close()
        self.process.wait()
