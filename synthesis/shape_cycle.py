"""CycleGAN with segmentors in the loop: what is translated keeps the shapes that labels say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ganatomy import losses
from ganatomy.errors import WrongUse
from ganatomy.game import Batch, Player, Stage
from ganatomy.gradients import compiled
from ganatomy.networks import patch_critic, unet
from synthesis.cyclegan import CycleGAN
from synthesis.judging import fooled, told_apart

Tensor = Any
OTHER = {"scan": "target", "target": "scan"}
ALONG, BEFORE, FIRST = "along", "before", "first"


class ShapeCycleGAN(CycleGAN):
    """A CycleGAN whose translations a segmentor has to find the labels of their scans in.

    A segmentor is a U-Net to logits of labels, the background first; there is one of targets, one
    of scans, or both. What it learns from are the labels that the table has, of scans, of targets
    or of both; they are never compared across a pair, for there is none.

    Terms beside those of `CycleGAN`, each the sum over the segmentors for which there are labels,
    of cross entropy and soft Dice:
    - of the generators `shape`: of what was made against the labels of what it was made of, with
      weight 1; `shape_back`: of what came back against its own labels; `masks`: the segmentors'
      answers to what was made, before a critic of masks. These two have weight 0.
    - of the segmentors `real`, of images against their labels; and, where they learn along, `made`,
      of what was made against the labels of what it was made of.
    - of the critics `masks`, answers to real images against those to made ones, where the
      generators have that term: labels are crisp and answers are not, which would give them away.

    Args:
        labels: numbers of labels beside the background.
        segmentors: the kinds of image that have one.
        segmentor: how they come to their weights: "along" with the generators, in the same steps;
            "before" them, in a stage `segmentation`, and then frozen; "first" so, and then along,
            which asks for labels of the kinds that have one; or frozen, from a model of this
            kind, by the name of its folder, e.g. one with no adversarial steps.
        segmentor_width: channels at the image's grid; they double a level.
        segmentor_depth: how often their grid halves; see `ganatomy.networks.unet`.
        **cycle: settings of `CycleGAN`.

    Raises:
        ValueError: no labels, or no segmentor.
        WrongUse: in training: labels that a weighed term needs, and the table lacks.

    Reference: Zhang, Yang, Zheng 2018 for both first and along; Huo et al. 2018 (SynSeg-Net) for
    targets along, from labels of scans alone, whose code takes Dice or a cross entropy weighted by
    class, not their sum; Zhang et al. 2018b (TD-GAN) for `shape_back` of frozen ones, from labels
    of targets alone; Chen et al. 2018 for `masks` of frozen ones.
    """

    roles: ClassVar[dict[str, str]] = {
        "scan": "joined",
        "target": "independent",
        "scan_labels": "scan",
        "target_labels": "target",
    }
    default_weights: ClassVar[dict[str, Any]] = {
        **CycleGAN.default_weights,
        "generator/shape": 1.0,
        "generator/shape_back": 0.0,
        "generator/masks": 0.0,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        labels: int = 1,
        segmentors: Sequence[str] = ("scan", "target"),
        segmentor: str = ALONG,
        segmentor_width: int = 16,
        segmentor_depth: int | None = None,
        **cycle: Any,
    ):
        if labels < 1:
            raise ValueError(f"labels is how many there are beside the background, not {labels}")
        if not segmentors or not set(segmentors) <= set(OTHER):
            raise ValueError(f"segmentors are of scan, of target or both, not {segmentors!r}")
        self.labels, self.segmentor = labels, segmentor
        self.segmented = tuple(kind for kind in OTHER if kind in segmentors)
        self.segmentor_width, self.segmentor_depth = segmentor_width, segmentor_depth
        super().__init__(shape, target_channels, **cycle)

    def build_networks(self) -> dict[str, keras.Model]:
        shapes = {"scan": self.shape, "target": self.target_shape}
        networks = super().build_networks() | {
            _of(kind): unet(
                shapes[kind],
                self.labels + 1,
                self.segmentor_width,
                self.segmentor_depth,
                "instance",
                name=_of(kind),
            )
            for kind in self.segmented
        }
        if self._weighed("generator/masks"):
            networks["critic_of_masks"] = patch_critic(
                (*self.shape[:-1], self.labels + 1),
                self.critic_width,
                self.critic_depth,
                self.critic_norm,
                self.spectral,
                name="critic_of_masks",
            )
        return networks

    def stages(self) -> list[Stage]:
        critics = tuple(name for name in self.networks if name.startswith("critic"))
        players = [
            Player("generator", self.generator_terms, ("to_target", "to_scan")),
            Player("discriminator", self.discriminator_terms, critics),
        ]
        segmentor = Player("segmentor", self.segmentor_terms, tuple(map(_of, self.segmented)))
        along = (segmentor,) if self.segmentor in (ALONG, FIRST) else ()
        stages = [Stage("adversarial", *players, *along)]
        if self.segmentor in (BEFORE, FIRST):
            stages.insert(0, Stage("segmentation", segmentor, play=lambda batch: {}))
        return stages

    def enter(self, stage: Stage, *, jit_compile: bool = False) -> None:
        """Also takes over the segmentors of another model, when training begins."""
        super().enter(stage, jit_compile=jit_compile)
        if self.segmentor not in (ALONG, BEFORE, FIRST) and int(self.step.numpy()) == 0:
            self._take_over(self.segmentor)

    def _take_over(self, name: str) -> None:
        from ganatomy.artifacts import load

        other: Any = load(name).model
        for kind in self.segmented:
            own, theirs = self.networks[_of(kind)], getattr(other, "networks", {}).get(_of(kind))
            if theirs is None or _shapes(own) != _shapes(theirs):
                raise WrongUse(
                    f"{name} has no segmentor of {kind}s like this model's: labels, "
                    "segmentor_width, segmentor_depth and channels have to agree"
                )
            own.set_weights(theirs.get_weights())

    # Training ----------------------------------------------------------------------------------

    def generator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        def shape() -> Tensor:
            made = {kind: (played[kind], OTHER[kind]) for kind in self.segmented}
            return self._missed("generator/shape", made, batch)

        def back() -> Tensor:
            again = {kind: (played[f"{kind}_again"], kind) for kind in self.segmented}
            return self._missed("generator/shape_back", again, batch)

        def masks() -> Tensor:
            return sum(
                fooled(self.adversary, self._masks_judged(self._chances(kind, played[kind])))
                for kind in self.segmented
            )

        own = {"shape": shape, "shape_back": back, "masks": masks}
        return super().generator_terms(batch, played) | own

    def segmentor_terms(self, batch: Batch, played: Mapping[str, Tensor]) -> dict[str, Any]:
        """What the segmentors miss, of whichever labels there are."""
        real = {kind: (batch[kind], kind) for kind in self.segmented}
        made = {
            kind: (ops.stop_gradient(played[kind]), OTHER[kind])
            for kind in self.segmented
            if kind in played
        }
        possible = {"real": real, "made": made}
        terms = {
            name: lambda name=name: self._missed(f"segmentor/{name}", possible[name], batch)
            for name, images in possible.items()
            if any(f"{labelled}_labels" in batch for _, labelled in images.values())
        }
        for kind in self.segmented:
            of = {images[kind][1] for images in possible.values() if kind in images}
            if not any(f"{one}_labels" in batch for one in of):
                needed = " or ".join(f"{one}_labels" for one in sorted(of))
                raise WrongUse(f"the segmentor of {kind}s has nothing to learn: give {needed}")
        return terms

    def discriminator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        terms = super().discriminator_terms(batch, played)
        if "critic_of_masks" not in self.networks:
            return terms

        def masks() -> Tensor:
            return sum(
                told_apart(
                    self.adversary,
                    *(
                        self._masks_judged(ops.stop_gradient(self._chances(kind, images)))
                        for images in (batch[kind], played[kind])
                    ),
                )
                for kind in self.segmented
            )

        return terms | {"masks": masks}

    def _missed(self, term: str, images: Mapping[str, tuple[Tensor, str]], batch: Batch) -> Tensor:
        """What segmentors miss in images, [B].

        Args:
            term: who asks.
            images: by kind of segmentor, what it is shown and whose labels these have to be.
        """
        found = [
            losses.shape(
                self.networks[_of(kind)](image, training=True),
                batch[f"{labelled}_labels"],
                form="both",
            )
            for kind, (image, labelled) in images.items()
            if f"{labelled}_labels" in batch
        ]
        if not found:
            needed = " or ".join(sorted({f"{labelled}_labels" for _, labelled in images.values()}))
            raise WrongUse(f"{term} has a weight, and the table no {needed}")
        return sum(found)

    def _chances(self, kind: str, images: Tensor) -> Tensor:
        """How likely each label is at each voxel, [B, *size, labels + 1]."""
        return ops.softmax(self.networks[_of(kind)](images, training=True), axis=-1)

    def _masks_judged(self, masks: Tensor) -> Any:
        return self.networks["critic_of_masks"](masks, training=True)

    # Segmentation ------------------------------------------------------------------------------

    def segment(self, kind: str, samples: np.ndarray) -> np.ndarray:
        """The labels that a segmentor finds, by samples one by one.

        Args:
            kind: "scan" or "target", of one that has a segmentor.
            samples: [n, *size, C], in [-1, 1].

        Returns:
            int [n, *size], 0 the background.

        Raises:
            ValueError: no segmentor of that kind.
        """
        if kind not in self.segmented:
            raise ValueError(f"there is no segmentor of {kind}: {', '.join(self.segmented)}")
        name = f"_segment_{kind}"
        if name not in vars(self):
            network = self.network(_of(kind))
            object.__setattr__(self, name, compiled(lambda x: network(x, training=False)))
        found = [np.asarray(vars(self)[name](one[None])) for one in np.asarray(samples, np.float32)]
        return np.concatenate(found).argmax(-1)


def _of(kind: str) -> str:
    return f"segmentor_of_{kind}s"


def _shapes(network: keras.Model) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in network.weights]
