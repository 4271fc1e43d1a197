"""Feature similarity: where two images have edges, in phase and in steepness."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve

from ganatomy.measures.measure import Measure

SCALES = ORIENTATIONS = 4
SHORTEST = 6  # wavelength of the finest filter, pixels; each scale doubles it
BANDWIDTH = 0.55  # spread of a filter over its frequency, both logarithms
SPREAD = np.pi / ORIENTATIONS / 1.2  # of a filter's direction, radians
NOISES = 2.0  # standard deviations of noise that are taken off
RESCALE = 1.7  # what the noise of one filter is for their sum, as Kovesi found it
_PHASE, _SLOPE = 0.85, 160.0  # constants of both similarities
_NOTHING = 1e-12


def fsim(found, truth, scale: float) -> Measure | None:
    """The feature similarity index of grey pictures.

    Args:
        found: [*grid, C]; of volumes each slice along the last axis; colours each by itself.
        truth: the same, aligned.
        scale: from the lowest to the highest intensity there can be, taken as 255.

    Returns:
        1 the same, lower the less alike; None for pictures of less than 24 pixels a side.

    Raises:
        ValueError: images of two shapes.

    Reference: Zhang et al. 2011, equations 4 to 7; phase congruency as in Kovesi 1999. The last of
    its filters is 48 pixels long.
    """
    found, truth = (np.asarray(image, np.float64) * 255 / scale for image in (found, truth))
    if found.shape != truth.shape:
        raise ValueError(f"images of one shape, not {found.shape} and {truth.shape}")
    if min(found.shape[:2]) < 24:
        return None
    pages = [v.reshape(*v.shape[:2], -1) for v in (found, truth)]
    values = [_similarity(pages[0][..., k], pages[1][..., k]) for k in range(pages[0].shape[-1])]
    values = [value for value in values if value is not None]
    if not values:
        return None
    of = (
        "mean of slices along the last axis and channels" if found.ndim == 4 else "mean of channels"
    )
    return Measure(
        "FSIM", float(np.mean(values)), f"grey, {SCALES} scales, range {scale:g} as 255, {of}"
    )


def _similarity(x: np.ndarray, y: np.ndarray) -> float | None:
    # Seen from afar: about 256 pixels are the shorter side.
    side = max(1, round(min(x.shape) / 256))
    x, y = (_reduced(v, side) for v in (x, y))
    phase_x, phase_y = phase_congruency(x), phase_congruency(y)
    weight = np.maximum(phase_x, phase_y)
    if not weight.sum():
        return None
    alike = _alike(phase_x, phase_y, _PHASE) * _alike(_steepness(x), _steepness(y), _SLOPE)
    return float((alike * weight).sum() / weight.sum())


def phase_congruency(image: np.ndarray) -> np.ndarray:
    """How much the waves of all lengths at a place are in step: 1 at edges and lines of any height.

    Args:
        image: [H, W].

    Returns:
        [H, W], 0 to 1; noise, judged by the finest filter, is taken off.

    Reference: Kovesi 1999, equations 13 to 15, summed over four directions.
    """
    rows, columns = image.shape
    # In numpy's order of frequencies; its last of an even number is the first here.
    down, across = np.meshgrid(_frequencies(rows), _frequencies(columns), indexing="ij")
    radius = np.hypot(down, across)
    # No wave that is longer in the corners than along the axes.
    below = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    lengths = SHORTEST * 2.0 ** np.arange(SCALES)
    bands = [
        below * np.exp(-(np.log(radius * length) ** 2) / (2 * np.log(BANDWIDTH) ** 2))
        for length in lengths
    ]
    for band in bands:
        band[0, 0] = 0
    spectrum = np.fft.fft2(image)
    angle = np.arctan2(-down, across)
    energies, amplitudes = np.zeros(image.shape), np.zeros(image.shape)
    for k in range(ORIENTATIONS):
        turned = angle - k * np.pi / ORIENTATIONS
        away = np.abs(np.arctan2(np.sin(turned), np.cos(turned)))
        towards = np.exp(-(away**2) / (2 * SPREAD**2))
        filters = np.stack(bands) * towards
        waves = np.fft.ifft2(spectrum * filters)  # real: even, imaginary: odd
        mean = waves.sum(0)
        mean = mean / (np.abs(mean) + _NOTHING)
        along = waves * mean.conj()
        energy = (along.real - np.abs(along.imag)).sum(0)
        energies += np.maximum(energy - _noise(waves[0], filters), 0)
        amplitudes += np.abs(waves).sum(0)
    return energies / (amplitudes + _NOTHING)


def _noise(finest: np.ndarray, filters: np.ndarray) -> float:
    """The energy that noise alone would give: its mean and some standard deviations (Rayleigh)."""
    power = np.median(np.abs(finest) ** 2) / np.log(2) / (filters[0] ** 2).sum()
    kernels = np.fft.ifft2(filters).real * np.sqrt(filters[0].size)
    squares = (kernels**2).sum()
    products = ((kernels.sum(0) ** 2).sum() - squares) / 2
    tau = np.sqrt(power * (squares + 2 * products))
    return float(tau * (np.sqrt(np.pi / 2) + NOISES * np.sqrt(2 - np.pi / 2)) / RESCALE)


def _frequencies(length: int) -> np.ndarray:
    return np.fft.fftfreq(length)


def _steepness(image: np.ndarray) -> np.ndarray:
    scharr = np.outer([3, 10, 3], [-1, 0, 1]) / 16
    return np.hypot(*(convolve(image, kernel, mode="constant") for kernel in (scharr, scharr.T)))


def _alike(x: np.ndarray, y: np.ndarray, constant: float) -> np.ndarray:
    return (2 * x * y + constant) / (x * x + y * y + constant)


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (length // side for length in image.shape)
    blocks = image[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return blocks.mean((1, 3))
