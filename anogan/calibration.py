"""What healthy scans score: the threshold, conformal p-values, and whether a scan is alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.scans import Prepared, Scan


@dataclass(frozen=True)
class Calibration:
    """Scores and looks of healthy scans that the model was not trained on.

    Attributes:
        scores: their scores, [n], sorted.
        looks: what they look like before any network, [n, d] (`look`).
        fpr: the share of healthy scans that may be called abnormal.
    """

    scores: np.ndarray
    looks: np.ndarray
    fpr: float = 0.05

    @property
    def threshold(self) -> float:
        """A scan above it is abnormal: the conformal quantile of the healthy scores.

        The ⌈(n + 1)(1 − fpr)⌉-th smallest of n scores, so that a healthy scan from the same source
        exceeds it with probability at most fpr. With too few scans for that it is infinite.

        Reference: Vovk, Gammerman, Shafer 2005, chapter 2; Lei et al. 2018, section 2.
        """
        rank = int(np.ceil((len(self.scores) + 1) * (1.0 - self.fpr) - 1e-9))
        return float(self.scores[rank - 1]) if rank <= len(self.scores) else float("inf")

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """Conformal p-values: (1 + #{healthy score ≥ s}) / (n + 1), [m] for scores [m]."""
        above = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return (1.0 + above) / (len(self.scores) + 1.0)

    def unlike(self, looks: np.ndarray) -> np.ndarray:
        """How unlike the calibration scans each is: Mahalanobis distance over its 99th percentile.

        Above 1 a scan comes from another scanner, framing or exposure, and its score is to be
        trusted less. Covariance with Ledoit & Wolf's (2004) shrinkage.
        """
        centre, spread, fitted, usual = self._usual_look
        return np.sqrt(fitted.mahalanobis((looks - centre) / spread) / usual)

    @cached_property
    def _usual_look(self) -> tuple:
        from sklearn.covariance import LedoitWolf

        centre, spread = self.looks.mean(0), self.looks.std(0) + 1e-6
        fitted = LedoitWolf().fit((self.looks - centre) / spread)
        own = fitted.mahalanobis((self.looks - centre) / spread)
        return centre, spread, fitted, np.quantile(own, 0.99)

    def state(self) -> dict[str, np.ndarray]:
        return {"scores": self.scores, "looks": self.looks, "fpr": np.array(self.fpr)}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Calibration:
        return cls(state["scores"], state["looks"], float(state["fpr"]))

    @classmethod
    def of(cls, scores: Sequence[float], looks: np.ndarray, fpr: float) -> Calibration:
        """A calibration from healthy scores [n] and looks [n, d].

        Raises:
            WrongUse: fewer scans than a false-positive rate of `fpr` can be told from.
        """
        check_count(len(scores), fpr)
        return cls(np.sort(np.asarray(scores, np.float64)), np.asarray(looks, np.float64), fpr)


def look(scan: Scan, prepared: Prepared) -> np.ndarray:
    """What a scan looks like without any network: framing, exposure and contrast, [d].

    Log aspect ratio, five quantiles of the intensities over their range, and the parameters of
    the alignment to the healthy mean where there is one.
    """
    pixels = scan.pixels.mean(-1)
    low, high = float(pixels.min()), float(pixels.max())
    quantiles = np.quantile(pixels, [0.05, 0.25, 0.5, 0.75, 0.95])
    exposure = (quantiles - low) / max(high - low, 1e-12)
    aspect = np.log(pixels.shape[0] / pixels.shape[1])
    placed = [] if prepared.alignment is None else prepared.alignment
    return np.concatenate([[aspect], exposure, placed])


def check_count(count: int, fpr: float) -> None:
    """Refuse fewer healthy scans than a threshold can be set on.

    Raises:
        WrongUse: with so few, no score would be the conformal quantile.
    """
    if not 0 < fpr < 1:
        raise WrongUse(f"a false-positive rate of {fpr:g} is not between 0 and 1")
    least = int(np.ceil(1.0 / fpr - 1e-9)) - 1
    if count < least:
        raise WrongUse(
            f"{count} healthy scans cannot set a threshold at a false-positive rate of "
            f"{fpr:g}: {least} or more are needed"
        )
