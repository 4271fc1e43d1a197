"""Volumes slice by slice: what volumes.npz holds, and how a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganatomy.report.pictures import map_picture, picture, scale_limit
from ganatomy.report.words import number, p_value

if TYPE_CHECKING:
    from ganatomy.report.scored import Scored

# A page shows no more, whatever a file holds.
MOST, SLICES, SIDE = 4, 24, 160


@dataclass(frozen=True)
class Volumes:
    """Volumes as slices of one size.

    Attributes:
        names: [K].
        score: [K].
        slices: how many slices each volume has, [K].
        numbers: which of them are here, [K, S], counted from 0; -1 fills up.
        input: 0 (black) to 255, [K, S, H, W].
        map: NaN where it was not seen, [K, S, H, W].
    """

    names: list[str]
    score: np.ndarray
    slices: np.ndarray
    numbers: np.ndarray
    input: np.ndarray
    map: np.ndarray


def read_volumes(path: Path) -> Volumes | None:
    """What volumes.npz holds; None where that is nothing.

    Raises:
        ValueError: arrays that do not belong together, or are too large for a page.
        KeyError: one of them is missing.
    """
    with np.load(path, allow_pickle=False) as stored:
        names = [str(name) for name in stored["names"]]
        score, slices = (np.asarray(stored[name], float) for name in ("score", "slices"))
        numbers = np.asarray(stored["numbers"], int)
        shown, anomaly = stored["input"], np.asarray(stored["map"], np.float32)
    if not names:
        return None
    count = len(names)
    if shown.ndim != 4 or shown.shape != anomaly.shape or numbers.shape != shown.shape[:2]:
        raise ValueError(f"slices of shape {shown.shape} with maps of shape {anomaly.shape}")
    if not score.shape == slices.shape == (count,) or shown.shape[0] != count:
        raise ValueError(f"expected one score and one stack of slices for each of {count} names")
    if count > MOST or shown.shape[1] > SLICES or max(shown.shape[2:]) > SIDE:
        raise ValueError(f"at most {MOST} volumes of {SLICES} slices of {SIDE} pixels a side")
    return Volumes(names, score, slices.astype(int), numbers, shown, anomaly)


def volume_cards(volumes: Volumes, scored: Scored | None) -> dict[str, Any]:
    """The volumes as strips of slices, one over the other, that a slider moves through.

    Args:
        volumes: the highest score first.
        scored: tells each scan's p-value and whether it is called abnormal, by name.
    """
    limit = scale_limit(volumes.map)
    columns = {} if scored is None else dict(scored.columns)
    known: dict[str, tuple[float, bool | None]] = {}
    if scored is not None:
        p_values = columns.get("p_value", np.full(len(scored), np.nan)).astype(float)
        flagged = [None] * len(scored) if scored.flagged is None else scored.flagged.tolist()
        known = dict(zip(columns["scan"], zip(p_values, flagged, strict=True), strict=True))

    def card(k: int) -> dict[str, Any]:
        own = volumes.numbers[k] >= 0
        numbers, anomaly = volumes.numbers[k][own], volumes.map[k][own]
        count, height, width = anomaly.shape
        peaks = np.where(np.isfinite(anomaly), anomaly, -1).reshape(count, -1).max(1)
        p, flag = known.get(volumes.names[k], (np.nan, None))
        strip = volumes.input[k][own].reshape(count * height, width).astype(np.float32)
        return {
            "id": k,
            "name": volumes.names[k] or "(no name)",
            "score": number(volumes.score[k]),
            "p": p_value(p) if np.isfinite(p) else "",
            "flag": "" if flag is None else ("abnormal" if flag else "healthy"),
            "size": (width, height),
            "strip": count * height,
            "input": picture(strip / 127.5 - 1),
            "map": map_picture(anomaly.reshape(count * height, width), limit),
            "slices": [
                f"slice {n + 1} of {volumes.slices[k]}, highest value {number(peak)}"
                if peak >= 0
                else f"slice {n + 1} of {volumes.slices[k]}"
                for n, peak in zip(numbers, peaks, strict=True)
            ],
            "first": int(peaks.argmax()),
            "most": count - 1,
        }

    return {
        "cards": [card(k) for k in range(len(volumes.names))],
        "limit": number(limit),
        "unseen": bool(np.isnan(volumes.map[volumes.numbers >= 0]).any()),
    }
