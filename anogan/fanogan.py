"""f-AnoGAN: an encoder finds the code of a scan in one pass."""

from __future__ import annotations

from typing import Any, ClassVar

from anogan.detector import Findings
from anogan.latent_gan import LatentGAN, mean_square

Tensor = Any


class FAnoGAN(LatentGAN):
    """f-AnoGAN: WGAN-GP on healthy images, then an encoder into its latent space.

    A scan's healthy counterpart is G(E(x)); its score is
    A(x) = ‖x − G(E(x))‖²/n + κ ‖f(x) − f(G(E(x)))‖²/n_f, its map |x − G(E(x))|.

    Reference: Schlegl, Seeböck, Waldstein, Langs, Schmidt-Erfurth, "f-AnoGAN: fast unsupervised
    anomaly detection with generative adversarial networks", Medical Image Analysis 54, 2019,
    its encoder losses izi and izi_f and its anomaly score; Adam's settings from Gulrajani 2017.
    """

    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-4,
        "beta_1": 0.0,
        "beta_2": 0.9,
    }

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        code = self.network("encoder")(x, training=False)
        image = self.network("generator")(code, training=False)
        score = mean_square(x - image) + self.kappa * self.feature_residual(x, image)
        return Findings.against(x, image, score, code)
