"""A second contrast of hippocampi, simulated, and tables in which nobody has both.

    python -m benchmarks.second_contrast --data HIPPOCAMPUS --out FOLDER

HIPPOCAMPUS holds `images` and `labels` (Medical Segmentation Decathlon, task 04, CC BY-SA 4.0).
Every fifth subject is for tests: test.csv has the T1 crop, the second contrast of the same crop,
and the labels of both. Of the others, taken in turn, one gives its T1 crop and the next its second
contrast: train.csv, whose scans and targets are of different people, with labels of either.

The second contrast is a simulation: the crop's intensities turned over and bent by a power, times
a slow change of brightness, with Rician noise; power, change and noise are drawn for each subject
by the number in its file's name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel
import numpy as np

from benchmarks.translation_data import write as write_table

POWERS, BIAS, NOISE, SCALE = (1.2, 2.0), 0.15, 0.03, 1000.0


def second_contrast(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The simulated second contrast of a T1 crop, float32 of its shape, 0 to about 1,000."""
    low, high = np.percentile(pixels, (1, 99))
    share = np.clip((pixels - low) / (high - low), 0, 1)
    value = (1 - share) ** rng.uniform(*POWERS)
    places = np.meshgrid(*(np.linspace(0, np.pi, n) for n in pixels.shape), indexing="ij")
    waves = rng.uniform(-BIAS, BIAS, len(places))
    value = value * np.exp(sum(w * np.cos(place) for w, place in zip(waves, places, strict=True)))
    real, imaginary = rng.normal(0, NOISE, (2, *pixels.shape))
    return (SCALE * np.hypot(value + real, imaginary)).astype(np.float32)


def write(data: Path, out: Path) -> dict[str, int]:
    """The second contrasts and both tables in a folder; how many rows there are of what."""
    (out / "second").mkdir(parents=True, exist_ok=True)
    train: dict[str, list[dict[str, str]]] = {"scan": [], "target": []}
    test = []
    for number, path in enumerate(sorted((data / "images").glob("*.nii.gz")), start=1):
        labels = str((data / "labels" / path.name).resolve())
        subject = path.name.removesuffix(".nii.gz")
        first = {"scan": str(path.resolve()), "scan_labels": labels, "patient": subject}
        image = nibabel.load(path)  # pyright: ignore
        rng = np.random.default_rng(int(subject.rpartition("_")[2]))
        made = second_contrast(np.asarray(image.dataobj, np.float64), rng)  # pyright: ignore
        nibabel.save(  # pyright: ignore
            nibabel.Nifti1Image(made, image.affine),  # pyright: ignore
            out / "second" / path.name,
        )
        second = {"target": f"second/{path.name}", "target_labels": labels, "patient": subject}
        if number % 5 == 0:
            test.append(first | second)
        else:
            kind = "scan" if number % 2 else "target"
            train[kind].append(first if kind == "scan" else second)
    for name, rows in {"train": train["scan"] + train["target"], "test": test}.items():
        write_table(out / f"{name}.csv", rows)
    return {kind: len(rows) for kind, rows in train.items()} | {"test": len(test)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Simulate a second contrast of hippocampi.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    print(write(chosen.data, chosen.out))


if __name__ == "__main__":
    main()
