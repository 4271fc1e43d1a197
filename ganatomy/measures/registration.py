"""How well scans are aligned: overlap and distance of labels, errors of landmarks, with intervals.

What a field does to volume (folds, the spread of ln J) is measured in `registration.regularity`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, find_objects

from ganatomy.measures.bootstrap import Interval, percentile_interval, resample_weights


def label_overlaps(fixed, moved, labels: Sequence[int]) -> dict[int, float]:
    """Dice a label: twice what two label maps share over what both hold.

    Args:
        fixed: whole numbers, [*grid].
        moved: the same, resampled to the fixed grid without mixing labels.
        labels: which are measured.

    Returns:
        Dice by label, 0 to 1; NaN for a label that neither map holds.

    Raises:
        ValueError: maps of two shapes.

    Reference: Dice 1945.
    """
    fixed, moved = _maps(fixed, moved)
    found = {}
    for label in labels:
        a, b = fixed == label, moved == label
        both = int(a.sum()) + int(b.sum())
        found[label] = 2 * int((a & b).sum()) / both if both else float("nan")
    return found


def label_distances(
    fixed, moved, labels: Sequence[int], spacing: Sequence[float], percentile: float = 95.0
) -> dict[int, float]:
    """The robust Hausdorff distance a label, mm: HD95.

    The greater of the two directed percentiles of the distances from the border voxels of one map
    to those of the other. A border voxel has a neighbour across a face that is not of the label, or
    lies at the edge of the grid.

    Args:
        fixed: whole numbers, [*grid].
        moved: the same.
        labels: which are measured.
        spacing: mm a voxel along each axis.
        percentile: 100 for the Hausdorff distance itself.

    Returns:
        mm by label; infinite where one map alone holds the label, NaN where neither does.

    Raises:
        ValueError: maps of two shapes, or a spacing of other rank.

    Reference: Huttenlocher et al. 1993, the ranked directed distances.
    """
    fixed, moved = _maps(fixed, moved)
    if len(spacing) != fixed.ndim:
        raise ValueError(f"a spacing of {len(spacing)} axes for label maps of {fixed.ndim}")
    found = {}
    for label in labels:
        a, b = fixed == label, moved == label
        if not (a.any() and b.any()):
            found[label] = float("inf") if a.any() or b.any() else float("nan")
            continue
        box = find_objects((a | b).astype(np.int8))[0]
        a, b = (_border(m[box]) for m in (a, b))
        found[label] = max(
            float(np.percentile(_distances_to(to, spacing)[start], percentile))
            for start, to in ((a, b), (b, a))
        )
    return found


def landmark_errors(fixed_points, found_points) -> np.ndarray:
    """Distances between where landmarks are and where a transform puts them, mm.

    Args:
        fixed_points: [n, rank], mm.
        found_points: the same landmarks, in the same space, after the transform.

    Returns:
        [n], mm: the target registration error of each.

    Raises:
        ValueError: points of two shapes.

    Reference: Fitzpatrick, West, Maurer 1998 (TRE).
    """
    a, b = np.asarray(fixed_points, float), np.asarray(found_points, float)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"landmarks are [n, rank], not {a.shape} beside {b.shape}")
    return np.linalg.norm(a - b, axis=1)


def error_measures(
    errors, *, limit: float = 5.0, groups=None, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Median, 90th percentile and share of failures of registration errors.

    Args:
        errors: mm, one a registration (or a landmark, then with groups), [n]; infinite for a
            registration that gave nothing.
        limit: mm above which a registration has failed.
        groups: the patient of each, [n]; patients are resampled where given.
        resamples: how many resamples the 95 % interval rests on.
        seed: of the resampling.

    Returns:
        `median` and `p90` in mm, `failures` 0 to 1.

    Raises:
        ValueError: no errors, or such as are not numbers of at least 0.
    """
    errors = np.asarray(errors, float)
    if errors.ndim != 1 or not len(errors) or not (errors >= 0).all():
        raise ValueError("errors are distances in mm, one a registration and at least one")
    order = np.argsort(errors)
    ordered = errors[order]

    def measured(weights: np.ndarray) -> np.ndarray:
        counts = weights[:, order].astype(np.int64)
        failed = counts[:, ordered > limit].sum(1) / counts.sum(1)
        return np.stack([_quantile(ordered, counts, q) for q in (0.5, 0.9)] + [failed])

    return _intervals(("median", "p90", "failures"), measured, len(errors), groups, resamples, seed)


def mean_interval(values, *, groups=None, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean over pairs of a figure such as Dice or HD95.

    Args:
        values: one a pair, [n].
        groups: the patient of each pair, [n]; patients are resampled where given.
        resamples: how many resamples the 95 % interval rests on.
        seed: of the resampling.

    Raises:
        ValueError: no values, or such as are not finite.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("a mean needs finite values, one a pair and at least one")

    def measured(weights: np.ndarray) -> np.ndarray:
        return (weights @ values / weights.sum(1))[None]

    return _intervals(("mean",), measured, len(values), groups, resamples, seed)["mean"]


def _intervals(names, measured, count: int, groups, resamples: int, seed: int):
    # Registrations are of one kind: no class must be in every resample.
    blocks = resample_weights(np.zeros(count, int), groups, resamples, seed)
    resampled = np.concatenate([measured(weights) for weights in blocks], axis=1)
    values = measured(np.ones((1, count)))[:, 0]
    return {
        name: _interval(value, draws)
        for name, value, draws in zip(names, values, resampled, strict=True)
    }


def _interval(value: float, draws: np.ndarray) -> Interval:
    if np.isfinite(draws).all():
        return percentile_interval(value, draws)
    # Between a number and infinity nothing can be interpolated: the draw beyond is taken.
    low = np.quantile(draws, 0.025, method="lower")
    high = np.quantile(draws, 0.975, method="higher")
    return Interval(float(value), float(low), float(high))


def _quantile(ordered: np.ndarray, counts: np.ndarray, q: float) -> np.ndarray:
    """np.quantile of ascending values that stand `counts` times, [resamples]."""
    reached = np.cumsum(counts, axis=1)
    place = q * (reached[:, -1] - 1)
    below = np.floor(place)
    lower, upper = (
        ordered[(reached <= index[:, None]).sum(1)] for index in (below, np.ceil(place))
    )
    between = np.zeros_like(lower)
    # Infinity less infinity, or times zero, is no number.
    apart = (lower != upper) & (place > below)
    between[apart] = (place - below)[apart] * (upper[apart] - lower[apart])
    return lower + between


def _maps(fixed, moved) -> tuple[np.ndarray, np.ndarray]:
    fixed, moved = np.asarray(fixed), np.asarray(moved)
    if fixed.shape != moved.shape:
        raise ValueError(f"label maps of one grid are compared, not {fixed.shape}, {moved.shape}")
    return fixed, moved


def _border(mask: np.ndarray) -> np.ndarray:
    return mask & ~binary_erosion(mask)


def _distances_to(border: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    return np.asarray(distance_transform_edt(~border, sampling=spacing))
