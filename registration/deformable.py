"""Deformable registration: one image flows onto another, judged by a discriminator of pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ganatomy import losses
from ganatomy.errors import WrongUse
from ganatomy.game import Batch, Noise, Player, Stage
from ganatomy.gradients import compiled, descend
from ganatomy.networks.features import feature_network
from ganatomy.objectives import check_critic, gradient_penalty, objective
from registration import copies
from registration.aligner import Aligner, Alignment, joined
from registration.deformations import STEPS, Displacement, Velocity
from registration.fields import compose, integrate, warp
from registration.pair_critic import pair_critic
from registration.placing import Placing
from registration.regularity import folding_penalty, smoothness
from registration.segmentor import chances, marked, missed, segmentor, unmarked
from registration.transforms import Affine, Transform
from registration.velocity_network import COARSE, coarse_grid, enlarged, halved, velocity_network

Tensor = Any

# Each (x, y) -> [B], lower where the images are more alike.
SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ncc": losses.ncc,
    "mutual_information": losses.mutual_information,
    "nmi": losses.normalised_mutual_information,
    "ssim": losses.ssim,
    "mind": losses.mind,
    "l1": losses.l1,
    "l2": losses.l2,
}
EMPTY = -1.0  # what stands outside a sample


class Deformable(Aligner):
    """A generator of velocities and a discriminator of pairs.

    The generator sees a fixed and a moving image and gives a stationary velocity at half their
    resolution, which is integrated and warps the moving image. It never paints: what comes out is
    the moving image in another place.

    The discriminator tells pairs (fixed, warped) from aligned ones. Between two patients no pair
    is aligned to the voxel, so an aligned one is made of the fixed image and a copy of it that is
    bent by up to 1 mm, with other contrast and noise: bent by a flow on the coarse grid as the
    warped image is, and interpolated as often. Copies bent by 2 to 10 mm count as not aligned, so
    that the discriminator learns place and not only whose noise it sees. Its logit is the
    alignment score, which has to tell good and bad pairs of two patients, and no copy is one: so
    the warped image ranks above itself displaced by another 2 to 20 mm (term `rank`).

    Terms of the generator: one by the name of each similarity, `smoothness`, `folding`,
    `adversarial` and, with labels, `dice`. Three more have weight 0 where nothing else is said:
    `cycle`, how unlike itself the moving image is after the way there and back; `perceptual`, how
    unlike the images are to the shipped feature network; and `vessels`, how much of what either
    side's labels mark, whatever their number, is missed by the other's.

    Args:
        shape: of one sample, (*size, channels).
        spacing: mm a voxel along each axis of the samples' grid; 1 where None.
        width: channels of the generator on the coarse grid.
        depth: how often the coarse grid halves; None until its shortest side is 4 to 7.
        levels: of a pyramid of images, each half the size of the last. A network a level, the
            coarsest first; each adds to the velocity found so far what is still missing when the
            moving image is warped by it (Mok & Chung 2020, LapIRN).
        similarities: names of `SIMILARITIES`.
        labels: supervise with labels 1 to so many, which the table then has to have.
        segmentor: channels on the coarse grid of a network that learns these labels first, in a
            stage `segmentation` of its own; 0 none. The generator then sees how likely it calls
            each label at each voxel of either image, and the descent compares that too, by the
            weight of `dice`: a pair needs no labels for it.
        steps: squarings that integrate the velocity; 0 takes it as the displacement itself, which
            may fold and has no simple inverse.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        critic_width: channels of the discriminator's first block.
        spectral: divide the discriminator's kernels by their largest singular values.
        shift: mm; while training the moving scan is first displaced by up to so much along each
            axis, by whole voxels: crops that lie far apart are then no rare chance.
        tilt: degrees; it is then also turned by up to so much about each axis.
        bending: mm; and bent by up to so much in the mean, as is what a segmentor learns of.
        refinement: steps of descent on a pair's own velocity after the network, on similarity,
            what a segmentor finds and regularity alone.
        refinement_rate: how far such a step goes, coarse voxels.
        refinement_weights: of its terms, where they are not the generator's.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Raises:
        ValueError: an unknown similarity, or settings of the discriminator that contradict each
            other.

    Reference: Mahapatra et al. 2018 (ISBI), equations 1 to 5: content, adversarial and cycle terms;
    its generator's image is here the warped one. Dalca et al. 2018 for the velocity.
    """

    default_weights: ClassVar[dict[str, Any]] = {
        "generator/smoothness": 1.0,
        "generator/folding": 1.0,
        "generator/adversarial": 0.01,
        "generator/cycle": 0.0,
        "generator/perceptual": 0.0,
        "generator/vessels": 0.0,
        "discriminator/penalty": 0.0,
    }
    default_optimizer: ClassVar[dict[str, float]] = {"learning_rate": 5e-4}

    def __init__(
        self,
        shape: tuple[int, ...],
        spacing: Sequence[float] | None = None,
        width: int = 16,
        depth: int | None = None,
        levels: int = 1,
        similarities: Sequence[str] = ("ncc",),
        labels: int = 0,
        segmentor: int = 0,
        steps: int = STEPS,
        adversary: str = "least_squares",
        critic_width: int = 8,
        spectral: bool = True,
        shift: float = 0.0,
        tilt: float = 0.0,
        bending: float = 0.0,
        refinement: int = 0,
        refinement_rate: float = 0.1,
        refinement_weights: Mapping[str, float] | None = None,
        **game: Any,
    ):
        super().__init__(**game)
        unknown = set(similarities) - set(SIMILARITIES)
        if unknown:
            raise ValueError(f"similarities are {', '.join(SIMILARITIES)}, not {sorted(unknown)}")
        if spacing is not None and len(spacing) != len(shape) - 1:
            raise ValueError(f"spacing has {len(spacing)} numbers for {len(shape) - 1} axes")
        if segmentor and not labels:
            raise ValueError("a segmentor learns labels: say how many there are")
        check_critic(adversary, self._term_weights["discriminator/penalty"], bounded=spectral)
        self.shape, self.grid = tuple(shape), tuple(shape[:-1])
        self.spacing = tuple(spacing or (1.0,) * len(self.grid))
        self.width, self.depth = width, depth
        self.similarities, self.labels, self.steps = tuple(similarities), labels, steps
        self.segmentor = segmentor
        self.adversary = objective(adversary)
        self.critic_width, self.spectral = critic_width, spectral
        self.placing = Placing(self.grid, self.spacing, shift, tilt, bending)
        self.refinement, self.refinement_rate = refinement, refinement_rate
        self.refinement_weights = dict(refinement_weights or {})
        known = {*similarities, "smoothness", "folding", *(["dice"] if segmentor else [])}
        if set(self.refinement_weights) - known:
            raise ValueError(f"refinement_weights are of {', '.join(sorted(known))}")
        if self._term_weights["generator/perceptual"] != 0.0:
            # Past Keras, which would save and train with it what is no part of this model.
            object.__setattr__(self, "_features", feature_network())
        grids = [self.grid]
        for _ in range(levels - 1):
            grids.append(coarse_grid(grids[-1]))
        # The finest is called "generator".
        self._levels = [
            (f"generator_{i}" if i else "generator", grid) for i, grid in enumerate(grids)
        ]
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return copies.noise(self.shape) | self.placing.noise()

    def build_networks(self) -> dict[str, keras.Model]:
        channels, found = self.shape[-1], {}
        if self.segmentor:
            found["segmentor"] = segmentor(self.shape, self.labels, self.segmentor)
            channels += self.labels
        return {
            **found,
            **{
                name: velocity_network((*grid, channels), self.width, self.depth, name)
                for name, grid in self._levels
            },
            "discriminator": pair_critic(self.shape, self.critic_width, spectral=self.spectral),
        }

    def stages(self) -> list[Stage]:
        learn = Stage(
            "segmentation", Player("segmentor", self.segmentor_terms), play=lambda batch: {}
        )
        return [*([learn] if self.segmentor else []), *super().stages()]

    @property
    def generators(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._levels)

    # From a velocity to an image --------------------------------------------------------------

    def velocity(self, fixed: Tensor, moving: Tensor, training: bool = False) -> Tensor:
        """The velocity that takes one image to the other, [B, *coarse, rank], in coarse voxels."""
        return self.found(self.seen(fixed), self.seen(moving), training)

    def found(self, fixed: Tensor, moving: Tensor, training: bool = False) -> Tensor:
        """The same of images as `seen` gives them."""
        pyramid = [(fixed, moving)]
        for _ in self._levels[1:]:
            pyramid.append(tuple(halved(image) for image in pyramid[-1]))
        found = None
        for (name, grid), (f, m) in zip(reversed(self._levels), reversed(pyramid), strict=True):
            if found is not None:
                found = enlarged(found, coarse_grid(grid)) * COARSE
                m = warp(m, enlarged(self.flow(found), grid) * COARSE, value=EMPTY)
            network = self.networks[name] if training else self.network(name)
            more = network(joined(f, m), training=training)
            found = more if found is None else found + more
        return found

    def seen(self, image: Tensor) -> Tensor:
        """An image as the generator sees it, [B, *grid, C], with a segmentor [.., C + labels]."""
        if not self.segmentor:
            return image
        return ops.stop_gradient(marked(image, chances(self.network("segmentor"), image)))

    def flow(self, velocity: Tensor) -> Tensor:
        """The displacement on the coarse grid, [B, *coarse, rank], in its voxels."""
        return integrate(velocity, self.steps)

    def field(self, flow: Tensor) -> Tensor:
        """The same on the image's grid, [B, *grid, rank], in its voxels."""
        return enlarged(flow, self.grid) * COARSE

    def warped(self, image: Tensor, flow: Tensor, value: float = EMPTY) -> Tensor:
        """An image [B, *grid, c] as seen through a coarse displacement."""
        return warp(image, self.field(flow), value=value)

    # Training ---------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, Any]:
        fixed, place = batch["fixed"], self.placing.place(batch)
        moving = self.placing.placed(batch["moving"], place, value=EMPTY)
        flow = self.flow(self.velocity(fixed, moving, training=True))
        # From where it was, so that it is interpolated once.
        moved = self.placing.placed(batch["moving"], place, self.field(flow), value=EMPTY)
        return {"flow": flow, "moving": moving, "moved": moved, "place": place}

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        fixed, moving, moved = batch["fixed"], played["moving"], played["moved"]
        judge = self.networks["discriminator"]
        terms: dict[str, Any] = self.content_terms(fixed, moved, played["flow"])
        terms["adversarial"] = lambda: self.adversary.generator(
            judge(joined(fixed, moved), training=True)
        )
        terms["cycle"] = lambda: self.cycle(fixed, moving, moved)
        terms["perceptual"] = lambda: losses.perceptual(fixed, moved, vars(self)["_features"])
        terms["vessels"] = lambda: self.missed_vessels(batch, played)
        if self.labels:
            terms["dice"] = lambda: self.missed_labels(batch, played)
        return terms

    def content_terms(self, fixed: Tensor, moved: Tensor, flow: Tensor) -> dict[str, Any]:
        """Similarities and regularities, by name: functions of no arguments that give [B]."""
        spacing = [step * COARSE for step in self.spacing]
        terms: dict[str, Any] = {
            name: lambda loss=SIMILARITIES[name]: loss(fixed, moved) for name in self.similarities
        }
        terms["smoothness"] = lambda: smoothness(flow, spacing)
        terms["folding"] = lambda: folding_penalty(flow)
        return terms

    def segmentor_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        """What the segmentor misses of either image's labels, both placed anew."""
        place, placed = self.placing.place(batch), self.placing.placed
        images = [placed(batch[role], place, value=EMPTY) for role in ("fixed", "moving")]
        labels = [
            placed(each, place, interpolation="nearest", value=0.0) for each in self._labels(batch)
        ]
        return missed(self.networks["segmentor"], images, labels)

    def cycle(self, fixed: Tensor, moving: Tensor, moved: Tensor) -> Tensor:
        """How far the moving image is from itself after the way to the fixed one and back, [B].

        Reference: Mahapatra et al. 2018, equation 4.
        """
        back = self.flow(self.velocity(moving, fixed, training=True))
        return losses.l1(moving, self.warped(moved, back))

    def missed_labels(self, batch: Batch, played: dict[str, Any]) -> Tensor:
        """One minus the soft Dice of the labels, the moving ones warped linearly one by one, [B].

        Raises:
            WrongUse: the table has none.
        """
        numbers = np.arange(1, self.labels + 1, dtype=np.float32)
        shapes = [ops.cast(ops.equal(each, numbers), "float32") for each in self._labels(batch)]
        return self._missed(shapes, played)

    def missed_vessels(self, batch: Batch, played: dict[str, Any]) -> Tensor:
        """One minus the soft Dice of what is marked by any label, the moving mask warped, [B].

        Raises:
            WrongUse: the table has no labels.

        Reference: Mahapatra et al. 2018, whose vessel masks are compared after the warp.
        """
        return self._missed([ops.cast(each > 0, "float32") for each in self._labels(batch)], played)

    def _missed(self, shapes: Sequence[Tensor], played: dict[str, Any]) -> Tensor:
        fixed, moving = shapes
        field = self.field(played["flow"])
        moved = self.placing.placed(moving, played.get("place", {}), field, value=0.0)
        return losses.dice(fixed, moved, background=True)

    def _labels(self, batch: Batch) -> tuple[Any, Any]:
        if not {"fixed_labels", "moving_labels"} <= set(batch):
            why = f"labels is {self.labels}" if self.labels else "vessels are weighed"
            raise WrongUse(f"{why}: give --data the roles fixed_labels and moving_labels")
        return batch["fixed_labels"], batch["moving_labels"]

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        network, fixed = self.networks["discriminator"], batch["fixed"]

        def judge(pair: Tensor) -> Tensor:
            return network(pair, training=True)

        aligned, apart = self.copies(batch)
        real, fake = joined(fixed, aligned), joined(fixed, played["moved"])
        logit, found = judge(real), judge(fake)
        return {
            "adversarial": self.adversary.critic(logit, found),
            "apart": lambda: self.adversary.critic(logit, judge(joined(fixed, apart))),
            "rank": lambda: ops.softplus(
                judge(joined(fixed, self.displaced(batch, played))) - found
            ),
            "penalty": lambda: gradient_penalty(judge, real, fake, batch["copy"][:, 4]),
        }

    def displaced(self, batch: Batch, played: dict[str, Any]) -> Tensor:
        """The warped image displaced as a whole; interpolated once, as that is."""
        field: Any = self.field(played["flow"])
        step = copies.aside(batch, self.spacing)
        step = ops.reshape(step, (-1, *[1] * len(self.grid), len(self.grid)))
        whole = compose(ops.broadcast_to(step, ops.shape(field)), field)
        return self.placing.placed(batch["moving"], played.get("place", {}), whole, value=EMPTY)

    def copies(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The fixed image with other contrast and noise, bent by little and by much."""
        copy = copies.shaded(batch["fixed"], batch)
        close, far = copies.bends(batch, self.grid, self.spacing)
        return self.warped(copy, close), self.warped(copy, far)

    # Alignment --------------------------------------------------------------------------------

    def examine(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The velocity, [B, *coarse, rank] in coarse voxels, the moved image and the score."""
        seen = self.seen(fixed), self.seen(moving)
        velocity = self.found(*seen)
        if self.refinement:
            # Many small operations over and over: XLA takes half the time.
            velocity = compiled(self.refined, jit_compile=True)(*seen, velocity)
        moved = self.warped(moving, self.flow(velocity))
        return velocity, moved, self.judged(fixed, moved, ops.ones_like(moved[..., :1]))

    def refined(self, fixed: Tensor, moving: Tensor, velocity: Tensor) -> Tensor:
        """A velocity after some steps down the pair's own similarity, shapes and regularity.

        Args:
            fixed: as `seen` gives it.
            moving: the same.
            velocity: to begin with.
        """
        channels = self.shape[-1]
        there, shapes = (unmarked(seen, channels) for seen in (fixed, moving))
        fixed, moving = fixed[..., :channels], moving[..., :channels]
        names = (*self.similarities, "smoothness", "folding", "dice")
        weights = {name: self.weight(f"generator/{name}") for name in names}
        weights |= self.refinement_weights

        def value(velocity: Tensor) -> Tensor:
            flow = self.flow(velocity)
            terms = self.content_terms(fixed, self.warped(moving, flow), flow)
            if self.segmentor:
                here = self.warped(shapes, flow, value=0.0)
                terms["dice"] = lambda: losses.dice(there, here, background=True)
            return sum(weights[name] * term() for name, term in terms.items())

        return descend(value, velocity, steps=self.refinement, learning_rate=self.refinement_rate).x

    def transform(
        self, alignment: Alignment, index: int, fixed_grid: np.ndarray, moving_grid: np.ndarray
    ) -> Transform:
        rank = len(self.grid)
        coarse = np.eye(rank + 1)
        coarse[:-1, :-1] *= COARSE
        coarse[:-1, -1] = (COARSE - 1) / 2
        place = fixed_grid @ coarse
        velocity = (alignment.transform[index] @ place[:-1, :-1].T).astype(np.float32)
        bent = (
            Velocity(velocity, place, self.steps) if self.steps else Displacement(velocity, place)
        )
        return bent.then(Affine(moving_grid @ np.linalg.inv(fixed_grid)))
