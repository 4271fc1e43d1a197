"""Standard scores beside ranks among healthy scores, for members of which one is weak."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from anogan.standard_scores import StandardScores

HEALTHY, NEW, DRAWS = 60, 200, 20


def ranks(healthy, tail):
    """Normal quantiles of ranks among healthy scores; the highest tenth may have a fitted tail."""
    known, count = np.sort(healthy), len(healthy)
    highest = count // 10
    start = known[-highest - 1]
    scale = (known[-highest:] - start).mean()

    def told(scores):
        above = (1 + count - np.searchsorted(known, scores)) / (count + 1)
        if tail:
            beyond = highest / count * np.exp(-np.maximum(scores - start, 0) / scale)
            above = np.where(scores > start, beyond, above)
        return -norm.ppf(np.minimum(above, 1 - 0.5 / (count + 1)))

    return told


@pytest.fixture(scope="module")
def found():
    """Mean AUROC of the mean of a strong and a weak member's scores, by how these were told."""
    ways = {
        "standard": StandardScores,
        "ranks": lambda healthy: ranks(healthy, tail=False),
        "tails": lambda healthy: ranks(healthy, tail=True),
    }
    found = {name: [] for name in ways}
    for seed in range(DRAWS):
        draw = np.random.default_rng(seed)
        scores = draw.normal(size=(2, HEALTHY + 2 * NEW))
        scores[:, -NEW:] += [[3.0], [0.2]]
        known, new = np.split(np.exp(0.3 * scores), [HEALTHY], axis=1)
        for name, way in ways.items():
            joint = np.mean([way(h)(n) for h, n in zip(known, new, strict=True)], axis=0)
            found[name].append(roc_auc_score([0] * NEW + [1] * NEW, joint))
    return {name: np.mean(values) for name, values in found.items()}


def test_ranks_lose_what_lies_beyond_all_healthy_scans(found):
    assert found["standard"] > found["ranks"] + 0.03


def test_ranks_with_a_fitted_tail_are_no_better(found):
    assert found["tails"] == pytest.approx(found["standard"], abs=0.01)
