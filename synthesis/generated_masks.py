"""Pairs out of nothing: masks that are themselves generated, and the images of them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import layers, ops

from ganatomy import losses
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import dcgan_critic, dcgan_generator, encoder
from synthesis.pix2pix import Pix2Pix

Tensor = Any
SHOWN = 4  # pairs on a picture of how training goes


class GeneratedMasks(Pix2Pix):
    """pix2pix from masks to images, and a generator of masks: a code gives a mask and its image.

    The scan is a mask. Masks are learned in one of two ways, in the same steps as the images:

    - "noise": a DCGAN makes them of codes from N(0, I), against a critic of masks (Guibas et al.:
      two GANs, one behind the other, of which neither sees the other's loss).
    - "autoencoder": an encoder gives codes of true masks and a decoder masks of codes; a critic
      of codes makes them N(0, I) (Costa et al.: an adversarial autoencoder). The decoder also
      learns by what the generator makes of its masks, which has to be the target of the true one,
      so that both are one system.

    Terms of the player `masks`: of "noise" `adversarial`; of "autoencoder" `mask`, the mean
    absolute difference of a mask and its reconstruction (10), `adversarial`, of the codes (1), and
    `through`, that of the target and the generator's image of the reconstruction (1). Of its
    critic, `mask_critic`: `adversarial`. Terms of the generator and its discriminator are those of
    `Pix2Pix`, of true masks.

    `draw` makes pairs; `translate` makes images of given masks.

    Args:
        shape: of one sample of the mask, (*size, C); see `ganatomy.networks.grid.pyramid`.
        target_channels: of the image.
        masks: "noise" or "autoencoder".
        latent: numbers of a code.
        mask_width: channels of the masks' networks at their finest hidden grid.
        **settings: of `Pix2Pix`.

    Raises:
        ValueError: a grid that a DCGAN does not take, or another kind of masks.

    Reference: Guibas, Virdi, Li 2017, Synthetic medical images from dual generative adversarial
    networks; Costa et al. 2018, End-to-end adversarial retinal image synthesis, whose code has the
    weight 100 for `mask`, the cross entropy where masks are binary, and for `through`. All images
    are made of reconstructed masks there; here the discriminator sees those of true ones.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Pix2Pix.default_weights,
        "masks/adversarial": 1.0,
        "masks/mask": 10.0,
        "masks/through": 1.0,
        "mask_critic/adversarial": 1.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        masks: Literal["noise", "autoencoder"] = "noise",
        latent: int = 32,
        mask_width: int = 32,
        **settings: Any,
    ):
        if masks not in ("noise", "autoencoder"):
            raise ValueError(f"masks is noise or autoencoder, not {masks!r}")
        self.masks, self.latent, self.mask_width = masks, latent, mask_width
        super().__init__(shape, target_channels, **settings)

    @property
    def noise(self) -> dict[str, Noise]:
        return {**super().noise, "z": Noise("normal", (self.latent,))}

    def build_networks(self) -> dict[str, keras.Model]:
        shape, width, latent = self.shape, self.mask_width, self.latent
        own = {"mask_generator": dcgan_generator(shape, latent, width, "batch", "mask_generator")}
        if self.masks == "noise":
            own["mask_critic"] = dcgan_critic(shape, width, "layer", name="mask_critic")
        else:
            own["mask_encoder"] = encoder(
                shape, latent, "dcgan", width, "batch", None, "mask_encoder"
            )
            own["mask_critic"] = _critic_of_codes(latent)
        return {**super().build_networks(), **own}

    def stages(self) -> list[Stage]:
        (stage,) = super().stages()
        owned = [n for n in self.networks if n.startswith("mask") and n != "mask_critic"]
        critic = Critic("mask_critic", self.mask_critic_terms)
        masks = Player("masks", self.mask_terms, tuple(owned))
        return [Stage(stage.name, *stage.critics, critic, *stage.rest, masks)]

    # Training ------------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Any]:
        played = super().play(batch)
        made = self.networks["mask_generator"]
        if self.masks == "noise":
            return {**played, "mask": made(batch["z"], training=True)}
        code = self.networks["mask_encoder"](batch["scan"], training=True)
        mask = made(code, training=True)
        image = self.made_of(self.condition(mask), batch)[-1]
        return {**played, "code": code, "mask": mask, "through": image}

    def _mask_judged(self, x: Tensor) -> Tensor:
        said = self.networks["mask_critic"](x, training=True)
        return said["logit"] if isinstance(said, dict) else said

    def mask_critic_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        if self.masks == "noise":
            real, fake = batch["scan"], played["mask"]
        else:
            real, fake = batch["z"], played["code"]
        judged = self._mask_judged(real), self._mask_judged(fake)
        return {"adversarial": self.adversary.critic(*map(_column, judged))}

    def mask_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        if self.masks == "noise":
            judged = self._mask_judged(played["mask"])
            return {"adversarial": self.adversary.generator(_column(judged))}
        judged = self._mask_judged(played["code"])
        return {
            "adversarial": self.adversary.generator(_column(judged)),
            "mask": losses.l1(played["mask"], batch["scan"]),
            "through": lambda: losses.l1(played["through"], batch["target"]),
        }

    # Pairs ---------------------------------------------------------------------------------------

    def draw(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masks and their images.

        Args:
            codes: [n, latent], of N(0, I).

        Returns:
            Masks [n, *size, C] and images [n, *size, C'], in [-1, 1].

        Raises:
            ValueError: codes of another length.
        """
        codes = np.asarray(codes, np.float32)
        if codes.ndim != 2 or codes.shape[1] != self.latent:
            raise ValueError(f"codes have shape {codes.shape}; expected [n, {self.latent}]")
        made = np.asarray(self.network("mask_generator")(codes, training=False))
        return made, self.translate(made)

    def pictures(self, samples: Any) -> dict[str, Any]:
        """Masks above their images: of true masks, and of drawn ones."""
        codes = np.random.default_rng(0).normal(size=(SHOWN, self.latent))
        drawn = super().pictures(self.draw(codes)[0])["translations"]
        return {**super().pictures(samples), "drawn": drawn}


def _column(logit: Tensor) -> Tensor:
    return ops.reshape(logit, (-1, 1))


def _critic_of_codes(latent: int) -> keras.Model:
    """Codes to a logit: two hidden layers, as in Makhzani et al. 2016, appendix A."""
    code = keras.Input((latent,), name="code")
    x = code
    for i in (1, 2):
        x = layers.Dense(128, name=f"dense_{i}")(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"out_{i}")(x)
    return keras.Model(code, layers.Dense(1, dtype="float32", name="logit")(x), name="mask_critic")
