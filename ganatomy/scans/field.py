"""Which part of a scan a model's grid covers: axes, scale and offset for each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ganatomy.scans.resample import along_axes, antialias, inside, weights

TOUCHED = 1e-5  # weight of an unknown pixel that makes a voxel unknown


@dataclass(frozen=True)
class Field:
    """Model index m along axis a is scan index `scale[a]·m + offset[a]` along `axes[a]`.

    Args:
        axes: the scan's axis for each axis of the model's grid.
        scale: scan pixels a model pixel; negative where the scan runs the other way.
        offset: scan index of the centre of the first model pixel.
        size: the model's grid.
        shape: the scan's grid.
        bounds: first and last-plus-one scan pixel that may be seen, for each axis of the model.
        slices: for a 2D model on a volume, the axis sliced and its indices in order.
    """

    axes: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    size: tuple[int, ...]
    shape: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    slices: tuple[int, tuple[int, ...]] | None = None

    def aligned(self, parameters: np.ndarray) -> "Field":
        """The field after shifts (fractions of the side) and log-scales about the centre."""
        rank = len(self.axes)
        scale, offset = [], []
        for axis, side in enumerate(self.size):
            shift, grow = parameters[axis] * side, float(np.exp(parameters[rank + axis]))
            centre = (side - 1) / 2
            scale.append(self.scale[axis] * grow)
            start = centre - grow * centre + shift
            offset.append(self.scale[axis] * start + self.offset[axis])
        return replace(self, scale=tuple(scale), offset=tuple(offset))

    def cut(self, array: np.ndarray) -> np.ndarray:
        """What may be seen of an array on the scan's grid, in the model's order of axes.

        Args:
            array: `[i, j(, k), c]`.

        Returns:
            `[*bounds, (slices,) c]`.
        """
        order = [*self.axes, *([self.slices[0]] if self.slices else []), len(self.shape)]
        seen = array.transpose(order)[tuple(slice(low, high) for low, high in self.bounds)]
        return seen if self.slices is None else np.take(seen, self.slices[1], axis=-2)

    def sample(self, image: np.ndarray, shrunk: Sequence[float] | None = None) -> np.ndarray:
        """An image on the model's grid, by linear interpolation, smoothed where it shrinks.

        Args:
            image: what `cut` gave, perhaps shrunk since.
            shrunk: how many pixels of `cut` each of its pixels takes, an axis of the model each.

        Returns:
            `[n, *size, c]`.
        """
        rows = []
        for axis, (low, _) in enumerate(self.bounds):
            step = 1.0 if shrunk is None else shrunk[axis]
            at = (self.coordinates(axis) - low + 0.5) / step - 0.5
            rows.append(weights(at, image.shape[axis], antialias(self.scale[axis] / step)))
        samples = along_axes(image, rows)
        return samples[None] if self.slices is None else np.moveaxis(samples, len(self.axes), 0)

    def coordinates(self, axis: int) -> np.ndarray:
        """Scan indices of the model's pixels along one of its axes, float64 [size]."""
        return self.scale[axis] * np.arange(self.size[axis]) + self.offset[axis]

    def covered(self) -> np.ndarray:
        """Which model pixels lie on the visible part of the scan, bool [*size]."""
        seen = np.ones(self.size, bool)
        for axis, (low, high) in enumerate(self.bounds):
            line = inside(self.coordinates(axis) - low, high - low)
            seen &= line.reshape([-1 if a == axis else 1 for a in range(len(self.size))])
        return seen

    def matrices(self) -> np.ndarray:
        """Index maps, model to scan, float64 [n, scan rank + 1, model rank + 1], homogeneous."""
        rank = len(self.axes)
        matrix = np.zeros((len(self.shape) + 1, rank + 1))
        matrix[-1, -1] = 1
        for axis, scan_axis in enumerate(self.axes):
            matrix[scan_axis, axis] = self.scale[axis]
            matrix[scan_axis, -1] = self.offset[axis]
        if self.slices is None:
            return matrix[None]
        scan_axis, indices = self.slices
        stacked = np.repeat(matrix[None], len(indices), axis=0)
        stacked[:, scan_axis, -1] = indices
        return stacked

    def back(self, maps: np.ndarray) -> np.ndarray:
        """Maps on the model's grid to the scan's grid; NaN where the model saw nothing.

        Args:
            maps: `[n, *size]`.

        Returns:
            float32, the scan's shape.
        """
        out = np.full(self.shape, np.nan, np.float32)
        order = list(self.axes) + ([self.slices[0]] if self.slices else [])
        view = out.transpose(order)  # a view: model's axes, then the slices
        rows, spans = [], []
        for axis, (low, high) in enumerate(self.bounds):
            index = (np.arange(low, high) - self.offset[axis]) / self.scale[axis]
            seen = np.flatnonzero(inside(index, self.size[axis]))
            if seen.size == 0:
                return out
            spans.append(slice(low + seen[0], low + seen[-1] + 1))
            rows.append(weights(index[seen], self.size[axis]))
        for number, one in enumerate(maps):
            values = _interpolate(np.asarray(one, np.float32), rows)
            place = tuple(spans) + ((self.slices[1][number],) if self.slices else ())
            view[place] = values
        return out


def _interpolate(values: np.ndarray, rows: list[np.ndarray]) -> np.ndarray:
    known = np.isfinite(values)
    if known.all():
        return along_axes(values, rows)
    # a NaN of the model's own map spreads to the voxels it touches, and no further
    filled = along_axes(np.where(known, values, 0).astype(np.float32), rows)
    touched = along_axes((~known).astype(np.float32), rows) > TOUCHED
    return np.where(touched, np.float32(np.nan), filled)
