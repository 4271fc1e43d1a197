"""Moving scans placed anew while a model trains: pairs that lie far apart are then no rare chance.

What is random comes with the batch, as `noise` names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from ganatomy.game import Batch, Noise
from registration.copies import COARSEST, bent
from registration.fields import compose
from registration.matrices import RIGID, rigid_matrix, sampling_points
from registration.velocity_network import COARSE, enlarged
from registration.warp import Interpolation, resample

Tensor = Any


class Placing:
    """Smooth bends of samples, and rigid motions about the middle of their grid.

    Args:
        grid: of the samples.
        spacing: mm a voxel, along each axis.
        shift: mm; a sample is displaced by up to so much along each axis, by whole voxels.
        tilt: degrees; it is turned by up to so much about each axis.
        bending: mm; before that it is bent by up to so much in the mean, without folds.
    """

    def __init__(
        self,
        grid: tuple[int, ...],
        spacing: Sequence[float],
        shift: float,
        tilt: float,
        bending: float = 0.0,
    ):
        self.grid, self.rank = grid, len(grid)
        self.spacing = np.array(spacing, np.float32)
        self.shift, self.tilt, self.bending = shift, tilt, bending
        self.angles = RIGID[self.rank] - self.rank
        self.frame = np.diag([*self.spacing, 1.0])  # voxel to mm about the middle
        self.frame[:-1, -1] = -self.spacing * (np.array(grid) - 1) / 2

    def noise(self) -> dict[str, Noise]:
        """What a batch carries for it."""
        asked = {
            "shift": (self.shift, Noise("uniform", (self.rank,))),
            "tilt": (self.tilt, Noise("uniform", (self.angles,))),
            "bend": (self.bending, Noise("normal", (*[COARSEST] * self.rank, self.rank))),
            "bent": (self.bending, Noise("uniform", (1,))),
        }
        return {name: noise for name, (most, noise) in asked.items() if most}

    def place(self, batch: Batch) -> dict[str, Tensor]:
        """Where each sample goes, for `placed`; empty where they stay.

        Returns:
            `matrix` [B, rank + 1, rank + 1] in mm and `bend` [B, *grid, rank] in voxels, if any.
        """
        place = {"matrix": self._matrix(batch)} if self.shift or self.tilt else {}
        return place | ({"bend": self._bend(batch)} if self.bending else {})

    def _matrix(self, batch: Batch) -> Tensor:
        none: Any = ops.zeros_like(batch["shift" if self.shift else "tilt"][:, :1])
        turns: Any = none + np.zeros(self.angles, np.float32)
        moves: Any = none + np.zeros(self.rank, np.float32)
        if self.tilt:
            turns = np.deg2rad(self.tilt) * (2 * batch["tilt"] - 1)
        if self.shift:
            voxels: Any = ops.round(self.shift / self.spacing * (2 * batch["shift"] - 1))
            moves = voxels * self.spacing
        parameters = ops.concatenate([turns, moves], axis=-1)
        return rigid_matrix(parameters, np.zeros(self.rank, np.float32))

    def _bend(self, batch: Batch) -> Tensor:
        error = self.bending * batch["bent"][:, 0]
        coarse = bent(batch["bend"], error, self.grid, self.spacing)
        return enlarged(coarse, self.grid) * COARSE

    def placed(
        self,
        image: Tensor,
        place: Mapping[str, Tensor],
        field: Tensor | None = None,
        *,
        interpolation: Interpolation = "linear",
        value: float,
    ) -> Tensor:
        """A sample in its place, seen through a field, in one interpolation.

        Args:
            image: [B, *grid, C].
            place: of `place`.
            field: [B, *grid, rank], voxels.
            interpolation: as in `resample`.
            value: outside.
        """
        points = self.points(place, field)
        if points is None:
            return image
        return resample(image, points, interpolation=interpolation, border="constant", value=value)

    def points(self, place: Mapping[str, Tensor], field: Tensor | None = None) -> Tensor | None:
        """Where `placed` looks a sample up, [B, *grid, rank] in voxels; None where it stays."""
        matrix, bend = place.get("matrix"), place.get("bend")
        if bend is not None:
            field = bend if field is None else compose(field, bend)
        if matrix is None and field is None:
            return None
        moved = None if field is None else field * self.spacing
        return sampling_points(self.grid, self.frame, self.frame, matrix, moved)
