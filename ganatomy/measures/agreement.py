"""Whether figures taken from made images agree with those of real ones: volumes, calcium."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ganatomy.measures.measure import Measure

# Agatston's steps: at least so many HU count so many times.
STEPS = (130, 200, 300, 400)


class Agreement(NamedTuple):
    """Differences of two methods on the same subjects, in their unit (Bland and Altman).

    Attributes:
        bias: the mean difference, first less second.
        low: the lower limit of agreement, bias − 1.96 SD (n − 1).
        high: the upper.
    """

    bias: float
    low: float
    high: float


def bland_altman(first, second) -> Agreement:
    """The bias and the limits within which 95 % of differences are foreseen.

    Args:
        first: [n], one a subject.
        second: the same subjects by the other method.

    Raises:
        ValueError: fewer than two subjects.

    Reference: Bland and Altman 1986.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    if differences.ndim != 1 or len(differences) < 2:
        raise ValueError("limits of agreement need two subjects or more")
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    return Agreement(bias, bias - 1.96 * spread, bias + 1.96 * spread)


def intraclass_correlation(ratings) -> float:
    """ICC(2,1): how much of the spread is that of the subjects, for any two methods.

    Two-way random effects, absolute agreement, single rating: an offset between methods lowers it.

    Args:
        ratings: [subjects, methods].

    Raises:
        ValueError: fewer than two of either, or figures that are all the same.

    Reference: Shrout and Fleiss 1979, ICC(2,1).
    """
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or min(ratings.shape) < 2:
        raise ValueError("ratings are [subjects, methods], two or more of both")
    n, k = ratings.shape
    rows, columns = ratings.mean(1) - ratings.mean(), ratings.mean(0) - ratings.mean()
    between = k * (rows**2).sum() / (n - 1)
    methods = n * (columns**2).sum() / (k - 1)
    rest = ratings - ratings.mean() - rows[:, None] - columns
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    whole = between + (k - 1) * error + k * (methods - error) / n
    if not whole:
        raise ValueError("ratings that are all the same have no correlation")
    return float((between - error) / whole)


def agreement_measures(first, second, unit: str) -> list[Measure]:
    """How volumes, or other figures, of two methods agree on the same subjects, as measures.

    Args:
        first: [n], one a subject, two or more.
        second: the same subjects by the other method.
        unit: of both.

    Returns:
        The bias, both limits of agreement, and the intraclass correlation where figures differ.

    Raises:
        ValueError: fewer than two subjects.
    """
    found, of = bland_altman(first, second), f"{unit}, A less B, {len(first)} pairs"
    measures = [
        Measure("bias", found.bias, f"mean difference, {of}"),
        Measure("lower limit", found.low, f"of agreement, bias − 1.96 SD (n − 1), {of}"),
        Measure("upper limit", found.high, f"of agreement, bias + 1.96 SD (n − 1), {of}"),
    ]
    ratings = np.stack([first, second], axis=1)
    if ratings.min() < ratings.max():
        value = intraclass_correlation(ratings)
        measures.append(Measure("ICC", value, f"ICC(2,1), absolute agreement, {len(first)} pairs"))
    return measures


def agatston(volume, spacing: Sequence[float], within=None) -> float:
    """The Agatston score of coronary calcium.

    In each slice every patch of at least 130 HU and 1 mm² (joined across edges and corners) counts
    its area in mm² times 1 to 4 by its greatest density (from 130, 200, 300 and 400 HU). Slices of
    another thickness than 3 mm count in proportion.

    Args:
        volume: HU, [row, column, slice].
        spacing: mm a voxel along each axis.
        within: a mask of the coronary arteries, [row, column, slice]; bone counts otherwise.

    Raises:
        ValueError: an array that is not a volume, or a spacing that is not of three axes.

    Reference: Agatston et al. 1990; the thickness as in Ohnesorge et al. 2002.
    """
    volume = np.asarray(volume, float)
    if volume.ndim != 3 or len(spacing) != 3:
        raise ValueError("a calcium score is of a volume [row, column, slice] and its spacing")
    dense = volume >= STEPS[0]
    if within is not None:
        dense &= np.asarray(within, bool)
    area = float(spacing[0] * spacing[1])
    flat = ndimage.generate_binary_structure(3, 2)
    flat[:, :, [0, 2]] = False
    patches, count = ndimage.label(dense, flat)  # type: ignore[misc]
    if not count:
        return 0.0
    numbers = np.arange(1, count + 1)
    sizes = np.bincount(patches.ravel(), minlength=count + 1)[1:] * area
    weights = np.searchsorted(STEPS, ndimage.maximum(volume, patches, numbers), side="right")
    return float((sizes * weights)[sizes >= 1].sum()) * float(spacing[2]) / 3
