"""Translation models that need no training, whose answers are known."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ganatomy.artifacts import Artifact
from ganatomy.game import Player, Stage
from ganatomy.registry import Preset
from synthesis.translation import Translation


class Negative(Translation):
    """The scan turned from dark to bright, in every channel of the target.

    Args:
        tilt: this times the mean of a window is added to it: as far as a network that normalises
            each window by itself makes windows differ.
    """

    grids = {"target": "scan"}  # noqa: RUF012

    def __init__(self, *, tilt: float = 0.0, **translation: Any):
        super().__init__(**translation)
        self.tilt = tilt
        self.assemble()

    def build_networks(self) -> dict[str, keras.Model]:
        inputs: Any = keras.Input(self.shape, name="scan")
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="weight")
        middle = self.shape[-1] // 2
        return {"generator": keras.Model(inputs, layer(inputs[..., middle : middle + 1]))}

    def stages(self) -> list[Stage]:
        return [Stage("adversarial", Player("generator", self.terms))]

    def play(self, batch: Any) -> Any:
        return self.generate(batch["scan"])

    def terms(self, batch: Any, played: Any) -> dict[str, Any]:
        return {"far": ops.mean(ops.abs(played), axis=range(1, len(self.shape) + 1))}

    def generate(self, x: Any) -> Any:
        made = -self.networks["generator"](x)
        axes = tuple(range(1, len(self.shape) + 1))
        made = made + self.tilt * ops.mean(x, axis=axes, keepdims=True)
        return ops.repeat(made, self.target_shape[-1], axis=-1)


# What targets of the models below were: CT.
CT = {"low": -1000.0, "high": 1000.0, "exact": True, "units": "HU", "modality": "CT"}
T2 = {"low": 0.0, "high": 900.0, "exact": False, "units": "unknown", "modality": "MR"}


def preset(rank: int = 2, **sections: Any) -> Preset:
    tree: dict[str, Any] = {
        "name": "negative",
        "title": "a test's",
        "task": "translate",
        "model": "tests.synthesis.translators:Negative",
        "rank": rank,
        "roles": {"scan": "any", "target": "its negative"},
        "paper": "none",
        "cost": "none",
        "preprocessing": {"rank": rank, "size": [16, 12, 8][:rank], "overlap": 0.5},
        "training": {"batch_size": 2, "steps": {"adversarial": 1}, "every": 1},
    }
    return Preset(**{**tree, **sections})


def artifact(rank: int = 2, target: Any = None, **sections: Any) -> Artifact:
    """An untrained model with the facts of a trained one."""
    from ganatomy.scans import Preprocessing

    made = preset(rank, **sections)
    shape = Preprocessing(**made.preprocessing).shape
    model = Negative(shape=shape, **made.hyperparameters)
    return Artifact(made, model, shape, {}, {"target": target or T2})
