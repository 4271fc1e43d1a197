"""The adversarial autoencoder, and the constrained one for lesions."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import layers, ops

from anogan.autoencoder import Autoencoder, squares
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.objectives import check_critic, gradient_penalty, objective

Tensor = Any


class AdversarialAutoencoder(Autoencoder):
    """An autoencoder whose codes of healthy samples are N(0, I) to a critic of codes.

    Three players: the critic tells codes from draws of the prior; encoder and decoder together
    lower ‖x - D(E(x))‖₂, a norm an image; the encoder alone, with an optimizer of its own, makes
    its codes like the prior. With a weight of `autoencoder/constraint` above 0 (0.5 as published)
    it is the constrained adversarial autoencoder: an image and its reconstruction are to have one
    code, Σ (E(x) - E(x̂))², with gradients through x̂. Under batch normalisation x̂ is encoded with
    the statistics that scoring uses.

    A restoration's `implausibility` is ‖x - D(z)‖² / 2s² + ‖z‖² / 2 at z = E(x): -log p(x|z) p(z)
    without its constant, for pixels that are N(D(z), s² I) and codes that are N(0, I).

    Args:
        adversary: the adversarial objective of the codes, a name of
            `ganatomy.objectives.objective`; one without a gradient penalty (weight
            `critic/penalty`) is Makhzani's.
        critic_updates: critic steps a step of the others, each on fresh samples.
        deviation: s, of a healthy pixel from its reconstruction, where an image's range is from
            -1 to 1, as `anogan.vae.VAE` has it; of a restoration alone.
        **settings: arguments of `Autoencoder`.

    Raises:
        ValueError: a Wasserstein adversary without its penalty, or a deviation that is not above 0.

    Reference: Makhzani, Shlens, Jaitly, Goodfellow, Frey, "Adversarial autoencoders", 2016; Chen,
    Konukoglu, "Unsupervised detection of lesions in brain MRI using constrained adversarial
    auto-encoders", MIDL 2018 (sums, weights, critic and Adam's settings as in their code).
    """

    default_weights: ClassVar[dict[str, Any]] = {
        "critic/penalty": 10.0,
        "autoencoder/constraint": 0.0,
    }
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 2e-5,
        "beta_1": 0.5,
        "beta_2": 0.9,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        adversary: str = "wasserstein",
        critic_updates: int = 20,
        deviation: float = 0.25,
        **settings: Any,
    ):
        if deviation <= 0:
            raise ValueError(f"deviation is above 0, not {deviation}")
        self.deviation = deviation
        self.adversary, self.critic_updates = objective(adversary), critic_updates
        super().__init__(shape, **settings)
        check_critic(adversary, self._term_weights["critic/penalty"])

    @property
    def noise(self) -> dict[str, Noise]:
        return {"z": Noise("normal", (self.latent,)), "mix": Noise("uniform")}

    def build_networks(self) -> dict:
        return {**super().build_networks(), "critic": code_critic(self.latent)}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "adversarial",
                Critic("critic", self.critic_terms, updates=self.critic_updates),
                Player("autoencoder", self.autoencoder_terms, networks=("encoder", "decoder")),
                Player("encoder", self.encoder_terms),
            )
        ]

    def play(self, batch: Batch) -> Tensor:
        """Codes alone: a critic of codes moves often, and needs no images."""
        return self.networks["encoder"](batch["scan"], training=True)

    def critic_terms(self, batch: Batch, code: Tensor) -> dict:
        def logit(z):
            return self.networks["critic"](z, training=True)

        return {
            "adversarial": self.adversary.critic(logit(batch["z"]), logit(code)),
            "penalty": lambda: gradient_penalty(logit, batch["z"], code, batch["mix"]),
        }

    def autoencoder_terms(self, batch: Batch, code: Tensor) -> dict:
        image = self.networks["decoder"](code, training=True)
        return {
            "image": norm(batch["scan"] - image),
            "constraint": lambda: squares(code - self.networks["encoder"](image, training=False)),
        }

    def encoder_terms(self, batch: Batch, code: Tensor) -> dict:
        return {"adversarial": self.adversary.generator(self.networks["critic"](code))}

    def implausibility(self, x: Tensor) -> Tensor:
        """-log p(x|z) p(z) at z = E(x), without the constant."""
        code = self.code(x)
        residual = squares(x - self.decode(code)) / (2 * self.deviation**2)
        return residual + 0.5 * squares(code)


def norm(x: Tensor) -> Tensor:
    """Root of the sum of squares of each sample, [B]; its slope at 0 is 0."""
    return ops.sqrt(squares(x) + 1e-8)


def code_critic(latent: int) -> keras.Model:
    """Codes [B, latent] to logits [B]: two hidden layers, of 200 and 400, as Chen 2018 has it."""
    code: Any = keras.Input((latent,), name="code")
    x = code
    for number, units in enumerate((200, 400), 1):
        x = layers.Dense(units, name=f"dense_{number}")(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    logit = layers.Dense(1, dtype="float32", name="logit")(x)
    return keras.Model(code, ops.squeeze(logit, -1), name="critic")
