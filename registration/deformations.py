"""Transforms that bend: displacement fields and stationary velocities on a grid, in mm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from registration.conventions import checked_field, grid_points
from registration.transforms import Transform, checked_points

STEPS = 7  # squarings: errors of 0.03 voxel where velocities reach 10
_ROUNDS = 300  # of a fixed point
_NEAR = 1e-3  # mm by which an inverse may miss


@dataclass(frozen=True, eq=False)
class Displacement(Transform):
    """`x -> x + u(x)`, a field on a grid: linear between voxels, outside as at the nearest edge.

    Its inverse is found by a fixed point: of `points` one by one, to 0.001 mm; of the whole field
    as another one on the same grid, which is exact at its voxels only.

    Args:
        displacement: float32 [*grid, rank], mm.
        affine: [rank + 1, rank + 1], voxel of the grid to mm.

    Raises:
        ValueError: shapes that do not fit, a singular affine, or values that are not finite.

    Reference: Chen et al. 2008, the fixed point that inverts a field.
    """

    displacement: np.ndarray
    affine: np.ndarray

    def __post_init__(self):
        displacement, affine = checked_field(self.displacement, self.affine)
        object.__setattr__(self, "displacement", displacement)
        object.__setattr__(self, "affine", affine)

    @property
    def rank(self) -> int:
        return len(self.affine) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid."""
        return self.displacement.shape[:-1]

    def map(self, points: np.ndarray) -> np.ndarray:
        points = checked_points(points, self.rank)
        return points + self._at(points)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points of the moving scan come to lie on the fixed scan: the inverse of `map`.

        Args:
            points: [..., rank], mm; NaN comes back where no point is found that goes there. Where
                the field folds there are several, and one of them comes back.
        """
        goal = checked_points(points, self.rank).reshape(-1, self.rank)
        found, pace = goal - self._at(goal), np.ones(len(goal))
        miss, size = np.zeros_like(goal), np.full(len(goal), np.inf)
        going = np.arange(len(goal))
        for _ in range(_ROUNDS):
            left = goal[going] - self.map(found[going])
            length = np.linalg.norm(left, axis=-1)
            # A step that led nowhere is taken back by half: the map may shrink less than it moves.
            worse = length > 0.999 * size[going]
            pace[going[worse]] /= 2
            found[going[worse]] -= pace[going[worse], None] * miss[going[worse]]
            better = going[~worse]
            miss[better], size[better] = left[~worse], length[~worse]
            going = going[worse | (length > _NEAR)]
            if not len(going):
                break
            on = np.intersect1d(going, better, assume_unique=True)
            found[on] += pace[on, None] * miss[on]
        found[going] = np.nan
        return found.reshape(np.shape(points))

    def inverse(self) -> Displacement:
        """The inverse field on the same grid; where the field folds, one of several.

        Raises:
            ValueError: no inverse is found somewhere, because the field folds or is too steep.
        """
        goal = grid_points(self.shape, self.affine)
        found = self.points(goal)
        lost = int(np.isnan(found[..., 0]).sum())
        if lost:
            raise ValueError(
                f"the field has no inverse at {lost} of {found[..., 0].size} voxels; "
                "expected one without folds"
            )
        return Displacement((found - goal).astype(np.float32), self.affine)

    def _at(self, points: np.ndarray) -> np.ndarray:
        from scipy.ndimage import map_coordinates

        inverse = np.linalg.inv(self.affine)
        index = np.moveaxis(points @ inverse[:-1, :-1].T + inverse[:-1, -1], -1, 0)
        parts = np.moveaxis(self.displacement, -1, 0)
        return np.stack(
            [map_coordinates(p, index, np.float64, order=1, mode="nearest") for p in parts], -1
        )


@dataclass(frozen=True, eq=False)
class Velocity(Transform):
    """What flows for unit time along a stationary velocity: without folds, and with an inverse.

    Args:
        velocity: float32 [*grid, rank], mm.
        affine: [rank + 1, rank + 1], voxel of the grid to mm.
        steps: squarings.

    Raises:
        ValueError: shapes that do not fit, a singular affine, or values that are not finite.

    Reference: Arsigny et al. 2006, scaling and squaring.
    """

    velocity: np.ndarray
    affine: np.ndarray
    steps: int = STEPS

    def __post_init__(self):
        velocity, affine = checked_field(self.velocity, self.affine)
        object.__setattr__(self, "velocity", velocity)
        object.__setattr__(self, "affine", affine)

    @property
    def rank(self) -> int:
        return len(self.affine) - 1

    @cached_property
    def field(self) -> Displacement:
        """The displacement field, on the velocity's grid."""
        from registration.fields import integrate, to_mm, to_voxels

        columns = self.affine[:-1, :-1]
        found = to_mm(integrate(to_voxels(self.velocity[None], columns), self.steps), columns)
        return Displacement(np.asarray(found[0]), self.affine)

    @property
    def displacement(self) -> np.ndarray:
        """float32 [*grid, rank], mm."""
        return self.field.displacement

    def map(self, points: np.ndarray) -> np.ndarray:
        return self.field.map(points)

    def points(self, points: np.ndarray) -> np.ndarray:
        return self.inverse().map(points)

    def inverse(self) -> Velocity:
        return Velocity(-self.velocity, self.affine, self.steps)
