"""What a score and other signs say about the error: calibrated where transforms are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np


class Confidence(NamedTuple):
    """The probability that a registration has failed, as a falling function of its signs.

    Attributes:
        slopes: of the log odds by each standardised sign; not above 0, since a better one is no
            sign of failure.
        offset: the log odds at the means.
        means: of the signs it was fitted on.
        deviations: their standard deviations.
        n: how many there were.
        failures: how many of them had failed.

    Reference: Platt 1999, with his targets: few failures make no certainty.
    """

    slopes: tuple[float, ...]
    offset: float
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    n: int
    failures: int

    @classmethod
    def fit(cls, signs: np.ndarray, failed: np.ndarray) -> Self:
        """From registrations whose errors are known.

        Args:
            signs: [n, k], each higher where a pair is better aligned; the first is the
                discriminator's score.
            failed: [n] bool.

        Raises:
            ValueError: none, or signs that are not finite.
        """
        from scipy.optimize import minimize

        signs, failed = np.asarray(signs, float), np.asarray(failed, bool)
        if signs.ndim != 2 or not len(signs) or len(signs) != len(failed):
            raise ValueError("expected the signs of one or more registrations, and which failed")
        if not np.isfinite(signs).all():
            raise ValueError("expected finite signs")
        means, deviations = signs.mean(0), signs.std(0)
        deviations[deviations == 0] = 1.0
        standard = (signs - means) / deviations
        bad, good = int(failed.sum()), int((~failed).sum())
        target = np.where(failed, (bad + 1) / (bad + 2), 1 / (good + 2))

        def cost(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            logit = standard @ parameters[:-1] + parameters[-1]
            value = np.sum(np.logaddexp(0, logit) - target * logit)
            left = _share(logit) - target
            return float(value), np.array([*(left @ standard), left.sum()])

        count = signs.shape[1]
        bounds = [*[(None, 0.0)] * count, (None, None)]
        start = [*[-1e-3] * count, 0.0]
        found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x.tolist()
        known = tuple(means.tolist()), tuple(deviations.tolist())
        return cls(tuple(found[:-1]), found[-1], *known, len(signs), bad)

    def probability(self, signs: Sequence[float]) -> float:
        """That a registration of these signs has failed."""
        standard = (np.asarray(signs, float) - self.means) / np.asarray(self.deviations)
        return float(_share(np.array(standard @ np.asarray(self.slopes) + self.offset)))

    def state(self) -> dict[str, np.ndarray]:
        """As arrays of a model folder."""
        signs = [self.slopes, self.means, self.deviations]
        rest = [self.offset, self.n, self.failures]
        return {"signs": np.array(signs, np.float64), "rest": np.array(rest, np.float64)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Self:
        """What `state` gave."""
        slopes, means, deviations = (tuple(row) for row in state["signs"].tolist())
        offset, n, failures = map(float, state["rest"])
        return cls(slopes, offset, means, deviations, int(n), int(failures))


def _share(logit: np.ndarray) -> np.ndarray:
    """The logistic function, without overflow."""
    return 0.5 * (1 + np.tanh(logit / 2))
