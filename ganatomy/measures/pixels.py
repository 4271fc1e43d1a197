"""How well maps tell lesions from the rest, pixel by pixel, over any number of scans.

Pixels are counted in bins, so that a scan costs some kilobytes whatever its size: values that are
alike in their first `DIGITS` binary digits (within 1 part in 128) are tied, and a tie counts half.
AUROC is then off by at most half the chance of such a tie between a lesion pixel and another, by
1e-4 or less in practice, average precision by some 1e-3. The bins are of the number line and not
of the data: what else is measured changes nothing. What is measured at a given threshold is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ganatomy.measures.bootstrap import BLOCK, Interval, percentile_interval, resample_weights

DIGITS = 8
# For a threshold more of them are kept: within 1 part in 4096.
THRESHOLD_DIGITS = 13
UNSEEN = np.iinfo(np.int32).min


class PixelCounts(NamedTuple):
    """The pixels of one scan by the value of the map.

    Attributes:
        codes: of the values that occur (`binned`), ascending, int32 [m].
        healthy: how many pixels outside every lesion have each, [m].
        lesion: how many pixels of lesions have each, [m].
        called: pixels above the threshold outside every lesion and in one; None without a
            threshold.
    """

    codes: np.ndarray
    healthy: np.ndarray
    lesion: np.ndarray
    called: tuple[int, int] | None = None


def binned(values: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """Codes in the order of the values, equal where these agree in so many binary digits.

    Args:
        values: float32, none of them NaN.

    Returns:
        int32 of the same shape.
    """
    # As integers, floats of one sign are in their own order; adding 0 makes −0 the same as 0.
    bits = (np.asarray(values, np.float32) + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))) >> (24 - digits)


def pixel_counts(
    array: np.ndarray, truth: np.ndarray, threshold: float | None = None
) -> PixelCounts:
    """Count the pixels of one scan.

    Args:
        array: the map, any shape; NaN where the model did not look. There a pixel of a lesion is
            missed at every threshold, and any other is left out.
        truth: whether a pixel belongs to a lesion, the same shape.
        threshold: pixels above it are called abnormal.

    Raises:
        ValueError: for shapes that differ.
    """
    truth = np.asarray(truth, bool)
    if array.shape != truth.shape:
        raise ValueError(f"the map has shape {array.shape} and the mask {truth.shape}")
    seen = ~np.isnan(array)
    values, abnormal = array[seen], truth[seen]
    codes, place = np.unique(binned(values), return_inverse=True)
    lesion = np.bincount(place[abnormal], minlength=len(codes))
    healthy = np.bincount(place, minlength=len(codes)) - lesion
    missed = int(np.count_nonzero(truth & ~seen))
    if missed:
        codes = np.concatenate([[np.int32(UNSEEN)], codes]).astype(np.int32)
        healthy, lesion = np.concatenate([[0], healthy]), np.concatenate([[missed], lesion])
    called = None
    if threshold is not None:
        above = values > threshold
        hits = int(np.count_nonzero(above & abnormal))
        called = int(np.count_nonzero(above)) - hits, hits
    return PixelCounts(codes, healthy, lesion, called)


def pixel_measures(
    counts: Sequence[PixelCounts], groups=None, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Measures over all pixels of all scans.

    Args:
        counts: one a scan.
        groups: the patient of each scan, [scans]; patients are resampled where given, else scans.
        resamples: how many resamples the 95 % percentile interval rests on.
        seed: of the resampling.

    Returns:
        `pixel_auroc`, `pixel_average_precision`, and `best_dice_oracle`: Dice at the threshold
        that serves these very masks best, which nobody knows beforehand. Where counts were made
        with a threshold also `dice` there, over all pixels; `dice_a_scan`, the mean over scans
        with a lesion; `pixel_sensitivity` and `pixel_specificity`.

    Raises:
        ValueError: no pixel of a lesion, or none outside.

    Reference: Baur et al. 2021, section 4.3 (best possible Dice and Dice at a threshold that
    was set on healthy scans, side by side).
    """
    value, resampled = _measured([counts], groups, resamples, seed)
    return {name: percentile_interval(value[0][name], resampled[0][name]) for name in resampled[0]}


