"""A contrast that is missing, from all others: one generator for whichever it is."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import layers, ops

from ganatomy import losses
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import image_generator, patch_critic
from ganatomy.networks.blocks import of_rank
from ganatomy.objectives import check_critic, objective
from synthesis.judging import fooled, told_apart
from synthesis.pix2pix import beside
from synthesis.translation import Translation

Tensor = Any


class MissingContrast(Translation):
    """A scan is a stack of registered contrasts, of which any one may be missing.

    In every step another contrast of each sample is taken out; the generator sees the rest, and
    which one is asked for, and makes it. With what it made in the place of the true one, every
    other contrast is then taken out and made again, and has to be what it was (multiple cycle
    consistency). The discriminator says of a contrast whether it is real, and which one it is.

    Terms of the generator: `adversarial`; `made`, the mean absolute difference to the contrast that
    was taken out (100); `cycle`, the mean over the others of their differences to what was made
    again (10); `similarity`, that of −log((1 + SSIM) / 2) of the same (1); `contrast`, the cross
    entropy of which contrast the discriminator takes it for (1). Of the discriminator `adversarial`
    (halved) and `contrast` (1), of real ones. Image losses compare what was made with what was
    taken out. The weights are ours: of `made` and `cycle` the published code has 10 and 1 for
    faces, 0 and 10 for brains, where `cycle` is a sum.

    A translation is the contrast number `missing`; whatever the scan holds in its place is not
    looked at, and the target, the true contrast, is for measuring alone.

    Args:
        shape: of one sample of the scan, (*size, contrasts), two or more.
        target_channels: 1.
        missing: the contrast that translations are of, from 0.
        generator: a name of `ganatomy.networks.image_generator`.
        generator_settings: its own settings.
        width: its channels at the finest grid.
        critic_width: channels of the discriminator's first convolution.
        critic_depth: how often its grid halves.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        **translation: `features` of `Translation`; `term_weights`, `optimizers`, `averages`.

    Raises:
        ValueError: a single contrast, or a missing one that there is not.

    Reference: Lee et al. 2019 (CollaGAN), the multiple cycle consistency, structural similarity and
    discriminator losses. There what was made again is judged too, and of faces several can be
    missing.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        **Translation.default_weights,
        "generator/made": 100.0,
        "generator/cycle": 10.0,
        "generator/similarity": 1.0,
        "discriminator/adversarial": 0.5,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = 1,
        missing: int = 0,
        generator: str = "unet",
        generator_settings: Mapping[str, Any] | None = None,
        width: int = 64,
        critic_width: int = 64,
        critic_depth: int = 3,
        adversary: str = "least_squares",
        **translation: Any,
    ):
        super().__init__(shape, 1, **translation)
        if target_channels != 1:
            raise ValueError(f"one contrast is made, not {target_channels}: target_channels is 1")
        self.contrasts = self.shape[-1]
        if self.contrasts < 2 or not 0 <= missing < self.contrasts:
            raise ValueError(f"contrast {missing} of {self.contrasts}: two or more, from 0")
        check_critic(adversary, 0.0)
        self.missing, self.generator, self.width = missing, generator, width
        self.generator_settings = dict(generator_settings or {})
        if self.generator_settings.get("dropout"):
            raise ValueError("the generator of a missing contrast has no dropout")
        self.critic_width, self.critic_depth = critic_width, critic_depth
        self.adversary = objective(adversary)
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {"which": Noise("uniform")}

    def build_networks(self) -> dict[str, keras.Model]:
        both = (*self.shape[:-1], 2 * self.contrasts)
        return {
            "generator": image_generator(
                self.generator, both, 1, self.width, name="generator", **self.generator_settings
            ),
            "discriminator": self._discriminator(),
        }

    def _discriminator(self) -> keras.Model:
        """The logits of patches, and of which contrast an image is."""
        patches = patch_critic(
            self.target_shape, self.critic_width, self.critic_depth, "instance", name="patches"
        )
        image = keras.Input(self.target_shape, name="image")
        said = patches(image)
        deepest = said["features"][0][-1]
        pooled = of_rank("GlobalAveragePooling", len(self.shape) - 1)(name="pooled")(deepest)
        kind = layers.Dense(self.contrasts, dtype="float32", name="contrast")(pooled)
        return keras.Model(
            image, {"logits": said["logits"], "contrast": kind}, name="discriminator"
        )

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "adversarial",
                Critic("discriminator", self.discriminator_terms),
                Player("generator", self.generator_terms),
            )
        ]

    # Contrasts -----------------------------------------------------------------------------------

    def _one_hot(self, which: Tensor) -> Tensor:
        """Which contrast, by its number [B], as [B, *1, contrasts]."""
        rank = len(self.shape) - 1
        hot: Tensor = ops.one_hot(which, self.contrasts, dtype="float32")
        return ops.reshape(hot, (-1, *[1] * rank, self.contrasts))

    def _without(self, scan: Tensor, hot: Tensor) -> Tensor:
        """The other contrasts, black where one is missing, beside which one is asked for."""
        rest = scan * (1 - hot) - hot
        return beside(rest, ops.zeros_like(scan) + hot)

    def _taken(self, scan: Tensor, hot: Tensor) -> Tensor:
        return ops.sum(scan * hot, axis=-1, keepdims=True)

    # Training ------------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Tensor]:
        scan: Tensor = ops.cast(batch["scan"], "float32")
        which: Tensor = ops.cast(ops.floor(batch["which"] * self.contrasts), "int32")
        which = ops.minimum(which, self.contrasts - 1)
        hot = self._one_hot(which)
        made = self.networks["generator"](self._without(scan, hot), training=True)
        return {"which": which, "real": self._taken(scan, hot), "made": made}

    def made_again(self, batch: Batch, played: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Every other contrast, made of the rest with what was made among them; and as it was."""
        scan: Tensor = ops.cast(batch["scan"], "float32")
        hot = self._one_hot(played["which"])
        stack = scan * (1 - hot) + played["made"] * hot
        pairs = []
        for step in range(1, self.contrasts):
            other = self._one_hot((played["which"] + step) % self.contrasts)
            again = self.networks["generator"](self._without(stack, other), training=True)
            pairs.append((again, self._taken(scan, other)))
        return pairs

    def judge(self, image: Tensor) -> dict[str, Tensor]:
        """What the discriminator says of contrasts [B, *size, 1]."""
        return self.networks["discriminator"](image, training=True)

    def generator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        made, said = played["made"], self.judge(played["made"])
        others = self.contrasts - 1
        pairs = functools.cache(lambda: self.made_again(batch, played))  # once for two terms
        return {
            "adversarial": fooled(self.adversary, said),
            "made": losses.l1(made, played["real"]),
            "cycle": lambda: sum(losses.l1(*pair) for pair in pairs()) / others,
            "similarity": lambda: sum(dissimilarity(*pair) for pair in pairs()) / others,
            "contrast": losses.classification(said["contrast"], played["which"]),
            **self.image_terms(made, {"scan": batch["scan"], "target": played["real"]}),
        }

    def discriminator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        real, fake = self.judge(played["real"]), self.judge(played["made"])
        return {
            "adversarial": told_apart(self.adversary, real, fake),
            "contrast": losses.classification(real["contrast"], played["which"]),
        }

    # Translation ---------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.generate_of(x, self.missing)

    def generate_of(self, x: Tensor, which: int) -> Tensor:
        """The contrast of a number, from 0, made of the others of scans [B, *size, contrasts]."""
        hot = self._one_hot(ops.convert_to_tensor([which]))
        return self.network("generator")(self._without(x, hot), training=False)


def dissimilarity(x: Tensor, y: Tensor) -> Tensor:
    """−log((1 + SSIM) / 2) of images in [-1, 1], [B]: 0 the same."""
    likeness: Tensor = ops.log(1 - losses.ssim(x, y) / 2)
    return -likeness
