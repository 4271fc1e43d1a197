"""Resampling at points, forward and with gradients: ours beside PyTorch's grid_sample."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks import trained
from benchmarks.harness import Result, Row
from benchmarks.torch_rival import Clock, Rival, Spent, beside, spent
from benchmarks.torch_rival import versions as versions  # what the results name

QUESTION = "Warping: resampling through a smooth field, beside PyTorch's grid_sample"
# One volume of a size that brains are registered at, a batch of small ones, and pictures.
CASES = {
    "a volume of 96³": (1, (96, 96, 96)),
    "4 volumes of 40×56×40": (4, (40, 56, 40)),
    "8 pictures of 256²": (8, (256, 256)),
}
ASKED = {
    "values": "values",
    "points": "values and gradient to the field",
    "both": "values and both gradients",
}
PEAK = 5.0  # voxels that the field moves at most


def measure(quick: bool) -> Result:
    count = len(os.sched_getaffinity(0))
    trained.threads(count)
    result = Result()
    for name, (batch, shape) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            result.rows += compare(name, batch, shape, Path(folder), count, quick)
    result.notes = [
        f"Linear, float32, edges repeated, one channel, {count} thread(s) on each side. The field "
        f"is smooth and moves up to {PEAK:g} voxels; both sides are given their sampling points in "
        "the form they want. Ratios are ours over PyTorch: above 1, ours is faster.",
        "Values and gradients of both are compared in the run.",
        "Ours runs on one thread; PyTorch shares a batch among its threads, but never one volume. "
        "In 2D its kernel is written in vector instructions, in 3D it is not.",
        "On a shared machine trust the rows by processor time, which compare the work itself.",
        "The gradient to the image is not needed where a network learns the field of a given "
        "scan; `tf.function` then leaves it out, as `autograd.grad` does.",
    ]
    return result


def compare(
    name: str, batch: int, shape: tuple[int, ...], folder: Path, threads: int, quick: bool
) -> list[Row]:
    image, points, upstream = drawn(batch, shape)
    inputs = folder / "inputs.npz"
    np.savez(inputs, image=image, points=points, upstream=upstream)
    rival = Rival("torch_warp.py")
    rival.build(inputs=str(inputs), threads=threads)
    ours = works(image, points, upstream)
    rival.ask("save", file=str(folder / "theirs.npz"))
    check(ours["both"](), folder / "theirs.npz")
    turns, passes = (5, 3) if quick else (15, 10)
    voxels = image[..., 0].size * passes / 1e6
    rows = []
    for asked, what in ASKED.items():
        mine: list[Spent] = []
        theirs: list[Spent] = []
        for turn in range(turns + 1):
            clock = Clock()
            for _ in range(passes):
                ours[asked]()
            now = clock.read()
            other = spent(rival.ask(asked, passes=passes))
            if turn:  # the first compiles
                mine.append(now)
                theirs.append(other)
        of = f"blocks of {passes} passes"
        rows += beside(f"{name}, {what}", "Mvoxel/s", voxels, mine, theirs, of)
    rival.end()
    return rows


def drawn(batch: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image, points in its voxels and what comes back to the values."""
    rng = np.random.default_rng(0)
    rank = len(shape)
    image, upstream = rng.standard_normal((2, batch, *shape, 1), np.float32)
    field = gaussian_filter(rng.standard_normal((batch, *shape, rank)), (0, *[6] * rank, 0))
    field *= PEAK / np.abs(field).max()
    points = np.moveaxis(np.indices(shape), 0, -1) + field
    return image, points.astype(np.float32), upstream


def works(image: np.ndarray, points: np.ndarray, upstream: np.ndarray) -> dict[str, Callable]:
    """What is timed, by the names that the rival knows."""
    import tensorflow as tf

    from registration.warp import resample

    scan, where, back = (tf.constant(array) for array in (image, points, upstream))

    @tf.function(autograph=False)
    def values() -> Any:
        return [resample(scan, where, border="edge")]

    @tf.function(autograph=False)
    def to_points() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(where)
            found = resample(scan, where, border="edge")
        return [found, tape.gradient(found, where, back)]

    @tf.function(autograph=False)
    def both() -> Any:
        with tf.GradientTape() as tape:
            tape.watch([where, scan])
            found = resample(scan, where, border="edge")
        return [found, *tape.gradient(found, [where, scan], back)]

    return {"values": values, "points": to_points, "both": both}


def check(ours: list[Any], theirs: Path) -> None:
    """That both compute the same.

    Raises:
        AssertionError: they do not.
    """
    with np.load(theirs) as stored:
        for mine, name in zip(ours, ("values", "points", "image"), strict=True):
            mine, other = np.asarray(mine), stored[name]
            # Where rounding puts a point on the other side of a voxel, a derivative is another.
            off = np.mean(np.abs(mine - other) > 1e-2 * np.abs(other).max())
            if off > 1e-3:
                raise AssertionError(f"{name} differ at {off:.1%} of the voxels")
