"""The scans that a report shows, as flat pictures in examples.npz."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anogan.extremes import Extremes
from anogan.result import Result
from anogan.volume_pictures import view

# Pictures in the report are no larger than this.
SIDE = 224


class Examples:
    """Pictures of the highest, the lowest and the worst errors, made while scans are evaluated."""

    def __init__(self) -> None:
        # By what is kept, in the order of the report: its label, and the sign of its scores.
        self.groups = {
            (1, 1): Extremes(5, picture),
            (0, -1): Extremes(3, picture),
            (0, 1): Extremes(4, picture),
            (1, -1): Extremes(4, picture),
        }

    def offer(self, name: str, label: int, result: Result) -> None:
        """Keep the pictures of a result, if it is one of those."""
        for (own, sign), group in self.groups.items():
            if own == label:
                group.offer(name, sign * result.anomaly_score, result)

    def write(self, file: Path) -> None:
        """Write examples.npz: the pictures, and names, scores and labels."""
        shown = {
            name: (group.made[name], sign * group.keys[name], label)
            for (label, sign), group in self.groups.items()
            for name in group.highest()
        }
        pictures, scores, labels = zip(*shown.values(), strict=True)
        facts = {"names": np.array(list(shown)), "score": np.array(scores)}
        write_examples(file, pictures, **facts, label=np.array(labels))


def write_examples(
    file: Path, pictures: Sequence[dict[str, np.ndarray]], **facts: np.ndarray
) -> None:
    """Write pictures and what is known of each as examples.npz, whole or not at all."""
    aside = file.with_name("part-" + file.name)
    arrays = {
        key: _stacked([one[key] for one in pictures], np.nan if key == "map" else -1.0)
        for key in pictures[0]
    }
    np.savez_compressed(aside, allow_pickle=False, **facts, **arrays)
    os.replace(aside, file)


def _stacked(pictures: list[np.ndarray], fill: float) -> np.ndarray:
    """Pictures in one array; those of small scans stay small, in the middle of a frame."""
    frame = np.max([one.shape for one in pictures], axis=0)
    framed = np.full((len(pictures), *frame), fill, np.float32)
    for number, one in enumerate(pictures):
        corner = (frame - one.shape) // 2
        inside = (slice(c, c + n) for c, n in zip(corner, one.shape, strict=True))
        framed[(number, *inside)] = one
    return framed


def picture(result: Result) -> dict[str, np.ndarray]:
    """A result as flat pictures; of a scan with several samples, the one that scores highest.

    `input` and `map` are on the scan's own grid, fitted into a square of `SIDE`; `seen`,
    `reconstruction` and `residual` are on the model's. Of a volume all of them are of one slice.
    """
    findings, prepared, scan = result.findings, result.prepared, result.scan
    slice_ = int(np.argmax(result.slice_scores))
    seen, image = prepared.samples[slice_].mean(-1), findings.reconstruction[slice_].mean(-1)
    residual = findings.residual[slice_]
    centre = [(n - 1) / 2 for n in seen.shape]
    if seen.ndim == 3:
        middle = int(np.argmax(np.abs(residual).mean((0, 1))))
        centre[-1] = middle
        # Its axes run to the right and to anterior, an axial slice's rows to posterior.
        seen, image, residual = (one[::-1, ::-1, middle].T for one in (seen, image, residual))
    own, overlay, pitch = scan.pixels.mean(-1), result.map, scan.spacing
    if own.ndim == 3:
        axes, (down, right, _) = view(prepared.field)
        at = round(float((prepared.placements[slice_] @ [*centre, 1])[axes[2]]))
        at = min(max(at, 0), own.shape[axes[2]] - 1)
        own, overlay = (one.transpose(axes)[down, right, at] for one in (own, overlay))
        pitch = pitch and (pitch[axes[0]], pitch[axes[1]])
    low, high = np.percentile(own, [0.5, 99.5])
    own = np.clip(2 * (own - low) / max(high - low, 1e-12) - 1, -1, 1)
    return {
        "input": _square(own, -1.0, pitch),
        "map": _square(overlay, np.nan, pitch),
        "seen": seen.astype(np.float32),
        "reconstruction": image.astype(np.float32),
        "residual": residual.astype(np.float32),
    }


def _square(image: np.ndarray, fill: float, spacing: Sequence[float] | None) -> np.ndarray:
    """An image fitted into a square of `SIDE`, its proportions in mm kept."""
    from scipy.ndimage import affine_transform

    pitch = np.array((1.0, 1.0) if spacing is None else spacing)
    pitch = pitch / pitch.min()
    longest = float((image.shape * pitch).max())
    # Where an image is small its pixels stay pixels.
    side = min(SIDE, round(longest))
    step = max(longest / SIDE, 1.0) / pitch
    offset: Any = (np.array(image.shape) - 1) / 2 - step * (side - 1) / 2
    made = affine_transform(
        image, np.diag(step), offset, output_shape=(side, side), order=1, mode="nearest"
    )
    for axis, length in enumerate(image.shape):
        at = offset[axis] + step[axis] * np.arange(side)
        beyond = (at <= -0.5) | (at >= length - 0.5)
        made[beyond if axis == 0 else (slice(None), beyond)] = fill
    return made.astype(np.float32)
