"""What a model sees of one scan, and the way back."""

from dataclasses import dataclass

import numpy as np

from ganatomy.scans.field import Field
from ganatomy.scans.tiles import Tiles


@dataclass(eq=False)
class Prepared:
    """Samples for a model and their place in the scan: its parts, each judged by itself.

    Args:
        whole: float32 `[m, *grid, channels]`; m is 1, or the slices of a volume for a 2D model.
        field: which part of the scan that covers.
        alignment: shifts (fractions of the side) and log-scales, [2 × rank]; None where the
            preprocessing does not align.
        inside: which pixels show what the model is to judge, bool `[m, *grid]`; None where all do.
        tiles: what of it are the samples; None where it is them.
    """

    whole: np.ndarray
    field: Field
    alignment: np.ndarray | None = None
    inside: np.ndarray | None = None
    tiles: Tiles | None = None

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.whole) if self.tiles is None else len(self.tiles)

    @property
    def samples(self) -> np.ndarray:
        """What the model sees, float32 `[n, *size, channels]`; tiles are cut when asked for."""
        return self._parts(self.whole)

    @property
    def mask(self) -> np.ndarray | None:
        """Of the samples, which pixels the model is to judge, bool `[n, *size]`; None is all."""
        return None if self.inside is None else self._parts(self.inside)

    @property
    def placements(self) -> np.ndarray:
        """Model index to scan index, float64 `[n, scan rank + 1, model rank + 1]`, homogeneous."""
        matrices = self.field.matrices()
        return matrices if self.tiles is None else self.tiles.matrices(matrices)

    def back(self, maps: np.ndarray) -> np.ndarray:
        """Maps on the model's grid, on the scan's own grid; those of tiles are blended first.

        Args:
            maps: `[n, *size]`.

        Returns:
            float32 `[i, j(, k)]`; linear interpolation, NaN where the model never saw the voxel
            or it lies outside the mask.
        """
        size = self.field.size if self.tiles is None else self.tiles.size
        expected = (len(self), *size)
        if maps.shape != expected:
            raise ValueError(f"maps have shape {maps.shape}, expected {expected}")
        if self.tiles is not None:
            maps = self.tiles.blend(maps, self.whole.shape[:-1])
        if self.inside is None:
            return self.field.back(maps)
        # At the mask's border only what is inside is interpolated: no NaN spreads, nothing fades.
        inside = self.field.back(self.inside.astype(np.float32))
        values = self.field.back(np.where(self.inside, maps, 0).astype(np.float32))
        known = inside >= 0.5
        return np.where(known, values / np.where(known, inside, 1), np.nan).astype(np.float32)

    def _parts(self, array: np.ndarray) -> np.ndarray:
        return array if self.tiles is None else self.tiles.cut(array)
