"""Fundus photographs in other colours, and drawn ones: domains of which nobody has both.

    python -m benchmarks.stains --data RETINA --out FOLDER

RETINA holds `images` and `vessels` (CHASE_DB1, Fraz 2012, CC BY 4.0): both eyes of ten children.
The children are divided by their number: those that end in 0, 4 and 8 give scans, those in 3, 6,
9 and 2 targets, the others are for tests. Pictures are made half as large.

`stained`: a photograph as another laboratory would show it. Its optical density is taken apart
into two stains and a rest by the inverse of Ruifrok and Johnston's vectors of haematoxylin and
eosin; the amounts are multiplied and put together by other vectors, both drawn for each of three
laboratories. This is a simulation of stain on what is no tissue: what varies is colour alone.

`drawn`: a fundus as a renderer would make it of the observer's outline of the vessels: a disc that
darkens outwards, vessels that are darker by a depth drawn for each picture.

Tables, of scans and targets from different children, and test tables of pairs of one photograph:
stain-train.csv and stain-test.csv from stained to the photograph as it is, with the outlines of
vessels as labels; stain-self.csv of every picture of both with itself, for models that see a
picture's structure as scan and its colours as target; drawn-train.csv and drawn-test.csv from
photographs to drawn ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.translation_data import write as write_table

# Ruifrok and Johnston 2001, table 1: haematoxylin, eosin, and what is at right angles to both.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
LABORATORIES, SHIFT, GAIN = 3, 0.08, 0.25
SCANS, TARGETS = "048", "3692"


def vectors(stains: np.ndarray) -> np.ndarray:
    """Two stains and what is at right angles to both, unit vectors in rows, [3, 3]."""
    three = np.vstack([stains, np.cross(stains[0], stains[1])])
    return three / np.linalg.norm(three, axis=1, keepdims=True)


def stained(picture: np.ndarray, laboratory: int) -> np.ndarray:
    """A picture [H, W, 3], 0 to 255, in a laboratory's colours, uint8."""
    rng = np.random.default_rng(laboratory)
    other = vectors(np.clip(STAINS + rng.uniform(-SHIFT, SHIFT, STAINS.shape), 0.01, None))
    amounts = -np.log((picture.astype(float) + 1) / 256) @ np.linalg.inv(vectors(STAINS))
    amounts = amounts * np.exp(rng.uniform(-GAIN, GAIN, 3))
    return np.clip(256 * np.exp(-amounts @ other) - 1, 0, 255).round().astype(np.uint8)


def drawn(vessels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fundus drawn of an outline [H, W] of vessels, uint8 [H, W, 3]."""
    height, width = vessels.shape
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot((rows - height / 2) / (height / 2), (columns - width / 2) / (width / 2))
    bright = np.where(away < 0.98, 0.8 - 0.3 * away**2, 0.0)
    bright = bright * (1 - rng.uniform(0.3, 0.5) * gaussian_filter(vessels.astype(float), 1))
    colour = np.array([1.0, 0.55, 0.3])
    return np.clip(255 * bright[..., None] * colour, 0, 255).round().astype(np.uint8)


def write(data: Path, out: Path) -> dict[str, int]:
    """Pictures and tables in a folder; the rows of each table."""
    folders = {name: out / name for name in ("photographs", "vessels", "drawn")}
    folders |= {f"stain-{n}": out / f"stain-{n}" for n in range(LABORATORIES)}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[dict[str, str]]] = {}

    def row(table: str, **cells: str) -> None:
        tables.setdefault(table, []).append(cells)

    for number, path in enumerate(sorted((data / "images").glob("*.jpg"))):
        name, child = f"{path.stem}.png", path.stem.removeprefix("Image_")[:2]
        outline = next((data / "vessels").glob(f"{path.stem}*"))
        with Image.open(path) as photograph, Image.open(outline) as mask:
            half = (photograph.width // 2, photograph.height // 2)
            picture = np.asarray(photograph.convert("RGB").resize(half, Image.Resampling.BOX))
            marked = np.asarray(mask.convert("L").resize(half, Image.Resampling.NEAREST)) > 0
        rng = np.random.default_rng(number)
        made = {"photographs": picture, "vessels": marked.astype(np.uint8)}
        made |= {"drawn": drawn(marked, rng)}
        made |= {f"stain-{n}": stained(picture, n) for n in range(LABORATORIES)}
        for folder, array in made.items():
            Image.fromarray(array).save(folders[folder] / name)
        labels = f"vessels/{name}"
        use = "scan" if child[-1] in SCANS else "target" if child[-1] in TARGETS else "test"
        for n in range(LABORATORIES) if use != "target" else ():
            cells = {"scan": f"stain-{n}/{name}", "scan_labels": labels, "patient": child}
            if use == "test":
                cells |= {"target": f"photographs/{name}", "target_labels": labels}
            row(f"stain-{'train' if use == 'scan' else 'test'}", **cells)
            if use == "scan":
                row("stain-self", scan=cells["scan"], target=cells["scan"], patient=child)
        if use == "target":
            target = {"target": f"photographs/{name}", "target_labels": labels}
            row("stain-train", **target, patient=child)
            row("stain-self", scan=target["target"], target=target["target"], patient=child)
            row("drawn-train", target=f"drawn/{name}", patient=child)
        elif use == "scan":
            row("drawn-train", scan=f"photographs/{name}", patient=child)
        else:
            row("drawn-test", scan=f"photographs/{name}", target=f"drawn/{name}", patient=child)
    for name, rows in tables.items():
        write_table(out / f"{name}.csv", rows)
    return {name: len(rows) for name, rows in tables.items()}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fundus photographs in other colours, and drawn.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    print(write(chosen.data, chosen.out))


if __name__ == "__main__":
    main()
