"""pix2pix: a generator from pairs, and a critic that sees scan and image together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy import losses
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import image_generator, patch_critic
from ganatomy.objectives import check_critic, gradient_penalty, objective, per_sample
from synthesis.judging import feature_matching, fooled, told_apart
from synthesis.translation import Translation

Tensor = Any


class Pix2Pix(Translation):
    """A generator that is told by an aligned target and by a critic of patches.

    The discriminator sees the scan beside the image, real or made, and says of every patch whether
    it is real; it moves first. The generator minimises its objective and the mean absolute
    difference to the target.

    Dropout is the only noise, as published: masks of the U-Net's inner levels come with the batch.
    After training nothing is left out, so that a scan has one translation.

    With `cascade` a second generator sees the scan beside what the first made of it, and so on; all
    are trained together, and the mean absolute error of each but the last is the term `draft`.

    Terms of the generator: `adversarial`, `features` (feature matching) and every image loss, of
    which `l1` has its published weight of 100. Of the discriminator: `adversarial`, halved as
    published, and `penalty`.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: of the target; those of the scan where None.
        generator: a name of `ganatomy.networks.image_generator`.
        generator_settings: its own settings, e.g. depth and norm of a U-Net, blocks of a ResNet.
        width: its channels at the finest grid; 64 as published.
        dropout: of a U-Net's inner levels.
        cascade: how many generators, each of which sees what the one before made.
        critic_width: channels of the discriminator's first convolution; 64 as published.
        critic_depth: how often its grid halves: patches of 16, 34, 70, 142, 286 voxels for 1 to 5.
        critic_norm: its normalisation; batch norm over one sample, the published batch, is that of
            an instance.
        scales: at how many sizes of the image it judges.
        spectral: divide its kernels by their largest singular values.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        **translation: `features` of `Translation`; `term_weights`, `optimizers`, `averages`.

    Raises:
        ValueError: settings that do not fit the grid or each other.

    Reference: Isola et al. 2017, equations 1 to 4 and section 3.3; Wang et al. 2018, equations 3
    and 4, for scales and features; Nie et al. 2018, section III-C, for the cascade, whose networks
    are trained one after the other there.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Translation.default_weights,
        "generator/l1": 100.0,
        "generator/draft": 100.0,
        "generator/features": 0.0,
        "discriminator/adversarial": 0.5,
        "discriminator/penalty": 0.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        generator: str = "unet",
        generator_settings: Mapping[str, Any] | None = None,
        width: int = 64,
        dropout: float = 0.5,
        cascade: int = 1,
        critic_width: int = 64,
        critic_depth: int = 3,
        critic_norm: str | None = "instance",
        scales: int = 1,
        spectral: bool = False,
        adversary: str = "nonsaturating",
        **translation: Any,
    ):
        super().__init__(shape, target_channels, **translation)
        penalty = self._term_weights["discriminator/penalty"]
        check_critic(adversary, penalty, critic_norm, bounded=spectral)
        self.generator, self.width = generator, width
        self.generator_settings = dict(generator_settings or {})
        self.dropout = dropout if generator == "unet" else 0.0
        if self.dropout:
            self.generator_settings["dropout"] = dropout
        if cascade < 1:
            raise ValueError(f"cascade is the number of generators, 1 or more, not {cascade}")
        self.chain = ("generator", *(f"generator_{n}" for n in range(2, cascade + 1)))
        self.critic_width, self.critic_depth = critic_width, critic_depth
        self.critic_norm, self.scales, self.spectral = critic_norm, scales, spectral
        self.adversary = objective(adversary)
        self.assemble()

    # What a variant changes ----------------------------------------------------------------------

    def condition(self, scan: Tensor) -> Tensor:
        """What generators and discriminator see of scans [B, *size, C]: here all of it."""
        return scan

    @property
    def seen_channels(self) -> int:
        """Of what the first generator sees: here the scan's."""
        return self.shape[-1]

    # What it is made of --------------------------------------------------------------------------

    @property
    def noise(self) -> dict[str, Noise]:
        networks: dict[str, Any] = {name: self.networks[name] for name in self.chain}
        masks = {
            f"kept_{name}": Noise("uniform", tuple(network.inputs[1].shape[1:]))
            for name, network in networks.items()
            if len(network.inputs) > 1
        }
        return masks | ({"mix": Noise("uniform")} if self._weighed("discriminator/penalty") else {})

    def build_networks(self) -> dict[str, keras.Model]:
        seen, made = self.seen_channels, self.target_shape[-1]
        generators = {
            name: self.generator_of(name, seen if name == "generator" else seen + made, made)
            for name in self.chain
        }
        return generators | {
            "discriminator": self.critic_of("discriminator", self.shape[-1] + made)
        }

    def generator_of(
        self,
        name: str,
        channels: int,
        made: int,
        sides: tuple[int, ...] | None = None,
        **changed: Any,
    ) -> keras.Model:
        """A generator as the settings say, from so many channels to so many, on the model's grid
        or another.
        """
        shape = (*(sides or self.shape[:-1]), channels)
        settings = {**self.generator_settings, **changed}
        return image_generator(self.generator, shape, made, self.width, name=name, **settings)

    def critic_of(
        self, name: str, channels: int, sides: tuple[int, ...] | None = None
    ) -> keras.Model:
        """A critic of patches as the settings say."""
        return patch_critic(
            (*(sides or self.shape[:-1]), channels),
            self.critic_width,
            self.critic_depth,
            self.critic_norm,
            self.spectral,
            self.scales,
            name=name,
        )

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "adversarial",
                Critic("discriminator", self.discriminator_terms),
                Player("generator", self.generator_terms, self.chain),
            )
        ]

    # Training ----------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Any]:
        made = self.made_of(self.condition(batch["scan"]), batch)
        return {"drafts": made[:-1], "generated": made[-1]}

    def made_of(self, seen: Tensor, batch: Batch | None = None) -> list[Tensor]:
        """What every generator makes, one after the other.

        Args:
            seen: by the first of them, [B, *size, seen_channels].
            batch: with the dropout of a step of training; None after training.
        """
        made: list[Tensor] = []
        for name in self.chain:
            shown = beside(seen, made[-1]) if made else seen
            if batch is None:
                made.append(_made(self.network(name), shown, None, training=False))
                continue
            kept = batch.get(f"kept_{name}")
            if kept is not None:
                kept = ops.divide(ops.cast(kept >= self.dropout, "float32"), 1.0 - self.dropout)
            made.append(_made(self.networks[name], shown, kept, training=True))
        return made

    def judge(self, scan: Tensor, image: Tensor) -> Any:
        """What the discriminator says of an image [B, *size, C'] of a scan."""
        return self.networks["discriminator"](beside(self.condition(scan), image), training=True)

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        scan, target, generated = batch["scan"], batch["target"], played["generated"]
        seen = self.condition(scan)

        def realness(pair: Tensor) -> Tensor:
            said = self.networks["discriminator"](pair, training=True)["logits"]
            return sum(map(per_sample, said))

        return {
            "adversarial": told_apart(
                self.adversary, self.judge(scan, target), self.judge(scan, generated)
            ),
            "penalty": lambda: gradient_penalty(
                realness, beside(seen, target), beside(seen, generated), batch["mix"]
            ),
        }

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        scan, generated = batch["scan"], played["generated"]
        judged, drafts = self.judge(scan, generated), played["drafts"]
        early = {
            "draft": lambda: sum(losses.l1(draft, batch["target"]) for draft in drafts),
        }
        return {
            "adversarial": fooled(self.adversary, judged),
            **(early if drafts else {}),
            "features": lambda: feature_matching(self.judge(scan, batch["target"]), judged),
            **self.image_terms(generated, batch),
        }

    # Translation -------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.made_of(self.condition(x))[-1]


def _made(network: Any, x: Tensor, kept: Tensor | None, *, training: bool) -> Tensor:
    """What a generator makes; where it has dropout and no mask is given, nothing is left out."""
    if len(network.inputs) == 1:
        return network(x, training=training)
    if kept is None:
        sizes: Any = ops.shape(x)
        kept = ops.ones((sizes[0], *network.inputs[1].shape[1:]))
    return network([x, kept], training=training)


def beside(scan: Tensor, image: Tensor) -> Tensor:
    """A scan and an image of it as one image, float32 [B, *size, C + C']."""
    return ops.concatenate([ops.cast(scan, "float32"), ops.cast(image, "float32")], axis=-1)
