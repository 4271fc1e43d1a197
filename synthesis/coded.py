"""pix2pix with a latent code: what the scan does not say, such as the colour of a stain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ganatomy import losses
from ganatomy.game import Batch, Noise, Player, Stage
from ganatomy.networks import encoder
from ganatomy.networks.grid import pyramid
from ganatomy.objectives import per_sample
from synthesis.judging import fooled
from synthesis.pix2pix import Pix2Pix, beside

Tensor = Any


class Coded(Pix2Pix):
    """A scan gives the structure, a code the look: one structure in as many looks as codes.

    The generator sees the code as constant maps beside the scan. An encoder says of an image which
    codes it may have, a mean and a variance, and is trained along with the generator. Of every
    sample an image is made twice: with a code that the encoder gives of the target, which has to
    come out again, and with a code drawn from N(0, I), which the discriminator judges too and the
    encoder has to find again, so that no code is ignored (the bound of mutual information).

    Terms of the generator: those of `Pix2Pix`, of the target's own code; `drawn`, the adversarial
    one of the drawn code (1); `code`, minus the log likelihood of the drawn code under a Gaussian
    of variance 1 about the encoder's mean, without its constant, the mean over its numbers (1);
    `kl`, of the encoder's codes from N(0, I), the mean over its numbers (0.1).

    A scan is translated with the code `look`, without one with the mean look, zeros;
    `code_of` gives that of an image whose look is wanted.

    Args:
        shape: of one sample of the scan, (*size, C), a grid as `ganatomy.networks.encoder` takes.
        target_channels: of the target; those of the scan where None.
        latent: numbers of a code.
        encoder_width: channels of the encoder's first block.
        look: the code that scans are translated with.
        **settings: of `Pix2Pix`.

    Raises:
        ValueError: a look of another length, or a grid that the encoder does not take.

    Reference: Chen et al. 2016 (InfoGAN), equation 5, for the code; Zanjani et al. 2018,
    Stain normalization of histopathology images using generative adversarial networks; Zhu et al.
    2017 (BicycleGAN), equation 7, for a code that comes of the target.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Pix2Pix.default_weights,
        "generator/drawn": 1.0,
        "generator/code": 1.0,
        "generator/kl": 0.1,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        latent: int = 4,
        encoder_width: int = 32,
        look: Sequence[float] | None = None,
        **settings: Any,
    ):
        if look is not None and len(look) != latent:
            raise ValueError(f"a look has {latent} numbers, not {len(look)}")
        pyramid(tuple(shape))
        self.latent, self.encoder_width = latent, encoder_width
        self.look = np.zeros(latent, "float32") if look is None else np.array(look, "float32")
        super().__init__(shape, target_channels, **settings)

    @property
    def seen_channels(self) -> int:
        return self.shape[-1] + self.latent

    @property
    def noise(self) -> dict[str, Noise]:
        kinds = {"z": Noise("normal", (self.latent,)), "spread": Noise("normal", (self.latent,))}
        return {**super().noise, **kinds}

    def build_networks(self) -> dict[str, keras.Model]:
        made = encoder(
            self.target_shape, 2 * self.latent, "dcgan", self.encoder_width, "instance", None
        )
        return {**super().build_networks(), "encoder": made}

    def stages(self) -> list[Stage]:
        (stage,) = super().stages()
        owned = (*self.chain, "encoder")
        return [Stage(stage.name, *stage.critics, Player("generator", self.generator_terms, owned))]

    # Codes ---------------------------------------------------------------------------------------

    def _encoded(self, network: Any, images: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
        both = network(images, training=training)
        return both[:, : self.latent], both[:, self.latent :]

    def code_of(self, images: np.ndarray) -> np.ndarray:
        """The mean codes of images [n, *size, C'], in [-1, 1]: [n, latent]."""
        images = np.asarray(images, np.float32)
        return np.asarray(self._encoded(self.network("encoder"), images, training=False)[0])

    def with_code(self, scan: Tensor, code: Tensor) -> Tensor:
        """Scans beside their codes [B, latent] as constant maps."""
        rank = len(scan.shape) - 2
        maps: Tensor = ops.reshape(code, (-1, *[1] * rank, self.latent))
        sizes: Any = ops.shape(scan)
        ones = ops.ones((sizes[0], *self.shape[:-1], 1))
        return beside(scan, maps * ones)

    # Training ------------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Any]:
        scan = batch["scan"]
        mean, log_variance = self._encoded(self.networks["encoder"], batch["target"], training=True)
        own = mean + ops.exp(log_variance / 2) * batch["spread"]
        made = self.made_of(self.with_code(scan, own), batch)
        drawn = self.made_of(self.with_code(scan, batch["z"]), batch)
        return {
            "drafts": made[:-1],
            "generated": made[-1],
            "drawn": drawn[-1],
            "mean": mean,
            "log_variance": log_variance,
        }

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        found, _ = self._encoded(self.networks["encoder"], played["drawn"], training=True)
        missed: Tensor = ops.square(found - batch["z"])
        return {
            **super().generator_terms(batch, played),
            "drawn": fooled(self.adversary, self.judge(batch["scan"], played["drawn"])),
            "code": per_sample(missed / 2),
            "kl": lambda: losses.kl_divergence(
                played["mean"], played["log_variance"], reduction="mean"
            ),
        }

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        drawn = {**played, "generated": played["drawn"]}
        own = super().discriminator_terms(batch, played)
        other = super().discriminator_terms(batch, drawn)
        return {
            "adversarial": (own["adversarial"] + other["adversarial"]) / 2,
            "penalty": lambda: (own["penalty"]() + other["penalty"]()) / 2,
        }

    # Translation ---------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.made_of(self.with_code(x, ops.convert_to_tensor(self.look[None])))[-1]
