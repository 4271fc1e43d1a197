"""Registration models that need no training, whose answers are known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ganatomy.artifacts import Artifact
from ganatomy.game import Player, Stage
from ganatomy.registry import Preset
from registration.aligner import Aligner, Alignment
from registration.deformations import Displacement
from registration.transforms import Affine, Transform


class ByMass(Aligner):
    """Shifts the moving sample so that its centre of mass lies on the fixed one's.

    The score is the share of the intensities that then agree, times a weight that is trained.
    """

    def __init__(self, *, shape: tuple[int, ...], bends: bool = False, **settings: Any):
        super().__init__(**settings)
        self.shape, self.bends = tuple(shape), bends
        self.assemble()

    def build_networks(self) -> dict[str, keras.Model]:
        inputs: Any = keras.Input((1,), name="agreement")
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="weight")
        return {"discriminator": keras.Model(inputs, layer(inputs), name="discriminator")}

    def stages(self) -> list[Stage]:
        return [Stage("adversarial", Player("discriminator", self.terms))]

    def play(self, batch: Any) -> Any:
        return self.examine(batch["fixed"], batch["moving"])

    def terms(self, batch: Any, played: Any) -> dict[str, Any]:
        return {"adversarial": ops.square(played[2] - 1.0)}

    def examine(self, fixed: Any, moving: Any):
        from registration.fields import warp

        shift = self._mass(moving) - self._mass(fixed)
        rank = len(self.shape) - 1
        field = ops.reshape(shift, (-1, *[1] * rank, rank)) + ops.zeros((1, *self.shape[:-1], rank))
        moved = warp(moving, field, border="constant", value=-1.0)
        score = self.judged(fixed, moved, ops.ones_like(moved[..., :1]))
        return (field if self.bends else shift), moved, score

    def judged(self, fixed: Any, moved: Any, seen: Any) -> Any:
        axes = tuple(range(1, len(self.shape) + 1))
        agreement = -ops.mean(ops.square(moved - fixed), axis=axes)
        return self.networks["discriminator"](ops.expand_dims(agreement, -1))[:, 0]

    def _mass(self, samples: Any) -> Any:
        """[B, rank], voxels; samples run from -1, which weighs nothing."""
        weight = ops.sum(samples + 1.0, axis=-1, keepdims=True)
        rank = len(self.shape) - 1
        places = np.moveaxis(np.indices(self.shape[:-1]), 0, -1)[None].astype("float32")
        axes = tuple(range(1, rank + 1))
        return ops.sum(weight * places, axis=axes) / ops.sum(weight, axis=axes)

    def transform(
        self, alignment: Alignment, index: int, fixed_grid: np.ndarray, moving_grid: np.ndarray
    ) -> Transform:
        rank = len(self.shape) - 1
        back = Affine(np.linalg.inv(fixed_grid))
        if self.bends:
            step = Displacement(alignment.transform[index], np.eye(rank + 1))
        else:
            shift = np.eye(rank + 1)
            shift[:-1, -1] = alignment.transform[index]
            step = Affine(shift)
        return back.then(step).then(Affine(moving_grid))


def recipe(rank: int = 3, size: tuple[int, ...] | None = None, **rest: Any) -> Preset:
    """A preset of `ByMass` that no package has to offer."""
    size = size or ((16,) * rank)
    spacing = (3.0,) * rank if rank == 3 else None
    return Preset(
        name="by-mass",
        title="Centres of mass",
        task="register",
        model="tests.registration.aligners:ByMass",
        rank=rank,  # pyright: ignore[reportArgumentType]
        roles={"fixed": "a scan", "moving": "a scan"},
        paper="none",
        cost="none",
        preprocessing={
            "rank": rank,
            "size": list(size),
            "spacing": spacing,
            "normalise": "range",
            **rest,
        },
        training={"steps": {"adversarial": 2}, "every": 1, "batch_size": 2, "holdout": 0.5},
    )


def artifact(rank: int = 3, bends: bool = False, **rest: Any) -> Artifact:
    """`ByMass` as a trained model."""
    preset = recipe(rank, **rest)
    shape = (*preset.preprocessing["size"], 1)
    preset.hyperparameters["bends"] = bends
    return Artifact(preset, ByMass(shape=shape, bends=bends), shape)


def batch_of(model: Any, count: int = 2, labels: int = 0) -> dict[str, np.ndarray]:
    """A batch of noise, with the model's own noise and, where asked for, labels."""
    draw = np.random.default_rng(0)
    batch: dict[str, Any] = {
        role: draw.uniform(-1, 1, (count, *model.shape)) for role in ("fixed", "moving")
    }
    for name, noise in model.noise.items():
        kind = draw.normal if noise.kind == "normal" else draw.uniform
        batch[name] = kind(size=(count, *noise.shape))
    if labels:
        for role in ("fixed_labels", "moving_labels"):
            batch[role] = draw.integers(0, labels + 1, (count, *model.shape))
    return {name: array.astype("float32") for name, array in batch.items()}
