"""Example scans as cards: input, reconstruction, residual and anomaly map."""

from typing import Any

import numpy as np
from PIL import Image

from ganatomy.report.figures import colour_bar
from ganatomy.report.folder import Examples, grey
from ganatomy.report.pictures import (
    MAP,
    RESIDUAL,
    gradient_stops,
    map_picture,
    picture,
    residual_picture,
    scale_limit,
)
from ganatomy.report.scored import Scored
from ganatomy.report.words import count, number, p_value

MOST = 24
# Pixels of all cards together, so that a page stays under about 5 MB; larger pictures are
# shown reduced.
PIXELS = 1_300_000


def example_cards(examples: Examples, scored: Scored | None) -> dict[str, Any]:
    """The cards in groups, with the colour scales they share.

    Args:
        examples: the scans that have pictures.
        scored: tells the threshold, and each scan's p-value, by name.
    """
    threshold = None if scored is None else scored.threshold
    groups = _groups(examples, threshold)
    shown = np.concatenate([members for _, members in groups])
    residual_limit = scale_limit(examples.residual[shown])
    map_limit = scale_limit(examples.map[shown])
    side = int(np.sqrt(PIXELS / len(shown)))
    p_values: dict[str, float] = {}
    if scored is not None and "p_value" in scored.columns:
        p_values = dict(zip(scored.columns["scan"], scored.columns["p_value"], strict=True))

    def card(k: int) -> dict[str, Any]:
        name, residual, anomaly = examples.names[k], examples.residual[k], examples.map[k]
        p, label = p_values.get(name, np.nan), examples.label[k]
        looked = anomaly[np.isfinite(anomaly)]
        ends = f"from {number(np.nanmin(residual))} to {number(np.nanmax(residual))}"
        seen = None if examples.seen is None else picture(_reduced(examples.seen[k], side))
        return {
            "id": k,
            "name": name or "(no name)",
            "score": number(examples.score[k]),
            "p": p_value(p) if np.isfinite(p) else "",
            "label": {0: "healthy", 1: "abnormal"}.get(label, ""),
            "flag": "" if threshold is None else _call(examples.score[k] > threshold),
            "input": picture(_reduced(examples.input[k], side)),
            "size": examples.input.shape[2:0:-1],
            "map": map_picture(_reduced(anomaly, side), map_limit),
            "map_text": f"highest value {number(looked.max())}" if looked.size else "nothing seen",
            "seen": seen,
            "reconstruction": picture(_reduced(examples.reconstruction[k], side)),
            "residual": residual_picture(_reduced(residual, side), residual_limit),
            "residual_text": ends,
            "model_size": residual.shape[::-1],
        }

    return {
        "groups": [
            {
                "title": title,
                "note": count(len(members), "scan"),
                "cards": [card(int(k)) for k in members],
            }
            for title, members in groups
        ],
        "residual_bar": colour_bar("residual", gradient_stops(RESIDUAL)),
        "residual_limit": number(residual_limit),
        "residual_meaning": _meaning(examples),
        "map_bar": colour_bar("map", gradient_stops(MAP)),
        "map_limit": number(map_limit),
        "tiles": 4 if examples.seen is None else 5,
        "unseen": bool(np.isnan(examples.map[shown]).any()),
    }


def _meaning(examples: Examples) -> str:
    """What the colours of the residual say: not every method's is a difference of pictures."""
    seen = grey(examples.input if examples.seen is None else examples.seen)
    difference = seen - grey(examples.reconstruction)
    known = np.isfinite(examples.residual)
    if np.allclose(difference[known], examples.residual[known], atol=1e-3):
        return (
            "Orange: the scan is brighter than its reconstruction. Blue: it is darker. "
            "White: they agree."
        )
    made = "" if difference.any() else "This method makes no reconstruction. "
    return f"{made}What the method says of each pixel itself. Orange: above 0. Blue: below."


def _groups(examples: Examples, threshold: float | None) -> list[tuple[str, np.ndarray]]:
    """Which scans are shown under which heading, the most telling of each first."""
    score, label = examples.score, examples.label
    everything = np.ones(len(score), bool)
    labelled = bool(np.isfinite(label).all())
    high = score > (np.median(score) if threshold is None else threshold)
    if labelled and threshold is not None:
        kinds = [
            ("Abnormal and found, highest scores first", (label == 1) & high, -1),
            ("Abnormal but missed, lowest scores first", (label == 1) & ~high, 1),
            ("Healthy but flagged, highest scores first", (label == 0) & high, -1),
            ("Healthy and passed, lowest scores first", (label == 0) & ~high, 1),
        ]
    elif labelled:
        kinds = [
            ("Abnormal, highest scores first", label == 1, -1),
            ("Healthy, highest scores first", label == 0, -1),
        ]
    elif threshold is not None:
        kinds = [
            ("Above the threshold, highest scores first", high, -1),
            ("Not above the threshold, lowest scores first", ~high, 1),
        ]
    else:
        kinds = [("Highest scores first", everything, -1)]
    filled = [(title, np.flatnonzero(member), way) for title, member, way in kinds if member.any()]
    groups = [(title, k[np.argsort(way * score[k], kind="stable")]) for title, k, way in filled]
    # Groups share the room: none takes more than its part while another has scans waiting.
    take = [0] * len(groups)
    while sum(take) < min(MOST, len(score)):
        open_groups = [g for g in range(len(groups)) if take[g] < len(groups[g][1])]
        take[min(open_groups, key=lambda g: take[g])] += 1
    return [(title, k[:n]) for (title, k), n in zip(groups, take, strict=True)]


def _call(abnormal: bool) -> str:
    return "abnormal" if abnormal else "healthy"


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Means over boxes of pixels, so that neither side is longer than `side`."""
    longest = max(image.shape[:2])
    if longest <= side:
        return image
    height, width = (max(1, round(n * side / longest)) for n in image.shape[:2])

    def channel(plane: np.ndarray) -> np.ndarray:
        whole = Image.fromarray(np.ascontiguousarray(plane))
        return np.asarray(whole.resize((width, height), Image.Resampling.BOX))

    if image.ndim == 2:
        return channel(image)
    return np.stack([channel(image[..., c]) for c in range(image.shape[-1])], -1)
