"""Can the input pipeline feed a training step: images a second given, and images a second taken."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks import trained
from benchmarks.harness import Result, in_turns, rates, ratios, row

QUESTION = "Input pipeline: images given against images a training step takes"
BATCH = 64


def measure(quick: bool) -> Result:
    trained.threads(len(os.sched_getaffinity(0)))
    import tensorflow as tf

    from anogan import AnomalyScorer
    from ganatomy.artifacts import build_model
    from ganatomy.batches import Augment, batches

    scorer = AnomalyScorer.load(trained.model_folder("fanogan-chest-xray", *trained.SHORT))
    artifact, preprocessing = scorer.artifact_, scorer.preprocessing_
    samples = trained.samples(preprocessing, trained.table("train"))
    model = build_model(artifact.preset, artifact.shape)
    moved = Augment(shift=0.05, scale=0.05, rotate=5, flip=(1,), gain=0.1, bias=0.05)

    def data(steps: int, augment: Any = None, updates: int = 1) -> tf.data.Dataset:
        return batches(
            {"scan": samples},
            model.noise,
            roles=model.roles,
            batch_size=BATCH,
            updates=updates,
            first_step=0,
            steps=steps,
            seed=0,
            augment=augment,
        )

    repeats, steps = (3, 10) if quick else (7, 30)
    many = steps * 10

    def drained(augment: Any) -> float:
        """Seconds of `many` batches; the first fills the buffers."""
        given = iter(data(many + 1, augment))
        next(given)
        began = time.perf_counter()
        for _ in given:
            pass
        return time.perf_counter() - began

    def taken(stage: Any) -> Any:
        """One batch in memory, again and again, and the compiled step: a pipeline without cost."""
        model.enter(stage)
        batch = next(iter(data(1, updates=stage.updates)))
        held = tf.data.Dataset.from_tensors(batch).cache().repeat()
        model.make_train_function()
        return held, model.train_function

    def trains(stage: Any) -> float:
        held, step = steady[stage.name]
        model.stage = stage
        given = iter(held)
        began = time.perf_counter()
        for _ in range(steps):
            step(given)
        return time.perf_counter() - began

    steady = {stage.name: taken(stage) for stage in model.stage_list}
    rivals = {
        "plain": lambda: drained(None),
        "augmented": lambda: drained(moved),
        **{stage.name: lambda stage=stage: trains(stage) for stage in model.stage_list},
    }
    times = in_turns(rivals, repeats)
    given = {name: rates(many * BATCH, times[name]) for name in ("plain", "augmented")}
    rows = [
        row("given, from the memory-mapped cache", "images/s", given["plain"]),
        row("given, with augmentation", "images/s", given["augmented"]),
    ]
    for stage in model.stage_list:
        taken_rate = rates(steps * BATCH * stage.updates, times[stage.name])
        rows += [
            row(f"taken by the {stage.name} stage", "images/s", taken_rate),
            row(f"given / taken, {stage.name} stage", "×", ratios(given["plain"], taken_rate)),
            row(f"given with augmentation / taken, {stage.name} stage", "×",
                ratios(given["augmented"], taken_rate)),
        ]  # fmt: skip
    rows += cold(preprocessing, 2 if quick else 3, 60 if quick else 200)
    return Result(
        rows,
        [
            "Samples of 32×32 and the networks of the preset `fanogan-chest-xray`, batches of 64; "
            "the giver fills batches alone, the taker trains on one batch that stays in memory. "
            "Larger samples cost the taker more than the giver.",
            "Augmentation is shift, scale, rotation, mirror, gain and bias together.",
            "Reading and preparing (JPEG of 224×224, equalisation, alignment to the healthy mean) "
            "is paid once for a collection; later runs read the cache. It is timed from the first "
            "scan that arrives on, so without the start of the workers.",
        ],
    )


def cold(preprocessing: Any, repeats: int, count: int) -> list:
    from ganatomy.decoding import decode

    paths = trained.table("train").first[:count]

    def read(workers: int) -> float:
        arriving = decode(paths, preprocessing, workers=workers)
        next(arriving)
        began = time.perf_counter()
        for item in arriving:
            assert item.error is None
        return time.perf_counter() - began

    rivals = {str(n): lambda n=n: read(n) for n in (0, 1, 2)}
    times = in_turns(rivals, repeats, warmup=0)
    called = {"0": "in the process itself", "1": "one worker", "2": "two workers"}
    return [
        row(f"reading and preparing, {called[n]}", "images/s", rates(count - 1, times[n]))
        for n in rivals
    ]
