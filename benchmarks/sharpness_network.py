"""Train the network of the sharpness loss on pictures that are blurred here and there.

    python -m benchmarks.sharpness_network --data MEDNIST --out sharpness.weights.h5

MEDNIST holds a folder of 64×64 pictures a kind (B. J. Erickson, Mayo Clinic, CC BY-SA 4.0). Every
fifth picture is for validation. Each picture is blurred by a Gaussian of another width in each
half, and the network learns the map that `ganatomy.losses.sharpness.sharpness_map` gives of it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.feature_network import read, varied
from ganatomy.losses.sharpness import sharpness_map
from ganatomy.networks.sharpness import sharpness_network

BATCH, RATE, WINDOW, WIDEST = 16, 3e-3, 21, 3.0


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


def train(folder: Path, steps: int, seed: int = 0) -> tuple[keras.Model, dict[str, float]]:
    """The network after some steps, and how well it foretells maps of held out pictures."""
    keras.utils.set_random_seed(seed)
    pictures, _ = read(folder)
    held = np.arange(len(pictures)) % 5 == 0
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
    foretold = network.predict(x, batch_size=64, verbose=0)
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the network of the sharpness loss.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    network, figures = train(chosen.data, chosen.steps, chosen.seed)
    network.save_weights(chosen.out)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
