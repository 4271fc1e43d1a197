"""Train the network of the sharpness loss on scans that are blurred here and there.

    python -m synthesis.sharpness_training --data SCANS --preset t1-to-t2 --out mine.weights.h5
    ganatomy fit t1-to-t2 --set loss.sharpness=10 --set sharpness_weights=mine.weights.h5 …

The weights that are shipped are of MedNIST (B. J. Erickson, Mayo Clinic, CC BY-SA 4.0), pictures of
64×64 pixels, without a preset. Every fifth scan is for validation. Each picture is blurred by a
Gaussian of another width in each half, and the network learns the map that
`ganatomy.losses.sharpness.sharpness_map` gives of it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from scipy.ndimage import gaussian_filter

from ganatomy.errors import WrongUse
from ganatomy.losses.sharpness import sharpness_map
from ganatomy.networks.sharpness import sharpness_network
from ganatomy.scans import Preprocessing, ScanError

BATCH, RATE, WINDOW, WIDEST = 16, 3e-3, 21, 3.0


def read(data: str, preset: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of scans as a translation model sees them, and the place of each one's scan.

    Args:
        data: a folder of scans, or a CSV with a column `scan`.
        preset: whose targets they are prepared as; 64×64 pixels and nothing else where None.

    Returns:
        [n, H, W, 1] in [-1, 1], of volumes every slice along the last axis and of colours every
        channel; and [n].

    Raises:
        WrongUse: no scans, or fewer pictures than can be learned from.
    """
    from ganatomy import registry
    from ganatomy.cache import prepare
    from ganatomy.tables import read_table

    seen = registry.preset(preset).preprocessing_of("target") if preset else {}
    table = read_table([data], {"scan": "joined"})
    prepared = prepare(table.first, Preprocessing(**seen))
    whole = np.moveaxis(np.asarray(prepared.array), -1, 1)
    if whole.ndim == 5:
        whole = np.moveaxis(whole, -1, 2)
    pictures = whole.reshape(-1, *whole.shape[-2:], 1)
    owner = np.repeat(prepared.owner, len(pictures) // len(whole))
    if np.sum(owner % 5 > 0) < BATCH:
        raise WrongUse(
            f"{data}: {len(pictures)} pictures of {len(table)} scans; expected {BATCH} or more "
            "beside every fifth scan, which is for validation"
        )
    return pictures, owner


def varied(pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pictures of another contrast, brightness, side or sign."""
    n = len(pictures)
    pictures = np.where(rng.random((n, 1, 1, 1)) < 0.5, pictures[:, :, ::-1], pictures)
    gain = rng.uniform(0.6, 1.2, (n, 1, 1, 1)) * np.where(rng.random((n, 1, 1, 1)) < 0.25, -1, 1)
    return np.clip(gain * pictures + rng.uniform(-0.2, 0.2, gain.shape), -1, 1).astype("float32")


def examples(pictures: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures blurred in their halves, and their maps of sharpness, [n, H, W, 1]."""
    shown, maps = [], []
    for picture in varied(pictures, rng)[..., 0]:
        half = picture.shape[1] // 2
        sides = [gaussian_filter(picture, rng.uniform(0, WIDEST)) for _ in range(2)]
        blurred = np.concatenate([sides[0][:, :half], sides[1][:, half:]], axis=1)
        shown.append(blurred)
        maps.append(sharpness_map(blurred, WINDOW))
    return np.stack(shown)[..., None].astype("float32"), np.stack(maps)[..., None].astype("float32")


def train(
    pictures: np.ndarray, owner: np.ndarray, steps: int, seed: int = 0
) -> tuple[keras.Model, dict[str, float]]:
    """The network after some steps, and how well it foretells maps of held out scans.

    Args:
        pictures: [n, H, W, 1] in [-1, 1].
        owner: [n], which scan each is of.
        steps: of training.
        seed: of weights, pictures and blur.
    """
    keras.utils.set_random_seed(seed)
    held = owner % 5 == 0
    network = sharpness_network()
    network.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),  # pyright: ignore
        "mse",
    )
    rng, shown = np.random.default_rng(seed), np.flatnonzero(~held)
    start = time.perf_counter()
    for step in range(steps):
        chosen = rng.choice(shown, BATCH, replace=False)
        found = network.train_on_batch(*examples(pictures[chosen], rng))
        if step % 50 == 0:
            print(step, f"{float(np.ravel(found)[0]):.5f}", flush=True)
    seconds = time.perf_counter() - start
    x, y = examples(pictures[held], np.random.default_rng(1))
    foretold = network.predict(x, batch_size=64, verbose=0)  # pyright: ignore
    bare = sharpness_network()  # without the optimizer, whose state is twice the weights
    bare.set_weights(network.get_weights())
    return bare, {
        "steps": steps,
        "seconds": round(seconds, 1),
        "mean absolute error": float(np.abs(foretold - y).mean()),
        "of the mean map": float(np.abs(y.mean(0) - y).mean()),
        "correlation": float(np.corrcoef(foretold.ravel(), y.ravel())[0, 1]),
        "validation": int(held.sum()),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m synthesis.sharpness_training",
        description="Train the network of the sharpness loss.",
    )
    parser.add_argument("--data", required=True, help="a folder of scans, or a CSV of them")
    parser.add_argument("--out", type=Path, required=True, help="a file *.weights.h5")
    parser.add_argument("--preset", help="whose targets the scans are prepared as")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if not chosen.out.name.endswith(".weights.h5"):
        parser.error(f"--out {chosen.out}: expected a name that ends in .weights.h5")
    try:
        network, figures = train(*read(chosen.data, chosen.preset), chosen.steps, chosen.seed)
    except (WrongUse, ScanError) as error:
        parser.error(str(error))
    network.save_weights(chosen.out)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
