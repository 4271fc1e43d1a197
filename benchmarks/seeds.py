"""Intervals over patients of what several trainings say together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganatomy.measures.bootstrap import percentile_interval, resample_weights


def over_patients(
    labels: np.ndarray, scores: np.ndarray, patients: Any, rival: np.ndarray | None = None
) -> dict[str, Any]:
    """The mean AUROC over trainings, its interval over patients, and what it is above a rival's.

    Every resample draws patients once for all trainings, and averages their AUROC.

    Args:
        labels: 0 healthy, 1 abnormal, [scans].
        scores: [trainings, scans]; NaN where a training was not measured on a scan.
        patients: whose each scan is, [scans].
        rival: scores of the same scans by something else, [trainings, scans].

    Returns:
        `auroc` (value, low, high), `seeds` (of each training) and, with a rival, `difference`.
    """
    once = np.ones((1, len(labels)), np.float32)
    weights = np.concatenate(list(resample_weights(labels, patients)))
    own, drawn = (aurocs(labels, scores, by) for by in (once, weights))
    found: dict[str, Any] = {
        "auroc": percentile_interval(own.mean(), drawn.mean(0)).to_dict(),
        "seeds": own[:, 0].tolist(),
    }
    if rival is not None:
        apart = own - aurocs(labels, rival, once)
        by_resample = drawn - aurocs(labels, rival, weights)
        found["difference"] = percentile_interval(apart.mean(), by_resample.mean(0)).to_dict()
    return found


def aurocs(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of each training under each weighting of the scans, [trainings, weightings].

    Args:
        labels: [scans].
        scores: [trainings, scans], NaN where there is none.
        weights: how often each scan counts, [weightings, scans].
    """
    found = []
    for own in scores:
        sick, healthy = (np.flatnonzero((labels == k) & np.isfinite(own)) for k in (1, 0))
        apart = own[sick][:, None] - own[healthy]
        won = (apart > 0) + 0.5 * (apart == 0)
        pairs = np.sum(weights[:, sick] @ won * weights[:, healthy], axis=1)
        found.append(pairs / (weights[:, sick].sum(1) * weights[:, healthy].sum(1)))
    return np.array(found)
