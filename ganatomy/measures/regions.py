"""What is measured in regions and along lines: noise, contrast, the sharpness of edges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ganatomy.measures.measure import Measure


def noise_level(image, region) -> Measure:
    """The standard deviation in a region where the object is flat.

    Args:
        image: [*grid].
        region: a mask [*grid] of two voxels or more, or slices as of `flat_region`.

    Raises:
        ValueError: a region of less than two voxels.
    """
    values = _inside(image, region)
    if len(values) < 2:
        raise ValueError("noise is measured on two voxels or more")
    value = float(values.std(ddof=1))
    return Measure("noise", value, f"standard deviation (n − 1) of {len(values)} voxels")


def flat_region(image, side: int, within=None) -> tuple[slice, ...]:
    """The box of a given side in which an image varies least.

    Args:
        image: [*grid].
        side: voxels.
        within: a mask [*grid]; only boxes that lie wholly in it are taken. Without one the flattest
            box of a scan is often air.

    Returns:
        Slices of the box, the first of equals.

    Raises:
        ValueError: no such box.
    """
    image = np.asarray(image, np.float64)
    if not 1 < side <= min(image.shape):
        raise ValueError(f"no box of {side} voxels a side in an image {image.shape}")
    image = image - image.mean()
    spread = _boxes(image**2, side) - _boxes(image, side) ** 2
    if within is not None:
        whole = _boxes(np.asarray(within, np.float64), side) > 1 - 0.5 / side**image.ndim
        if not whole.any():
            raise ValueError(f"no box of {side} voxels a side lies in the mask")
        spread = np.where(whole, spread, np.inf)
    start = np.unravel_index(int(np.argmin(spread)), spread.shape)
    return tuple(slice(int(first), int(first) + side) for first in start)


def region_measures(image, regions) -> list[Measure]:
    """Noise, and how far a region stands out, where a map says which region is which.

    Args:
        image: [*grid].
        regions: [*grid], 1 in the region, 2 in its flat background.

    Returns:
        The background's noise; with a region CNR, and CBR where the background's mean is above 0.

    Raises:
        ValueError: a map of another shape, or without two voxels of background.
    """
    regions = np.asarray(regions)
    inside, background = regions == 1, regions == 2
    found = [noise_level(image, background)]
    if inside.any():
        if _inside(image, background).mean() > 0:
            found.append(contrast_to_background(image, inside, background))
        if found[0].value:
            found.append(contrast_to_background(image, inside, background, "noise"))
    return found


def contrast_to_background(
    image, region, background, form: Literal["ratio", "noise"] = "ratio"
) -> Measure:
    """How far a region stands out from a background.

    Args:
        image: [*grid].
        region: a mask [*grid].
        background: another.
        form: "ratio" over the background's mean (CBR), or "noise" over its standard deviation
            (CNR): two measures that papers call by one name.

    Raises:
        ValueError: an empty region, a background that the difference cannot be divided by, or
            another form.
    """
    if form not in ("ratio", "noise"):
        raise ValueError(f"a contrast is a ratio or over the noise, not {form!r}")
    inside, outside = _inside(image, region), _inside(image, background)
    if not len(inside) or len(outside) < 2:
        raise ValueError("a contrast needs a region and a background of two voxels or more")
    below = float(outside.mean() if form == "ratio" else outside.std(ddof=1))
    if not below:
        raise ValueError("the background's mean or noise is 0: nothing is divided by it")
    value = float((inside.mean() - outside.mean()) / below)
    if form == "ratio":
        return Measure("CBR", value, "(mean of region − mean of background) / mean of background")
    return Measure("CNR", value, "(mean of region − mean of background) / SD of background (n − 1)")


def line_profile(image, start: Sequence[float], end: Sequence[float], width: int = 1) -> np.ndarray:
    """Intensities from one point of a picture to another, a step of one pixel apart.

    Args:
        image: [H, W], or [H, W, C].
        start: row and column.
        end: row and column.
        width: pixels across the line that are averaged.

    Returns:
        [n], or [n, C], by linear interpolation; both ends are in it.
    """
    from skimage.measure import profile_line

    return profile_line(np.asarray(image, float), start, end, linewidth=width, order=1)


def edge_distance(profile, step: float = 1.0) -> float:
    """How far a profile takes from a tenth to nine tenths of the way between its two ends.

    Args:
        profile: [n], across one edge, up or down.
        step: mm from one value to the next; without it the distance is in pixels.

    Raises:
        ValueError: ends that are equal.
    """
    profile = np.asarray(profile, float)
    if profile[0] == profile[-1]:
        raise ValueError("a profile across an edge has two different ends")
    share = (profile - profile[0]) / (profile[-1] - profile[0])
    return float(_first_above(share, 0.9) - _first_above(share, 0.1)) * step


def full_width(profile, step: float = 1.0) -> float:
    """Full width at half maximum of the highest peak above the lowest value.

    Args:
        profile: [n], across one bright line.
        step: mm from one value to the next; without it the width is in pixels.

    Raises:
        ValueError: a peak that does not fall to its half on both sides.
    """
    profile = np.asarray(profile, float)
    top = int(np.argmax(profile))
    # The way down to each side, counted from the peak.
    sides = profile[top:], profile[top::-1]
    half = (profile[top] + profile.min()) / 2
    if any(side.min() > half for side in sides) or profile[top] == profile.min():
        raise ValueError("the profile does not fall to half of its peak on both sides")
    return sum(_first_above(-side, -half) for side in sides) * step


def _first_above(values: np.ndarray, level: float) -> float:
    """The place where values first reach a level, between two by a straight line."""
    at = int(np.argmax(values >= level))
    if at == 0:
        return 0.0
    below, above = values[at - 1], values[at]
    return at - 1 + float((level - below) / (above - below))


def _inside(image, region) -> np.ndarray:
    image = np.asarray(image, np.float64)
    if isinstance(region, tuple):
        return image[region].ravel()
    region = np.asarray(region, bool)
    if region.shape != image.shape:
        raise ValueError(f"a mask {region.shape} is not of an image {image.shape}")
    return image[region]


def _boxes(values: np.ndarray, side: int) -> np.ndarray:
    for axis in range(values.ndim):
        values = np.lib.stride_tricks.sliding_window_view(values, side, axis).mean(-1)
    return values
