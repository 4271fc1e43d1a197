"""A GAN from a latent code to healthy images, with an encoder trained after it where asked for.

AnoGAN and f-AnoGAN share it; they differ in how they find the code of a scan.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from keras import ops

from anogan.detector import Detector
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import encoder, family
from ganatomy.objectives import check_critic, gradient_penalty, objective

Tensor = Any


class LatentGAN(Detector):
    """Generator and critic on healthy samples; then, with both frozen, an encoder.

    Args:
        shape: of one sample, (*size, channels).
        latent: length of the code z ~ N(0, I).
        width: channels of the widest-resolution block of generator and critic.
        network: "dcgan" (Radford 2016) or "residual" (Gulrajani 2017).
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        critic_updates: critic steps a generator step.
        critic_norm: normalisation in the critic, "layer", "instance" or None under a gradient
            penalty, "batch" too without.
        spectral: divide the critic's kernels by their largest singular values (Miyato 2018), beside
            clip and penalty where these are on as well.
        clip: weight clipping of the critic (Arjovsky 2017), or None.
        features: which layer of the critic gives the features f: "last", the number of a block
            or a layer's name.
        encoding: how the encoder learns: "izi" (image to z to image), "ziz" (z to image to z),
            "izi_f" (izi with the critic's features), or None for no encoder.
        kappa: weight of the feature residual in the encoder's loss and in the score.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Raises:
        ValueError: settings that contradict each other, see `ganatomy.objectives.check_critic`.
    """

    default_weights: ClassVar[dict[str, Any]] = {"critic/penalty": 10.0}

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int = 128,
        width: int = 64,
        network: Literal["dcgan", "residual"] = "residual",
        adversary: str = "wasserstein",
        critic_updates: int = 5,
        critic_norm: str | None = "layer",
        spectral: bool = False,
        clip: float | None = None,
        features: str | int = "last",
        encoding: Literal["izi", "ziz", "izi_f"] | None = "izi_f",
        kappa: float = 1.0,
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        if encoding not in ("izi", "ziz", "izi_f", None):
            raise ValueError(f"encoding {encoding!r} is none of izi, ziz, izi_f")
        check_critic(
            adversary,
            self._term_weights["critic/penalty"],
            critic_norm,
            bounded=spectral or clip is not None,
        )
        self.shape = tuple(shape)
        self.latent, self.width, self.network_kind = latent, width, network
        self.adversary = objective(adversary)
        self.critic_updates, self.critic_norm = critic_updates, critic_norm
        self.spectral, self.clip = spectral, clip
        self.features, self.encoding, self.kappa, self.chunk = features, encoding, kappa, chunk
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {"z": Noise("normal", (self.latent,)), "mix": Noise("uniform")}

    def build_networks(self) -> dict:
        kin = family(self.network_kind)
        networks = {
            "generator": kin.generator(self.shape, self.latent, width=self.width),
            "critic": kin.critic(
                self.shape,
                width=self.width,
                norm=self.critic_norm,
                spectral=self.spectral,
                features=self.features,
            ),
        }
        if self.encoding:
            networks["encoder"] = encoder(
                self.shape, self.latent, kind=self.network_kind, width=self.width
            )
        return networks

    def stages(self) -> list[Stage]:
        adversarial = Stage(
            "adversarial",
            Critic("critic", self.critic_terms, updates=self.critic_updates, clip=self.clip),
            Player("generator", self.generator_terms),
        )
        if not self.encoding:
            return [adversarial]
        learn_code = Stage("encoder", Player("encoder", self.encoder_terms), play=self.play_encoder)
        return [adversarial, learn_code]

    # The adversarial stage -----------------------------------------------------------------

    def play(self, batch: Batch) -> Tensor:
        return self.networks["generator"](batch["z"], training=True)

    def critic_terms(self, batch: Batch, fake: Tensor) -> dict:
        critic, real = self.networks["critic"], batch["scan"]

        def logit(x):
            return critic(x, training=True)["logit"]

        return {
            "adversarial": self.adversary.critic(logit(real), logit(fake)),
            "penalty": lambda: gradient_penalty(logit, real, fake, batch["mix"]),
        }

    def generator_terms(self, batch: Batch, fake: Tensor) -> dict:
        logit = self.networks["critic"](fake, training=True)["logit"]
        return {"adversarial": self.adversary.generator(logit)}

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Eight generated samples; once the encoder learns, scans above their reconstructions."""
        z = np.random.default_rng(0).standard_normal((8, self.latent), np.float32)
        generate = self.network("generator")
        shown = {"samples": row(generate(z, training=False))}
        if self.stage is not None and self.stage.name == "encoder":
            code = self.network("encoder")(samples, training=False)
            pair = [row(samples), row(generate(code, training=False))]
            shown["reconstructions"] = np.concatenate(pair)
        return shown

    # The encoder's stage: generator and critic frozen, in inference mode ---------------------

    def play_encoder(self, batch: Batch) -> dict:
        encode, generate = self.networks["encoder"], self.network("generator")
        if self.encoding == "ziz":
            return {"code": encode(generate(batch["z"], training=False), training=True)}
        return {"image": generate(encode(batch["scan"], training=True), training=False)}

    def encoder_terms(self, batch: Batch, played: dict) -> dict:
        """izi: ‖x − G(E(x))‖²/n; ziz: ‖z − E(G(z))‖²/d; izi_f adds κ ‖f(x) − f(G(E(x)))‖²/n_f.

        Reference: Schlegl et al. 2019, the encoder losses of these names.
        """
        if self.encoding == "ziz":
            return {"code": mean_square(batch["z"] - played["code"])}
        terms = {"image": mean_square(batch["scan"] - played["image"])}
        if self.encoding == "izi_f":
            terms["features"] = self.kappa * self.feature_residual(batch["scan"], played["image"])
        return terms

    def feature_residual(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean squared difference of the critic's features, [B]."""
        critic = self.network("critic")
        return mean_square(
            critic(x, training=False)["features"] - critic(y, training=False)["features"]
        )


def mean_square(x: Tensor) -> Tensor:
    """Mean of squares over all axes but the first, [B]."""
    return ops.mean(ops.square(x), axis=tuple(range(1, len(x.shape))))


def total(x: Tensor) -> Tensor:
    """Sum over all axes but the first, [B]."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))


def row(images: Tensor) -> np.ndarray:
    """Images [n, *size, c] side by side as one picture; of volumes the middle slice."""
    grey = np.asarray(images, np.float32).mean(-1)
    if grey.ndim == 4:
        grey = grey[..., grey.shape[-1] // 2]
    return np.concatenate(list(grey), axis=1)
