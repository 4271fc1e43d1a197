"""Overlapping tiles of a grid: cut for a model that sees one at a time, blended into one again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

# Share of a tile that a mask covers where the tile is worth looking at.
LEAST = 0.1


def count(side: int, tile: int, overlap: float) -> int:
    """The fewest tiles that cover an axis; see `starts`."""
    # What is shared is rounded up, to less than a tile.
    step = max(1, math.floor(tile * (1 - overlap) + 1e-9))
    return -(-(side - tile) // step) + 1


def starts(side: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the fewest tiles that cover an axis, evenly spread.

    Args:
        side: pixels of the axis, at least those of a tile.
        tile: pixels of a tile.
        overlap: least share of a tile that it has in common with the next.
    """
    places = np.linspace(0, side - tile, count(side, tile, overlap))
    return [round(place) for place in places.tolist()]


@dataclass(eq=False)
class Tiles:
    """Where tiles lie on grids of one size.

    Args:
        size: pixels of a tile along each axis.
        corners: int [n, 1 + rank]: whose grid, and the tile's first pixel on it.
    """

    size: tuple[int, ...]
    corners: np.ndarray

    @classmethod
    def over(
        cls,
        shape: Sequence[int],
        size: tuple[int, ...],
        overlap: float,
        mask: np.ndarray | None = None,
    ) -> Tiles:
        """Tiles that cover grids, or a mask on them.

        Args:
            shape: [m, *grid], no axis of the grid shorter than a tile's.
            size: of a tile.
            overlap: see `starts`.
            mask: bool, of that shape. Tiles of which it covers a tenth or more are kept, and of the
                others, the fullest first, those that show some of it that no tile before shows.
        """
        lines = [starts(side, n, overlap) for side, n in zip(shape[1:], size, strict=True)]
        corners = np.array(list(itertools.product(range(shape[0]), *lines)))
        every = cls(tuple(size), corners)
        if mask is None:
            return every
        shares = np.array([mask[every._box(corner)].mean() for corner in corners])
        hidden, kept = mask.copy(), []
        for number in np.argsort(-shares, kind="stable"):
            part = hidden[every._box(corners[number])]
            if shares[number] >= LEAST or part.any():
                kept.append(number)
                part[...] = False
        return cls(tuple(size), corners[np.sort(np.array(kept, int))])

    def __len__(self) -> int:
        return len(self.corners)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The tiles [n, *size, ...] of an array [m, *grid, ...]."""
        out = np.empty((len(self), *self.size, *array.shape[1 + len(self.size) :]), array.dtype)
        for number, corner in enumerate(self.corners):
            out[number] = array[self._box(corner)]
        return out

    def blend(self, maps: Iterable[np.ndarray], shape: Sequence[int]) -> np.ndarray:
        """Maps of tiles as maps of the grids: their mean, where the middle of a tile counts most.

        A tile's weight falls to almost nothing at its border, as sin² along each axis, so that
        nothing jumps where one ends.

        Args:
            maps: [n, *size] or [n, *size, c], or one after the other; NaN where nothing is known.
            shape: [m, *grid].

        Returns:
            float32 of that shape, channels behind; NaN where no tile knows anything.
        """
        falling = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in self.size]
        weight = reduce(np.multiply.outer, falling).astype(np.float32)
        total = known = np.zeros(0, np.float32)
        for number, (corner, one) in enumerate(zip(self.corners, maps, strict=True)):
            if not number:
                weight = weight.reshape(*self.size, *[1] * (one.ndim - weight.ndim))
                whole = (*shape, *one.shape[len(self.size) :])
                total, known = np.zeros(whole, np.float32), np.zeros(whole, np.float32)
            box, finite = self._box(corner), np.isfinite(one)
            total[box] += np.where(finite, one, 0) * weight
            known[box] += finite * weight
        seen = known > 0
        return np.where(seen, total / np.where(seen, known, 1), np.float32(np.nan))

    def matrices(self, whole: np.ndarray) -> np.ndarray:
        """Index maps of tiles [n, ...] from those of the grids, homogeneous [m, ..., rank + 1]."""
        moved = whole[self.corners[:, 0]].copy()
        moved[..., -1] += np.einsum("nij,nj->ni", moved[..., :-1], self.corners[:, 1:])
        return moved

    def place(self, number: int) -> tuple[int, tuple[int | slice, ...]]:
        """Where one tile lies: on which grid, and a slice an axis."""
        corner = self.corners[number]
        return int(corner[0]), self._box(corner)[1:]

    def _box(self, corner: np.ndarray) -> tuple[int | slice, ...]:
        sides = zip(corner[1:].tolist(), self.size, strict=True)
        return (int(corner[0]), *(slice(first, first + side) for first, side in sides))
