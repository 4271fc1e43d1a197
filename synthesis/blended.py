"""A regression and pix2pix side by side: where the first says hot it is believed."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy import losses
from ganatomy.game import Batch, Player, Stage
from synthesis.pix2pix import Pix2Pix

Tensor = Any


class Blended(Pix2Pix):
    """pix2pix whose translation is a regression's where that is hot.

    A second network, without a discriminator, is trained along: least squares, of hot voxels more.
    It finds high uptake more often, and says more rightly how high, but is blurred elsewhere; so a
    translation takes its voxels where it lies above a threshold, and the generator's all around.

    Terms of the player `regressor`: `l2` over the image, and `hot`, the mean square over the
    voxels of which the target lies above the threshold, both with weight 1. All others are those of
    `Pix2Pix`.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: of the target; those of the scan where None.
        hot: the threshold, in the target's range from -1 to 1: the uptake of 2.5 that was published
            is 0 where 0 to 5 are prepared to -1 to 1.
        **settings: of `Pix2Pix`; the regression's network is a generator of the same kind.

    Reference: Ben-Cohen et al. 2017, Virtual PET images from CT data using deep convolutional
    networks, and 2018, Cross-modality synthesis from CT to PET; there the squares are weighed by
    how rare an uptake is, here by the threshold.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Pix2Pix.default_weights,
        "regressor/l2": 1.0,
        "regressor/hot": 1.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        hot: float = 0.0,
        **settings: Any,
    ):
        self.hot = hot
        super().__init__(shape, target_channels, **settings)

    def build_networks(self) -> dict[str, keras.Model]:
        without: dict[str, Any] = {"dropout": 0.0} if self.dropout else {}
        regressor = self.generator_of("regressor", self.shape[-1], self.target_shape[-1], **without)
        return {**super().build_networks(), "regressor": regressor}

    def stages(self) -> list[Stage]:
        (stage,) = super().stages()
        return [
            Stage(stage.name, *stage.players, Player("regressor", self.regressor_terms)),
        ]

    def play(self, batch: Batch) -> dict[str, Any]:
        regressed = self.networks["regressor"](batch["scan"], training=True)
        return {**super().play(batch), "regressed": regressed}

    def regressor_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        made, target = played["regressed"], batch["target"]
        hottest: Tensor = ops.max(ops.cast(target, "float32"), axis=-1)
        return {
            "l2": lambda: losses.l2(made, target),
            "hot": lambda: losses.l2(made, target, within=hottest > self.hot),
        }

    def generate(self, x: Tensor) -> Tensor:
        regressed: Tensor = self.network("regressor")(x, training=False)
        return ops.where(regressed > self.hot, regressed, super().generate(x))
