"""What a model sees of one scan, and the way back."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ganatomy.scans.field import Field
from ganatomy.scans.tiles import Tiles

# The grey values of a scan that -1 and 1 stand for.
Ends = tuple[float, float]


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
        neighbours: so many parts on either side of each are further channels of its samples.
        ends: the grey values that -1 and 1 stand for; None where that is unknown.
    """

    whole: np.ndarray
    field: Field
    alignment: np.ndarray | None = None
    inside: np.ndarray | None = None
    tiles: Tiles | None = None
    neighbours: int = 0
    ends: Ends | None = None

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.whole) if self.tiles is None else len(self.tiles)

    @property
    def samples(self) -> np.ndarray:
        """What the model sees, float32 `[n, *size, channels]`; made when asked for."""
        if not self.neighbours:
            return self._parts(self.whole)
        return np.stack([self.sample(number) for number in range(len(self))])

    def sample(self, number: int) -> np.ndarray:
        """One of the samples, `[*size, channels]`."""
        part, box = (number, ()) if self.tiles is None else self.tiles.place(number)
        last, near = len(self.whole) - 1, range(-self.neighbours, self.neighbours + 1)
        beside = [self.whole[min(max(part + step, 0), last)][box] for step in near]
        return beside[0] if len(beside) == 1 else np.concatenate(beside, axis=-1)

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
        return self._placed(maps)

    def assemble(self, outputs: Iterable[np.ndarray]) -> np.ndarray:
        """What a model made of the samples as one image on the scan's own grid; see `back`.

        Args:
            outputs: `[*size, c]` of each sample in order; of tiles one is held at a time.

        Returns:
            float32 `[i, j(, k), c]`.
        """
        grid = self.whole.shape[:-1]
        made = np.stack(list(outputs)) if self.tiles is None else self.tiles.blend(outputs, grid)
        return np.stack([self._placed(one) for one in np.moveaxis(made, -1, 0)], axis=-1)

    def _placed(self, maps: np.ndarray) -> np.ndarray:
        if self.inside is None:
            return self.field.back(maps)
        # At the mask's border only what is inside is interpolated: no NaN spreads, nothing fades.
        inside = self.field.back(self.inside.astype(np.float32))
        values = self.field.back(np.where(self.inside, maps, 0).astype(np.float32))
        known = inside >= 0.5
        return np.where(known, values / np.where(known, inside, 1), np.nan).astype(np.float32)

    def _parts(self, array: np.ndarray) -> np.ndarray:
        return array if self.tiles is None else self.tiles.cut(array)