def pixel_differences(
    counts_a: Sequence[PixelCounts],
    counts_b: Sequence[PixelCounts],
    groups=None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each of the measures of a minus that of b, on the same resamples.

    Args:
        counts_a: one a scan.
        counts_b: another map's, of the same scans in the same order.
        groups: the patient of each scan, [scans].
        resamples: how many resamples.
        seed: of the resampling.

    Raises:
        ValueError: as `pixel_measures`, or other lesions in one than in the other.
    """
    if [c.lesion.sum() for c in counts_a] != [c.lesion.sum() for c in counts_b]:
        raise ValueError("the two are not of the same scans with the same masks")
    value, resampled = _measured([counts_a, counts_b], groups, resamples, seed)
    return {
        name: percentile_interval(
            value[0][name] - value[1][name], resampled[0][name] - resampled[1][name]
        )
        for name in resampled[0]
        if name in resampled[1]
    }


class HealthyPixels:
    """Values of healthy maps, one map after another, for a threshold on them; memory stays flat."""

    def __init__(self) -> None:
        self.count = 0
        self._codes = np.zeros(0, np.int32)
        self._shares = np.zeros(0)

    def add(self, maps: np.ndarray) -> None:
        """Add one scan's map, any shape; NaN is left out."""
        values = maps[~np.isnan(maps)]
        codes, number = np.unique(binned(values, THRESHOLD_DIGITS), return_counts=True)
        merged, place = np.unique(np.concatenate([self._codes, codes]), return_inverse=True)
        # Each scan weighs the same, however many pixels it has.
        shares = np.concatenate([self._shares, number / max(values.size, 1)])
        self._codes, self._shares = merged, np.bincount(place, shares, len(merged))
        self.count += 1

    def threshold(self, fpr: float) -> float:
        """The lowest that no more than a share `fpr` of an average scan lies above.

        It is the upper end of the bin where that share is passed, so that the stated rate holds
        on these maps. On a new scan it holds on average, as far as so many scans can tell.

        Raises:
            ValueError: no map was added.
        """
        if not self.count:
            raise ValueError("a threshold needs a healthy map")
        above = np.cumsum(self._shares[::-1]) / self.count
        place = int(np.searchsorted(above, fpr + 1e-12, side="right"))
        code = self._codes[::-1][min(place, len(above) - 1)]
        key = ((int(code) + 1) << (24 - THRESHOLD_DIGITS)) - 1
        bits = np.array(key, np.int64).astype(np.int32)
        return float((bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).view(np.float32))


def _measured(
    rivals: Sequence[Sequence[PixelCounts]], groups: Any, resamples: int, seed: int
) -> tuple[list[dict[str, float]], list[dict[str, np.ndarray]]]:
    """Measures of each of the rivals as they are, and on common resamples."""
    sick = np.array([counts.lesion.sum() > 0 for counts in rivals[0]], int)
    if not sick.any():
        raise ValueError("no mask has a pixel of a lesion")
    if not any(counts.healthy.sum() for counts in rivals[0]):
        raise ValueError("no pixel lies outside the lesions")
    value, resampled = [], []
    for counts in rivals:
        measure = _measure(counts)
        whole = measure(np.ones((1, len(counts)), np.float32))
        value.append({name: float(of[0]) for name, of in whole.items()})
        blocks = [measure(weights) for weights in resample_weights(sick, groups, resamples, seed)]
        resampled.append({name: np.concatenate([b[name] for b in blocks]) for name in whole})
    return value, resampled


def _measure(counts: Sequence[PixelCounts]):
    """All measures as a function of how often each scan is drawn, [resamples, scans]."""
    every = np.unique(np.concatenate([one.codes for one in counts]))[::-1]
    healthy, lesion = (_matrix(counts, every, kind) for kind in ("healthy", "lesion"))
    sums = [np.asarray(matrix.sum(axis=1)) for matrix in (healthy, lesion)]
    fixed = None
    if all(one.called is not None for one in counts):
        fixed = np.array([one.called for one in counts], float)

    # No threshold is as low as what was not seen: it is lost, and never called.
    real = every != UNSEEN

    def blocks(rows: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        step = max(1, BLOCK // max(rows, len(counts)))
        for begin in range(0, len(every), step):
            own = slice(begin, begin + step)
            yield healthy[:, own].toarray(), lesion[:, own].toarray(), real[own]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = weights.astype(float)
        others, sick = (weights @ one for one in sums)
        called, found = (np.zeros((len(weights), 1)) for _ in range(2))
        lost, precision, best = (np.zeros(len(weights)) for _ in range(3))
        # From the highest value down, in blocks of values: memory does not grow with their number.
        for dull, bright, seen in blocks(len(weights)):
            here, there = weights @ dull, weights @ bright
            passed, hit = called + np.cumsum(here, 1), found + np.cumsum(there, 1)
            lost += (there * (passed - here / 2)).sum(1)
            precision += (seen * there * hit / np.maximum(passed + hit, 1)).sum(1)
            best = np.maximum(best, (seen * 2 * hit / (passed + hit + sick[:, None])).max(1))
            called, found = passed[:, -1:], hit[:, -1:]
        measures = {
            "pixel_auroc": 1 - lost / (others * sick),
            "pixel_average_precision": precision / sick,
            "best_dice_oracle": best,
        }
        if fixed is not None:
            false, true = weights @ fixed[:, 0], weights @ fixed[:, 1]
            has = sums[1] > 0
            own = 2 * fixed[:, 1] / np.maximum(fixed.sum(1) + sums[1], 1)
            measures["dice"] = 2 * true / (false + true + sick)
            measures["dice_a_scan"] = (weights @ (own * has)) / (weights @ has)
            measures["pixel_sensitivity"] = true / sick
            measures["pixel_specificity"] = 1 - false / others
        return measures

    return measure


def _matrix(counts: Sequence[PixelCounts], every: np.ndarray, kind: str) -> Any:
    """Counts [scans, values], the highest value first, sparse by column."""
    from scipy.sparse import csr_array

    # `every` descends; searched from its other end.
    columns = [len(every) - 1 - np.searchsorted(every[::-1], one.codes) for one in counts]
    pointer = np.cumsum([0, *map(len, columns)])
    values = np.concatenate([getattr(one, kind) for one in counts]).astype(float)
    shape = (len(counts), len(every))
    return csr_array((values, np.concatenate(columns), pointer), shape=shape).tocsc()
