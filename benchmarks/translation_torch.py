"""Training steps of pix2pix and CycleGAN: ours beside the same networks in plain PyTorch.

Both run on the same number of threads, in turns, from images in memory: on all cores, and on one,
where no thread waits for another. Either side has a process of its own for every case, so that its
peak of memory is the case's; GANATOMY_TORCH_PYTHON names the Python that has PyTorch where this one
does not.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import torch_rival, trained
from benchmarks.harness import Result, Row, row
from benchmarks.torch_process import peak_memory
from benchmarks.torch_rival import Rival, beside, train_in_turns
from benchmarks.torch_rival import versions as versions  # what the results name

QUESTION = "pix2pix and CycleGAN: training steps and memory, beside plain PyTorch"
CRITIC_DEPTH, BLOCKS = 3, 6
COUNT = 64  # images in memory


class Case(NamedTuple):
    """A model, the side of its images, its width, and steps in a block."""

    model: str
    side: int
    width: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.model}, {self.side}×{self.side}, width {self.width}"


CASES = (
    Case("pix2pix", 128, 32, 12),
    Case("pix2pix", 256, 64, 2),
    Case("cyclegan", 128, 32, 2),
)


def measure(quick: bool) -> Result:
    result = Result()
    context = multiprocessing.get_context("spawn")
    for case, threads in itertools.product(CASES, sorted({1, len(os.sched_getaffinity(0))})):
        # What a process once had it does not all give back: each case begins in a new one.
        with ProcessPoolExecutor(1, mp_context=context) as fresh:
            rows, seen = fresh.submit(compare, case, threads, quick).result()
        result.rows += rows
        torch_rival.versions().update(seen)
    result.notes = [
        "One image a step, as many threads on either side, float32. The networks have the same "
        "layers and the same number of parameters, which is checked in the run. Ratios are ours "
        "over PyTorch: of steps, above 1 ours is faster; of memory, below 1 ours needs less.",
        "pix2pix: the U-Net that halves a grid to one voxel, dropout in three levels, patches of "
        "70 on scan and image, the discriminator's move first, log-loss and 100 times L1. "
        "CycleGAN: ResNet of 6 blocks, patches of 70, least squares, cycle 10, identity 0.5 of "
        "it, pools of 50, one Adam for both generators and one for both critics.",
        "PyTorch is written as the well-known repository trains: plain modules, its order of "
        "moves, batch norm over the one image for pix2pix, instance norm for CycleGAN, in-place "
        "activations, no compilation. A convolution that is normalised has no bias, and "
        "transposed convolutions have kernel 4 in both (the repository has a bias before "
        "instance norm, which changes nothing, and kernel 3 in the ResNet). Ours: `model.fit` "
        "with the project's input pipeline, as `ganatomy fit` runs it.",
        "Threads of PyTorch wait for each other many times a step, and spin while they do: where "
        "other work takes a core, it falls far below its one-thread speed, and its processor time "
        "counts the spinning. Where that shows, trust the rows of one thread.",
        "Memory is the peak of the whole process, libraries and what compiling a graph takes "
        "included. Of that, the pages of library files are code that processes share and the "
        "system may drop; TensorFlow's are nearly twice PyTorch's, whatever is trained. The rows "
        "less library files say what is taken for the work itself.",
    ]
    return result


def compare(case: Case, threads: int, quick: bool) -> tuple[list[Row], dict[str, str]]:
    """Rows of a case on so many threads, and the versions of the rival's libraries."""
    trained.threads(threads)
    import keras

    keras.utils.set_random_seed(0)
    drawn = np.random.default_rng(0)
    shape = (case.side, case.side, 1)
    arrays = {
        role: drawn.uniform(-1, 1, (COUNT, *shape)).astype(np.float32)
        for role in ("scan", "target")
    }
    # As published, a U-Net halves its grid to one voxel.
    depth = case.side.bit_length() - 1
    model = built(case, shape, depth)
    with tempfile.TemporaryDirectory() as aside:
        file = Path(aside) / "samples.npz"
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        rival = Rival("torch_translation.py")
        told = {"model": case.model, "width": case.width, "depth": depth, "blocks": BLOCKS}
        told |= {"critic_depth": CRITIC_DEPTH, "threads": threads}
        parameters = rival.build(**told, samples=str(file))["parameters"]
    own = {
        name: sum(int(np.prod(v.shape)) for v in network.trainable_variables)
        for name, network in model.networks.items()
    }
    if own != parameters:
        raise AssertionError(f"the networks differ: ours {own}, PyTorch's {parameters}")
    repeats, steps = (3, max(1, case.steps // 3)) if quick else (9, case.steps)
    what = f"{case.name}, {threads} thread{'s' if threads > 1 else ''}"
    [stage] = model.stage_list
    ours, theirs = train_in_turns(model, stage, arrays, 1, rival, repeats, steps)
    rows = beside(what, "steps/s", steps, ours, theirs, f"blocks of {steps} steps")
    mine, other = peak_memory(), rival.ask("memory")
    rival.end()
    for kind, name in {"peak": "peak of memory", "own": "peak less library files"}.items():
        rows += [
            row(f"{what}: {name}, ours", "MiB", [mine[kind]], "process"),
            row(f"{what}: {name}, PyTorch", "MiB", [other[kind]], "process"),
            row(f"{what}: {name}, ours / PyTorch", "×", [mine[kind] / other[kind]], "pair"),
        ]
    return rows, versions()


def built(case: Case, shape: tuple[int, ...], depth: int) -> Any:
    """Our model of a case."""
    from synthesis.cyclegan import CycleGAN
    from synthesis.pix2pix import Pix2Pix

    settings: dict[str, Any] = {
        "width": case.width,
        "critic_width": case.width,
        "critic_depth": CRITIC_DEPTH,
    }
    if case.model == "pix2pix":
        return Pix2Pix(shape, generator_settings={"depth": depth}, **settings)
    return CycleGAN(shape, generator_settings={"blocks": BLOCKS}, **settings)
