"""From residual to map and score: the same for every detector, fitted on healthy scans.

What is done with the residual decides more than the network that left it: ribs and edges
that do not quite match average out under a blur of the signed residual, an opacity stays.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from anogan.detector import Findings
from ganatomy.errors import WrongUse


class Postprocessing(BaseModel):
    """Settings of the way from residual to score, and what was fitted on healthy scans.

    The map is |blur(x − x̂)| / rms, with rms what the blurred residual of held-out healthy scans
    shows at each pixel; the score is the mean of its highest `top` share inside the border.
    Where a residual is NaN, outside a mask, so is the map, and neither blur, rms nor score knows
    of it.

    Attributes:
        smooth: standard deviation of the Gaussian blur, as a fraction of the shorter side; 0: none.
        healthy_map: divide by the healthy root mean square at each pixel.
        border: share of every side left out of the score.
        top: share of the pixels, the highest, whose mean is the score; 1 is all.
        score: "map", or "paper" for the score of the method's paper.
        slices: share of a volume's slices, the highest, whose mean is the volume's score
            (2D models only); 1 is all.
    """

    model_config = ConfigDict(extra="forbid")
    smooth: float = Field(default=1 / 16, ge=0, le=0.5)
    healthy_map: bool = True
    border: float = Field(default=0.0, ge=0, lt=0.5)
    top: float = Field(default=1.0, gt=0, le=1)
    score: Literal["map", "paper"] = "map"
    slices: float = Field(default=0.1, gt=0, le=1)

    _rms: np.ndarray | None = None
    _squares: np.ndarray | None = None
    _counts: np.ndarray | None = None
    _number: int = 0

    def fit(self, residuals: np.ndarray) -> Postprocessing:
        """Learn the healthy map from residuals [n, *size] of held-out healthy scans."""
        if self.healthy_map:
            self._squares, self._counts = self._summed(residuals)
            self._number = len(residuals)
            self._rms = _root(self._squares, self._counts, self._number)
        return self

    def without(self, residuals: np.ndarray) -> Postprocessing:
        """The same, with a healthy map that has not seen these of the residuals it was fitted on.

        Raises:
            WrongUse: there were no others.
        """
        other = self.model_copy()
        if self.healthy_map:
            if self._squares is None or self._number <= len(residuals):
                raise WrongUse("a healthy map needs two or more healthy scans")
            own, seen = self._summed(residuals)
            # What is left of a difference may be less than nothing by a rounding error.
            squares = np.maximum(self._squares - own, 0.0)
            other._rms = _root(squares, self._counts - seen, self._number - len(residuals))
        return other

    def maps(self, residuals: np.ndarray) -> np.ndarray:
        """Anomaly maps [n, *size] ≥ 0 of signed residuals [n, *size]; NaN where these are.

        Raises:
            ValueError: the healthy map is asked for and was not fitted.
        """
        if self.healthy_map and self._rms is None:
            raise ValueError("the healthy map is not fitted; calibrate the model first")
        maps = np.stack([np.abs(self._blur(residual)) for residual in residuals])
        return maps / self._rms if self.healthy_map else maps

    def scores(self, maps: np.ndarray) -> np.ndarray:
        """One score a sample, [n], of maps [n, *size]; 0 where nothing is judged."""
        inner = tuple(slice(n, side - n) for side, n in self._margins(maps.shape[1:]))
        judged = [one[inner][np.isfinite(one[inner])] for one in maps]
        return np.array([highest(one, self.top) if one.size else 0.0 for one in judged])

    def judge(self, findings: Findings) -> tuple[np.ndarray, np.ndarray, float]:
        """A scan's maps [n, *size], the scores of its samples [n], and its own score.

        A volume under a 2D model has a sample a slice; its score is the mean of the highest share.
        """
        maps = self.maps(findings.residual)
        scores = findings.paper_score if self.score == "paper" else self.scores(maps)
        return maps, np.asarray(scores, float), self.whole(scores)

    def whole(self, scores: np.ndarray) -> float:
        """A scan's score of those of its samples."""
        return highest(scores, self.slices)

    def state(self) -> dict[str, np.ndarray]:
        """What was fitted, by name."""
        return {} if self._rms is None else {"rms": self._rms}

    def load_state(self, state: dict[str, np.ndarray]) -> Postprocessing:
        self._rms = state.get("rms")
        return self

    def _summed(self, residuals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares and how many are in them, a pixel each, [*size]."""
        # In float64 and one sample at a time: the archive may be large.
        squares, counts = np.zeros(residuals.shape[1:]), np.zeros(residuals.shape[1:])
        for residual in residuals:
            blurred = self._blur(residual)
            known = np.isfinite(blurred)
            squares += np.square(np.where(known, blurred, 0), dtype=np.float64)
            counts += known
        return squares, counts

    def _blur(self, residual: np.ndarray) -> np.ndarray:
        sigma = self.smooth * min(residual.shape)
        known = np.isfinite(residual)
        if not sigma or known.all():
            return gaussian_filter(residual, sigma, mode="nearest") if sigma else residual
        # What is unknown has no weight, so that nothing fades towards the border of a mask.
        filled = gaussian_filter(np.where(known, residual, 0), sigma, mode="nearest")
        weight = gaussian_filter(known.astype(residual.dtype), sigma, mode="nearest")
        return np.where(known, filled / np.where(known, weight, 1), np.nan)

    def _margins(self, size: tuple[int, ...]) -> list[tuple[int, int]]:
        return [(side, int(self.border * side)) for side in size]


def _root(squares: np.ndarray, counts: np.ndarray, number: int) -> np.ndarray:
    """Root mean squares [*size] of so many residuals, of which `counts` are known at each pixel."""
    # A scan that shows nothing at a pixel counts there as pixels do on the whole: the fewer show
    # something, the less is known of what is usual there.
    usual = squares.sum() / max(counts.sum(), 1.0)
    rms = np.sqrt((squares + (number - counts) * usual) / number)
    # Where healthy scans never differ (padding, air) a tiny residual is not an anomaly.
    return np.maximum(rms, 0.1 * np.median(rms) + 1e-6).astype(np.float32)


def highest(values: np.ndarray, share: float) -> float:
    """Mean of the highest share of the values, at least of one."""
    flat = np.sort(np.asarray(values, np.float64), axis=None)
    return float(flat[-max(1, round(share * flat.size)) :].mean())
