"""What healthy scans score: the threshold, conformal p-values, and whether a scan is alike."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.measures.pixels import HealthyPixels
from ganatomy.scans import Prepared, Scan

# Fits of looks without some of them; up to so many scans, each is left out by itself.
FOLDS = 50
# The places of the quantiles of intensity in a look; before them the aspect, behind the alignment.
EXPOSURE = slice(1, 6)
# Of the pixels of an average healthy scan so many may be called abnormal.
PIXEL_FPR = 0.01


class Ellipse(NamedTuple):
    """Where looks lie: measures Mahalanobis distances, squared, [m] of looks [m, d]."""

    centre: np.ndarray
    spread: np.ndarray
    precision: np.ndarray

    def __call__(self, looks: np.ndarray) -> np.ndarray:
        away = (looks - self.centre) / self.spread
        return np.einsum("ni,ij,nj->n", away, self.precision, away)

    @classmethod
    def of(cls, looks: np.ndarray) -> Ellipse:
        """Of looks [n, d], by Ledoit and Wolf's shrinkage towards equal variances."""
        from sklearn.covariance import ledoit_wolf

        centre, spread = looks.mean(0), looks.std(0) + 1e-6
        covariance, _ = ledoit_wolf((looks - centre) / spread, assume_centered=True)
        return cls(centre, spread, np.linalg.pinv(covariance, hermitian=True))


class UnlikeScans(UserWarning):
    """Many of the scans do not look like those that set the threshold."""


def warn_of_unlike(unlike: Sequence[float], stacklevel: int) -> None:
    """Warn where more than one scan in twenty has `unlike` above 1; `stacklevel` as of `warn`."""
    above = int(np.sum(np.asarray(unlike, float) > 1))
    if above > 0.05 * len(unlike):
        warnings.warn(
            f"{above} of {len(unlike)} scans do not look like the healthy scans that set the "
            "threshold (unlike > 1): set it again with healthy scans from here",
            UnlikeScans,
            stacklevel=stacklevel + 1,
        )


@dataclass(frozen=True)
class Calibration:
    """Scores and looks of healthy scans that the model was not trained on.

    Attributes:
        scores: their scores, [n], sorted.
        looks: what they look like before any network, [n, d] (`look`).
        fpr: the share of healthy scans that may be called abnormal.
        pixel_threshold: a pixel of a map above it is abnormal; None where it was never set.
        pixel_fpr: the share of an average healthy scan's pixels that may lie above it.
        marks: what shortcuts see of the scans, [n, m] (`anogan.shortcuts.marks`), or None.
    """

    scores: np.ndarray
    looks: np.ndarray
    fpr: float = 0.05
    pixel_threshold: float | None = None
    pixel_fpr: float = PIXEL_FPR
    marks: np.ndarray | None = None

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
        """How unlike the calibration scans each is, [m] for looks [m, d].

        Mahalanobis distance over what one look-alike scan in a hundred exceeds, or one in n + 1
        where there are fewer than 99; one or two scans tell nothing, and it is 0. Above 1 a scan
        comes from another scanner, framing or exposure, and its score is to be trusted less.

        Covariance with the shrinkage of Ledoit and Wolf (2004).
        """
        ellipse, usual = self._usual_look
        return np.sqrt(ellipse(looks) / usual)

    @cached_property
    def _usual_look(self) -> tuple[Ellipse, float]:
        # Each is measured by a fit on others, as any new scan is: a scan is nearer to a centre and
        # covariance that hold it than its like. In folds, where leaving out each one takes long.
        count = len(self.looks)
        own = np.full(count, np.inf)
        fold = np.arange(count) % FOLDS
        for held in range(min(count, FOLDS) if count > 2 else 0):
            rest = Ellipse.of(self.looks[fold != held])
            own[fold == held] = rest(self.looks[fold == held])
        rank = min(int(np.ceil(0.99 * (count + 1) - 1e-9)), count)
        return Ellipse.of(self.looks), max(float(np.sort(own)[rank - 1]), 1e-12)

    def state(self) -> dict[str, np.ndarray]:
        state = {"scores": self.scores, "looks": self.looks, "fpr": np.array(self.fpr)}
        if self.pixel_threshold is not None:
            state["pixel_threshold"] = np.array(self.pixel_threshold)
            state["pixel_fpr"] = np.array(self.pixel_fpr)
        if self.marks is not None:
            state["marks"] = self.marks
        return state

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> Calibration:
        pixel = state.get("pixel_threshold")  # a model of before there was one has none
        return cls(
            state["scores"],
            state["looks"],
            float(state["fpr"]),
            None if pixel is None else float(pixel),
            float(state.get("pixel_fpr", PIXEL_FPR)),
            state.get("marks"),
        )

    @classmethod
    def of(
        cls,
        scores: Sequence[float],
        looks: np.ndarray,
        fpr: float,
        *,
        pixels: HealthyPixels | None = None,
        pixel_fpr: float = PIXEL_FPR,
        marks: np.ndarray | None = None,
    ) -> Calibration:
        """A calibration from healthy scores [n] and looks [n, d].

        Args:
            scores: of healthy scans.
            looks: of the same scans.
            fpr: share of healthy scans that may be called abnormal.
            pixels: their maps; without them there is no threshold of pixels.
            pixel_fpr: share of an average healthy scan's pixels that may be called abnormal.
            marks: what shortcuts see of them, [n, m].

        Raises:
            WrongUse: fewer scans than a false-positive rate of `fpr` can be told from, or a rate
                that is none.
        """
        check_count(len(scores), fpr)
        if not 0 < pixel_fpr < 1:
            raise WrongUse(f"a false-positive rate of {pixel_fpr:g} is not between 0 and 1")
        return cls(
            np.sort(np.asarray(scores, np.float64)),
            np.asarray(looks, np.float64),
            fpr,
            None if pixels is None else pixels.threshold(pixel_fpr),
            pixel_fpr,
            marks,
        )


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
