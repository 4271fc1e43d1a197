"""From a map to a list of lesions: what lies above a threshold and hangs together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Lesion(NamedTuple):
    """One connected part of a map above the threshold.

    Attributes:
        pixels: how many.
        volume_ml: None without an affine. A slice alone is as thick as its affine says.
        peak: the highest value of the map in it.
        mean: the mean value.
        centroid: index on the scan's grid, [rank].
        peak_at: index of the peak, [rank].
        centroid_mm: the same places in the patient, mm RAS, [3]; None without an affine.
        peak_mm: see `centroid_mm`.
    """

    pixels: int
    volume_ml: float | None
    peak: float
    mean: float
    centroid: tuple[float, ...]
    peak_at: tuple[int, ...]
    centroid_mm: tuple[float, ...] | None
    peak_mm: tuple[float, ...] | None


class Lesions(NamedTuple):
    """What was found on one scan.

    Attributes:
        labels: int32 on the scan's grid: 0, or 1 more than the lesion's place in `found`.
        found: the highest peak first.
    """

    labels: np.ndarray
    found: list[Lesion]

    @property
    def largest_ml(self) -> float | None:
        """Volume of the largest; 0 where there is no lesion, with or without an affine, and None
        where there is one whose volume is unknown."""
        if any(lesion.volume_ml is None for lesion in self.found):
            return None
        return max((lesion.volume_ml or 0.0 for lesion in self.found), default=0.0)


def find_lesions(
    array: np.ndarray,
    threshold: float,
    affine: np.ndarray | None = None,
    *,
    smallest_ml: float = 0.0,
    smallest_pixels: int = 1,
) -> Lesions:
    """Connected parts of a map above a threshold; pixels that touch at a corner are connected.

    Args:
        array: the map on the scan's grid, `[i, j(, k)]`; NaN, where it was not seen, is no lesion.
        threshold: a pixel above it belongs to a lesion.
        affine: 4×4, index to mm RAS; None for a picture.
        smallest_ml: with an affine, what is smaller is left out.
        smallest_pixels: what has fewer is left out.
    """
    from scipy import ndimage

    above = np.nan_to_num(array, nan=-np.inf) > threshold
    corners = ndimage.generate_binary_structure(array.ndim, array.ndim)
    parts: Any
    parts, count = ndimage.label(above, corners)  # pyright: ignore[reportGeneralTypeIssues]
    pixel_ml = None if affine is None else float(abs(np.linalg.det(affine[:3, :3]))) / 1000
    found = []
    for number, box in enumerate(ndimage.find_objects(parts, count), start=1):
        inside = parts[box] == number
        pixels = int(inside.sum())
        small = pixel_ml is not None and pixels * pixel_ml < smallest_ml
        if not small and pixels >= smallest_pixels:
            corner = np.array([side.start for side in box])
            found.append((number, _lesion(array[box], inside, corner, pixel_ml, affine)))
    # Of equal peaks the larger comes first; then the order of the grid decides.
    found.sort(key=lambda pair: (-pair[1].peak, -pair[1].pixels))
    renamed = np.zeros(count + 1, np.int32)
    for place, (number, _) in enumerate(found, start=1):
        renamed[number] = place
    return Lesions(renamed[parts], [lesion for _, lesion in found])


def _lesion(
    values: np.ndarray,
    inside: np.ndarray,
    corner: np.ndarray,
    pixel_ml: float | None,
    affine: np.ndarray | None,
) -> Lesion:
    index = np.argwhere(inside) + corner
    own = values[inside]
    centroid, peak_at = index.mean(0), index[int(own.argmax())]
    return Lesion(
        len(own),
        None if pixel_ml is None else len(own) * pixel_ml,
        float(own.max()),
        float(own.mean(dtype=np.float64)),
        tuple(map(float, centroid)),
        tuple(map(int, peak_at)),
        None if affine is None else _in_patient(affine, centroid),
        None if affine is None else _in_patient(affine, peak_at),
    )


def _in_patient(affine: np.ndarray, index: np.ndarray) -> tuple[float, ...]:
    # A slice lies at index 0 of its own normal.
    place = np.zeros(4)
    place[: len(index)], place[3] = index, 1
    return tuple(map(float, (affine @ place)[:3]))
