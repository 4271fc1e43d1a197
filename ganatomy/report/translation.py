"""Translated scans: what translations.npz holds, and how a page shows it."""

from __future__ import annotations

from collections.abc import Mapping
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
from ganatomy.report.translated import Translated
from ganatomy.report.words import as_interval, count, number


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
        pairs = f"{count(int(measures.get('n_pairs', 0)), 'pair')} of scans"
        of_input = (next(iter(measures[kind].values()), {}) for kind in ("methods", "differences"))
        own, plain, gain = (
            as_interval(of.get("psnr_db")) for of in (measures["measures"], *of_input)
        )
        if own is None or plain is None or gain is None:
            return f"Measured on {pairs}."
        ends = f" (95\u00a0% interval {number(own.low)}–{number(own.high)})"
        spread = ends if own.has_width else ""
        said = (
            f"PSNR {number(own.value)} dB{spread} on {pairs}, "
            f"where the input itself has {number(plain.value)} dB."
        )
        better = "" if gain.low > 0 else " The model is not shown to be nearer than the input is."
        return said + better
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
