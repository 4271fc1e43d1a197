"""Deformable registration learnt from pairs that lie on each other: their deformation is known."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from keras import ops

from ganatomy.game import Batch
from registration import copies
from registration.aligner import counted
from registration.deformable import Deformable
from registration.perturbations import length

Tensor = Any


class PairedDeformable(Deformable):
    """`Deformable` for scans of one patient, of one modality or two, or scans joined to themselves.

    A training pair lies on each other. The moving scan is bent, turned and shifted anew as
    `bending`, `tilt` and `shift` say, with other contrast and noise, and the generator has to undo
    it: what is left of the deformation is known at every voxel, whatever the modalities show, and
    is one more term, `vectors`. By it alone (`similarities: []`) no measure of similarity is asked.

    Terms of the generator: those of `Deformable`, and `vectors`, the mean distance in mm between
    where a voxel's content is looked up and where it lies.

    Args:
        shape: see `Deformable`.
        **settings: the same.

    Raises:
        ValueError: nothing moves the moving scan; or as `Deformable`.

    Reference: Mahapatra et al. 2018 (ISBI), whose network is trained on images that are deformed
    by known fields; Yan et al. 2018 (MLMI) for pairs that are aligned and then moved.
    """

    roles: ClassVar[dict[str, str]] = {**Deformable.roles, "moving": "joined"}
    grids: ClassVar[dict[str, str]] = {"moving": "fixed"}
    default_weights: ClassVar[dict[str, Any]] = {
        **Deformable.default_weights,
        "generator/vectors": 0.1,
    }

    def __init__(self, shape: tuple[int, ...], **settings: Any):
        if not any(settings.get(name) for name in ("shift", "tilt", "bending")):
            raise ValueError("pairs lie on each other: shift, tilt or bending has to move them")
        super().__init__(shape, **settings)

    def play(self, batch: Batch) -> dict[str, Any]:
        return super().play(self._shaded(batch))

    def displaced(self, batch: Batch, played: dict[str, Any]) -> Tensor:
        return super().displaced(self._shaded(batch), played)

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        terms = super().generator_terms(batch, played)
        return {**terms, "vectors": lambda: self.astray(batch, played)}

    def astray(self, batch: Batch, played: dict[str, Any]) -> Tensor:
        """How far voxels of the fixed scan are looked up from where they lie, mm, [B]."""
        points: Any = self.placing.points(played["place"], self.field(played["flow"]))
        steps: Any = points - np.moveaxis(np.indices(self.grid), 0, -1).astype(np.float32)
        far: Any = length(steps * self.placing.spacing)
        weights: Any = counted(batch["fixed"])
        axes = tuple(range(1, len(self.shape)))
        total: Any = ops.sum(weights * far, axis=axes)
        return total / ops.sum(weights, axis=axes)

    def _shaded(self, batch: Batch) -> Batch:
        """With the moving scan in other contrast and noise, those of the critic's copies."""
        return {**batch, "moving": copies.shaded(batch["moving"], batch)}
