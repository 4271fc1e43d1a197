"""The volumes that a report shows slice by slice, as volumes.npz."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from anogan.result import Result
from ganatomy.scans.field import Field
from ganatomy.scans.resample import along_axes, antialias, weights

# The report shows so many volumes, the highest scores first; it looks for them among so many scans.
SHOWN, AMONG = 4, 12
# So many slices of each, and so many pixels a side, that a page stays small.
SLICES, SIDE = 24, 160


def write_volumes(
    made: Mapping[str, dict[str, np.ndarray] | None], scores: Mapping[str, float], folder: Path
) -> None:
    """Write the slices of the highest-scored volumes; no file where there is no volume.

    Args:
        made: what `slices_of_volume` made of scans, by name.
        scores: of these scans by name; the first of equal ones is the higher.
        folder: gets volumes.npz: for each volume K its `names`, `score`, `slices` (how many, and
            the numbers shown, filled up with -1: `numbers` [K, S]), and `input` (uint8) and `map`
            (float16, NaN where it was not seen), [K, S, H, W].
    """
    highest = sorted(scores, key=lambda name: -scores[name])
    volumes = ((name, made[name]) for name in highest)
    shown = dict(islice(((n, own) for n, own in volumes if own is not None), SHOWN))
    if not shown:
        return
    frame = np.max([one["input"].shape for one in shown.values()], axis=0)
    arrays = {
        "names": np.array(list(shown), str),
        "score": np.array([scores[name] for name in shown], float),
        "slices": np.array([one["slices"] for one in shown.values()], int),
        "numbers": np.full((len(shown), frame[0]), -1),
        "input": np.zeros((len(shown), *frame), np.uint8),
        "map": np.full((len(shown), *frame), np.nan, np.float16),
    }
    for place, one in enumerate(shown.values()):
        corner = (frame - one["input"].shape) // 2
        count, height, width = one["input"].shape
        inside = (
            place,
            slice(0, count),
            slice(corner[1], corner[1] + height),
            slice(corner[2], corner[2] + width),
        )
        arrays["input"][inside], arrays["map"][inside] = one["input"], one["map"]
        arrays["numbers"][place, :count] = one["numbers"]
    aside = folder / "part-volumes.npz"
    np.savez_compressed(aside, allow_pickle=False, **arrays)
    os.replace(aside, folder / "volumes.npz")


def slices_of_volume(result: Result) -> dict[str, np.ndarray] | None:
    """`volume_slices` of a volume; nothing of a picture."""
    scan = result.scan
    return volume_slices(result) if scan.rank == 3 and min(scan.shape) > 1 else None


def view(field: Field) -> tuple[tuple[int, int, int], tuple[slice, slice, slice]]:
    """How a volume is looked at: its axes as rows, columns and slices, and which way each runs.

    Of a 2D model the slices are its own. The axes of a 3D model run to the right, anterior and
    superior; its slices are axial, seen with rows to posterior and columns to the patient's left.
    """
    if field.slices is not None:
        sliced, indices = field.slices
        rows, columns = field.axes
        backward = [field.scale[0] < 0, field.scale[1] < 0, indices[0] > indices[-1]]
    else:
        columns, rows, sliced = field.axes
        backward = [field.scale[1] > 0, field.scale[0] > 0, field.scale[2] < 0]
    down, right, through = (slice(None, None, -1 if back else 1) for back in backward)
    return (rows, columns, sliced), (down, right, through)


def volume_slices(result: Result) -> dict[str, np.ndarray]:
    """A volume and its map as slices of square pixels, no longer than SIDE, as they are seen.

    Slices are those of `view`. Those that were seen by the model are shown, evenly thinned to
    SLICES, and the one with the highest value of the map is among them.

    Returns:
        `input` uint8 and `map` float32, [S, H, W]; `numbers` [S], the index of each among the
        volume's slices in this order, and `slices`, how many there are.
    """
    scan, array = result.scan, result.map
    (rows, columns, sliced), flips = view(result.prepared.field)
    pixels, overlay = (
        values.transpose(rows, columns, sliced)[flips] for values in (scan.pixels.mean(-1), array)
    )
    low, high = np.percentile(pixels, [0.5, 99.5])
    grey = np.clip((pixels - low) / max(float(high - low), 1e-12), 0, 1)
    peaks = np.where(np.isfinite(overlay), overlay, -1).max((0, 1))
    seen = np.flatnonzero(peaks >= 0) if (peaks >= 0).any() else np.arange(len(peaks))
    evenly = np.linspace(0, len(seen) - 1, min(SLICES, len(seen)))
    kept = seen[evenly.round().astype(int)]
    highest = int(peaks.argmax())
    kept[np.abs(kept - highest).argmin()] = highest
    pitch = (1.0, 1.0) if scan.spacing is None else (scan.spacing[rows], scan.spacing[columns])
    known = np.isfinite(overlay[..., kept])
    inside = _fitted(known.astype(np.float32), pitch)
    filled = _fitted(np.where(known, overlay[..., kept], 0).astype(np.float32), pitch)
    clear = inside >= 0.5
    return {
        "input": np.moveaxis(np.rint(255 * _fitted(grey[..., kept], pitch)).astype(np.uint8), 2, 0),
        "map": np.moveaxis(np.where(clear, filled / np.where(clear, inside, 1), np.nan), 2, 0),
        "numbers": kept,
        "slices": np.array(len(peaks)),
    }


def _fitted(stack: np.ndarray, pitch: tuple[float, ...]) -> np.ndarray:
    """Slices [h, w, n] with square pixels, the longer side at most SIDE."""
    extent = np.array(stack.shape[:2]) * pitch
    step = max(float(extent.max()) / SIDE, min(pitch))
    rows = []
    for axis, length in enumerate(stack.shape[:2]):
        count = max(2, round(float(extent[axis]) / step))
        scale = length / count
        at = (np.arange(count) + 0.5) * scale - 0.5
        rows.append(weights(at, length, antialias(scale)))
    return along_axes(stack.astype(np.float32), rows)
