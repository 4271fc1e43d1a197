"""A network that points at anomalies planted in healthy samples, and then at any."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import ops

from anogan.blending import (
    along_axes,
    blur_matrices,
    chosen_places,
    ellipses,
    moved,
    poisson_blend,
    rise_matrices,
)
from anogan.detector import Detector, Findings
from anogan.latent_gan import row
from ganatomy.game import Batch, Noise, Player, Stage
from ganatomy.networks import unet
from ganatomy.objectives import per_sample

Tensor = Any
# Each anomaly is there in half of the samples that have any.
PRESENT = 0.5
# Pixels of a sample to one of the unevenness of opacities, and a blur as a fraction of the side.
COARSE, BLUR = 8, 1 / 32


class Planted(Detector):
    """A U-Net trained to find what was planted in healthy samples.

    Two kinds are planted, on the fly and as the noise of a batch decides. Patches: a box whose
    gradients come from another sample, moved a little, by Poisson blending, so that no seam gives
    it away. Opacities: soft ellipses about places inside the organ that move towards one level,
    with smooth unevenness. The network says for every pixel how far planting changed it, before
    contrast is restored, as a probability 1 − exp(−|change| / scale); the score is the mean of what
    it says.

    Of NSA are patches by Poisson blending with mixed gradients and a label that grows with the
    change. Ours: this label, which saturates by an exponential (there a logistic function), boxes
    of uniform sides at uniform places (there a truncated gamma, and places inside the object), the
    blur of the change, opacities as they are drawn here, and restored contrast.

    Args:
        shape: of one sample, (*size, channels).
        width: channels of the U-Net at the finest grid.
        depth: how often its grid halves, or None (see `ganatomy.networks.unet`).
        norm: its normalisation.
        clean: share of the samples in which nothing is planted.
        patches: at most so many foreign patches a sample.
        sides: shortest and longest side of a patch, as a fraction of the sample's.
        moved: a donor is moved by at most so far, as a fraction of the side.
        opacities: at most so many a sample.
        radii: shortest and longest semi-axis of an opacity, as a fraction of the side.
        strength: least and greatest opacity; 1 hides what was there.
        towards: the levels opacities move to, in standard deviations about the sample's mean.
        texture: unevenness of an opacity, as a fraction of it.
        organ: where opacities lie: where a blurred sample is "dark" or "bright" against its own
            mean, or None for anywhere; never within a tenth of the side of the border.
        scale: the change, before contrast is restored, that is named with probability 0.63, on
            the scale of the samples.
        restore: give planted samples back the mean and standard deviation they had, as a
            normalisation by contrast would.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Reference: Schlüter et al. 2022 (NSA), sections 3.1 and 3.2; Tan et al. 2021 (PII), section 2;
    Sato et al. 2023 (AnatPaste), section 3.1, for opacities inside the organ.
    """

    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-3,
        "beta_1": 0.9,
        "beta_2": 0.999,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int = 16,
        depth: int | None = None,
        norm: str | None = "batch",
        clean: float = 0.25,
        patches: int = 2,
        sides: tuple[float, float] = (0.12, 0.5),
        moved: float = 0.2,
        opacities: int = 3,
        radii: tuple[float, float] = (0.06, 0.35),
        strength: tuple[float, float] = (0.15, 0.85),
        towards: tuple[float, float] = (0.0, 1.5),
        texture: float = 0.3,
        organ: Literal["dark", "bright"] | None = "dark",
        scale: float = 0.15,
        restore: bool = True,
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        if organ not in ("dark", "bright", None):
            raise ValueError(f"organ {organ!r} is none of dark, bright and null")
        if patches < 0 or opacities < 0 or patches + opacities == 0:
            raise ValueError("something has to be planted: patches or opacities")
        self.shape, self.chunk = tuple(shape), chunk
        self.width, self.depth, self.norm = width, depth, norm
        self.clean, self.patches, self.sides, self.moved = clean, patches, sides, moved
        self.opacities, self.radii, self.strength = opacities, radii, strength
        self.towards, self.texture, self.organ = towards, texture, organ
        self.scale, self.restore = scale, restore
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        rank = len(self.shape) - 1
        noise = {"clean": Noise("uniform")}
        if self.patches:
            # Presence, strength; then size, place and the donor's shift along each axis.
            noise["donor"] = Noise("sample")
            noise["patch"] = Noise("uniform", (self.patches, 2 + 3 * rank))
        if self.opacities:
            # Presence, strength, angle and a radius an axis.
            noise["opacity"] = Noise("uniform", (self.opacities, 3 + rank))
            noise["place"] = Noise("uniform", (self.opacities, *self.shape[:-1]))
            noise["level"] = Noise("uniform")
            noise["unevenness"] = Noise("normal", (*self._coarse, 1))
        return noise

    @property
    def _coarse(self) -> tuple[int, ...]:
        return tuple(max(2, -(-side // COARSE)) for side in self.shape[:-1])

    @property
    def _blur(self) -> list[np.ndarray]:
        return blur_matrices(self.shape[:-1], BLUR * min(self.shape[:-1]))

    def build_networks(self) -> dict[str, keras.Model]:
        return {
            "localiser": unet(
                self.shape, width=self.width, depth=self.depth, norm=self.norm, name="localiser"
            )
        }

    def stages(self) -> list[Stage]:
        return [Stage("localise", Player("localiser", self.localiser_terms))]

    # Planting ------------------------------------------------------------------------------

    def plant(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Planted samples [B, *size, c]; how far each pixel was changed, [B, *size].

        The change is that before contrast is restored, which moves every pixel a little.
        """
        x = planted = batch["scan"]
        for number in range(self.patches):
            planted = self._with_patch(planted, batch["donor"], batch["patch"][:, number])
        if self.opacities:
            planted = self._with_opacities(planted, batch)
        sick = ops.cast(batch["clean"] >= self.clean, "float32")
        planted = ops.clip(x + _wide(sick, x) * (planted - x), -1.0, 1.0)
        change = ops.mean(ops.abs(planted - x), axis=-1, keepdims=True)
        # Where two textures cross nothing changes; it is foreign all the same.
        change = along_axes(change, self._blur)[..., 0]
        if self.restore:
            mean, deviation = _moments(x)
            now, spread = _moments(planted)
            planted = ops.clip((planted - now) * (deviation / spread) + mean, -1.0, 1.0)
        return planted, change

    def _with_patch(self, x: Tensor, donor: Tensor, draw: Tensor) -> Tensor:
        rank = len(self.shape) - 1
        grid = np.array(self.shape[:-1], np.float32)
        low, high = (np.maximum(2.0, np.round(part * grid)) for part in self.sides)
        size = ops.floor(low + draw[:, 2 : 2 + rank] * (high - low + 1))
        size: Tensor = ops.minimum(size, grid)
        corner = ops.floor(draw[:, 2 + rank : 2 + 2 * rank] * (grid - size + 1))
        shift = (2 * draw[:, 2 + 2 * rank :] - 1) * self.moved * grid
        blended = poisson_blend(x, moved(donor, shift), corner, size)
        low, high = self.strength
        weight = ops.where(draw[:, 0] < PRESENT, low + draw[:, 1] * (high - low), 0.0)
        return x + _wide(weight, x) * (blended - x)

    def _with_opacities(self, x: Tensor, batch: Batch) -> Tensor:
        grid, draw = self.shape[:-1], batch["opacity"]
        shortest, (low, high) = min(grid), self.radii
        centre = chosen_places(self.inside(x), batch["place"])
        radii = shortest * (low + draw[..., 3:] * (high - low))
        shapes = ellipses(centre, radii, np.pi * draw[..., 2], grid)
        low, high = self.strength
        weight = ops.where(draw[..., 0] < PRESENT, low + draw[..., 1] * (high - low), 0.0)
        shapes = shapes * ops.reshape(weight, (-1, self.opacities, *[1] * len(grid)))
        clear: Tensor = ops.prod(1.0 - shapes, axis=1)
        cover = 1.0 - clear[..., None]
        uneven = along_axes(batch["unevenness"], rise_matrices(self._coarse, grid))
        cover = ops.clip(cover * (1.0 + self.texture * uneven), 0.0, 1.0)
        mean, deviation = _moments(x)
        low, high = self.towards
        level = mean + deviation * _wide(low + batch["level"] * (high - low), x)
        return x + cover * (level - x)

    def inside(self, x: Tensor) -> Tensor:
        """1 where the organ is and 0 elsewhere, [B, *size], of samples [B, *size, c]."""
        grid = self.shape[:-1]
        window = np.ones((1, *grid), np.float32)
        for axis, side in enumerate(grid):
            at = np.arange(side)
            within = np.minimum(at, side - 1 - at) >= 0.1 * side
            window = window * within.reshape(-1, *[1] * (len(grid) - 1 - axis))
        if self.organ is None:
            return ops.multiply(ops.ones_like(x[..., 0]), window)
        grey = along_axes(ops.mean(x, axis=-1, keepdims=True), self._blur)[..., 0]
        mean = ops.mean(grey, axis=tuple(range(1, len(grid) + 1)), keepdims=True)
        found = grey < mean if self.organ == "dark" else grey > mean
        return ops.multiply(ops.cast(found, "float32"), window)

    # Learning and looking ------------------------------------------------------------------

    def play(self, batch: Batch) -> dict:
        planted, change = self.plant(batch)
        change: Tensor = ops.stop_gradient(change)
        logit = self.networks["localiser"](ops.stop_gradient(planted), training=True)[..., 0]
        return {"logit": logit, "target": ops.subtract(1.0, ops.exp(-change / self.scale))}

    def localiser_terms(self, batch: Batch, played: dict) -> dict:
        """Binary cross-entropy with the soft target, the mean over pixels.

        Reference: Schlüter et al. 2022, section 3.2.
        """
        logit, target = played["logit"], played["target"]
        return {"entropy": per_sample(ops.subtract(ops.softplus(logit), target * logit))}

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        localiser = self.network("localiser")
        look = keras.Model(
            localiser.input, [localiser.output, localiser.get_layer("bottom").output]
        )
        logit, bottom = look(x, training=False)
        change = ops.sigmoid(logit[..., 0])
        code = ops.mean(ops.cast(bottom, "float32"), axis=tuple(range(1, len(bottom.shape) - 1)))
        return Findings(x, change, per_sample(change), code)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Healthy scans above what the network points at in them."""
        logit = self.network("localiser")(samples, training=False)
        return {"healthy": np.concatenate([row(samples), 2 * row(ops.sigmoid(logit)) - 1])}


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """One number a sample [B], shaped to multiply samples."""
    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each sample, shaped to multiply samples."""
    axes = tuple(range(1, len(x.shape)))
    return ops.mean(x, axes, keepdims=True), ops.add(ops.std(x, axes, keepdims=True), 1e-6)
