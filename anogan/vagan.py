"""VA-GAN: what would have to change for a sick scan to pass as a healthy one."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from keras import ops

from anogan.detector import Detector, Findings
from anogan.latent_gan import row
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import dcgan_critic, unet
from ganatomy.objectives import check_critic, gradient_penalty, per_sample, wasserstein

Tensor = Any


class VAGAN(Detector):
    """A map M(x) that, added to a sick sample, makes it one that a critic takes for healthy.

    Critic and map play a WGAN with gradient penalty between healthy samples and y = x + M(x), x
    sick, while |M| is kept small. The counterpart of any sample is x + M(x), its residual -M(x):
    what has to be taken away. The paper has no score; here it is the mean of |M(x)|.

    Unlike the other detectors it needs scans that are known to be abnormal (a label an image, no
    outline), in the role `abnormal`, of other patients or the same; it finds what they have. M
    never sees a healthy sample in training, as published.

    The paper moves the critic 100 times for each of the first 25 updates of the map and once in
    every 100 later; here the stage "critic" moves the critic alone, before "adversarial". M begins
    at zero.

    Args:
        shape: of one sample, (*size, channels).
        width: channels of the finest layer of the U-Net M and of the critic; 16 as published.
        critic_updates: critic steps a step of the map; 5 as published.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`. The weight of
            `map/size`, 100 as published, is of the mean of |M| over pixels and channels, as in the
            published code, for 112×112 pixels: a pixel there weighs 0.008. The critic's slope is 1
            over the whole image, so smaller images need a smaller weight, or M stays at nothing.

    Raises:
        ValueError: the critic's penalty has no weight.

    Reference: Baumgartner, Koch, Tezcan, Ang, Konukoglu, "Visual feature attribution using
    Wasserstein GANs", CVPR 2018, equations 1 to 5; Gulrajani et al. 2017 for the penalty.
    """

    roles: ClassVar[dict[str, str]] = {"scan": "joined", "abnormal": "independent"}
    default_weights: ClassVar[dict[str, Any]] = {"critic/penalty": 10.0, "map/size": 100.0}
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-4,
        "beta_1": 0.0,
        "beta_2": 0.9,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 16,
        critic_updates: int = 5,
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        check_critic("wasserstein", self._term_weights["critic/penalty"])
        self.shape, self.width = tuple(shape), width
        self.critic_updates, self.chunk = critic_updates, chunk
        self.adversary = wasserstein()
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {"mix": Noise("uniform")}

    def build_networks(self) -> dict:
        change = unet(self.shape, self.shape[-1], width=self.width, name="map")
        # x + M(x) begins as x: otherwise the map has first to unlearn what it does to all.
        last = change.get_layer("output")
        last.set_weights([np.zeros_like(w) for w in last.get_weights()])
        return {
            "map": change,
            "critic": dcgan_critic(self.shape, width=self.width, norm=None),
        }

    def stages(self) -> list[Stage]:
        critic = Critic("critic", self.critic_terms, updates=self.critic_updates)
        return [
            Stage("critic", critic),
            Stage("adversarial", critic, Player("map", self.map_terms)),
        ]

    def play(self, batch: Batch) -> dict:
        change = self.networks["map"](batch["abnormal"], training=True)
        return {"change": change, "image": batch["abnormal"] + change}

    def critic_terms(self, batch: Batch, played: dict) -> dict:
        critic, real, fake = self.networks["critic"], batch["scan"], played["image"]

        def logit(x):
            return critic(x, training=True)["logit"]

        return {
            "adversarial": self.adversary.critic(logit(real), logit(fake)),
            "penalty": lambda: gradient_penalty(logit, real, fake, batch["mix"]),
        }

    def map_terms(self, batch: Batch, played: dict) -> dict:
        logit = self.networks["critic"](played["image"], training=True)["logit"]
        return {
            "adversarial": self.adversary.generator(logit),
            "size": per_sample(ops.abs(played["change"])),
        }

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        change = self.network("map")(x, training=False)
        return Findings.against(x, x + change, per_sample(ops.abs(change)), start)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Eight healthy scans above what the map makes of them: the less changed the better."""
        made = samples + self.network("map")(samples, training=False)
        shown = np.concatenate([row(samples), row(made)])
        return {"healthy": np.clip(shown, -1, 1)}
