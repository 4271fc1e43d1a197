"""Pictures of translations for the report: the middle slices of a few scans, in 8 bits."""

from __future__ import annotations

import numpy as np

from ganatomy.report.translated import Translated
from ganatomy.scans import Scan

SLICES, SIDE = 16, 256  # of a volume, pixels of the longer side


def shown_of(name: str, scan: Scan, made: Scan, target: np.ndarray | None = None) -> Translated:
    """A scan beside its translation; of a volume slices along the axis of the fewest.

    Args:
        name: what the report calls it.
        scan: the input.
        made: the output, on the scan's grid.
        target: [*grid, c] on that grid, in the output's units.
    """
    pixels = {"input": scan.pixels, "output": made.pixels}
    if target is not None:
        pixels["target"] = target
    grey = {kind: array.mean(-1) for kind, array in pixels.items()}
    spacing = list(scan.spacing or (1.0,) * scan.rank)
    numbers, count = np.zeros(1, int), 1
    if scan.rank == 3:
        axis = int(np.argmin(scan.shape))
        count = scan.shape[axis]
        # The ends of a volume show little.
        numbers = np.unique(np.linspace(count * 0.1, count * 0.9 - 1e-6, SLICES).astype(int))
        grey = {k: np.take(np.moveaxis(v, axis, 0), numbers, 0) for k, v in grey.items()}
        spacing.pop(axis)
        if scan.kind != "dicom":  # NIfTI's first axis runs across a picture
            grey = {k: v.transpose(0, 2, 1)[:, ::-1] for k, v in grey.items()}
            spacing.reverse()
    else:
        grey = {kind: array[None] for kind, array in grey.items()}
    step = max(1, -(-max(grey["input"].shape[1:]) // SIDE))
    grey = {kind: array[:, ::step, ::step] for kind, array in grey.items()}
    sides = [n * step * mm for n, mm in zip(grey["input"].shape[1:], spacing, strict=True)]
    ends = np.percentile(grey["output" if target is None else "target"], (0.5, 99.5))
    low, high = float(ends[0]), float(max(ends[1], ends[0] + 1e-6))
    own = np.percentile(grey["input"], (0.5, 99.5))
    images = {
        kind: _shades(array, *((own[0], own[1]) if kind == "input" else (low, high)))
        for kind, array in grey.items()
    }
    size = (float(sides[0]), float(sides[1]))
    return Translated(name, numbers, count, size, (low, high), made.units, images)


def _shades(array: np.ndarray, low: float, high: float) -> np.ndarray:
    share = (array - low) / max(high - low, 1e-12)
    return np.clip(np.rint(255 * share), 0, 255).astype(np.uint8)
