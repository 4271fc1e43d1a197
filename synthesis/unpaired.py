"""From scans to the look of targets one way, without pairs and without a way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ganatomy import losses
from ganatomy.errors import WrongUse
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import encoder, image_generator, patch_critic, unet
from ganatomy.objectives import check_critic, objective
from synthesis.image_pool import ImagePool
from synthesis.judging import feature_matching, fooled, told_apart
from synthesis.translation import Translation

Tensor = Any


class UnpairedGAN(Translation):
    """A generator whose translations a critic takes for targets, and which stay close to the scan.

    There is no second generator, so nothing but the self-regularisation says that a translation is
    of its scan: a loss between what was made and what it was made of. The critic sees half of the
    time what was made some steps ago, and moves first.

    With `classes` there is a classifier in the loop, which learns along: from translations, by the
    classes of their scans, and from targets where these have labels. The generator minimises its
    cross entropy as well, so a translation has to show what the class is told by. The class of an
    image is read off its labels: the highest number that covers at least `share` of it, else 0. A
    picture of one number says the class of a whole image; an outline says it for every tile.

    With `labels` there is a segmentor in the loop, a U-Net, which learns along in the same way:
    from translations, by the labels of their scans, and from targets where these have labels.

    Terms of the generator: `adversarial`; the image losses that need no pair, of which
    `self_regularisation` has a weight of 10 (none where scan and target have other numbers of
    channels: `gradient_consistency` can take its place); `classification` (1); `shape` (1), what
    the segmentor misses in translations, cross entropy and soft Dice: with a weight below 0 these
    are to be hard for it; `features` (feature matching, 0). Of the classifier and of the segmentor
    `made` and `real`. Least squares are halved here, and with weight 2 for the generator the
    published ones.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: of the target; those of the scan where None.
        classes: how many the classifier tells apart, 0 among them; no classifier where None.
        share: of an image, that a class's number has to cover.
        classifier_width: channels of its first convolution.
        labels: how many the segmentor finds beside the background; no segmentor where None.
        segmentor_width: its channels at the image's grid; they double a level.
        generator: a name of `ganatomy.networks.image_generator`.
        generator_settings: its own settings, without dropout.
        width: its channels at the finest grid.
        critic_width: channels of the critic's first convolution.
        critic_depth: how often its grid halves, see `ganatomy.networks.patch_critic`.
        critic_norm: its normalisation.
        scales: at how many sizes of the image it judges.
        spectral: divide its kernels by their largest singular values.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        pool: translations that are kept for the critic.
        **translation: `features` of `Translation`; `term_weights`, `optimizers`, `averages`.

    Raises:
        ValueError: settings that do not fit the grid or each other.
        WrongUse: in training: classes or labels, and a table without labels of the scans.

    Reference: Shrivastava et al. 2017, equations 1 to 4; Mahmood, Chen, Durr 2018 for real to
    synthetic endoscopy; BenTaieb and Hamarneh 2018 for stains and the classifier, which there
    shares the critic's layers; Hou et al. 2017 for the segmentor, with `shape` below 0.
    """

    roles: ClassVar[dict[str, str]] = {
        "scan": "joined",
        "target": "independent",
        "scan_labels": "scan",
        "target_labels": "target",
    }
    default_weights: ClassVar[dict[str, Any]] = {
        **Translation.default_weights,
        "generator/adversarial": 2.0,
        "generator/features": 0.0,
        "generator/self_regularisation": 10.0,
        "generator/shape": 1.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        classes: int | None = None,
        share: float = 0.1,
        classifier_width: int = 16,
        labels: int | None = None,
        segmentor_width: int = 16,
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
        if self.shape != self.target_shape and "generator/self_regularisation" not in self._asked:
            self._term_weights["generator/self_regularisation"] = 0.0
        if (classes or 2) < 2 or not 0 < share <= 1:
            raise ValueError(
                f"classes are 2 or more and share is above 0 and up to 1, not {classes} and {share}"
            )
        if labels is not None and labels < 1:
            raise ValueError(f"labels is how many there are beside the background, not {labels}")
        self.classes, self.share, self.classifier_width = classes, share, classifier_width
        self.labels, self.segmentor_width = labels or 0, segmentor_width
        check_critic(adversary, 0.0, critic_norm, bounded=spectral)
        self.generator, self.width = generator, width
        self.generator_settings = dict(generator_settings or {})
        if self.generator_settings.get("dropout"):
            raise ValueError("a generator without pairs has no dropout: its scan is all it knows")
        self.critic_width, self.critic_depth = critic_width, critic_depth
        self.critic_norm, self.scales, self.spectral = critic_norm, scales, spectral
        self.adversary = objective(adversary)
        self.pool_of_targets = ImagePool(pool, self.target_shape)
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {"pool": Noise("uniform", (2,))}

    def build_networks(self) -> dict[str, keras.Model]:
        networks = {
            "generator": image_generator(
                self.generator,
                self.shape,
                self.target_shape[-1],
                self.width,
                **self.generator_settings,
            ),
            "discriminator": patch_critic(
                self.target_shape,
                self.critic_width,
                self.critic_depth,
                self.critic_norm,
                self.spectral,
                self.scales,
                name="discriminator",
            ),
        }
        if self.classes:
            networks["classifier"] = encoder(
                self.target_shape,
                self.classes,
                width=self.classifier_width,
                norm="layer",
                activation=None,
                name="classifier",
            )
        if self.labels:
            networks["segmentor"] = unet(
                self.target_shape,
                self.labels + 1,
                self.segmentor_width,
                norm="instance",
                name="segmentor",
            )
        return networks

    def stages(self) -> list[Stage]:
        players = [
            Critic("discriminator", self.discriminator_terms),
            Player("generator", self.generator_terms),
        ]
        if self.classes:
            players.append(Player("classifier", self.classifier_terms))
        if self.labels:
            players.append(Player("segmentor", self.segmentor_terms))
        return [Stage("adversarial", *players)]

    # Training ----------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Any]:
        return {"generated": self.networks["generator"](batch["scan"], training=True)}

    def judge(self, image: Tensor) -> Any:
        """What the critic says of images [B, *size, C']."""
        return self.networks["discriminator"](image, training=True)

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        seen = self.pool_of_targets.exchange(ops.stop_gradient(played["generated"]), batch["pool"])
        return {
            "adversarial": told_apart(self.adversary, self.judge(batch["target"]), self.judge(seen))
        }

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        generated = played["generated"]
        judged = self.judge(generated)
        told = {"classification": lambda: self._told(generated, batch, "scan")}
        shape = {"shape": lambda: self._missed(generated, batch, "scan")}
        return {
            "adversarial": fooled(self.adversary, judged),
            "features": lambda: feature_matching(self.judge(batch["target"]), judged),
            **(told if self.classes else {}),
            **(shape if self.labels else {}),
            **self.image_terms(generated, batch),
        }

    def classifier_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        return _of_both(self._told, batch, played)

    def segmentor_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        return _of_both(self._missed, batch, played)

    def _told(self, images: Tensor, batch: Batch, kind: str) -> Tensor:
        """How far the classifier is from the classes of a kind's images, nats, [B]."""
        if f"{kind}_labels" not in batch:
            raise WrongUse(f"a classifier learns classes: give --data the role {kind}_labels")
        logits = self.networks["classifier"](images, training=True)
        return losses.classification(logits, self.classes_of(batch[f"{kind}_labels"]))

    def _missed(self, images: Tensor, batch: Batch, kind: str) -> Tensor:
        """What the segmentor misses of the labels of a kind's images, [B]."""
        if f"{kind}_labels" not in batch:
            raise WrongUse(f"a segmentor learns labels: give --data the role {kind}_labels")
        logits = self.networks["segmentor"](images, training=True)
        return losses.shape(logits, batch[f"{kind}_labels"], form="both")

    def classes_of(self, labels: Tensor) -> Tensor:
        """The class of each image, [B], from its labels [B, *size, 1]."""
        numbers = np.arange(1, self.classes or 1, dtype=np.float32)
        here: Any = ops.cast(ops.equal(labels, numbers), "float32")
        covered: Tensor = ops.mean(here, axis=tuple(range(1, len(here.shape) - 1)))
        return ops.max(ops.where(covered >= self.share, numbers, 0.0), axis=-1)

    # Translation -------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.network("generator")(x, training=False)

    def classify(self, images: Tensor) -> Tensor:
        """How likely each class is, [B, classes], of images like targets [B, *size, C']."""
        return ops.softmax(self.network("classifier")(images, training=False), axis=-1)

    def segment(self, images: Tensor) -> Tensor:
        """The labels that the segmentor finds in images like targets [B, *size, C'], [B, *size]."""
        return ops.argmax(self.network("segmentor")(images, training=False), axis=-1)


def _of_both(
    loss: Callable[[Tensor, Batch, str], Tensor], batch: Batch, played: dict[str, Any]
) -> dict[str, Any]:
    """What a network in the loop learns from: translations, and targets that have labels."""
    made = ops.stop_gradient(played["generated"])
    terms = {"made": lambda: loss(made, batch, "scan")}
    if "target_labels" in batch:
        terms["real"] = lambda: loss(batch["target"], batch, "target")
    return terms
