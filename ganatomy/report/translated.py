"""Translated scans as translations.npz holds them: a few slices of each, in 8 bits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILE = "translations.npz"
# A page shows no more, whatever a file holds.
MOST, SLICES, SIDE = 6, 24, 512
KINDS = ("input", "output", "target")


@dataclass(frozen=True, eq=False)
class Translated:
    """One scan beside its translation.

    Attributes:
        name: of the scan.
        numbers: which slices are here, from 0, [S].
        count: how many there are.
        size: height and width of a slice, in mm or pixels.
        values: what 0 and 255 stand for in output and target.
        units: of these.
        images: 'input', 'output' and perhaps 'target', uint8 [S, H, W].
    """

    name: str
    numbers: np.ndarray
    count: int
    size: tuple[float, float]
    values: tuple[float, float]
    units: str
    images: dict[str, np.ndarray]


def read_translations(path: Path) -> list[Translated]:
    """What translations.npz holds.

    Raises:
        ValueError: arrays that do not belong together, or are too large for a page.
        KeyError: one of them is missing.
    """
    with np.load(path, allow_pickle=False) as stored:
        names = [str(name) for name in stored["names"]]
        if len(names) > MOST:
            raise ValueError(f"expected at most {MOST} scans, not {len(names)}")
        return [_read(stored, place, name) for place, name in enumerate(names)]


def _read(stored: Any, place: int, name: str) -> Translated:
    images = {k: stored[f"{place}/{k}"] for k in KINDS if k != "target" or f"{place}/{k}" in stored}
    shapes = {image.shape for image in images.values()}
    numbers = np.asarray(stored[f"{place}/numbers"], int)
    shape = next(iter(shapes))
    if len(shapes) != 1 or len(shape) != 3 or len(numbers) != shape[0]:
        raise ValueError(f"expected pictures of one size for {name or 'a scan'}, not {shapes}")
    if shape[0] > SLICES or max(shape[1:]) > SIDE:
        raise ValueError(f"at most {SLICES} slices of {SIDE} pixels a side")
    height, width = np.asarray(stored[f"{place}/size"], float)
    low, high = np.asarray(stored[f"{place}/values"], float)
    units = str(stored[f"{place}/units"])
    total = int(stored[f"{place}/count"])
    ends = (float(low), float(high))
    return Translated(name, numbers, total, (float(height), float(width)), ends, units, images)


def write_translations(folder: Path, shown: Sequence[Translated]) -> None:
    """Write what the report shows, whole or not at all; over what an earlier run showed."""
    arrays: dict[str, np.ndarray] = {"names": np.array([one.name for one in shown], str)}
    for place, one in enumerate(shown):
        arrays |= {f"{place}/{kind}": image for kind, image in one.images.items()}
        arrays |= {
            f"{place}/numbers": one.numbers,
            f"{place}/count": np.array(one.count),
            f"{place}/size": np.array(one.size),
            f"{place}/values": np.array(one.values),
            f"{place}/units": np.array(one.units),
        }
    aside = folder / f"part-{FILE}"
    np.savez_compressed(aside, allow_pickle=False, **arrays)
    os.replace(aside, folder / FILE)
