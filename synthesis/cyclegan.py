"""CycleGAN: two generators that undo each other, from scans and targets without pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy import losses
from ganatomy.errors import WrongUse
from ganatomy.game import Batch, Noise, Player, Stage
from ganatomy.networks import image_generator, patch_critic
from ganatomy.objectives import check_critic, objective
from synthesis.image_pool import ImagePool
from synthesis.judging import feature_matching, fooled, told_apart
from synthesis.translation import Translation

Tensor = Any


class CycleGAN(Translation):
    """One generator makes targets of scans, another scans of targets, each judged by a critic.

    What went there and back has to be what it was. One optimizer moves both generators, another
    both critics; both sides of a step see the networks as they were before it. The critics see half
    of the time what was made some steps ago.

    Terms of the generators: `adversarial`, `cycle` (10 as published), `identity` (half of the
    cycle's weight; only where scan and target have as many channels: a generator leaves alone what
    already is of its kind), `features`, and the image losses that need no pair, of both directions.
    Every term is the sum over the two directions, of means over an image. Least squares are halved
    here, and with weight 2 for the generators the sums are the published ones.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: of the target; those of the scan where None.
        generator: a name of `ganatomy.networks.image_generator`.
        generator_settings: its own settings; a ResNet has 9 blocks as published for 256 voxels a
            side, 6 for 128.
        width: its channels at the finest grid; 64 as published.
        critic_width: channels of the critics' first convolution; 64 as published.
        critic_depth: how often their grid halves: patches of 16, 34, 70, 142, 286 for 1 to 5.
        critic_norm: their normalisation.
        scales: at how many sizes of the image they judge.
        spectral: divide their kernels by their largest singular values.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        pool: images of each kind that are kept for the critics.
        **translation: `features` of `Translation`; `term_weights`, `optimizers`, `averages`. With
            `learning_rate: [[0, r], [n / 2, r], [n, 0]]` a rate is constant and falls to nothing in
            the second half of n steps, as published.

    Raises:
        ValueError: settings that do not fit the grid or each other.
        WrongUse: an identity term where scan and target have other numbers of channels.

    Reference: Zhu et al. 2017, equations 1 to 3 and sections 4 and 5.2; Isola et al. 2017 for the
    critics.
    """

    roles: ClassVar[dict[str, str]] = {"scan": "joined", "target": "independent"}
    default_weights: ClassVar[dict[str, Any]] = {
        **Translation.default_weights,
        "generator/adversarial": 2.0,
        "generator/cycle": 10.0,
        "generator/identity": 5.0,
        "generator/features": 0.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        generator: str = "resnet",
        generator_settings: Mapping[str, Any] | None = None,
        width: int = 64,
        critic_width: int = 64,
        critic_depth: int = 3,
        critic_norm: str | None = "bare",
        scales: int = 1,
        spectral: bool = False,
        adversary: str = "least_squares",
        pool: int = 50,
        **translation: Any,
    ):
        super().__init__(shape, target_channels, **translation)
        self.alike = self.shape == self.target_shape
        if (
            not self.alike
            and "generator/identity" in self._asked
            and self._weighed("generator/identity")
        ):
            raise WrongUse(
                f"generator/identity compares a scan of {self.shape[-1]} channels with a target of "
                f"{self.target_shape[-1]}: set its weight to 0"
            )
        check_critic(adversary, 0.0, critic_norm, bounded=spectral)
        self.generator, self.width = generator, width
        self.generator_settings = dict(generator_settings or {})
        if self.generator_settings.get("dropout"):
            raise ValueError("the generators of a cycle have no dropout, as published")
        self.critic_width, self.critic_depth = critic_width, critic_depth
        self.critic_norm, self.scales, self.spectral = critic_norm, scales, spectral
        self.adversary = objective(adversary)
        self.pool_of_scans = ImagePool(pool, self.shape)
        self.pool_of_targets = ImagePool(pool, self.target_shape)
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {"pool": Noise("uniform", (4,))}

    def build_networks(self) -> dict[str, keras.Model]:
        def generator(name: str, shape: tuple[int, ...], channels: int) -> keras.Model:
            return image_generator(
                self.generator, shape, channels, self.width, name=name, **self.generator_settings
            )

        def critic(name: str, shape: tuple[int, ...]) -> keras.Model:
            return patch_critic(
                shape,
                self.critic_width,
                self.critic_depth,
                self.critic_norm,
                self.spectral,
                self.scales,
                name=name,
            )

        return {
            "to_target": generator("to_target", self.shape, self.target_shape[-1]),
            "to_scan": generator("to_scan", self.target_shape, self.shape[-1]),
            "critic_of_targets": critic("critic_of_targets", self.target_shape),
            "critic_of_scans": critic("critic_of_scans", self.shape),
        }

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "adversarial",
                Player("generator", self.generator_terms, ("to_target", "to_scan")),
                Player(
                    "discriminator",
                    self.discriminator_terms,
                    ("critic_of_targets", "critic_of_scans"),
                ),
            )
        ]

    # Training ----------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Tensor]:
        to_target, to_scan = self.networks["to_target"], self.networks["to_scan"]
        target, scan = (
            to_target(batch["scan"], training=True),
            to_scan(batch["target"], training=True),
        )
        return {
            "target": target,
            "scan": scan,
            "scan_again": to_scan(target, training=True),
            "target_again": to_target(scan, training=True),
        }

    def judge(self, kind: str, images: Tensor) -> Any:
        """What the critic of a kind, "scan" or "target", says of images."""
        return self.networks[f"critic_of_{kind}s"](images, training=True)

    def generator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        said = {kind: self.judge(kind, played[kind]) for kind in ("scan", "target")}
        terms: dict[str, Any] = {
            "adversarial": sum(fooled(self.adversary, judged) for judged in said.values()),
            "cycle": lambda: (
                losses.l1(played["scan_again"], batch["scan"])
                + losses.l1(played["target_again"], batch["target"])
            ),
            "features": lambda: sum(
                feature_matching(self.judge(kind, batch[kind]), judged)
                for kind, judged in said.items()
            ),
        }
        if self.alike:
            terms["identity"] = lambda: self.identity(batch)
        return terms | self.image_terms_of_both(played, batch)

    def image_terms_of_both(
        self, made: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, Callable[[], Tensor]]:
        """Every image loss by name, the sum over both directions, not yet computed.

        Args:
            made: what was made, by kind: `target` of the scan and `scan` of the target.
            batch: what it is compared with.
        """
        there = self.image_terms(made["target"], batch)
        back = self.image_terms(made["scan"], {"scan": batch["target"], "target": batch["scan"]})
        return {
            name: lambda one=one, other=back[name]: one() + other() for name, one in there.items()
        }

    def identity(self, batch: Batch) -> Tensor:
        """How much the generators change what already is of their kind, [B].

        Reference: Zhu et al. 2017, section 5.2.
        """
        to_target, to_scan = self.networks["to_target"], self.networks["to_scan"]
        return losses.l1(to_target(batch["target"], training=True), batch["target"]) + losses.l1(
            to_scan(batch["scan"], training=True), batch["scan"]
        )

    def discriminator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        draws = batch["pool"]
        seen = {
            "target": self.pool_of_targets.exchange(
                ops.stop_gradient(played["target"]), draws[:, :2]
            ),
            "scan": self.pool_of_scans.exchange(ops.stop_gradient(played["scan"]), draws[:, 2:]),
        }
        return {
            "adversarial": sum(
                told_apart(self.adversary, self.judge(kind, batch[kind]), self.judge(kind, images))
                for kind, images in seen.items()
            )
        }

    # Translation -------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.network("to_target")(x, training=False)

    def generate_back(self, x: Tensor) -> Tensor:
        """The scans of targets [B, *size, C'], each by itself, [B, *size, C]; in the graph."""
        return self.network("to_scan")(x, training=False)
