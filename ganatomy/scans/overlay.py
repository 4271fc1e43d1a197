"""Heat colours over a grey picture."""

import numpy as np
from PIL import Image

from ganatomy.scans.intensity import LUMINANCE
from ganatomy.scans.scan import Scan

OPACITY = 0.75
# OKLab to linear RGB (Björn Ottosson, 2020)
_LMS = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def heat_colours(count: int = 256) -> np.ndarray:
    """A heat scale, purple over red to yellow, whose lightness grows evenly in OKLab.

    Returns:
        uint8 [count, 3], sRGB.
    """
    t = np.linspace(0, 1, count)
    lightness = 0.25 + 0.67 * t
    hue = np.radians(-50 + 150 * t)
    chroma = 0.13 + 0.05 * np.sin(np.pi * t)
    lab = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    linear = np.clip((lab @ _LMS.T) ** 3 @ _RGB.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * srgb).astype(np.uint8)


def overlay(scan: Scan, array: np.ndarray, high: float | None = None) -> Image.Image:
    """The picture in grey under the map's heat; nothing is drawn where the map is NaN or 0.

    Args:
        scan: a picture, `[row, column, c]`.
        array: `[row, column]`.
        high: the value of the hottest colour; None for the map's 99.5th percentile.
    """
    pixels = scan.pixels
    grey = pixels @ LUMINANCE if pixels.shape[-1] == 3 else pixels.mean(axis=-1)
    low, top = np.percentile(grey, (0.5, 99.5))
    base = np.clip((grey - low) / max(float(top - low), 1e-12), 0, 1)[..., None] * 255
    known = np.where(np.isfinite(array), array, 0)
    if high is None:
        high = float(np.percentile(known, 99.5))
    strength = np.clip(known / high, 0, 1) if high > 0 else np.zeros_like(known)
    colours = heat_colours()[np.rint(strength * 255).astype(int)]
    opacity = OPACITY * strength[..., None]
    return Image.fromarray(np.rint(base * (1 - opacity) + colours * opacity).astype(np.uint8))


def raw(array: np.ndarray) -> Image.Image:
    """The values themselves as a float32 picture."""
    return Image.fromarray(array.astype(np.float32))
