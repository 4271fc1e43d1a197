"""Mutual information of what two scans show, for many placings at once, and its slope.

In NumPy, not as a graph: nothing has to be traced for scans of another grid, and a climb is over
before a graph would have been made.
"""

from __future__ import annotations

from itertools import product

import numpy as np

_LEAST = 0.75  # share of the points that must meet the moving scan for its information to count
_OUTLIERS = (1.0, 99.5)  # percentiles of the values between which bins lie
_TINY = 1e-10


class MutualInformation:
    """Of points of a fixed scan and what a moving scan shows where a map sends them.

    The histogram's kernels are those of Mattes et al. with a linear one for the moving scan: a
    fixed value counts for the bin it is in, a moving value for the two next to it.

    Args:
        points: [N, rank].
        values: [N], what the fixed scan shows there.
        shown: any shape, values of the fixed scan between whose percentiles its bins lie.
        image: [*grid] of the moving scan, any unit.
        bins: of the joint histogram, a side.

    Raises:
        ValueError: either scan shows a single value.

    Reference: Mattes et al. 2003, equations 3 to 9.
    """

    def __init__(
        self,
        points: np.ndarray,
        values: np.ndarray,
        shown: np.ndarray,
        image: np.ndarray,
        bins: int,
    ):
        self.bins, self.sides = bins, image.shape
        # With a column of ones a map's shift is one more slope.
        self.points = np.append(points, np.ones((len(points), 1)), 1).astype(np.float32)
        self.rows = np.rint(_binned(values, shown, bins)).astype(np.int64) * bins
        # One voxel more on the far side of each axis, so that each has a next one.
        image = np.pad(_binned(image, image, bins), [(0, 1)] * image.ndim, mode="edge")
        self.strides = np.array(image.strides) // image.itemsize
        self.image = image.ravel()

    def __call__(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Information in nats, [S], and its slope to the maps' entries, [S, rank, rank + 1].

        Args:
            maps: [S, rank + 1, rank + 1], from points to voxels of the moving scan.
        """
        index = np.matmul(maps[:, :-1].astype(np.float32), self.points.T)  # [S, rank, N]
        known = np.ones_like(index[:, 0])
        for axis, side in enumerate(self.sides):
            known *= np.clip(np.minimum(index[:, axis] + 1, side - index[:, axis]), 0, 1)
        values, slopes = self._looked_up(index)

        lower = np.minimum(values.astype(np.int64), self.bins - 2)
        beyond = values - lower
        cells = np.arange(len(maps))[:, None] * self.bins**2 + self.rows + lower
        count = len(maps) * self.bins**2
        upper = known * beyond
        joint = np.bincount(cells.ravel(), (known - upper).ravel(), count)
        joint += np.bincount(cells.ravel() + 1, upper.ravel(), count)
        joint = joint.reshape(-1, self.bins, self.bins)
        total = np.maximum(joint.sum((1, 2), keepdims=True), 1e-6)
        joint /= total
        apart = joint.sum(1, keepdims=True) * joint.sum(2, keepdims=True)
        surprise = np.log((joint + _TINY) / (apart + _TINY))
        counts = np.minimum(total[:, 0, 0] / (len(self.points) * _LEAST), 1.0)
        information = counts * (joint * surprise).sum((1, 2))

        # A moving value that grows leaves the lower of its two bins for the upper one.
        gain = np.diff(surprise, axis=2, append=0) * (counts[:, None, None] / total)
        slopes *= (gain.astype(np.float32).ravel()[cells] * known)[:, None]
        return information, np.matmul(slopes, self.points).astype(np.float64)

    def _looked_up(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear values of the moving scan, [S, N], and their slopes, [S, rank, N]."""
        last = np.array(self.sides, np.float32)[:, None] - 1
        inside = np.clip(index, 0, last)
        corner = inside.astype(np.int32)
        beyond = inside - corner
        first = sum(corner[:, axis] * int(n) for axis, n in enumerate(self.strides))
        corners = [
            self.image.take(first + int(np.dot(step, self.strides)))
            for step in product((0, 1), repeat=len(self.sides))
        ]
        slopes: list[list[np.ndarray]] = [[] for _ in corners]
        # Axis by axis, the last one first: what stands beside each other becomes one.
        for axis in reversed(range(len(self.sides))):
            share = beyond[:, axis]
            pairs = list(zip(corners[::2], corners[1::2], strict=True))
            gaps = [high - low for low, high in pairs]
            of_pairs = zip(slopes[::2], slopes[1::2], gaps, strict=True)
            slopes = [
                [gap, *(a + share * (b - a) for a, b in zip(low, high, strict=True))]
                for low, high, gap in of_pairs
            ]
            corners = [low + share * gap for (low, _), gap in zip(pairs, gaps, strict=True)]
        return corners[0], np.stack(slopes[0], 1) * (index == inside)


def _binned(values: np.ndarray, of: np.ndarray, count: int) -> np.ndarray:
    """Values as places among the bins, from 0 to count - 1."""
    low, high = np.percentile(of, _OUTLIERS)
    if not high > low:
        raise ValueError("a scan shows a single value; expected one with contrast")
    scaled = (values - low) * ((count - 1) / (high - low))
    return np.clip(scaled, 0, count - 1).astype(np.float32)
