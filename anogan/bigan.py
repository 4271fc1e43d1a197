"""BiGAN and ALI: generator and encoder play together against a discriminator of pairs."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import layers, ops

from anogan.detector import Detector, Findings
from anogan.latent_gan import row, total
from anogan.vae import halves, sample
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import encoder, family
from ganatomy.networks.blocks import feature_map
from ganatomy.objectives import check_critic, gradient_penalty, objective

Tensor = Any
LOGISTIC = ("saturating", "nonsaturating")


class BiGAN(Detector):
    """A discriminator tells pairs (x, E(x)) from pairs (G(z), z); E and G make them alike.

    Where it cannot, E inverts G. A sample's healthy counterpart is G(E(x)), its score
    A(x) = (1 − λ) ‖x − G(E(x))‖₁ + λ L_D(x), with L_D either ‖f(x, E(x)) − f(G(E(x)), E(x))‖₁,
    f the features before the last layer of D, or the cross-entropy −log σ(D(x, E(x))).

    Args:
        shape: of one sample, (*size, channels).
        latent: length of the code z ~ N(0, I).
        width: channels of the widest-resolution block of every network.
        network: "dcgan" (Radford 2016) or "residual" (Gulrajani 2017).
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        critic_updates: discriminator steps a step of generator and encoder.
        critic_norm: normalisation in the discriminator, None under a gradient penalty.
        stochastic: the encoder gives mean and log variance of a normal E(x), as ALI does; its mean
            is the code of a scan.
        lam: λ, the weight of the discriminator in the score.
        judge: L_D, "features" or "cross_entropy", the latter for logistic adversaries only.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`. Weight 10 of
            "critic/penalty" makes a Wasserstein adversary, which needs one, WGAN-GP on pairs.

    Raises:
        ValueError: settings that contradict each other, see `ganatomy.objectives.check_critic`.

    Reference: Donahue, Krähenbühl, Darrell, "Adversarial feature learning", ICLR 2017, equations 2
    and 3, and section 3.4 for the inverse objective; Dumoulin et al., "Adversarially learned
    inference", ICLR 2017, for the stochastic encoder; the score, Zenati et al., "Efficient
    GAN-based anomaly detection", ICLR workshop 2018, section 3.
    """

    default_weights: ClassVar[dict[str, Any]] = {"critic/penalty": 0.0}

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int = 200,
        width: int = 64,
        network: Literal["dcgan", "residual"] = "dcgan",
        adversary: str = "nonsaturating",
        critic_updates: int = 1,
        critic_norm: str | None = "batch",
        stochastic: bool = False,
        lam: float = 0.1,
        judge: Literal["features", "cross_entropy"] = "features",
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        if judge not in ("features", "cross_entropy"):
            raise ValueError(f"judge {judge!r} is neither features nor cross_entropy")
        if judge == "cross_entropy" and adversary not in LOGISTIC:
            raise ValueError(f"adversary {adversary!r} has no cross-entropy; judge by features")
        check_critic(adversary, self._term_weights["critic/penalty"], critic_norm)
        self.shape = tuple(shape)
        self.latent, self.width, self.network_kind = latent, width, network
        self.adversary = objective(adversary)
        self.critic_updates, self.critic_norm = critic_updates, critic_norm
        self.stochastic, self.lam, self.judge, self.chunk = stochastic, lam, judge, chunk
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        noise = {"z": Noise("normal", (self.latent,)), "mix": Noise("uniform")}
        if self.stochastic:
            noise["spread"] = Noise("normal", (self.latent,))
        return noise

    def build_networks(self) -> dict[str, keras.Model]:
        told = 2 * self.latent if self.stochastic else self.latent
        return {
            "generator": family(self.network_kind).generator(
                self.shape, self.latent, width=self.width
            ),
            "encoder": encoder(
                self.shape, told, kind=self.network_kind, width=self.width, activation=None
            ),
            "critic": joint_critic(
                self.shape, self.latent, self.network_kind, self.width, self.critic_norm
            ),
        }

    def stages(self) -> list[Stage]:
        critic = Critic("critic", self.critic_terms, updates=self.critic_updates)
        return [
            Stage(
                "adversarial",
                critic,
                Player("generator", self.generator_terms, ("generator", "encoder")),
            )
        ]

    def play(self, batch: Batch) -> dict:
        told = self.networks["encoder"](batch["scan"], training=True)
        code = told
        if self.stochastic:
            code = sample(*halves(told), batch["spread"])
        return {"code": code, "image": self.networks["generator"](batch["z"], training=True)}

    def critic_terms(self, batch: Batch, played: dict) -> dict:
        """Donahue 2017, equation 2: -log D(x, E(x)) - log(1 - D(G(z), z)), or another objective."""
        real, fake = (batch["scan"], played["code"]), (played["image"], batch["z"])
        return {
            "adversarial": self.adversary.critic(self.logit(*real), self.logit(*fake)),
            "penalty": lambda: self.pair_penalty(real, fake, batch["mix"]),
        }

    def generator_terms(self, batch: Batch, played: dict) -> dict:
        """The generator wants its pairs taken for the encoder's, the encoder its own for G's."""
        encoded = self.logit(batch["scan"], played["code"])
        # Labels exchanged. Those of least squares are 0 and 1; the others' logits part at 0.
        mirrored = (1.0 if self.adversary.name == "least_squares" else 0.0) - encoded
        return {
            "generated": self.adversary.generator(self.logit(played["image"], batch["z"])),
            "encoded": self.adversary.generator(mirrored),
        }

    def logit(self, x: Tensor, z: Tensor) -> Tensor:
        return self.networks["critic"]([x, z], training=True)["logit"]

    def pair_penalty(self, real: tuple, fake: tuple, mix: Tensor) -> Tensor:
        """Gradient penalty at mixtures of pairs, one number mixing image and code alike, [B]."""
        count = math.prod(self.shape)

        def joined(x: Tensor, z: Tensor) -> Tensor:
            return ops.concatenate([ops.reshape(x, (-1, count)), z], axis=1)

        def logit(pair: Tensor) -> Tensor:
            return self.logit(ops.reshape(pair[:, :count], (-1, *self.shape)), pair[:, count:])

        return gradient_penalty(logit, joined(*real), joined(*fake), mix)

    def code_of(self, x: Tensor) -> Tensor:
        """The code of samples [B, *shape], [B, latent]; of a stochastic encoder its mean."""
        return self.network("encoder")(x, training=False)[:, : self.latent]

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        code = self.code_of(x)
        image = self.network("generator")(code, training=False)
        own = self.network("critic")([x, code], training=False)
        doubt: Any
        if self.judge == "features":
            made = self.network("critic")([image, code], training=False)
            doubt = ops.sum(ops.abs(own["features"] - made["features"]), axis=-1)
        else:
            doubt = ops.softplus(-own["logit"])
        distance: Any = total(ops.abs(x - image))
        return Findings.against(x, image, (1.0 - self.lam) * distance + self.lam * doubt, code)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Eight generated samples; scans above their reconstructions."""
        z = np.random.default_rng(0).standard_normal((8, self.latent), np.float32)
        generate = self.network("generator")
        again = generate(self.code_of(samples), training=False)
        return {
            "samples": row(generate(z, training=False)),
            "reconstructions": np.concatenate([row(samples), row(again)]),
        }


def joint_critic(
    shape: tuple[int, ...], latent: int, kind: str, width: int, norm: str | None
) -> keras.Model:
    """Pairs of image and code to a logit and to features.

    The image goes through a critic's trunk, the code through a dense layer of 8 · width units, both
    together through one of 16 · width: 512 and 1,024 at the published width of 64.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        latent: length of the code.
        kind: "dcgan" or "residual", the trunk.
        width: channels of the trunk's first block.
        norm: of the trunk: "batch", "layer", "instance" or None.

    Returns:
        [images [B, *shape], codes [B, latent]] -> {"logit": [B], "features": [B, 16 · width]}.

    Reference: Zenati et al. 2018, appendix (MNIST), without its dropout.
    """
    image, code = keras.Input(shape, name="image"), keras.Input((latent,), name="code")
    flat = layers.Flatten(name="flat")(family(kind).trunk(image, width, norm)[-1])
    seen = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(8 * width, name="code_dense")(code))
    both = layers.Dense(16 * width, name="pair_dense")(layers.Concatenate()([flat, seen]))
    both = layers.LeakyReLU(negative_slope=0.2, name="pair")(both)
    logit = layers.Dense(1, dtype="float32", name="logit")(both)
    inputs = [image, code]
    features = feature_map(inputs, [], both, "last")
    outputs = {"logit": ops.squeeze(logit, -1), "features": features}
    return keras.Model(inputs, outputs, name="critic")
