"""What a model sees of one scan, and the way back."""

from dataclasses import dataclass

import numpy as np

from ganatomy.scans.field import Field


@dataclass(eq=False)
class Prepared:
    """Samples for a model and their place in the scan.

    Args:
        samples: float32 `[n, *size, channels]`; n is 1, or the slices of a volume for a 2D model.
        field: which part of the scan the samples cover.
        alignment: shifts (fractions of the side) and log-scales, [2 × rank]; None where the
            preprocessing does not align.
        mask: which pixels of the samples show what the model is to judge, bool `[n, *size]`; None
            where all do.
    """

    samples: np.ndarray
    field: Field
    alignment: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def placements(self) -> np.ndarray:
        """Model index to scan index, float64 `[n, scan rank + 1, model rank + 1]`, homogeneous."""
        return self.field.matrices()

    def back(self, maps: np.ndarray) -> np.ndarray:
        """Maps on the model's grid, on the scan's own grid.

        Args:
            maps: `[n, *size]`.

        Returns:
            float32 `[i, j(, k)]`; linear interpolation, NaN where the model never saw the voxel
            or it lies outside the mask.
        """
        expected = (len(self.samples), *self.field.size)
        if maps.shape != expected:
            raise ValueError(f"maps have shape {maps.shape}, expected {expected}")
        if self.mask is None:
            return self.field.back(maps)
        # At the mask's border only what is inside is interpolated: no NaN spreads, nothing fades.
        inside = self.field.back(self.mask.astype(np.float32))
        values = self.field.back(np.where(self.mask, maps, 0).astype(np.float32))
        known = inside >= 0.5
        return np.where(known, values / np.where(known, inside, 1), np.nan).astype(np.float32)
