"""Lesions found against false positives a scan: the free-response curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ganatomy.measures.bootstrap import Interval, percentile_interval, resample_weights

# False positives a scan at which sensitivity is stated, and averaged.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# Thresholds go by ranks, so that no scale of a map is coarser than another. So many are looked at
# to each doubling: on a scan, of the pixels above; over all scans, of what changed on any.
A_SCAN, OVERALL = 6, 64
# Thresholds so low that more than this share of a scan lies above mark no place in it.
COVERED = 0.25


class Marks(NamedTuple):
    """What a falling threshold marks on one scan.

    Attributes:
        thresholds: of the map, at which something changes, descending, [m].
        found: how many lesions are marked at each, [m].
        false: how many marks lie on none, [m].
        lesions: how many there are.
    """

    thresholds: np.ndarray
    found: np.ndarray
    false: np.ndarray
    lesions: int


class FrocBand(NamedTuple):
    """A free-response curve with its pointwise 95 % band, each [points]."""

    rate: np.ndarray
    sensitivity: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lesion_marks(array: np.ndarray, truth: np.ndarray, overlap: float = 0.1) -> Marks:
    """Marks on one scan under thresholds that are values of its map, closest among the highest.

    They are the same under any increasing function of the map.

    A lesion is a connected part of the mask, a mark a connected part of the map at or above the
    threshold; both connect across corners. A mark hits where at least a share `overlap` of it
    lies in lesions, and then finds every lesion it touches: a mark that has grown over the whole
    scan would otherwise find everything. What hits nothing is a false positive.

    Args:
        array: the map, `[i, j(, k)]`; NaN, where the model did not look, is never marked.
        truth: whether a pixel belongs to a lesion, the same shape.
        overlap: see above, 0 to 1; 0: a touch is enough.

    Raises:
        ValueError: for shapes that differ.
    """
    from scipy import ndimage

    truth = np.asarray(truth, bool)
    if array.shape != truth.shape:
        raise ValueError(f"the map has shape {array.shape} and the mask {truth.shape}")
    corners = ndimage.generate_binary_structure(truth.ndim, truth.ndim)

    def connected(where: np.ndarray) -> tuple[np.ndarray, int]:
        parts: Any = ndimage.label(where, corners)
        return parts

    lesions, count = connected(truth)
    values = array.ravel()
    seen = np.flatnonzero(~np.isnan(values))
    falling = seen[np.argsort(-values[seen], kind="stable")]
    heights = values[falling]
    ranks = spread(max(int(COVERED * len(seen)), min(len(seen), 1)), A_SCAN)
    thresholds = np.unique(heights[ranks])[::-1]
    reached = np.searchsorted(-heights, -thresholds, side="right")
    # The highest is looked at even where it is the only one.
    thresholds = thresholds[: max(1, int((reached <= COVERED * len(seen)).sum()))]
    found, false = np.zeros(len(thresholds), int), np.zeros(len(thresholds), int)
    for place, (threshold, pixels) in enumerate(zip(thresholds, reached, strict=False)):
        parts, number = connected(array >= threshold)
        size = np.bincount(parts.ravel()[falling[:pixels]], minlength=number + 1)
        inside = np.bincount(parts[truth], minlength=number + 1)
        hits = (inside > 0) & (inside >= overlap * size)
        hits[0] = False
        found[place] = len(np.unique(lesions[truth][hits[parts[truth]]]))
        false[place] = number - int(hits.sum())
    changed = (np.diff(found, prepend=0) != 0) | (np.diff(false, prepend=0) != 0)
    return Marks(thresholds[changed], found[changed], false[changed], count)


def spread(count: int, an_octave: int) -> np.ndarray:
    """Ranks below `count`, from 0: all of the first, then so many to each doubling."""
    steps = np.arange(an_octave * int(count).bit_length() + 1) if count else np.zeros(0)
    return np.unique(np.minimum(np.round(2.0 ** (steps / an_octave)).astype(int), count)) - 1


def froc_measures(
    marks: Sequence[Marks], groups=None, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Sensitivity to lesions at false positives a scan.

    Under a falling threshold, the highest share of lesions found before the false positives a
    scan exceed a rate for the first time.

    Args:
        marks: one a scan, of scans without lesions as well.
        groups: the patient of each scan, [scans]; patients are resampled where given, else scans.
        resamples: how many resamples the 95 % percentile interval rests on.
        seed: of the resampling.

    Returns:
        `mean`, over all rates, and one by the name of each of `RATES`.

    Raises:
        ValueError: no lesions.

    Reference: Chakraborty and Winter 1990; Niemeijer et al. 2011 (the mean over these rates).
    """
    value, resampled = _measured(marks, groups, resamples, seed)
    return {name: percentile_interval(value[name], resampled[name]) for name in value}


