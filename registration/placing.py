"""Moving scans placed anew while a model trains: pairs that lie far apart are then no rare chance.

What is random comes with the batch, as `noise` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from ganatomy.game import Batch, Noise
from registration.matrices import RIGID, rigid_matrix, sampling_points
from registration.warp import Interpolation, resample

Tensor = Any


class Placing:
    """Rigid motions of samples about the middle of their grid.

    Args:
        grid: of the samples.
        spacing: mm a voxel, along each axis.
        shift: mm; a sample is displaced by up to so much along each axis, by whole voxels.
        tilt: degrees; it is turned by up to so much about each axis.
    """

    def __init__(self, grid: tuple[int, ...], spacing: Sequence[float], shift: float, tilt: float):
        self.grid, self.rank = grid, len(grid)
        self.spacing = np.array(spacing, np.float32)
        self.shift, self.tilt = shift, tilt
        self.angles = RIGID[self.rank] - self.rank
        self.frame = np.diag([*self.spacing, 1.0])  # voxel to mm about the middle
        self.frame[:-1, -1] = -self.spacing * (np.array(grid) - 1) / 2

    def noise(self) -> dict[str, Noise]:
        """What a batch carries for it."""
        shift = {"shift": Noise("uniform", (self.rank,))} if self.shift else {}
        return shift | ({"tilt": Noise("uniform", (self.angles,))} if self.tilt else {})

    def matrix(self, batch: Batch) -> Tensor | None:
        """Of each sample, [B, rank + 1, rank + 1] in mm; None where they stay."""
        if not (self.shift or self.tilt):
            return None
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

    def placed(
        self,
        image: Tensor,
        matrix: Tensor | None,
        field: Tensor | None = None,
        *,
        interpolation: Interpolation = "linear",
        value: float,
    ) -> Tensor:
        """A sample where `matrix` places it, seen through a field, in one interpolation.

        Args:
            image: [B, *grid, C].
            matrix: of `matrix`.
            field: [B, *grid, rank], voxels.
            interpolation: as in `resample`.
            value: outside.
        """
        if matrix is None and field is None:
            return image
        moved = None if field is None else field * self.spacing
        points = sampling_points(self.grid, self.frame, self.frame, matrix, moved)
        return resample(image, points, interpolation=interpolation, border="constant", value=value)
