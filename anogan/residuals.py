"""From residual to map and score: the same for every detector, fitted on healthy scans.

What is done with the residual decides more than the network that left it: ribs and edges
that do not quite match average out under a blur of the signed residual, an opacity stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.ndimage import gaussian_filter

from anogan.detector import Findings
from ganatomy.errors import WrongUse

# What was fitted, a pixel each.
STATE = ("mean", "deviation")
# Of the scans that do not show a pixel so many count there.
FEW = 10


class Sums(NamedTuple):
    """Of `number` residuals at each pixel [*size]: how many are known there, and their sums."""

    number: int
    counts: np.ndarray
    values: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, residuals: Iterable[np.ndarray], blur: Callable[[np.ndarray], np.ndarray]) -> Sums:
        """Of residuals [*size], blurred one at a time: the archive may be large."""
        number, counts, values, squares = 0, np.zeros(()), np.zeros(()), np.zeros(())
        for number, residual in enumerate(residuals, 1):
            if number == 1:
                counts, values, squares = (np.zeros(residual.shape) for _ in range(3))
            blurred = blur(residual)
            known = np.isfinite(blurred)
            value = np.where(known, blurred, 0).astype(np.float64)
            counts += known
            values += value
            squares += np.square(value)
        return cls(number, counts, values, squares)

    def without(self, other: Sums) -> Sums:
        """The sums of the others; `other` is of some of the same residuals."""
        return Sums(
            self.number - other.number,
            self.counts - other.counts,
            self.values - other.values,
            self.squares - other.squares,
        )

    def pooled(self) -> Sums:
        """The same of all pixels together, of which every one that is known counts."""
        counts, values, squares = (np.array(each.sum()) for each in self[1:])
        return Sums(max(int(counts), 1), counts, values, squares)

    def usual(self, centre: bool) -> tuple[np.ndarray, np.ndarray]:
        """Mean, or 0, and root mean square distance from it, at each pixel, [*size]."""
        # The fewer show a pixel, the less is known of what is usual there: some of those that do
        # not count with mean 0 and the mean square that pixels have on the whole, and pull to it.
        overall = max(self.squares.sum(), 0.0) / max(self.counts.sum(), 1.0)
        unknown = np.minimum(self.number - self.counts, FEW)
        number = self.counts + unknown
        mean = self.values / number if centre else np.zeros_like(self.values)
        # What is left of a difference may be less than nothing by a rounding error.
        variance = (self.squares + unknown * overall) / number - np.square(mean)
        variance = np.maximum(variance, 0.0)
        deviation: np.ndarray = np.sqrt(variance)
        # Where healthy scans never differ (padding, air) a tiny residual is not an anomaly.
        floor = 0.1 * np.median(deviation) + 1e-6
        return np.asarray(mean, np.float32), np.maximum(deviation, floor, dtype=np.float32)


class Postprocessing(BaseModel):
    """Settings of the way from residual to score, and what was fitted on healthy scans.

    The map is |blur(x − x̂) − m| / d, with m and d the mean and the deviation from it of the
    blurred residual of held-out healthy scans at each pixel; the score is the mean of its highest
    `top` share inside the border. Where a residual is NaN, outside a mask, so is the map, and
    neither blur, m, d nor score knows of it. All of this is of a sample: of a tile where a scan is
    cut into tiles, which then need `pooled`, as a pixel of a tile is no place in the body.

    Attributes:
        smooth: standard deviation of the Gaussian blur, as a fraction of the shorter side; 0: none.
        healthy_map: measure by what healthy scans show at each pixel, m and d.
        centre: take m away, so that what a model gets wrong of everyone is no finding; False
            leaves m at 0, for a residual that is no difference but says itself how odd a pixel is.
        pooled: have one m and one d for all pixels, in place of one at each.
        border: share of every side left out of the score.
        top: share of the pixels, the highest, whose mean is the score; 1 is all.
        score: "map", or "paper" for the score of the method's paper, of the whole sample whatever a
            mask leaves out.
        slices: share of a scan's samples, the highest, whose mean is the scan's score, where it has
            several: the slices of a volume under a 2D model, tiles; 1 is all.
        smallest_ml: of lesions that are listed and written, where a scan has mm; what is smaller
            is none.
        smallest_share: the same for pictures, as a share of their pixels.
    """

    model_config = ConfigDict(extra="forbid")
    smooth: float = Field(default=1 / 16, ge=0, le=0.5)
    healthy_map: bool = True
    centre: bool = True
    pooled: bool = False
    border: float = Field(default=0.0, ge=0, lt=0.5)
    top: float = Field(default=1.0, gt=0, le=1)
    score: Literal["map", "paper"] = "map"
    slices: float = Field(default=0.1, gt=0, le=1)
    smallest_ml: float = Field(default=0.1, ge=0)
    smallest_share: float = Field(default=5e-4, ge=0, le=1)

    _usual: tuple[np.ndarray, np.ndarray] | None = None
    _summed: Sums | None = None

    def fit(self, residuals: Iterable[np.ndarray]) -> Postprocessing:
        """Learn the healthy map from residuals [*size] of held-out healthy scans."""
        if self.healthy_map:
            self._summed = Sums.of(residuals, self._blur)
            self._usual = self._told(self._summed)
        return self

    def without(self, residuals: Iterable[np.ndarray]) -> Postprocessing:
        """The same, with a healthy map that has not seen these of the residuals it was fitted on.

        Raises:
            WrongUse: there were no others.
        """
        other = self.model_copy()
        if self.healthy_map:
            own = Sums.of(residuals, self._blur)
            if self._summed is None or self._summed.number <= own.number:
                raise WrongUse("a healthy map needs scans of two or more healthy patients")
            other._usual = self._told(self._summed.without(own))
        return other

    def maps(self, residuals: np.ndarray) -> np.ndarray:
        """Anomaly maps [n, *size] ≥ 0 of signed residuals [n, *size]; NaN where these are.

        Raises:
            ValueError: the healthy map is asked for and was not fitted.
        """
        blurred = np.stack([self._blur(residual) for residual in residuals])
        if not self.healthy_map:
            return np.abs(blurred)
        if self._usual is None:
            raise ValueError("the healthy map is not fitted; calibrate the model first")
        mean, deviation = self._usual
        return np.abs(blurred - mean) / deviation

    def scores(self, maps: np.ndarray) -> np.ndarray:
        """One score a sample, [n], of maps [n, *size]; 0 where nothing is judged."""
        inner = tuple(slice(n, side - n) for side, n in self._margins(maps.shape[1:]))
        judged = [one[inner][np.isfinite(one[inner])] for one in maps]
        return np.array([highest(one, self.top) if one.size else 0.0 for one in judged])

    def judge(self, findings: Findings) -> tuple[np.ndarray, np.ndarray, float]:
        """A scan's maps [n, *size], the scores of its samples [n], and its own score.

        A volume under a 2D model has a sample a slice, a scan cut into tiles one a tile; the score
        is the mean of the highest share.
        """
        maps = self.maps(findings.residual)
        scores = findings.paper_score if self.score == "paper" else self.scores(maps)
        return maps, np.asarray(scores, float), self.whole(scores)

    def whole(self, scores: np.ndarray) -> float:
        """A scan's score of those of its samples."""
        return highest(scores, self.slices)

    def state(self) -> dict[str, np.ndarray]:
        """What was fitted, by name."""
        return {} if self._usual is None else dict(zip(STATE, self._usual, strict=True))

    def load_state(self, state: dict[str, np.ndarray]) -> Postprocessing:
        self._usual = tuple(state[name] for name in STATE) if state else None  # pyright: ignore
        return self

    def _told(self, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        return (sums.pooled() if self.pooled else sums).usual(self.centre)

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


def highest(values: np.ndarray, share: float) -> float:
    """Mean of the highest share of the values, at least of one."""
    flat = np.sort(np.asarray(values, np.float64), axis=None)
    return float(flat[-max(1, round(share * flat.size)) :].mean())
