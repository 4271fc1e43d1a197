"""How sure a measure is: intervals from resampling patients."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

# Resamples are weighed in blocks of about this many numbers, so that memory stays flat
# however many scans there are.
BLOCK = 2_000_000


class Interval(NamedTuple):
    """A measured value with the ends of its 95 % interval.

    A percentile bootstrap cannot see past what was observed: a value of exactly 0 or 1 gets
    an interval of no width, which is no proof of certainty.
    """

    value: float
    low: float
    high: float

    @property
    def has_width(self) -> bool:
        """Whether resamples differ: those of one patient do not, and say nothing of another."""
        return not self.low == self.value == self.high

    def to_dict(self) -> dict[str, float]:
        """The interval as JSON writes it."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, record: Mapping[str, float]) -> "Interval":
        """Read back what `to_dict` wrote."""
        return cls(float(record["value"]), float(record["low"]), float(record["high"]))


def percentile_interval(value: float, resampled: np.ndarray, level: float = 0.95) -> Interval:
    """The percentile interval of a bootstrap.

    Args:
        value: the measure on the data as they are.
        resampled: the measure on every resample, [resamples].
        level: the share of resamples between the two ends.

    Reference: Efron 1979; Efron and Tibshirani 1993, section 13.3.
    """
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


def resample_weights(
    labels: np.ndarray, groups=None, resamples: int = 2000, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each scan is drawn in each resample, in blocks of resamples.

    Whole groups are drawn with replacement, separately among the groups with healthy scans
    only, with abnormal scans only and with both, so that every resample holds both classes.
    The draws depend on labels, groups and seed alone: two scores of the same scans are
    measured on the same resamples.

    Args:
        labels: 0 or 1 for each scan, [scans].
        groups: the patient of each scan, [scans]; without them every scan is its own group.
        resamples: how many resamples in all.
        seed: of the random generator.

    Returns:
        Blocks of float32 weights, [resamples of the block, scans].

    Raises:
        ValueError: if a scan has no group.
    """
    labels = np.asarray(labels)
    if groups is None:
        member = np.arange(len(labels))
    else:
        member = pd.factorize(np.asarray(groups, dtype=object))[0]
        if len(member) != len(labels):
            raise ValueError(f"{len(labels)} labels but {len(member)} patients")
        if (member < 0).any():
            raise ValueError(f"{int((member < 0).sum())} scans have no patient")
    count = int(member.max()) + 1
    has_healthy = np.bincount(member, labels == 0, count) > 0
    has_abnormal = np.bincount(member, labels == 1, count) > 0
    kind = has_healthy + 2 * has_abnormal
    strata = [np.flatnonzero(kind == k) for k in np.unique(kind)]
    rng = np.random.default_rng(seed)
    rows = max(1, BLOCK // len(labels))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = np.zeros((block, count), np.float32)
        for stratum in strata:
            size = len(stratum)
            drawn[:, stratum] = rng.multinomial(size, np.full(size, 1 / size), size=block)
        yield drawn[:, member]
