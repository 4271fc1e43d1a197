"""f-AnoGAN's training steps and scoring: ours beside the same networks in plain PyTorch.

Both run on the same number of threads, in turns, from samples in memory. PyTorch has a process of
its own; GANATOMY_TORCH_PYTHON names the Python that has it where this one does not.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.harness import Result, Row
from benchmarks.torch_rival import Clock, Rival, beside, spent, train_in_turns
from benchmarks.torch_rival import versions as versions  # what the results name

QUESTION = "f-AnoGAN: training steps and scoring, beside plain PyTorch"
BATCH = 64
# As f-AnoGAN published them, at 32×32 and narrower; the preset's own networks stand beside.
PUBLISHED: dict[str, Any] = {
    "network": "residual",
    "width": 24,
    "latent": 32,
    "critic_norm": "layer",
    "critic_updates": 1,
}
DECAY = 0.99


def measure(quick: bool) -> Result:
    count = len(os.sched_getaffinity(0))
    trained.threads(count)
    from anogan import AnomalyScorer

    scorer = AnomalyScorer.load(trained.model_folder("fanogan-chest-xray", *trained.SHORT))
    hyper = scorer.artifact_.preset.hyperparameters
    shipped = {name: hyper[name] for name in PUBLISHED}
    samples = np.array(trained.samples(scorer.preprocessing_, trained.table("train")))
    result = Result()
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / "samples.npy"
        np.save(file, samples)
        for settings in (shipped, PUBLISHED):
            rival = Rival("torch_fanogan.py")
            told = {**settings, "decay": DECAY, "batch": BATCH, "threads": count}
            built = rival.build(**told, samples=str(file))
            result.rows += compare(settings, samples, rival, built["parameters"], quick)
            rival.end()
    result.notes = [
        f"32×32 samples, batches of {BATCH}, one critic update a step, {count} thread(s) on each "
        "side, the generator's moving average on both. The networks have the same layers and the "
        "same number of parameters, which is checked in the run. Ratios are ours over PyTorch: "
        "above 1, ours is faster.",
        "The DCGAN is that of the preset `fanogan-chest-xray` (width 32); the residual networks "
        "are of the kind that f-AnoGAN published (width 24). In these, ours computes convolution "
        "and resampling as one operation; PyTorch has them one after the other, as public "
        "repositories do.",
        "On a shared machine a thread that waits for another's turn costs whole steps. The rows by "
        "processor time compare what both sides used, not how long they waited.",
        "PyTorch: samples indexed from one tensor in memory, `torch.autograd.grad(create_graph="
        "True)` for the penalty, fresh fakes for the generator's move. Ours: `model.fit` with the "
        "project's input pipeline, as `ganatomy fit` runs it; one forward pass of the generator "
        "serves both players.",
        "Scoring is network passes alone (encoder, generator, features of both images) in chunks "
        "of 32, without reading files.",
    ]
    return result


def compare(
    settings: dict[str, Any],
    samples: np.ndarray,
    rival: Rival,
    parameters: dict[str, int],
    quick: bool,
) -> list[Row]:
    import keras

    from anogan.fanogan import FAnoGAN

    keras.utils.set_random_seed(0)
    model = FAnoGAN(samples.shape[1:], averages={"generator": DECAY}, **settings)
    name = settings["network"]
    own = {
        player: sum(int(np.prod(v.shape)) for v in model.networks[player].trainable_variables)
        for player in parameters
    }
    if own != parameters:
        raise AssertionError(f"the networks differ: ours {own}, PyTorch's {parameters}")
    repeats, steps = (3, 4) if quick else (7, 8)
    rows = []
    for stage in model.stage_list:
        ours, theirs = train_in_turns(model, stage, {"scan": samples}, BATCH, rival, repeats, steps)
        of = f"blocks of {steps} steps"
        rows += beside(f"{name}, {stage.name} stage", "steps/s", steps, ours, theirs, of)
    images = samples[:640]
    ours, theirs = [], []
    for turn in range(repeats + 1):
        clock = Clock()
        model.inspect(images)
        mine = clock.read()
        other = spent(rival.ask("score", images=len(images)))
        if turn:  # the first compiles
            ours.append(mine)
            theirs.append(other)
    of = f"passes over {len(images)} images"
    return rows + beside(f"{name}, scoring", "images/s", len(images), ours, theirs, of)
