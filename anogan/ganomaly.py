"""GANomaly: an image, its reconstruction and both their codes, judged by a discriminator."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from keras import ops

from anogan.detector import Detector, Findings
from anogan.latent_gan import mean_square, row
from ganatomy.game import Batch, Critic, Player, Stage
from ganatomy.networks import dcgan_critic, dcgan_generator, encoder
from ganatomy.objectives import objective, per_sample

Tensor = Any


class GANomaly(Detector):
    """Encoder, decoder and a second encoder on healthy samples, against a discriminator.

    With x̂ = G(E₁(x)) and f the features of the discriminator D, the generator minimises
    w_adv ‖f(x) − f(x̂)‖² + w_con ‖x − x̂‖₁ + w_enc ‖E₁(x) − E₂(x̂)‖², means over elements as in the
    published code, with weights 1, 50 and 1. D minimises the cross-entropy of real and fake. The
    score is ‖E₁(x) − E₂(x̂)‖₁, the map is of x − x̂, which the paper does not have.

    In the published code a score depends on its neighbours: batch normalisation stays in training
    mode, and scores are scaled by the lowest and highest of the test set. Neither is done here.

    Args:
        shape: of one sample, (*size, channels).
        latent: length of the codes.
        width: channels of the finest layer; they double a halving of the grid.
        features: which layer of the discriminator gives f: "last", the number of a block or a
            layer's name.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`. The terms of
            "generator" are features, image and code.

    Reference: Akcay, Atapour-Abarghouei, Breckon, "GANomaly: semi-supervised anomaly detection via
    adversarial training", ACCV 2018, equations 1 to 5.
    """

    default_weights: ClassVar[dict[str, Any]] = {"generator/image": 50.0}

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int = 100,
        width: int = 64,
        features: str | int = "last",
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        self.shape, self.latent, self.width = tuple(shape), latent, width
        self.features, self.chunk = features, chunk
        self.adversary = objective("nonsaturating")
        self.assemble()

    def build_networks(self) -> dict:
        def make_encoder(name: str) -> Any:
            settings: Any = {"width": self.width, "activation": None, "name": name}
            return encoder(self.shape, self.latent, **settings)

        return {
            "encoder": make_encoder("encoder"),
            "decoder": dcgan_generator(self.shape, self.latent, self.width, name="decoder"),
            "second": make_encoder("second"),
            "critic": dcgan_critic(self.shape, self.width, features=self.features),
        }

    def stages(self) -> list[Stage]:
        generator = Player("generator", self.generator_terms, ("encoder", "decoder", "second"))
        return [Stage("adversarial", Critic("critic", self.critic_terms), generator)]

    def play(self, batch: Batch) -> dict:
        code = self.networks["encoder"](batch["scan"], training=True)
        image = self.networks["decoder"](code, training=True)
        return {
            "code": code,
            "image": image,
            "again": self.networks["second"](image, training=True),
        }

    def critic_terms(self, batch: Batch, played: dict) -> dict:
        critic = self.networks["critic"]
        real = critic(batch["scan"], training=True)["logit"]
        fake = critic(played["image"], training=True)["logit"]
        return {"adversarial": self.adversary.critic(real, fake)}

    def generator_terms(self, batch: Batch, played: dict) -> dict:
        """Reference: Akcay 2018, equations 1 (features), 2 (image) and 3 (code)."""
        x, image = batch["scan"], played["image"]

        def features(samples: Tensor) -> Tensor:
            return self.networks["critic"](samples, training=True)["features"]

        return {
            "features": lambda: mean_square(features(x) - features(image)),
            "image": per_sample(ops.abs(x - image)),
            "code": mean_square(played["code"] - played["again"]),
        }

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        code = self.network("encoder")(x, training=False)
        image = self.network("decoder")(code, training=False)
        again = self.network("second")(image, training=False)
        return Findings.against(x, image, ops.sum(ops.abs(code - again), axis=-1), code)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Scans above their reconstructions."""
        code = self.network("encoder")(samples, training=False)
        image = self.network("decoder")(code, training=False)
        return {"reconstructions": np.concatenate([row(samples), row(image)])}
