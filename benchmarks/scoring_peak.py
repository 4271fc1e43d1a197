"""How much of the machine's matrix-multiply peak does scoring reach, and what holds it back?"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import profiled, trained
from benchmarks.harness import Result, Row, in_turns, row

QUESTION = "Scoring: share of the machine's matrix-multiply peak"
SIDE = 2048
CONV, MATMUL, *_ = profiled.KINDS
WITHIN = "share of the peak while it multiplies"
BARE = "plain products of its layers' sizes, share of the peak"
THIN = "thinnest side of its products, median by operations"


def measure(quick: bool) -> Result:
    trained.threads(len(os.sched_getaffinity(0)))
    import tensorflow as tf

    from benchmarks.detection import detectors
    from ganatomy import registry

    a = tf.random.normal((SIDE, SIDE))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    repeats = 3 if quick else 7
    rows: list[Row] = []
    peaks: list[float] = []
    for name in detectors():
        if registry.preset(name).members:
            continue  # they stand by themselves
        own, found = of_detector(name, lambda: clocked(lambda: product().numpy()), repeats)
        rows += [replace(one, what=f"{name}: {one.what}") for one in own]
        peaks += found
    first = row(f"matrix product of {SIDE}², float32", "GFLOP/s", [p / 1e9 for p in peaks])
    return Result([first, *rows], notes(rows))


def of_detector(
    name: str, peak_of: Callable[[], float], repeats: int
) -> tuple[list[Row], list[float]]:
    """Rows of a detector, and the peaks, operations a second, that were measured in turn with it.

    Args:
        name: of a preset.
        peak_of: seconds of a product of two matrices of `SIDE`.
        repeats: of all that is timed.
    """
    from anogan.detector import Detector

    whole, tenfold, operations, products = scorers(name)
    rivals = {"peak": peak_of, "32": lambda: clocked(whole), "320": lambda: clocked(tenfold)}
    times = in_turns(rivals, repeats, warmup=2)
    peak = [2.0 * SIDE**3 / each for each in times["peak"]]
    # A pass of n scans takes fixed + n · each; the two lengths tell them apart.
    each = (min(times["320"]) - min(times["32"])) / 288
    fixed = max(min(times["32"]) - 32 * each, 0.0)
    rate = [32 / seconds for seconds in times["32"]]
    share = [100 * r * operations / p for r, p in zip(rate, peak, strict=True)]
    passes = [profile(whole) for _ in range(repeats)]
    # A pass has some rows more than scans.
    multiplied = sum(one.operations for one in products) * (32 + Detector.spare) / 32
    speeds = [multiplied / (wall * (told[CONV] + told[MATMUL])) for wall, told in passes]
    bare = profiled.bare(products, repeats)
    kinds = [
        row(f"time in {kind}", "%", [100 * told[kind] for _, told in passes], "profiles")
        for kind in (*profiled.KINDS, profiled.NOTHING)
    ]
    part = [100 * fixed / min(times["32"])]
    return [
        row("scans a second", "1/s", rate),
        row("operations a scan", "MFLOP", [operations / 1e6], "count"),
        row("share of the peak", "%", share),
        row("part of a pass of 32 that does not grow with scans", "%", part, "fit"),
        *kinds,
        row(WITHIN, "%", [100 * speed / max(peak) for speed in speeds], "profiles"),
        row(BARE, "%", [100 * bare / max(peak)], "sum"),
        row(THIN, "", [profiled.thinnest(products)], "count"),
    ], peak


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader has to know, with the medians over detectors."""

    def median(what: str) -> float:
        return statistics.median(one.value for one in rows if one.what.endswith(f": {what}"))

    kinds = (*profiled.KINDS, profiled.NOTHING)
    told = ", ".join(f"{kind} {median(f'time in {kind}'):.0f} %" for kind in kinds)
    return [
        "Networks only, on prepared samples; weights are not trained, which changes no time. "
        "Operations are counted by TensorFlow's profiler in the compiled graph; of a search, "
        "those of its loop times its steps.",
        "The part of a pass that does not grow with scans is the start of its operations, and "
        "no arithmetic.",
        "What holds them back, by TensorFlow's trace of passes of 32, the medians over detectors: "
        f"{told} of the time (what tracing itself takes counts as the last). While a network "
        f"multiplies, it reaches {median(WITHIN):.0f} % of the peak; plain products of matrices as "
        f"large as its layers' (a convolution as rows of windows) reach {median(BARE):.0f} %: what "
        "that lacks is the cost of thin matrices, and what lies between the two is how "
        "convolutions are computed. A search that ends before its last step multiplies less than "
        "is counted.",
    ]


def profile(call: Callable[[], Any]) -> tuple[float, dict[str, float]]:
    """Seconds of a call, and their shares by kind of operation."""
    times: list[float] = []
    found = profiled.events(lambda: times.append(clocked(call)))
    return times[0], profiled.shares(found, times[0])


def clocked(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def scorers(name: str) -> tuple[Any, Any, float, list[profiled.Product]]:
    """Calls that score 32 and 320 samples in one pass each, operations a sample, and products."""
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
    return calls[0], calls[1], *operations_of(preset, shape)


def operations_of(preset: Any, shape: tuple[int, ...]) -> tuple[float, list[profiled.Product]]:
    """Floating-point operations of scoring one sample, counted in the graph of a pass of 32, and
    the matrix products of that pass.
    """
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
    found = list(profiled.products(graph))
    for operation in graph.get_operations():
        if operation.type in ("While", "StatelessWhile"):
            body = graph._get_function(operation.get_attr("body").name).graph
            steps = looped(model)
            total += counted(body) * steps
            found += profiled.products(body, steps)
    return total / len(x), found


def looped(model: Any) -> int:
    """Steps of a model's loop: of a search for a code, or of a restoration."""
    return model.search["steps"] if hasattr(model, "search") else model.restoration_steps


def counted(graph: Any) -> int:
    import tensorflow as tf

    profiler = tf.compat.v1.profiler
    builder = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    found = profiler.profile(graph, options=builder.with_empty_output().build())
    return found.total_float_ops if found else 0
