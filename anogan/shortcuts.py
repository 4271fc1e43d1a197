"""How far one gets without looking: brightness, frame, aspect and framing, each by itself.

What a shortcut tells apart, a model may have learned to tell apart by it. Each is measured as a
score of its own: the Mahalanobis distance from what calibration scans, all healthy, show of it.
"""

from __future__ import annotations

import numpy as np

from anogan.calibration import EXPOSURE, Calibration, Ellipse
from ganatomy.scans import Scan

# A scan is cut into so many blocks a side; the outermost are its frame.
BLOCKS = {2: 16, 3: 8}


def marks(scan: Scan) -> np.ndarray:
    """Mean intensity, and what the frame of a scan shows over its range, [1 + frame].

    The frame is the outermost sixteenth of a picture, eighth of a volume, in means of blocks.
    """
    pixels = scan.pixels.mean(-1)
    low, high = float(pixels.min()), float(pixels.max())
    blocks, sides = pixels.astype(np.float64), BLOCKS[scan.rank]
    outer = np.zeros((sides,) * scan.rank, bool)
    for axis, length in enumerate(pixels.shape):
        # Of a side shorter than this, pixels are in several blocks.
        edges = np.linspace(0, length, sides + 1)
        spans = zip(edges[:-1].astype(int), np.ceil(edges[1:]).astype(int), strict=True)
        blocks = np.stack([blocks.take(range(a, b), axis).mean(axis) for a, b in spans], axis)
        np.moveaxis(outer, axis, 0)[[0, -1]] = True
    frame = (blocks[outer] - low) / max(high - low, 1e-12)
    return np.concatenate([[pixels.mean(dtype=np.float64)], frame])


def shortcuts(
    calibration: Calibration, looks: np.ndarray, marked: np.ndarray
) -> dict[str, np.ndarray]:
    """What each shortcut alone says of scans: how far they are from the calibration scans, [n].

    Args:
        calibration: of the model.
        looks: of the scans, [n, d].
        marked: `marks` of the scans, [n, m].

    Returns:
        By name. The frame and the mean intensity are left out where a model was calibrated
        before they were kept, the alignment where it does not align.
    """
    kept = calibration.looks
    pairs = {
        "image aspect": (kept[:, :1], looks[:, :1]),
        "exposure": (kept[:, EXPOSURE], looks[:, EXPOSURE]),
    }
    if kept.shape[1] > EXPOSURE.stop:
        pairs["alignment"] = (kept[:, EXPOSURE.stop :], looks[:, EXPOSURE.stop :])
    if calibration.marks is not None:
        pairs["mean intensity"] = (calibration.marks[:, :1], marked[:, :1])
        pairs["outer frame"] = (calibration.marks[:, 1:], marked[:, 1:])
    return {f"{name} alone": _distance(own, new) for name, (own, new) in pairs.items()}


def _distance(own: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Mahalanobis distance, squared, [n] of new [n, d] from own [m, d].

    What never varies in the calibration scans has no place in a covariance, and tells all the
    more where it differs: scans of one size, say, against scans of another.
    """
    varies = own.std(0) > 1e-9
    apart = np.square((new - own.mean(0))[:, ~varies]).sum(1) / 1e-12
    return apart + (Ellipse.of(own[:, varies])(new[:, varies]) if varies.any() else 0.0)
