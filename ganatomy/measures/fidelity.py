"""How far an image is from the aligned one that it should be: errors and structural similarity.

Images are [*grid, C] in two or three dimensions. All take the range of intensities that counts as
the whole scale, because PSNR and SSIM say nothing without it.
"""

from __future__ import annotations

import numpy as np

from ganatomy.measures.measure import Measure

WINDOW = 7  # of SSIM, voxels a side
UQI_WINDOW = 8


def fidelity(found, truth, scale: float) -> list[Measure]:
    """MAE, MSE, NMSE, PSNR, SNR, SSIM and UQI of one image beside its truth.

    Args:
        found: [*grid, C].
        truth: the same, aligned.
        scale: from the lowest to the highest intensity there can be.

    Returns:
        What can be measured: SSIM and UQI need 7 and 8 voxels a side of a picture. PSNR and SNR of
        equal images are infinite.

    Raises:
        ValueError: images of two shapes, or a scale that is not positive.

    Reference: M9 to M11 and M13 of table 3 of Yi, Walia, Babyn 2019.
    """
    found, truth = _pair(found, truth, scale)
    error = found - truth
    mse = float(np.mean(error**2))
    power = float(np.mean(truth**2))
    of = "over the whole volume" if found.ndim == 4 else "over the whole picture"
    measures = [
        Measure("MAE", float(np.abs(error).mean()), f"mean absolute error {of}"),
        Measure("MSE", mse, f"mean squared error {of}"),
        Measure("NMSE", _ratio(mse, power), f"squared error over the truth's square, {of}"),
        Measure("PSNR", _decibels(scale**2, mse), f"dB, 10 log10(range²/MSE), range {scale:g}"),
        Measure("SNR", _decibels(power, mse), "dB, 10 log10(mean square of the truth / MSE)"),
    ]
    for side, measured in ((WINDOW, ssim), (UQI_WINDOW, uqi)):
        if min(found.shape[:2]) >= side:
            measures.append(measured(found, truth, scale))
    return measures


def ssim(found, truth, scale: float) -> Measure:
    """Mean structural similarity in uniform windows of 7 voxels a side.

    In volumes windows are cubes where every side has 7 voxels; else each slice along the last axis
    is a picture.

    Args:
        found: [*grid, C].
        truth: the same.
        scale: as in `fidelity`.

    Reference: Wang et al. 2004, equation 13.
    """
    from skimage.metrics import structural_similarity

    found, truth = _pair(found, truth, scale)
    pairs, how = _windowed(found, truth, WINDOW)
    values = [
        structural_similarity(a, b, win_size=WINDOW, data_range=scale, use_sample_covariance=True)
        for a, b in pairs
    ]
    return Measure(
        "SSIM",
        float(np.mean(values)),
        f"{how}, uniform window of {WINDOW}, sample covariance, K1 0.01, K2 0.03, range {scale:g}, "
        "mean of the windows inside and of channels",
    )


def uqi(found, truth, scale: float = 1.0) -> Measure:
    """The universal quality index: SSIM without constants, in all windows of 8 voxels a side.

    A window in which both images are flat has no contrast to compare, and counts by its means
    alone; one of two black images counts as 1.

    Args:
        found: [*grid, C].
        truth: the same.
        scale: not used; the index has none.

    Reference: Wang and Bovik 2002, equation 2 (sewar 0.4.10 divides sums and means wrongly here).
    """
    found, truth = _pair(found, truth, scale)
    pairs, how = _windowed(found, truth, UQI_WINDOW)
    return Measure(
        "UQI",
        float(np.mean([_quality(a, b).mean() for a, b in pairs])),
        f"{how}, all uniform windows of {UQI_WINDOW} inside, mean of channels",
    )


def _quality(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    mean_x, mean_y, xx, yy, xy = (_box_means(v) for v in (x, y, x * x, y * y, x * y))
    # Of what rounding leaves of a flat window, nothing is made.
    small = 1e-12 * (xx + yy) + 1e-300
    spread, light = xx - mean_x**2 + yy - mean_y**2, mean_x**2 + mean_y**2
    shape = np.where(spread > small, 2 * (xy - mean_x * mean_y) / np.maximum(spread, small), 1.0)
    bright = np.where(light > small, 2 * mean_x * mean_y / np.maximum(light, small), 1.0)
    return shape * bright


def _box_means(values: np.ndarray) -> np.ndarray:
    """Means of all boxes of 8 voxels a side that are inside."""
    windows = np.lib.stride_tricks.sliding_window_view
    for axis in range(values.ndim):
        values = windows(values, UQI_WINDOW, axis).mean(-1)
    return values


def _windowed(found, truth, side: int):
    """Arrays [*grid] to be compared by windows, and in which way, in words."""
    channels = range(found.shape[-1])
    if found.ndim == 4 and min(found.shape[:3]) < side:
        slices = range(found.shape[2])
        pairs = [(found[:, :, k, c], truth[:, :, k, c]) for k in slices for c in channels]
        return pairs, "slice by slice along the last axis"
    pairs = [(found[..., c], truth[..., c]) for c in channels]
    return pairs, "in the volume" if found.ndim == 4 else "of the picture"


def _pair(found, truth, scale: float) -> tuple[np.ndarray, np.ndarray]:
    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape or found.ndim not in (3, 4):
        raise ValueError(f"images [*grid, C] of one shape, not {found.shape} and {truth.shape}")
    if not scale > 0:
        raise ValueError(f"a range of intensities is positive, not {scale}")
    return found, truth


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (0.0 if not part else float("inf"))
