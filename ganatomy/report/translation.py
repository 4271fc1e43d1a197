"""Translated scans: what translations.npz holds, and how a page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.report.figures import colour_bar, profile
from ganatomy.report.pictures import (
    RESIDUAL,
    gradient_stops,
    picture,
    residual_picture,
    scale_limit,
)
from ganatomy.report.words import count, number

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


def translation_section(found: list[Translated]) -> dict[str, Any] | None:
    """The scans as strips of slices, and the difference to the target where there is one."""
    if not found:
        return None
    differences = [_difference(one) for one in found if "target" in one.images]
    flat = np.concatenate([one.ravel() for one in differences]) if differences else np.zeros(0)
    limit = scale_limit(flat)
    units = {one.units for one in found} - {"unknown"}
    return {
        "cards": [_card(place, one, limit) for place, one in enumerate(found)],
        "measured": bool(differences),
        "bar": colour_bar("difference", gradient_stops(RESIDUAL)),
        "limit": number(limit),
        "units": f" {units.pop()}" if len(units) == 1 else "",
    }


def translation_verdict(found: list[Translated], measures: Mapping[str, Any]) -> str:
    """What there is to see, in a sentence or two."""
    if measures.get("task") == "translate":
        return f"Measured on {count(int(measures.get('n_pairs', 0)), 'pair')} of scans."
    shown = count(len(found), "translation")
    return (
        f"{shown} to look at. What is shown was computed and not acquired: it may show what is not "
        "there, and hide what is."
    )


def translation_methods(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Of an evaluation of a translation model, the measures of every method; else nothing."""
    if measures.get("task") != "translate":
        return {}
    own = {"This model": measures["measures"], **measures["methods"]}
    told = {"this_model_minus_another": measures["differences"]}
    return {"pairs": own, **told, "definitions": measures["definitions"]}


def _difference(one: Translated) -> np.ndarray:
    """Output minus target in their units, [S, H, W]."""
    low, high = one.values
    shades = one.images["output"].astype(np.float32) - one.images["target"]
    return shades * ((high - low) / 255)


def _card(place: int, one: Translated, limit: float) -> dict[str, Any]:
    slices, rows, columns = one.images["input"].shape
    height, width = one.size
    first = slices // 2
    row = rows // 2
    low, high = one.values
    lines = {
        kind: low + one.images[kind][first, row].astype(float) * (high - low) / 255
        for kind in ("output", "target")
        if kind in one.images
    }
    strips = {kind: picture(_strip(image)) for kind, image in one.images.items()}
    if "target" in one.images:
        strips["difference"] = residual_picture(_difference(one).reshape(-1, columns), limit)
    where = f"slice {one.numbers[first] + 1}, " if one.count > 1 else ""
    return {
        "id": place,
        "name": one.name or "(no name)",
        "width": round(width, 3),
        "height": round(height, 3),
        "strip": round(height * slices, 3),
        "images": strips,
        "beside": "target" if "target" in one.images else "input",
        "slices": [f"slice {n + 1} of {one.count}" for n in one.numbers],
        "first": first,
        "most": slices - 1,
        "profile": profile(lines, width, "" if one.units == "unknown" else one.units),
        "profile_text": f"Along the middle row, {where}".rstrip(", "),
    }


def _strip(image: np.ndarray) -> np.ndarray:
    """Slices below each other, -1 to 1."""
    return image.reshape(-1, image.shape[-1]).astype(np.float32) / 127.5 - 1
