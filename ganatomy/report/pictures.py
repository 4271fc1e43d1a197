"""Scans, residuals and anomaly maps as PNG data URIs."""

import base64
import io

import numpy as np
from PIL import Image

LEVELS = 128  # of a colour scale: more cannot be told apart and compress worse
HATCH, CLEAR = 254, 255  # palette places for pixels the model never saw
# Diverging, blue to orange over white, and sequential in rising lightness; both keep their
# order for readers with any colour vision.
RESIDUAL = ("#0b3c7d", "#2f79b9", "#9cc9e3", "#f7f7f5", "#f6bf7d", "#d8741a", "#7f3503")
MAP = ("#3b0f8a", "#8a0fa5", "#cc4778", "#f4853f", "#f9e721")


def picture(image: np.ndarray) -> str:
    """A scan in [-1, 1], [H, W] or [H, W, 3], black to white."""
    shown = np.clip(np.nan_to_num(image, nan=-1.0), -1, 1)
    return _uri(Image.fromarray(np.round((shown + 1) * 127.5).astype(np.uint8)))


def residual_picture(residual: np.ndarray, limit: float) -> str:
    """A signed residual [H, W]: blue at -limit, white at 0, orange at limit."""
    share = np.clip(np.nan_to_num(residual) / limit, -1, 1)
    place = np.round((share + 1) / 2 * (LEVELS - 1)).astype(np.uint8)
    return _indexed(place, _scale(RESIDUAL), b"")


def map_picture(anomaly: np.ndarray, limit: float) -> str:
    """An anomaly map [H, W] to lay over its scan: clear at 0, opaque from 0.7 of the limit.

    Pixels that are NaN, which the model never saw, are hatched.
    """
    unseen = np.isnan(anomaly)
    share = np.clip(np.where(unseen, 0, anomaly) / limit, 0, 1)
    place = np.round(share * (LEVELS - 1)).astype(np.uint8)
    i, j = np.indices(anomaly.shape)
    stripe = (i + j) % 6 < 2
    place[unseen] = np.where(stripe, HATCH, CLEAR)[unseen]
    alpha = np.zeros(256, np.uint8)
    alpha[:LEVELS] = np.round(255 * np.clip(np.linspace(0, 1 / 0.7, LEVELS), 0, 1))
    alpha[HATCH] = 150
    return _indexed(place, _scale(MAP), alpha.tobytes())


def scale_limit(values: np.ndarray) -> float:
    """Where a colour scale ends: the 99.5th percentile of the sizes, never 0."""
    sizes = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 0.0
    return limit or (float(sizes.max(initial=0.0)) or 1.0)


def gradient_stops(colours: tuple[str, ...]) -> list[tuple[str, str]]:
    """Offset and colour of each stop of a colour bar."""
    return [(f"{100 * k / (len(colours) - 1):.1f}%", c) for k, c in enumerate(colours)]


def _scale(colours: tuple[str, ...]) -> np.ndarray:
    stops = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in colours], float)
    palette = np.full((256, 3), 200, np.uint8)
    at = np.linspace(0, len(colours) - 1, LEVELS)
    for channel in range(3):
        palette[:LEVELS, channel] = np.interp(at, np.arange(len(colours)), stops[:, channel])
    return palette


def _indexed(place: np.ndarray, palette: np.ndarray, alpha: bytes) -> str:
    image = Image.fromarray(place)
    image.putpalette(palette.tobytes())  # turns the grey image into an indexed one
    return _uri(image, **({"transparency": alpha} if alpha else {}))


def _uri(image: Image.Image, **options) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
