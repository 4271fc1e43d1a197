"""Motions that an anatomy might make: a generator of deformations of one image, to sample from."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers, ops

from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.gradients import compiled
from ganatomy.networks.blocks import of_rank
from ganatomy.networks.unet import unet
from registration.deformable import Deformable
from registration.pair_critic import pair_critic
from registration.regularity import folding_penalty
from registration.velocity_network import COARSE, coarse_grid, interpolated

Tensor = Any

_SEED = 4  # points an axis of the grid that a code is laid out on
_CLOSEST = 1e-3  # codes or flows nearer than this count as so near


class Motion(Deformable):
    """A registration model, then a generator that makes motions like those it found.

    The first stage is `Deformable`'s: any image flows onto any other. In the second its generator
    stands still, and the flows it finds between one image and others are what real deformations of
    that image look like. A generator gets the image and a code, and gives a velocity at half the
    image's resolution; a critic tells an image with a found flow from the image with a made one.
    What comes out is sampled by drawing codes: `motions`.

    Terms of the player `motion`: `adversarial`, `folding`, and `variety`, which is large where two
    codes give nearly one flow.

    Args:
        shape: of one sample, (*size, channels).
        latent: numbers in a code.
        motion_width: channels of the generator of motions on the coarse grid.
        **settings: of `Deformable`; `adversary` and `spectral` are of both critics.

    Reference: Hu et al. 2018 (MICCAI), "Adversarial deformation regularization for training image
    registration neural networks", the adversarial term, whose real deformations are simulated by
    finite elements and here found; Mao et al. 2019 (CVPR), equation 3, for the variety.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Deformable.default_weights,
        "motion/folding": 1.0,
        "motion/variety": 0.1,
    }

    def __init__(
        self, shape: tuple[int, ...], latent: int = 16, motion_width: int = 16, **settings: Any
    ):
        self.latent, self.motion_width = latent, motion_width
        super().__init__(shape, **settings)

    @property
    def noise(self) -> dict[str, Noise]:
        code = Noise("normal", (self.latent,))
        return {**super().noise, "code": code, "other_code": code}

    def build_networks(self) -> dict[str, keras.Model]:
        channels = self.shape[-1] + len(self.grid)
        critic = pair_critic(
            (*coarse_grid(self.grid), channels),
            self.critic_width,
            spectral=self.spectral,
            inputs=channels,
            name="critic",
        )
        motion = motion_generator(self.shape, self.latent, self.motion_width)
        return {**super().build_networks(), "motion": motion, "critic": critic}

    def stages(self) -> list[Stage]:
        """Registration, then motion."""
        return [
            *super().stages(),
            Stage(
                "motion",
                Critic("critic", self.critic_terms),
                Player("motion", self.motion_terms),
                play=self.play_motion,
            ),
        ]

    def play_motion(self, batch: Batch) -> dict[str, Tensor]:
        fixed = batch["fixed"]
        found = self.flow(self.velocity(fixed, batch["moving"]))
        motion = self.networks["motion"]
        return {
            "image": ops.average_pool(fixed, COARSE, COARSE, padding="same"),
            "found": ops.stop_gradient(found),
            "made": self.flow(motion([fixed, batch["code"]], training=True)),
        }

    def critic_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        found, made = (self._judged(played["image"], played[name]) for name in ("found", "made"))
        return {"adversarial": self.adversary.critic(found, made)}

    def motion_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        made = played["made"]
        return {
            "adversarial": self.adversary.generator(self._judged(played["image"], made)),
            "folding": lambda: folding_penalty(made),
            "variety": lambda: self.sameness(batch, made),
        }

    def sameness(self, batch: Batch, made: Tensor) -> Tensor:
        """The distance of two codes over that of their flows, [B]; both mean absolute ones.

        Reference: Mao et al. 2019, equation 3, upside down.
        """
        other_code = batch["other_code"]
        other = self.flow(self.networks["motion"]([batch["fixed"], other_code], training=True))
        axes = tuple(range(1, len(made.shape)))
        flows: Any = ops.mean(ops.abs(made - other), axis=axes)
        codes: Any = ops.mean(ops.abs(batch["code"] - other_code), axis=-1)
        return codes / ops.maximum(flows, _CLOSEST)

    def _judged(self, image: Tensor, flow: Tensor) -> Tensor:
        return self.networks["critic"](ops.concatenate([image, flow], axis=-1), training=True)

    # Sampling ---------------------------------------------------------------------------------

    def motions(self, image: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
        """Velocities of an image, as `transform` reads them.

        Args:
            image: a sample [1, *shape, channels].
            count: how many.
            seed: of the codes; the first of more are the same.

        Returns:
            [count, *coarse grid, rank], voxels of the coarse grid.
        """
        if "_made" not in vars(self):

            def made(image: Tensor, code: Tensor) -> Tensor:
                return self.network("motion")([image, code], training=False)

            object.__setattr__(self, "_made", compiled(made))
        codes = np.random.default_rng(seed).standard_normal((count, 1, self.latent))
        image = np.asarray(image, np.float32)
        return np.concatenate(
            [np.asarray(vars(self)["_made"](image, code.astype(np.float32))) for code in codes]
        )


def motion_generator(
    shape: tuple[int, ...], latent: int, width: int = 16, name: str = "motion"
) -> keras.Model:
    """An image and a code to a stationary velocity at half the image's resolution.

    The code is laid out on a few points an axis, spread over the grid, and goes through a U-Net
    beside what a convolution sees of the image.

    Args:
        shape: of one image, sides of 8 or more.
        latent: numbers in a code.
        width: channels on the coarse grid.

    Returns:
        [images [B, *grid, C], codes [B, latent]] -> [B, *coarse, rank] in voxels of the coarse
        grid, float32.
    """
    *grid, _ = shape
    rank, coarse = len(grid), coarse_grid(tuple(grid))
    image: Any = keras.Input(tuple(shape), name="image")
    code: Any = keras.Input((latent,), name="code")
    x = image
    odd = [side % COARSE for side in grid]
    if any(odd):
        x = ops.pad(x, [(0, 0), *((0, n) for n in odd), (0, 0)], mode="symmetric")
    x = of_rank("HalvingConv", rank)(width, kernel_initializer="he_normal", name="coarse")(x)
    places = [np.linspace(0, _SEED - 1, side) for side in coarse]
    few = layers.Dense(_SEED**rank * width, name="layout")(code)
    few = layers.Reshape((*[_SEED] * rank, width), name="laid_out")(few)
    x = ops.concatenate([x, interpolated(few, places)], axis=-1)
    x = layers.LeakyReLU(negative_slope=0.2, name="coarse_out")(x)
    body = unet((*coarse, 2 * width), rank, width=width, norm=None, name="velocity")
    last = body.get_layer("output")
    last.kernel.assign(last.kernel * 0.1)
    return keras.Model([image, code], body(x), name=name)
