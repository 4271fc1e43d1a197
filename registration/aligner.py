"""What every registration model is: a game of a fixed and a moving scan that yields a transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from ganatomy.game import AdversarialModel, Critic, Player, Stage
from ganatomy.gradients import compiled
from registration.transforms import Transform

Tensor = Any

SHOWN = -0.8  # what is lighter in a sample belongs to the patient
APART = 0.02  # what a voxel of the background counts


@dataclass(frozen=True, eq=False)
class Alignment:
    """What a model says of pairs, on the grid of the network.

    Attributes:
        transform: what `Aligner.transform` reads: parameters [n, p], or a field
            [n, *shape, rank] in voxels of the grid, which says of every voxel of the fixed sample
            where the moving sample is looked up: `moved(x) = moving(x + u(x))`.
        moved: the moving samples on the fixed ones, [n, *shape, channels].
        score: how well each pair is aligned as the discriminator sees it, [n]; higher is better.
    """

    transform: np.ndarray
    moved: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.score)


class Aligner(AdversarialModel):
    """Base of the registration models.

    A batch holds `fixed` and `moving`, [B, *shape, channels] on one grid: each scan is prepared on
    a grid of the same size and spacing, centred on it, so the network's transform is between the
    two centres and `transform` adds where the grids lie in mm.

    Where `roles` calls `moving` "independent", any scan is paired with any other. Where it is
    "joined", a pair is of one patient, and a model may say `grids = {"moving": "fixed"}`: the
    moving scan is then prepared on the fixed scan's grid in mm, so that what the two headers say
    of their place holds for the samples. `fixed_labels` and `moving_labels`, whole numbers
    [B, *shape, 1] on their scan's grid, are in a batch where the table has them.

    `bends` says whether `transform` gives more than rigid or affine maps, `bending` by how many mm
    on average at most scans are bent beside what such a map can undo.
    """

    task: ClassVar[str] = "register"
    bends: bool = True
    bending: float = 0.0
    roles: ClassVar[dict[str, str]] = {
        "fixed": "joined",
        "moving": "independent",
        "fixed_labels": "fixed",
        "moving_labels": "moving",
    }

    @property
    def generators(self) -> tuple[str, ...]:
        """The networks that the player `generator` moves."""
        return ("generator",)

    def stages(self) -> list[Stage]:
        """One: the discriminator, then the generator."""
        return [
            Stage(
                "adversarial",
                Critic("discriminator", self.discriminator_terms),
                Player("generator", self.generator_terms, self.generators),
            )
        ]

    def discriminator_terms(self, batch: Any, played: Any) -> dict[str, Any]:
        """What the discriminator minimises, by name; see `ganatomy.game.Player`."""
        raise NotImplementedError

    def generator_terms(self, batch: Any, played: Any) -> dict[str, Any]:
        """What the generator minimises, by name."""
        raise NotImplementedError

    def examine(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `Alignment` holds, of pairs [B, *shape, channels], each by itself; in the graph."""
        raise NotImplementedError

    def judged(self, fixed: Tensor, moved: Tensor, seen: Tensor) -> Tensor:
        """The discriminator's score of pairs as they are, [B]; in the graph; see `judge`."""
        return self.network("discriminator")(joined(fixed, moved), training=False)

    def judge(self, fixed: np.ndarray, moved: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """How well pairs are aligned as the discriminator sees them, whoever aligned them.

        Args:
            fixed: samples [n, *shape, channels].
            moved: moving samples on the fixed ones' grid, dark where they show nothing.
            seen: [n, *shape, 1], 1 where they show something, 0 where nothing.

        Returns:
            [n], higher is better; of `Alignment.moved` what `Alignment.score` holds.
        """
        if "_judged" not in vars(self):
            object.__setattr__(self, "_judged", compiled(self.judged))
        pairs = zip(fixed, moved, seen, strict=True)
        arrays = ([np.asarray(part, np.float32)[None] for part in pair] for pair in pairs)
        return np.concatenate([np.asarray(self._judged(*pair)) for pair in arrays])

    def align(self, fixed: np.ndarray, moving: np.ndarray) -> Alignment:
        """Align pairs one by one, so that none depends on the others.

        Args:
            fixed: samples [n, *shape, channels].
            moving: the same.

        Raises:
            ValueError: no pairs, or shapes that are not the model's.
        """
        fixed, moving = np.asarray(fixed, np.float32), np.asarray(moving, np.float32)
        if fixed.shape != moving.shape or not len(fixed):
            raise ValueError(
                f"fixed has shape {fixed.shape}, moving {moving.shape}; expected one or more pairs "
                "of one shape"
            )
        if "_examine" not in vars(self):
            object.__setattr__(self, "_examine", compiled(self.examine))
        found = [
            [np.asarray(part) for part in self._examine(f[None], m[None])]
            for f, m in zip(fixed, moving, strict=True)
        ]
        return Alignment(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def transform(
        self, alignment: Alignment, index: int, fixed_grid: np.ndarray, moving_grid: np.ndarray
    ) -> Transform:
        """The transform of one pair, of the fixed scan's points to the moving scan's, in mm.

        Args:
            alignment: of `align`.
            index: which pair.
            fixed_grid: [rank + 1, rank + 1], voxel of the fixed sample's grid to mm (RAS; to
                pixels of the picture in 2D): the scan's affine times the sample's placement in it.
            moving_grid: the same of the moving sample.
        """
        raise NotImplementedError


def joined(fixed: Tensor, moved: Tensor) -> Tensor:
    """A pair as networks see it, [B, *grid, 2 C]."""
    return ops.concatenate([fixed, moved], axis=-1)


def counted(image: Tensor) -> Tensor:
    """What each voxel of samples [B, *grid, C] counts where errors are averaged, [B, *grid]."""
    lightest: Any = ops.max(image, axis=-1)
    shown: Any = ops.cast(lightest > SHOWN, "float32")
    return shown + APART
