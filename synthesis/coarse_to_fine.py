"""From coarse to fine, with the boundaries of what is drawn made along with the image."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy import losses
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks.blocks import of_rank
from synthesis.judging import feature_matching, fooled, told_apart
from synthesis.pix2pix import Pix2Pix, beside

Tensor = Any


class CoarseToFine(Pix2Pix):
    """Two generators, one on the halved grid and one on the whole, that also draw boundaries.

    The scan is a map of labels. The first generator makes of the map at half the grid a coarse
    image and the boundaries of its labels; the second sees the whole map beside both, doubled, and
    makes the image and boundaries. That boundaries come out too, and are judged along with the
    image, keeps the generators from blurring what the map says. Each has a discriminator, which
    sees map, image and boundaries. The first pair is trained in the stage `coarse`, then both
    generators with the second discriminator in `fine`, whose player is `generator`.

    Terms of `coarse`: `adversarial`, `l1` (100) and `boundary` (100), the mean absolute difference
    to the true boundaries. Of `generator` those of `Pix2Pix`, without `draft`, and `boundary`
    (100). Of either discriminator `adversarial`.

    Args:
        shape: of one sample of the map, (*size, C), sides even.
        target_channels: of the image.
        step: by how much the map changes at a boundary at least; labels 0 to n in a window of
            them lie 2 / n apart.
        **settings: of `Pix2Pix` but `cascade`; there is no dropout and no gradient penalty.

    Raises:
        ValueError: odd sides, or settings that do not fit each other.

    Reference: Mok and Chung 2018, Learning data augmentation for brain tumor segmentation with
    coarse-to-fine generative adversarial networks; Wang et al. 2018 for both generators trained
    together in the end. Weights are pix2pix's.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **{k: v for k, v in Pix2Pix.default_weights.items() if "draft" not in k},
        "generator/boundary": 100.0,
        "coarse/l1": 100.0,
        "coarse/boundary": 100.0,
        "coarse_discriminator/adversarial": 0.5,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        step: float = 0.5,
        **settings: Any,
    ):
        if any(side % 2 for side in shape[:-1]):
            raise ValueError(f"a grid that is halved has even sides, not {tuple(shape[:-1])}")
        if settings.get("cascade", 1) != 1 or settings.get("dropout"):
            raise ValueError("coarse to fine are two generators as they are: no cascade or dropout")
        self.step_at_boundaries = step
        super().__init__(shape, target_channels, **{**settings, "dropout": 0.0})
        if self._weighed("discriminator/penalty"):
            raise ValueError("coarse to fine has no gradient penalty")

    @property
    def noise(self) -> dict[str, Noise]:
        return {}

    def build_networks(self) -> dict[str, keras.Model]:
        half = tuple(side // 2 for side in self.shape[:-1])
        seen, made = self.shape[-1], self.target_shape[-1] + 1
        return {
            "coarse": self.generator_of("coarse", seen, made, half),
            "generator": self.generator_of("generator", seen + made, made),
            "coarse_discriminator": self.critic_of("coarse_discriminator", seen + made, half),
            "discriminator": self.critic_of("discriminator", seen + made),
        }

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "coarse",
                Critic("coarse_discriminator", self.coarse_discriminator_terms),
                Player("coarse", self.coarse_terms),
                play=self.play_coarse,
            ),
            Stage(
                "fine",
                Critic("discriminator", self.discriminator_terms),
                Player("generator", self.generator_terms, ("coarse", "generator")),
            ),
        ]

    # Both grids ----------------------------------------------------------------------------------

    def halved(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The map and its target, image and boundaries, on the coarse grid.

        Of the map every second voxel, so that it has no new values; of the others means over two.
        """
        scan = batch["scan"]
        rank = len(scan.shape) - 2
        some = scan[(slice(None), *[slice(None, None, 2)] * rank)]
        means: Tensor = ops.average_pool(ops.cast(batch["target"], "float32"), 2)
        return some, beside(means, self.boundaries(some))

    def whole(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The map and its target, image and boundaries."""
        return batch["scan"], beside(batch["target"], self.boundaries(batch["scan"]))

    def boundaries(self, scan: Tensor) -> Tensor:
        """1 where a map changes between a voxel and its neighbours, else -1, [B, *grid, 1]."""
        x: Tensor = ops.cast(scan, "float32")
        high: Tensor = ops.max_pool(x, 3, strides=1, padding="same")
        low: Tensor = ops.negative(ops.max_pool(ops.negative(x), 3, strides=1, padding="same"))
        change: Tensor = ops.max(high - low, axis=-1, keepdims=True)
        return ops.where(change >= self.step_at_boundaries, 1.0, -1.0)

    # Training ------------------------------------------------------------------------------------

    def play_coarse(self, batch: Batch) -> dict[str, Tensor]:
        scan, _ = self.halved(batch)
        return {"made": self.networks["coarse"](scan, training=True)}

    def play(self, batch: Batch) -> dict[str, Tensor]:
        made = self._made(batch["scan"], self.networks.__getitem__, training=True)
        return {"made": made, "generated": made[..., :-1]}

    def _made(self, scan: Tensor, part: Any, *, training: bool) -> Tensor:
        """Image and boundaries on the whole grid, [B, *size, C' + 1]."""
        rank = len(scan.shape) - 2
        some = scan[(slice(None), *[slice(None, None, 2)] * rank)]
        doubled = of_rank("UpSampling", rank)(2)(part("coarse")(some, training=training))
        return part("generator")(beside(scan, doubled), training=training)

    def _said(self, name: str, scan: Tensor, image: Tensor) -> Any:
        return self.networks[name](beside(scan, image), training=True)

    def coarse_discriminator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        return self._told("coarse_discriminator", *self.halved(batch), played["made"])

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        return self._told("discriminator", *self.whole(batch), played["made"])

    def _told(self, name: str, scan: Tensor, target: Tensor, made: Tensor) -> dict[str, Any]:
        real, fake = self._said(name, scan, target), self._said(name, scan, made)
        return {"adversarial": told_apart(self.adversary, real, fake)}

    def coarse_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        scan, target = self.halved(batch)
        made = played["made"]
        return {
            "adversarial": fooled(self.adversary, self._said("coarse_discriminator", scan, made)),
            "l1": lambda: losses.l1(made[..., :-1], target[..., :-1]),
            "boundary": lambda: losses.l1(made[..., -1:], target[..., -1:]),
        }

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        (scan, target), made = self.whole(batch), played["made"]
        judged = self._said("discriminator", scan, made)
        return {
            "adversarial": fooled(self.adversary, judged),
            "features": lambda: feature_matching(self._said("discriminator", scan, target), judged),
            "boundary": lambda: losses.l1(made[..., -1:], target[..., -1:]),
            **self.image_terms(played["generated"], batch),
        }

    # Translation ---------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self._made(x, self.network, training=False)[..., :-1]
