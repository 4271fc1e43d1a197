"""Transforms between the points of two scans, in mm.

Every transform sends points of the *fixed* scan to the moving scan, because that is where a moved
image is looked up: `moved(x) = moving(map(x))`. What is marked on the moving scan goes the other
way, through the inverse: `points` carries landmarks along with the moved image.

Coordinates in 3D are mm in RAS, whatever the directions and spacings of the grids; in 2D they are
those of the picture, `[row, column]`, and matrices are [3, 3].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from registration.conventions import checked_matrix, grid_points

if TYPE_CHECKING:
    from registration.deformations import Displacement
    from registration.warp import Border, Interpolation


class Transform(ABC):
    """A map of the fixed scan's points to the moving scan's, in mm."""

    @property
    @abstractmethod
    def rank(self) -> int:
        """2 or 3."""

    @abstractmethod
    def map(self, points: np.ndarray) -> np.ndarray:
        """Where fixed points are found in the moving scan.

        Args:
            points: [..., rank], mm.
        """

    @abstractmethod
    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points of the moving scan come to lie on the fixed scan: the inverse of `map`.

        Args:
            points: [..., rank], mm.
        """

    @abstractmethod
    def inverse(self) -> Transform:
        """The transform of the moving scan's points to the fixed scan's."""

    def then(self, other: Transform) -> Transform:
        """This one first, then another: `x -> other.map(self.map(x))`; nothing is resampled."""
        return Chain.of(self, other)

    def on_grid(self, shape: Sequence[int], affine: np.ndarray) -> Displacement:
        """The same map as one displacement field.

        Args:
            shape: of the grid.
            affine: [rank + 1, rank + 1], voxel to mm.
        """
        from registration.deformations import Displacement

        affine = checked_matrix(affine, "the affine of the grid")
        _check_rank(self.rank, len(shape), "the grid")
        points = grid_points(tuple(shape), affine)
        return Displacement((self.map(points) - points).astype(np.float32), affine)

    def jacobian_determinant(self, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        """The change of volume at each voxel of a grid, [*shape]; not above 0 where it folds.

        Args:
            shape: of the grid.
            affine: voxel to mm.
        """
        from registration.fields import jacobian_determinant

        field = self.on_grid(shape, affine)
        found = jacobian_determinant(field.displacement[None], field.affine[:-1, :-1])
        return np.asarray(found[0])

    def log_jacobian(self, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        """The natural logarithm of the Jacobian determinant, [*shape]; NaN where it folds.

        Args:
            shape: of the grid.
            affine: voxel to mm.
        """
        found = self.jacobian_determinant(shape, affine)
        return np.log(found, out=np.full_like(found, np.nan), where=found > 0)


@dataclass(frozen=True, eq=False)
class Affine(Transform):
    """`x -> matrix x`, rigid or affine.

    Args:
        matrix: [4, 4], fixed mm to moving mm; [3, 3] in 2D.

    Raises:
        ValueError: another shape, singular, or no affine map.
    """

    matrix: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "matrix", checked_matrix(self.matrix))

    @classmethod
    def identity(cls, rank: int = 3) -> Affine:
        """The transform that moves nothing."""
        return cls(np.eye(rank + 1))

    @classmethod
    def rigid(cls, parameters: Sequence[float], centre: Sequence[float]) -> Affine:
        """From angles in radians and translations in mm; see `matrices.rigid_matrix`."""
        from registration.matrices import rigid_matrix

        given, middle = np.asarray(parameters, np.float64), np.asarray(centre, np.float64)
        return cls(np.asarray(rigid_matrix(given[None], middle))[0])

    @property
    def rank(self) -> int:
        return len(self.matrix) - 1

    def map(self, points: np.ndarray) -> np.ndarray:
        points = checked_points(points, self.rank)
        return points @ self.matrix[:-1, :-1].T + self.matrix[:-1, -1]

    def points(self, points: np.ndarray) -> np.ndarray:
        return self.inverse().map(points)

    def inverse(self) -> Affine:
        inverse = np.linalg.inv(self.matrix)
        inverse[-1] = np.eye(self.rank + 1)[-1]
        return Affine(inverse)


@dataclass(frozen=True, eq=False)
class Chain(Transform):
    """Several transforms, the first first; made by `then`.

    Args:
        parts: of one rank.

    Raises:
        ValueError: none, or ranks that differ.
    """

    parts: tuple[Transform, ...]

    def __post_init__(self):
        if not self.parts:
            raise ValueError("a chain of no transforms; expected one or more")
        for part in self.parts:
            _check_rank(self.rank, part.rank, "a transform")

    @classmethod
    def of(cls, first: Transform, second: Transform) -> Transform:
        """One after the other; neighbouring matrices become one."""
        parts = [*_parts(first), *_parts(second)]
        joined: list[Transform] = [parts[0]]
        for part in parts[1:]:
            last = joined[-1]
            if isinstance(part, Affine) and isinstance(last, Affine) and part.rank == last.rank:
                joined[-1] = Affine(part.matrix @ last.matrix)
            else:
                joined.append(part)
        return joined[0] if len(joined) == 1 else cls(tuple(joined))

    @property
    def rank(self) -> int:
        return self.parts[0].rank

    def map(self, points: np.ndarray) -> np.ndarray:
        for part in self.parts:
            points = part.map(points)
        return points

    def points(self, points: np.ndarray) -> np.ndarray:
        for part in reversed(self.parts):
            points = part.points(points)
        return points

    def inverse(self) -> Chain:
        return Chain(tuple(part.inverse() for part in reversed(self.parts)))


def moved(
    pixels: np.ndarray,
    affine: np.ndarray,
    transform: Transform,
    shape: Sequence[int],
    fixed: np.ndarray,
    *,
    interpolation: Interpolation = "linear",
    border: Border = "constant",
    value: float = 0.0,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """A moving scan on the fixed scan's grid, resampled once.

    Args:
        pixels: [*grid, C] of the moving scan.
        affine: [rank + 1, rank + 1], voxel of the moving scan to mm.
        transform: of fixed points to moving points.
        shape: the fixed grid.
        fixed: [rank + 1, rank + 1], voxel of the fixed grid to mm.
        interpolation: 'nearest' for labels, 'linear' or 'cubic'; see `resample`.
        border: see `resample`.
        value: what stands where the moving scan shows nothing.
        mask: [*grid], where the moving scan is known, for border 'mask'.

    Returns:
        float32 [*shape, C].

    Raises:
        ValueError: shapes that do not fit or a singular affine.
    """
    from registration.warp import resample

    affine = checked_matrix(affine, "the affine of the moving scan")
    fixed = checked_matrix(fixed, "the affine of the fixed scan")
    for what, rank in (
        ("the fixed grid", len(shape)),
        ("the affine of the fixed scan", len(fixed) - 1),
        ("the moving scan", np.ndim(pixels) - 1),
        ("the affine of the moving scan", len(affine) - 1),
    ):
        _check_rank(transform.rank, rank, what)
    # In float64 up to here: mm far from the origin would cost float32 its digits.
    index = Affine(affine).inverse().map(transform.map(grid_points(tuple(shape), fixed)))
    found = resample(
        np.asarray(pixels, np.float32)[None],
        index[None],
        interpolation=interpolation,
        border=border,
        value=value,
        mask=None if mask is None else np.asarray(mask)[None],
    )
    return np.asarray(found[0])


def _parts(transform: Transform) -> tuple[Transform, ...]:
    return transform.parts if isinstance(transform, Chain) else (transform,)


def checked_points(points: np.ndarray, rank: int) -> np.ndarray:
    """The points as float64.

    Args:
        points: [..., rank], mm.
        rank: 2 or 3.

    Raises:
        ValueError: coordinates of another number.
    """
    points = np.asarray(points, np.float64)
    if points.ndim == 0 or points.shape[-1] != rank:
        raise ValueError(f"points have shape {points.shape}; expected [..., {rank}] in mm")
    return points


def _check_rank(expected: int, found: int, what: str) -> None:
    if expected != found:
        raise ValueError(f"{what} is {found}D, the transform {expected}D")
