"""How well a segmentation fits: overlap, and distances between surfaces.

Surfaces are border voxels, each counting once. Libraries that weigh them by the area of the surface
through them (surface-distance) give slightly other figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from ganatomy.measures.measure import Measure


def segmentation_measures(
    found, truth, spacing: Sequence[float], tolerance: float = 1.0
) -> list[Measure]:
    """Dice, Jaccard, HD95, mean surface distance and surface Dice of one label.

    Args:
        found: a mask, [*grid].
        truth: another.
        spacing: mm a voxel along each axis.
        tolerance: mm within which two surfaces are taken as one.

    Returns:
        Overlaps are NaN where both masks are empty; distances infinite where one is, NaN where both
        are.

    Raises:
        ValueError: masks of two shapes, or a spacing of other rank.

    Reference: Huttenlocher et al. 1993; Nikolov et al. 2021 (surface Dice). M25 of Yi, Walia, Babyn
    2019.
    """
    found, truth = np.asarray(found, bool), np.asarray(truth, bool)
    if found.shape != truth.shape:
        raise ValueError(f"masks of one grid are compared, not {found.shape} and {truth.shape}")
    if len(spacing) != found.ndim:
        raise ValueError(f"a spacing of {len(spacing)} axes for masks of {found.ndim}")
    common, both = int((found & truth).sum()), int(found.sum()) + int(truth.sum())
    there, back = _surface_distances(found, truth, spacing)
    every = np.concatenate([there, back])
    farthest = max((_percentile(d) for d in (there, back) if len(d)), default=float("nan"))
    surfaces = "border voxels, across faces, each once"
    return [
        Measure("Dice", _share(2 * common, both), "of voxels"),
        Measure("Jaccard", _share(common, both - common), "of voxels"),
        Measure("HD95", farthest, f"mm, greater of both directed 95th percentiles, {surfaces}"),
        Measure("ASSD", _mean(every), f"mm, mean distance of both surfaces together, {surfaces}"),
        Measure(
            "surface Dice",
            _mean(every <= tolerance),
            f"share of both surfaces within {tolerance:g} mm of the other, {surfaces}",
        ),
    ]


def _surface_distances(found, truth, spacing) -> tuple[np.ndarray, np.ndarray]:
    """mm from each border voxel of one to the nearest of the other, and back."""
    borders = [mask & ~np.asarray(binary_erosion(mask), bool) for mask in (found, truth)]
    distances = []
    for here, there in (borders, borders[::-1]):
        if there.any():
            away = np.asarray(distance_transform_edt(~there, sampling=spacing))
            distances.append(away[here])
        else:
            distances.append(np.full(int(here.sum()), np.inf))
    return distances[0], distances[1]


def _percentile(distances: np.ndarray) -> float:
    return float("inf") if np.isinf(distances).any() else float(np.percentile(distances, 95))


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