def froc_differences(
    marks_a: Sequence[Marks],
    marks_b: Sequence[Marks],
    groups=None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Each sensitivity of a minus that of b, on the same resamples; see `froc_measures`.

    Raises:
        ValueError: no lesions, or other lesions in one than in the other.
    """
    if [one.lesions for one in marks_a] != [one.lesions for one in marks_b]:
        raise ValueError("the two are not of the same scans with the same masks")
    a, resampled_a = _measured(marks_a, groups, resamples, seed)
    b, resampled_b = _measured(marks_b, groups, resamples, seed)
    return {n: percentile_interval(a[n] - b[n], resampled_a[n] - resampled_b[n]) for n in a}


def froc_band(
    marks: Sequence[Marks], groups=None, *, resamples: int = 1000, points: int = 25, seed: int = 0
) -> FrocBand:
    """The curve from the lowest of `RATES` to the highest, evenly spaced in their logarithm.

    Raises:
        ValueError: no lesions.
    """
    rates = np.geomspace(RATES[0], RATES[-1], points)
    curve, sick = _curve(marks, rates)
    blocks = resample_weights(sick, groups, resamples, seed)
    low, high = np.quantile(np.concatenate([curve(w) for w in blocks]), [0.025, 0.975], axis=0)
    return FrocBand(rates, curve(np.ones((1, len(marks))))[0], low, high)


def _measured(
    marks: Sequence[Marks], groups: Any, resamples: int, seed: int
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    curve, sick = _curve(marks, np.array(RATES))
    whole = curve(np.ones((1, len(marks))))
    blocks = resample_weights(sick, groups, resamples, seed)
    drawn = np.concatenate([curve(weights) for weights in blocks])
    value, resampled = {"mean": float(whole.mean())}, {"mean": drawn.mean(1)}
    for place, rate in enumerate(RATES):
        name = f"{rate:g}"
        value[name], resampled[name] = float(whole[0, place]), drawn[:, place]
    return value, resampled


def _curve(marks: Sequence[Marks], rates: np.ndarray):
    """Sensitivities [resamples, rates] as a function of how often each scan is drawn."""
    lesions = np.array([one.lesions for one in marks], float)
    if not lesions.any():
        raise ValueError("no mask has a lesion")
    every = np.unique(np.concatenate([one.thresholds for one in marks]))[::-1]
    every = every[spread(len(every), OVERALL)]
    found, false = (np.zeros((len(marks), len(every))) for _ in range(2))
    for row, one in enumerate(marks):
        # Between its own thresholds a scan stays as it was at the last; before the first it has
        # no marks.
        passed = np.searchsorted(-one.thresholds, -every, side="right")
        for of, values in ((found, one.found), (false, one.false)):
            of[row] = np.concatenate([[0], values])[passed]

    def curve(weights: np.ndarray) -> np.ndarray:
        weights = weights.astype(float)
        wrong = weights @ false / weights.sum(1, keepdims=True)
        right = weights @ found / (weights @ lesions)[:, None]
        # Marks that grow together are fewer: what was passed once stays passed.
        wrong, right = (np.maximum.accumulate(values, axis=1) for values in (wrong, right))
        right = np.concatenate([np.zeros((len(right), 1)), right], axis=1)
        within = np.stack([(wrong <= rate + 1e-9).sum(1) for rate in rates], axis=1)
        return np.take_along_axis(right, within, axis=1)

    return curve, (lesions > 0).astype(int)
