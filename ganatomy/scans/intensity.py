"""Channels and grey values: what a model sees of them."""

import numpy as np

from ganatomy.scans.errors import ScanError
from ganatomy.scans.resample import along_axes, antialias, weights
from ganatomy.scans.scan import Scan

LUMINANCE = np.array([0.2125, 0.7154, 0.0721], np.float32)  # ITU-R BT.709


def resolve_channels(scan: Scan, channels: int, grey: bool) -> np.ndarray:
    """Pixels with the model's channels; three equal channels are one.

    Raises:
        ScanError: colour for a grey model (unless `grey`), or another count.
    """
    pixels = scan.pixels
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 1 and pixels.shape[-1] == 3:
        first = pixels[..., :1]
        if np.array_equal(first, pixels[..., 1:2]) and np.array_equal(first, pixels[..., 2:]):
            return first
        if grey:
            return (pixels @ LUMINANCE)[..., None]
        raise ScanError(scan.path, "is in colour", "a grey image (or a model with grey: true)")
    problem = f"has {pixels.shape[-1]} channel(s)"
    raise ScanError(scan.path, problem, f"{channels} channel(s)")


def equalise(image: np.ndarray, rank: int, working_size: int, clip_limit: float) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of each slice and channel, in [0, 1].

    Args:
        image: `[*grid, (slices,) c]`, grid of `rank` axes.
        rank: of the regions that are equalised.
        working_size: pixels of the grid's longer side, shrunk before.
        clip_limit: as in scikit-image.

    Reference: Zuiderveld, Graphics Gems IV, 1994.
    """
    factor = max(1.0, max(image.shape[:rank]) / working_size)
    if factor > 1:
        rows = []
        for length in image.shape[:rank]:
            count = max(2, round(length / factor))
            step = length / count
            at = (np.arange(count) + 0.5) * step - 0.5
            rows.append(weights(at, length, antialias(step)))
        image = along_axes(image, rows)
    low, high = float(image.min()), float(image.max())
    if low == high:
        return np.zeros_like(image)
    image = np.clip((image - low) / (high - low), 0, 1)
    flat = image.reshape(*image.shape[:rank], -1)
    planes = [_equalise_one(flat[..., n], clip_limit) for n in range(flat.shape[-1])]
    return np.stack(planes, axis=-1).reshape(image.shape).astype(np.float32)


def _equalise_one(plane: np.ndarray, clip_limit: float) -> np.ndarray:
    from skimage.exposure import equalize_adapthist

    if plane.min() == plane.max():  # an empty slice has no histogram to spread
        return plane
    return equalize_adapthist(plane, clip_limit=clip_limit)


def normalise(
    samples: np.ndarray,
    how: str,
    window: tuple[float, float] | None,
    covered: np.ndarray | None,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Grey values to [-1, 1], all samples of a scan alike.

    Args:
        samples: `[n, *size, c]`.
        how: 'range', 'percentile', 'contrast' or 'window'.
        window: the ends for 'window'.
        covered: which pixels show the scan, [*size] or [n, *size]; the rest is filled with the
            lowest value and takes no part in the statistics. None: all.

    Returns:
        The samples, and the grey values that -1 and 1 stand for.

    Raises:
        ValueError: the samples show a single value.
    """
    if covered is not None:
        covered = np.broadcast_to(covered, samples.shape[:-1])
    seen = samples if covered is None else samples[covered]
    if how == "contrast":
        centre, half = float(seen.mean(dtype=np.float64)), 3 * float(seen.std(dtype=np.float64))
    else:
        if how == "percentile":
            low, high = (float(v) for v in np.percentile(seen, (1, 99)))
        elif how == "window" and window is not None:
            low, high = window
        else:
            low, high = float(seen.min()), float(seen.max())
        centre, half = (low + high) / 2, (high - low) / 2
    if not half > 1e-7 * max(1.0, abs(centre)):
        raise ValueError("the samples show a single value")
    out = np.clip((samples - centre) / half, -1, 1).astype(np.float32)
    if covered is not None:
        out[~covered] = out[covered].min() if how == "contrast" else -1
    return np.ascontiguousarray(out), (centre - half, centre + half)
