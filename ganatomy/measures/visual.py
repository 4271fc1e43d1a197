"""Measures made after how people see: visual information and the contrast of a whole picture."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve

from ganatomy.measures.measure import Measure

# Superpixels of the global contrast factor, pixels a side.
SUPERPIXELS = (1, 2, 4, 8, 16, 25, 50, 100, 200)
_NOTHING = 1e-10


def vif(found, truth, scale: float, noise: float = 2.0) -> Measure | None:
    """Visual information fidelity in the pixel domain: what of the truth can still be seen.

    1 for the truth itself, 0 for nothing of it, above 1 where contrast was enhanced.

    Args:
        found: [*grid, C]; of volumes each slice along the last axis.
        truth: the same, aligned.
        scale: from the lowest to the highest intensity there can be, taken as 255.
        noise: variance of the visual noise on the scale of 255.

    Returns:
        None for images of less than 50 pixels a side: four scales do not fit.

    Reference: Sheikh and Bovik 2006, equation 9, on pixels at four scales (VIFp).
    """
    found, truth = (np.asarray(image, np.float64) * 255 / scale for image in (found, truth))
    if min(found.shape[:2]) < 50:
        return None
    pairs = zip(_pictures(found), _pictures(truth), strict=True)
    of = "mean of slices along the last axis and " if found.ndim == 4 else "mean of "
    return Measure(
        "VIF",
        float(np.mean([_information_kept(y, x, noise) for x, y in pairs])),
        f"pixel domain (VIFp), 4 scales, noise variance {noise:g} at range 255 (here {scale:g}), "
        f"{of}channels",
    )


def _information_kept(truth: np.ndarray, found: np.ndarray, noise: float) -> float:
    kept = whole = 0.0
    for level in range(4):
        size = 2 ** (4 - level) + 1
        steps = np.arange(size) - size // 2
        window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * (size / 5) ** 2))
        window /= window.sum()
        if level:
            truth, found = (_within(v, window)[::2, ::2] for v in (truth, found))
        mean_t, mean_f = _within(truth, window), _within(found, window)
        var_t = np.maximum(_within(truth * truth, window) - mean_t**2, 0)
        var_f = np.maximum(_within(found * found, window) - mean_f**2, 0)
        both = _within(truth * found, window) - mean_t * mean_f
        gain = np.where((var_t >= _NOTHING) & (var_f >= _NOTHING), both / (var_t + _NOTHING), 0.0)
        lost = np.where(gain >= 0, var_f - gain * both, var_f)
        lost = np.where(var_f < _NOTHING, _NOTHING, np.maximum(lost, _NOTHING))
        gain = np.maximum(gain, 0)
        var_t = np.where(var_t < _NOTHING, 0, var_t)
        kept += float(np.log(1 + gain**2 * var_t / (lost + noise)).sum())
        whole += float(np.log(1 + var_t / noise).sum())
    return kept / whole if whole else 1.0


def _within(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    return fftconvolve(values, window, mode="valid")


def global_contrast(image, low: float, high: float) -> Measure:
    """The global contrast factor: contrasts between neighbours at nine resolutions, weighed.

    Args:
        image: [*grid, C]; of volumes each slice along the last axis, of colours their mean.
        low: the intensity that is black.
        high: the intensity that is white.

    Reference: Matkovic et al. 2005, equations 2 to 6; superpixels are means of linear luminance,
    and a resolution at which the picture has less than two superpixels a side adds nothing.
    """
    image = np.asarray(image, np.float64).mean(-1, keepdims=True)
    grey = np.clip((image - low) / (high - low), 0, 1)
    values = [_contrast_factor(picture**2.2) for picture in _pictures(grey)]
    return Measure(
        "GCF",
        float(np.mean(values)),
        f"global contrast factor, black {low:g}, white {high:g}, gamma 2.2"
        + (", mean of slices along the last axis" if image.ndim == 4 else ""),
    )


def _contrast_factor(luminance: np.ndarray) -> float:
    total = 0.0
    for number, side in enumerate(SUPERPIXELS, 1):
        rows, columns = (length // side for length in luminance.shape)
        if min(rows, columns) < 2:
            break
        blocks = luminance[: rows * side, : columns * side].reshape(rows, side, columns, side)
        seen = 100 * np.sqrt(blocks.mean((1, 3)))
        weight = (-0.406385 * number / 9 + 0.334573) * number / 9 + 0.0877526
        total += weight * _mean_contrast(seen)
    return total


def _mean_contrast(seen: np.ndarray) -> float:
    """Differences from the neighbours across edges, first over a pixel's own, then over all."""
    sums, counts = np.zeros_like(seen), np.zeros_like(seen)
    for axis in (0, 1):
        steps = np.abs(np.diff(seen, axis=axis))
        for part in (slice(None, -1), slice(1, None)):
            place = (part, slice(None)) if axis == 0 else (slice(None), part)
            sums[place] += steps
            counts[place] += 1
    return float((sums / counts).mean())


def _pictures(image: np.ndarray) -> list[np.ndarray]:
    """The channels of a picture, or of every slice along the last axis of a volume."""
    pages = np.moveaxis(image.reshape(*image.shape[:2], -1), -1, 0)
    return list(pages)
