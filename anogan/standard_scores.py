"""Scores of unlike detectors made comparable by what healthy scans score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ganatomy.errors import WrongUse


class StandardScores:
    """A detector's scores in standard deviations of healthy scans' above their mean.

    Of the scores' logarithms, where all healthy scores are positive: as residuals and distances
    are, skewed to the right. Scores that can be negative (likelihoods, a critic's values) are
    taken as they are. It rises without end, so that a clearly abnormal scan stands above a
    slightly abnormal one.

    Ranks among healthy scores end with the highest of them. Of a strong and a weak member (made
    scores, 60 healthy; `tests/anogan/test_standard_scores.py`) the mean of ranks' normal quantiles
    has an AUROC of 0.90, that of standard scores 0.95. With an exponential tail fitted to the
    highest tenth of them ranks have 0.95 as well: no better, and with one more thing to fit.

    Args:
        healthy: scores of healthy scans, [n].
    """

    def __init__(self, healthy: np.ndarray):
        # Sorted, as a calibration keeps them: sums in another order differ in the last digit.
        healthy = np.sort(np.asarray(healthy, float))
        # Below half of what any healthy scan scores, the logarithm goes on as its tangent.
        self.low = float(healthy.min()) / 2 if healthy.min() > 0 else None
        measured = self._measured(healthy)
        self.mean = float(measured.mean())
        self.spread = float(measured.std(ddof=1)) or 1.0

    def __call__(self, scores: Any) -> np.ndarray:
        """Standard scores of any scores, of the same shape."""
        return (self._measured(np.asarray(scores, float)) - self.mean) / self.spread

    def _measured(self, scores: np.ndarray) -> np.ndarray:
        if self.low is None:
            return scores
        above = np.maximum(scores, self.low)
        return np.log(above) + (np.minimum(scores, self.low) - self.low) / self.low


def left_out(scores: np.ndarray, whose: Sequence[str]) -> np.ndarray:
    """Standard scores of healthy scans, each by those of all other patients, [n] for scores [n].

    Among scores that hold its own a scan stands nearer to the mean than any new one.

    Args:
        scores: of healthy scans, [n].
        whose: the patient of each.

    Raises:
        WrongUse: a patient leaves fewer than two scans of others.
    """
    patients, counts = np.unique(np.asarray(whose), return_inverse=True, return_counts=True)[1:]
    if len(scores) - counts.max(initial=0) < 2:
        raise WrongUse(f"{len(scores)} healthy scans are too few to compare detectors by")
    return np.array(
        [
            StandardScores(scores[patients != patient])(score)
            for patient, score in zip(patients, scores, strict=True)
        ]
    )
