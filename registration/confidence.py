"""What a discriminator's score says about the error: calibrated where transforms are known."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np


class Confidence(NamedTuple):
    """The probability that a registration has failed, as a falling function of its score.

    Attributes:
        slope: of the log odds by the standard score; not above 0, since a better score is no
            sign of failure.
        offset: the log odds at the mean score.
        mean: of the scores it was fitted on.
        deviation: their standard deviation.
        n: how many there were.
        failures: how many of them had failed.

    Reference: Platt 1999, with his targets: few failures make no certainty.
    """

    slope: float
    offset: float
    mean: float
    deviation: float
    n: int
    failures: int

    @classmethod
    def fit(cls, scores: np.ndarray, failed: np.ndarray) -> Self:
        """From registrations whose errors are known.

        Args:
            scores: [n], higher is better aligned.
            failed: [n] bool.

        Raises:
            ValueError: none, or scores that are not finite.
        """
        from scipy.optimize import minimize

        scores, failed = np.asarray(scores, float), np.asarray(failed, bool)
        if not len(scores) or scores.shape != failed.shape or not np.isfinite(scores).all():
            raise ValueError("expected one or more finite scores, and whether each has failed")
        deviation = float(scores.std()) or 1.0
        standard = (scores - scores.mean()) / deviation
        bad, good = int(failed.sum()), int((~failed).sum())
        target = np.where(failed, (bad + 1) / (bad + 2), 1 / (good + 2))

        def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            logit = parameters[0] * standard + parameters[1]
            value = np.sum(np.logaddexp(0, logit) - target * logit)
            left = _share(logit) - target
            return float(value), np.array([left @ standard, left.sum()])

        bounds = [(None, 0.0), (None, None)]
        found = minimize(cost, [-1e-3, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
        slope, offset = map(float, found)
        return cls(slope, offset, float(scores.mean()), deviation, len(scores), bad)

    def probability(self, score: float) -> float:
        """That a registration of this score has failed."""
        standard = (score - self.mean) / self.deviation
        return float(_share(np.array(self.slope * standard + self.offset)))

    def state(self) -> dict[str, np.ndarray]:
        """As arrays of a model folder."""
        return {"confidence": np.array(self, np.float64)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Self:
        """What `state` gave."""
        slope, offset, mean, deviation, n, failures = map(float, state["confidence"])
        return cls(slope, offset, mean, deviation, int(n), int(failures))


def _share(logit: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(logit / 2))
