"""How much of the machine's matrix-multiply peak does scoring reach, and what holds it back?"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.harness import Result, Row, in_turns, row

QUESTION = "Scoring: share of the machine's matrix-multiply peak"
SIDE = 2048


def measure(quick: bool) -> Result:
    trained.threads(len(os.sched_getaffinity(0)))
    import tensorflow as tf

    from benchmarks.detection import detectors

    a = tf.random.normal((SIDE, SIDE))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    work = 2.0 * SIDE**3
    repeats = 3 if quick else 7
    rows: list[Row] = []
    peaks: list[float] = []
    for name in detectors():
        whole, tenfold, operations = scorers(name)
        rivals = {
            "peak": lambda: clocked(lambda: product().numpy()),
            "32": lambda whole=whole: clocked(whole),
            "320": lambda tenfold=tenfold: clocked(tenfold),
        }
        times = in_turns(rivals, repeats, warmup=2)
        peak = [work / each for each in times["peak"]]
        peaks += peak
        # A pass of n scans takes fixed + n · each; the two lengths tell them apart.
        each = (min(times["320"]) - min(times["32"])) / 288
        fixed = max(min(times["32"]) - 32 * each, 0.0)
        rate = [32 / seconds for seconds in times["32"]]
        share = [100 * r * operations / p for r, p in zip(rate, peak, strict=True)]
        rows += [
            row(f"{name}: scans a second", "1/s", rate),
            row(f"{name}: operations a scan", "MFLOP", [operations / 1e6], "count"),
            row(f"{name}: share of the peak", "%", share),
            row(f"{name}: part of a pass of 32 that does not grow with scans", "%",
                [100 * fixed / min(times["32"])], "fit"),
        ]  # fmt: skip
    first = row(f"matrix product of {SIDE}², float32", "GFLOP/s", [p / 1e9 for p in peaks])
    return Result(
        [first, *rows],
        [
            "Networks only, on prepared samples; weights are not trained, which changes no time. "
            "Operations are counted by TensorFlow's profiler in the compiled graph; of a search, "
            "those of its loop times its steps.",
            "The part of a pass that does not grow with scans is the start of its operations, and "
            "no arithmetic; the rest falls short of the peak where matrices are thin.",
        ],
    )


def clocked(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def scorers(name: str) -> tuple[Any, Any, float]:
    """Calls that score 32 and 320 samples in one pass each, and operations a sample."""
    from ganatomy import registry
    from ganatomy.artifacts import build_model

    preset = registry.preset(name)
    size = tuple(preset.preprocessing["size"])
    shape = (*size, preset.preprocessing.get("channels", 1))
    calls = []
    for count in (32, 320):
        model = build_model(preset.set([f"chunk={count}"]), shape)
        samples = np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype("float32")
        calls.append(lambda model=model, samples=samples: model.inspect(samples))
    return calls[0], calls[1], operations_of(preset, shape)


def operations_of(preset: Any, shape: tuple[int, ...]) -> float:
    """Floating-point operations of scoring one sample, counted in the graph."""
    import tensorflow as tf

    from ganatomy.artifacts import build_model

    model = build_model(preset, shape)
    x = np.zeros((32, *shape), np.float32)
    graph: Any = (
        tf.function(model.examine)
        .get_concrete_function(tf.constant(x), tf.constant(model.start(x)))
        .graph
    )
    total = float(counted(graph))
    for operation in graph.get_operations():
        if operation.type in ("While", "StatelessWhile"):
            body = graph._get_function(operation.get_attr("body").name).graph
            total += counted(body) * model.search["steps"]
    return total / len(x)


def counted(graph: Any) -> int:
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    builder = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    found = profiler.profile(graph, options=builder.with_empty_output().build())
    return found.total_float_ops if found else 0
