"""An autoencoder that predicts its own variance: errors count where it expected none."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from keras import ops

from anogan.detector import Detector, Findings, largest
from anogan.latent_gan import row
from ganatomy.game import Batch, Player, Stage
from ganatomy.networks import dcgan_generator, encoder
from ganatomy.objectives import per_sample

Tensor = Any


class VarianceAutoencoder(Detector):
    """An autoencoder of healthy samples whose every pixel has a mean and a variance (AE-U).

    It maximises the likelihood of healthy samples under independent normal pixels,
    L(x) = mean(exp(-s) (x − m)² + s), s = log σ². Edges and ribs, which never quite match, get a
    large variance; an opacity lies where the variance is small. A sample's score is
    mean(exp(-s) (x − m)²); the residual is (x − m) / σ, in standard deviations, of the
    channel where it is farthest from 0.

    Not adversarial: it stands beside the networks that are.

    Args:
        shape: of one sample, (*size, channels).
        latent: length of the code.
        width: channels of the finest layer; they double a halving of the grid.
        bound: s lies in (-bound, bound): a variance that a few samples fit exactly would go to 0
            and their likelihood to infinity. 8 is a σ of 0.018 or more.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Reference: Mao, Xue, Wang, Zhang, Zheng, Liu, "Abnormality detection in chest X-ray images using
    uncertainty prediction autoencoders", MICCAI 2020, section 2; Kendall and Gal 2017, equation 8,
    for the loss.
    """

    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 5e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int = 16,
        width: int = 16,
        bound: float = 8.0,
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        self.shape, self.latent, self.width = tuple(shape), latent, width
        if bound <= 0:
            raise ValueError(f"bound {bound} of the log variance is not above 0")
        self.bound, self.chunk = bound, chunk
        self.assemble()

    def build_networks(self) -> dict:
        *size, channels = self.shape
        both = (*size, 2 * channels)
        return {
            "encoder": encoder(self.shape, self.latent, width=self.width, activation=None),
            "decoder": dcgan_generator(both, self.latent, width=self.width, name="decoder"),
        }

    def stages(self) -> list[Stage]:
        player = Player("autoencoder", self.terms, ("encoder", "decoder"))
        return [Stage("autoencoder", player)]

    def split(self, decoded: Any) -> tuple[Tensor, Tensor]:
        """Mean and log variance, [B, *shape] each, of what the decoder says, in [-1, 1]."""
        channels = self.shape[-1]
        return decoded[..., :channels], self.bound * decoded[..., channels:]

    def play(self, batch: Batch) -> tuple[Tensor, Tensor]:
        code = self.networks["encoder"](batch["scan"], training=True)
        return self.split(self.networks["decoder"](code, training=True))

    def terms(self, batch: Batch, played: tuple[Tensor, Tensor]) -> dict:
        mean, log_variance = played
        precision: Any = ops.exp(-log_variance)
        misfit = precision * ops.square(batch["scan"] - mean)
        return {"likelihood": per_sample(misfit + log_variance)}

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        code = self.network("encoder")(x, training=False)
        mean, log_variance = self.split(self.network("decoder")(code, training=False))
        deviation: Any = (x - mean) * ops.exp(-0.5 * log_variance)
        return Findings(mean, largest(deviation), per_sample(ops.square(deviation)), code)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Scans above their means; log variances, divided by their bound."""
        code = self.network("encoder")(samples, training=False)
        mean, log_variance = self.split(self.network("decoder")(code, training=False))
        return {
            "reconstructions": np.concatenate([row(samples), row(mean)]),
            "log_variances": row(log_variance / self.bound),
        }
