"""The variational autoencoder, the baseline of the adversarial ones."""

from __future__ import annotations

from typing import Any, ClassVar

from keras import ops

from anogan.autoencoder import Autoencoder, squares
from ganatomy.game import Batch, Noise, Player, Stage

Tensor = Any
# Of a log-variance either way: its exponential neither overflows nor becomes 0.
LARGEST = 15.0


class VAE(Autoencoder):
    """Encoder q(z|x) = N(μ, diag σ²), decoder p(x|z) = N(D(z), s² I), prior p(z) = N(0, I).

    They lower -ELBO = ‖x - D(z)‖² / 2s² + KL(q ‖ p), z one draw from q whose noise comes with the
    batch. Scoring uses μ for z. A restoration's `implausibility` is the -ELBO at μ.

    Args:
        deviation: s, of a healthy pixel from its reconstruction, where an image's range is from
            -1 to 1; the smaller, the more of the code is used.
        **settings: arguments of `Autoencoder`.

    Reference: Kingma, Welling, "Auto-encoding variational Bayes", 2014, equations 8 and 10.
    """

    heads: ClassVar[int] = 2
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-3,
        "beta_1": 0.9,
        "beta_2": 0.999,
    }

    def __init__(self, shape: tuple[int, ...], deviation: float = 0.25, **settings: Any):
        if deviation <= 0:
            raise ValueError(f"deviation is above 0, not {deviation}")
        self.deviation = deviation
        super().__init__(shape, **settings)

    @property
    def noise(self) -> dict[str, Noise]:
        return {"epsilon": Noise("normal", (self.latent,))}

    def stages(self) -> list[Stage]:
        player = Player("autoencoder", self.autoencoder_terms, networks=("encoder", "decoder"))
        return [Stage("variational", player)]

    def play(self, batch: Batch) -> dict:
        mean, log_variance = halves(self.networks["encoder"](batch["scan"], training=True))
        code = sample(mean, log_variance, batch["epsilon"])
        image = self.networks["decoder"](code, training=True)
        return {"mean": mean, "log_variance": log_variance, "image": image}

    def autoencoder_terms(self, batch: Batch, played: dict) -> dict:
        return {
            "image": squares(batch["scan"] - played["image"]) / (2 * self.deviation**2),
            "kl": divergence(played["mean"], played["log_variance"]),
        }

    def implausibility(self, x: Tensor) -> Tensor:
        """-ELBO at the mean code, without the constant."""
        mean, log_variance = halves(self.network("encoder")(x, training=False))
        residual = squares(x - self.decode(mean)) / (2 * self.deviation**2)
        return residual + divergence(mean, log_variance)


def halves(encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance, [B, latent] each, of what an encoder gives, [B, 2 · latent]."""
    latent = encoded.shape[-1] // 2
    return encoded[:, :latent], ops.clip(encoded[:, latent:], -LARGEST, LARGEST)


def sample(mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
    """A draw from N(μ, diag σ²), by `epsilon` from N(0, I); all [B, latent]."""
    deviation: Any = ops.exp(0.5 * log_variance)
    return mean + deviation * epsilon


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = Σ (μ² + σ² - log σ² - 1) / 2, [B].

    Reference: Kingma, Welling 2014, appendix B.
    """
    variance: Any = ops.exp(log_variance)
    each = variance + ops.square(mean) - log_variance - 1.0
    return ops.sum(0.5 * each, axis=-1)
