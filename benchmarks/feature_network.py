"""Train the feature network that the package ships: a classifier of MedNIST's six kinds of scan.

    python -m benchmarks.feature_network --data MEDNIST --out features-mednist.weights.h5

MEDNIST holds a folder of 64×64 pictures a kind. Every fifth picture of a kind is for validation;
MedNIST does not say which pictures are of one patient. Contrast, brightness and sides are drawn
anew for every step, a quarter of the images are shown inverted: a network that has seen one
contrast only sees little in another.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from ganatomy.networks.features import MEDNIST, vgg_classifier
from synthesis.sharpness_training import varied

BATCH, RATE = 32, 1e-3


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [n, 64, 64, 1] in [-1, 1] and their kinds [n]; by kind, then by name."""
    pictures, kinds = [], []
    for kind, name in enumerate(MEDNIST):
        for path in sorted((folder / name).iterdir()):
            with Image.open(path) as picture:
                pictures.append(np.asarray(picture.convert("L"), np.float32) / 127.5 - 1)
            kinds.append(kind)
    return np.stack(pictures)[..., None], np.array(kinds)


def train(folder: Path, steps: int, seed: int = 0) -> tuple[keras.Model, dict[str, float]]:
    """The classifier after some steps, and its accuracy on what it was not trained on."""
    keras.utils.set_random_seed(seed)
    pictures, kinds = read(folder)
    held = np.arange(len(kinds)) % 5 == 0
    model = vgg_classifier()
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),  # pyright: ignore
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    rng, shown = np.random.default_rng(seed), np.flatnonzero(~held)
    start = time.perf_counter()
    for step in range(steps):
        chosen = rng.choice(shown, BATCH, replace=False)
        found = model.train_on_batch(varied(pictures[chosen], rng), kinds[chosen])
        if step % 50 == 0:
            print(step, *(f"{float(value):.4f}" for value in found), flush=True)
    seconds = time.perf_counter() - start
    logits = model.predict(pictures[held], batch_size=64)
    accuracy = float(np.mean(np.argmax(logits, -1) == kinds[held]))
    bare = vgg_classifier()  # without the optimizer, whose state is twice the weights
    bare.set_weights(model.get_weights())
    return bare, {
        "steps": steps,
        "seconds": round(seconds, 1),
        "accuracy": accuracy,
        "validation": int(held.sum()),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the network that the package ships.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    model, figures = train(chosen.data, chosen.steps, chosen.seed)
    model.save_weights(chosen.out)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
