"""VAE-GAN: a variational autoencoder that measures likeness by a discriminator's features."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from keras import ops

from anogan.autoencoder import Autoencoder, squares
from anogan.vae import divergence, halves, sample
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import family
from ganatomy.objectives import objective

Tensor = Any


class VAEGAN(Autoencoder):
    """Encoder, decoder and discriminator; p(f(x)|z) = N(f(D(z)), I) in place of pixels.

    With x̃ = D(z) of z ~ q(z|x), x_p = D(z) of z ~ N(0, I), and f the discriminator's features,

        encoder: KL(q ‖ p) + ‖f(x) - f(x̃)‖² / 2,
        decoder: γ ‖f(x) - f(x̃)‖² / 2 + log(1 - Dis(x̃)) + log(1 - Dis(x_p)),
        discriminator: -log Dis(x) - log(1 - Dis(x̃)) - log(1 - Dis(x_p)).

    As algorithm 1 is printed, the decoder descends on γ L_like - L_GAN and the discriminator on
    L_GAN = log Dis(x) + log(1 - Dis(x̃)) + log(1 - Dis(x_p)): its signs are exchanged, and each
    would help the other. Here the discriminator raises L_GAN and the decoder lowers it, as in any
    GAN.

    Pixels are never compared in training; the map and score of a scan are. A restoration's
    `implausibility` is of features, not pixels, so its `variation` is on another scale than that
    of the other autoencoders.

    Args:
        gamma: γ; the squares are summed over features, so it falls with their number.
        features: which layer of the discriminator gives f: "last", the number of a block or a
            layer's name.
        adversary: what the decoder wants: "saturating", as above and as published, or
            "nonsaturating", -log Dis of both.
        critic_norm: normalisation in the discriminator, "batch" as published; it sees scans,
            reconstructions and samples of the prior as one batch.
        **settings: arguments of `Autoencoder`.

    Reference: Larsen, Sønderby, Larochelle, Winther, "Autoencoding beyond pixels using a learned
    similarity metric", ICML 2016, algorithm 1 and equations 5 to 8.
    """

    heads: ClassVar[int] = 2
    default_optimizer: ClassVar[dict[str, Any]] = {"kind": "rmsprop", "learning_rate": 3e-4}

    def __init__(
        self,
        shape: tuple[int, ...],
        gamma: float = 1e-3,
        features: str | int = "last",
        adversary: Literal["saturating", "nonsaturating"] = "saturating",
        critic_norm: str | None = "layer",
        **settings: Any,
    ):
        if adversary not in ("saturating", "nonsaturating"):
            raise ValueError(f"adversary {adversary!r} is neither saturating nor nonsaturating")
        self.gamma, self.features, self.critic_norm = gamma, features, critic_norm
        self.adversary = objective(adversary)
        super().__init__(shape, **settings)

    @property
    def noise(self) -> dict[str, Noise]:
        code = Noise("normal", (self.latent,))
        return {"epsilon": code, "z": code}

    def build_networks(self) -> dict:
        discriminator = family(self.network_kind).critic(
            self.shape,
            width=self.width,
            norm=self.critic_norm,
            features=self.features,
            name="discriminator",
        )
        return {**super().build_networks(), "discriminator": discriminator}

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "adversarial",
                Critic("discriminator", self.discriminator_terms),
                Player("encoder", self.encoder_terms),
                Player("decoder", self.decoder_terms),
            )
        ]

    def play(self, batch: Batch) -> dict:
        mean, log_variance = halves(self.networks["encoder"](batch["scan"], training=True))
        code = sample(mean, log_variance, batch["epsilon"])
        # One pass: codes of scans and of the prior share the statistics of a batch.
        both = ops.concatenate([code, batch["z"]], axis=0)
        made = self.networks["decoder"](both, training=True)
        return {"mean": mean, "log_variance": log_variance, "made": made}

    def judge(self, batch: Batch, played: dict) -> dict:
        """Logits of scans, reconstructions and samples; ‖f(x) - f(x̃)‖² / 2 of the first two."""
        seen = ops.concatenate([batch["scan"], played["made"]], axis=0)
        judged = self.networks["discriminator"](seen, training=True)
        logit, f = judged["logit"], judged["features"]
        count: Any = ops.shape(batch["scan"])
        n = count[0]
        return {
            "real": logit[:n],
            "reconstructed": logit[n : 2 * n],
            "sampled": logit[2 * n :],
            "unlike": 0.5 * squares(f[:n] - f[n : 2 * n]),
        }

    def discriminator_terms(self, batch: Batch, played: dict) -> dict:
        judged = self.judge(batch, played)
        return {
            "real": ops.softplus(-judged["real"]),
            "reconstructed": ops.softplus(judged["reconstructed"]),
            "sampled": ops.softplus(judged["sampled"]),
        }

    def encoder_terms(self, batch: Batch, played: dict) -> dict:
        return {
            "kl": divergence(played["mean"], played["log_variance"]),
            "features": self.judge(batch, played)["unlike"],
        }

    def decoder_terms(self, batch: Batch, played: dict) -> dict:
        judged = self.judge(batch, played)
        return {
            "features": self.gamma * judged["unlike"],
            "reconstructed": self.adversary.generator(judged["reconstructed"]),
            "sampled": self.adversary.generator(judged["sampled"]),
        }

    def implausibility(self, x: Tensor) -> Tensor:
        """-ELBO of the features, at the mean code, without the constant."""
        mean, log_variance = halves(self.network("encoder")(x, training=False))
        judge = self.network("discriminator")
        f, g = (judge(y, training=False)["features"] for y in (x, self.decode(mean)))
        return 0.5 * squares(f - g) + divergence(mean, log_variance)
