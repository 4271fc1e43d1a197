"""Two scans on each other: what registration.json and .npz hold, and how a page says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.report.figures import colour_bar
from ganatomy.report.pictures import (
    RESIDUAL,
    gradient_stops,
    map_picture,
    picture,
    residual_picture,
    scale_limit,
)
from ganatomy.report.words import as_interval, count, interval, number, percent

SUMMARY, PICTURES = "registration.json", "registration.npz"
TILES = 8  # squares of a checkerboard along the longer side
MOST = 6
KINDS = ("fixed", "moved", "before", "jacobian", "lines")
FIGURES = {
    "alignment_score": "Alignment score",
    "failure": "Probability of an error above {limit}",
    "overlap": "Share of the fixed scan covered",
    "folds": "Share of voxels where the transform folds",
    "smallest_jacobian": "Smallest change of volume",
    "largest_jacobian": "Largest change of volume",
    "log_jacobian_deviation": "Standard deviation of its logarithm",
    "median_displacement_mm": "Median displacement, {unit}",
    "largest_displacement_mm": "Largest displacement, {unit}",
    "seconds": "Seconds",
    "translate": "Aligned by what this model makes of the moving scan",
    "translate_preset": "Preset of that model",
    "refinement": "Refined by mutual information",
    "refined_by_mm": "Mean distance between the network's transform and the refined one, {unit}",
    "information_before": "Mutual information by the network's transform, nats",
    "information": "Mutual information by the refined one, nats",
    "seconds_refining": "Seconds of refining",
}
SHARES = ("failure", "overlap", "folds")
# Of an evaluation, the columns in their order.
MEASURES = {
    "dice": "Dice",
    "hd95_mm": "HD95, {unit}",
    "error_median": "Median error, {unit}",
    "error_p90": "90th percentile, {unit}",
    "error_failures": "Share above {limit}",
    "error_mm": "Mean error, {unit}",
    "seconds": "Seconds",
    "folds": "Folds",
    "log_jacobian_deviation": "Deviation of ln J",
    "overlap": "Fixed scan covered",
}

Planes = list[dict[str, Any]]


def read_planes(path: Path) -> Planes:
    """The planes of a registration, each with its name, size and pictures.

    Raises:
        ValueError, KeyError: arrays that do not belong together, or are too many for a page.
    """
    with np.load(path, allow_pickle=False) as stored:
        names = [str(name) for name in stored["planes"]]
        if len(names) > MOST:
            raise ValueError(f"expected at most {MOST} planes, not {len(names)}")
        planes = []
        for name in names:
            plane: dict[str, Any] = {kind: stored[f"{name}/{kind}"] for kind in KINDS}
            plane |= {"name": name, "size": np.asarray(stored[f"{name}/size"], float)}
            shapes = {plane[kind].shape for kind in ("fixed", "moved", "before", "jacobian")}
            if len(shapes) != 1 or plane["fixed"].ndim != 2 or plane["size"].shape != (2,):
                raise ValueError(f"expected pictures of one size for the plane {name}")
            planes.append(plane)
    return planes


def registration_section(record: Mapping[str, Any], planes: Planes) -> dict[str, Any]:
    """Figures and pictures of a registration.

    Args:
        record: registration.json.
        planes: of `read_planes`.
    """
    known = [plane["jacobian"].astype(np.float32) for plane in planes]
    logarithms = np.concatenate([one[np.isfinite(one)] for one in known]) if known else np.zeros(0)
    # A rigid transform changes no volume, and rounding is not to be seen.
    limit = max(scale_limit(logarithms), 0.05)
    rows = [
        [title.format(limit=_limit(record), unit=_unit(record)), _figure(name, record[name])]
        for name, title in FIGURES.items()
        if record.get(name) is not None
    ]
    return {
        "table": {"head": [], "rows": rows},
        "files": [str(name) for name in record.get("files", [])],
        "cards": [_card(number, plane, limit) for number, plane in enumerate(planes)],
        "bar": colour_bar("jacobian", gradient_stops(RESIDUAL)),
        "low": number(float(np.exp(-limit))),
        "high": number(float(np.exp(limit))),
        "folds": bool(record.get("folds")),
    }


def methods(measures: Mapping[str, Any]) -> dict[str, Any]:
    """Of an evaluation of pairs, the measures of every method by name; else nothing."""
    if measures.get("task") != "register":
        return {}
    limit, unit = _limit(measures), _unit(measures)
    of_all = {"This model": measures["measures"], **measures["methods"]}

    def named(found: Mapping[str, Any]) -> dict[str, Any]:
        titles = {n: t.format(limit=limit, unit=unit) for n, t in MEASURES.items() if n in found}
        known = {title: found[name] for name, title in titles.items()}
        return known | {name: of for name, of in found.items() if name not in MEASURES}

    apart = measures["differences"].items()
    return {
        _pairs(measures): {name: named(found) for name, found in of_all.items()},
        "This model's figures minus others'": {name: named(found) for name, found in apart},
    }


def evaluation_verdict(measures: Mapping[str, Any]) -> str:
    """What was measured of pairs: how far off they are, and how well labels overlap."""
    found, said = measures.get("measures", {}), []
    overlap, error = (as_interval(found.get(name)) for name in ("dice", "error_median"))
    missed = as_interval(found.get("error_failures"))
    if overlap is not None:
        said.append(f"labels overlap by a mean Dice of {interval(overlap)}")
    if error is not None:
        said.append(f"the median error is {interval(error)} {_unit(measures)}")
    if missed is not None:
        said.append(f"{percent(missed.value)} of the errors are above {_limit(measures)}")
    pairs = _pairs(measures)
    if not said:
        return f"Measured on {pairs}."
    *first, last = said
    return f"On {pairs} " + ", ".join([*first, f"and {last}" if first else last]) + "."


def _limit(record: Mapping[str, Any]) -> str:
    """Above what an error is a failure."""
    return f"{record.get('limit_mm', 5.0):g} {_unit(record)}"


def _unit(record: Mapping[str, Any]) -> str:
    """What distances are in: mm, of pictures without a spacing pixels."""
    return str(record.get("unit", "mm"))


def _pairs(measures: Mapping[str, Any]) -> str:
    some = int(measures.get("n_pairs", 0))
    return count(some, "known transform" if measures.get("known_transforms") else "pair")


def registration_verdict(record: Mapping[str, Any]) -> str:
    """How it went, in one or two sentences."""
    failure, failed = record.get("failure"), record.get("failed")
    limit = _limit(record)
    if failed is None or failure is None:
        said = "Nobody knows how well this registration fits: the model was not calibrated. "
        return said + "Look at the pictures."
    odds = f"the probability of an error above {limit} is {percent(failure)}"
    if failed:
        return f"This registration is likely to have failed: {odds}."
    return f"This registration is likely to fit: {odds}."


def _figure(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    return percent(value) if name in SHARES else number(value)


def _card(place: int, plane: dict[str, Any], limit: float) -> dict[str, Any]:
    fixed, moved, before = (plane[kind] for kind in ("fixed", "moved", "before"))
    height, width = (round(float(side), 3) for side in plane["size"])
    jacobian = plane["jacobian"].astype(np.float32)
    lines = np.where(plane["lines"] > 0, 1.0, 0.0).astype(np.float32)
    folded = np.isnan(jacobian)
    return {
        "id": place,
        "name": plane["name"][:1].upper() + plane["name"][1:],
        "width": width,
        "height": height,
        "fixed": picture(_shades(fixed)),
        "moved": picture(_shades(moved)),
        "checkers": picture(_shades(checkerboard(fixed, moved, plane["size"]))),
        "checkers_before": picture(_shades(checkerboard(fixed, before, plane["size"]))),
        "lines": map_picture(lines, 1.0),
        "jacobian": residual_picture(jacobian, limit),
        "folds": map_picture(np.where(folded, np.nan, 0).astype(np.float32), 1.0)
        if folded.any()
        else "",
        "jacobian_text": _range(jacobian),
    }


def checkerboard(one: np.ndarray, other: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Squares of two images by turns.

    Args:
        one: [rows, columns]; the square at the upper left is of this one.
        other: the same.
        size: mm down and across, so that squares are square.
    """
    side = float(max(size)) / TILES
    row, column = (
        np.floor((np.arange(n) + 0.5) * mm / n / side)
        for n, mm in zip(one.shape, size, strict=True)
    )
    return np.where((row[:, None] + column[None, :]) % 2 == 0, one, other)


def _shades(grey: np.ndarray) -> np.ndarray:
    return np.asarray(grey, np.float32) / 127.5 - 1


def _range(logarithm: np.ndarray) -> str:
    known = logarithm[np.isfinite(logarithm)]
    if not known.size:
        return "folded everywhere"
    return f"from {number(np.exp(known.min()))} to {number(np.exp(known.max()))}"
