"""The patch posterior: how likely a discriminator finds the patch around every pixel to be real."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from keras import ops

from anogan.detector import Detector, Findings
from anogan.latent_gan import row
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import dcgan_generator, dense_critic
from ganatomy.objectives import objective, per_sample

Tensor = Any


class PatchPosterior(Detector):
    """A GAN of patches of healthy samples; where its discriminator disbelieves, it is abnormal.

    After training, D(p) is the posterior that a patch is a healthy one and not the generator's.
    The map is 1 - D of the patch centred at every pixel, from one fully convolutional pass. No
    patch reaches beyond the image: nearer than half a patch to the border, a pixel has the value
    of the nearest pixel that is farther in. The paper scores pixels; a sample's score is the mean
    of 1 - D over its patches, each counted once: over pixels, the patches in the corners of a
    32x32 sample would be a quarter of it, with a side of 15. There is no reconstruction; it is
    the sample itself.

    Args:
        shape: of one sample, (*size, channels); no side shorter than the patch.
        patch: side of a patch in pixels, 2^k - 1: 7, 15, 31, ...
        patches: patches cut from a sample each time it is drawn, at uniform places among those
            whose centre is above -1: what a mask hides is not what the game is about.
        latent: length of the generator's code z ~ N(0, I).
        width: channels of the finest layer of generator and discriminator.
        adversary: "nonsaturating" or "saturating", whose discriminator is a posterior.
        spectral: spectral normalisation of the discriminator (Miyato 2018).
        evidence: what the map is of: "posterior", 1 - D, or "surprise", -log D. Both are 0 where
            D is certain of a healthy patch: maps take magnitudes.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Reference: Alex, Safwan, Chennamsetty, Krishnamurthi, "Generative adversarial networks for
    brain lesion detection", SPIE Medical Imaging 10133, 2017; the posterior of the optimal
    discriminator, Goodfellow et al. 2014, equation 2. Layers and sides of patches are ours.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        patch: int = 15,
        patches: int = 4,
        latent: int = 64,
        width: int = 32,
        adversary: Literal["nonsaturating", "saturating"] = "nonsaturating",
        spectral: bool = False,
        evidence: Literal["posterior", "surprise"] = "posterior",
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        self.shape = tuple(shape)
        if min(self.shape[:-1]) < patch:
            raise ValueError(f"a patch of {patch} pixels does not fit into {self.shape[:-1]}")
        if adversary not in ("nonsaturating", "saturating"):
            raise ValueError(f"adversary {adversary!r}: only nonsaturating and saturating have a D")
        if evidence not in ("posterior", "surprise"):
            raise ValueError(f"evidence {evidence!r} is neither posterior nor surprise")
        self.patch, self.patches, self.latent, self.width = patch, patches, latent, width
        self.adversary, self.spectral, self.evidence = objective(adversary), spectral, evidence
        self.chunk = chunk
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        return {
            "z": Noise("normal", (self.patches, self.latent)),
            "place": Noise("uniform", (self.patches,)),
        }

    def build_networks(self) -> dict:
        *size, channels = self.shape
        # The generator's sides are powers of two; the last row and column are cut off.
        around = (*[self.patch + 1] * len(size), channels)
        critic = dense_critic(
            channels, len(size), self.patch, width=self.width, spectral_norm=self.spectral
        )
        generator = dcgan_generator(around, self.latent, width=self.width)
        return {"generator": generator, "critic": critic}

    def stages(self) -> list[Stage]:
        critic = Critic("critic", self.critic_terms)
        return [Stage("adversarial", critic, Player("generator", self.generator_terms))]

    def play(self, batch: Batch) -> Tensor:
        """Generated patches [B · patches, *patch, channels]."""
        z = ops.reshape(batch["z"], (-1, self.latent))
        return self.trim(self.networks["generator"](z, training=True))

    def trim(self, made: Tensor) -> Tensor:
        """What the generator makes, without the row and column (and slice) too many."""
        return made[(slice(None), *[slice(self.patch)] * (len(self.shape) - 1))]

    def cut(self, x: Tensor, place: Tensor) -> Tensor:
        """Patches [B · patches, *patch, channels] of samples [B, *size, channels].

        Args:
            place: [B, patches] in [0, 1): of the places at which a patch lies in the sample and its
                centre is above -1 in any channel, in their order; of all where there are none.
        """
        *size, channels = self.shape
        rooms, half = [side - self.patch + 1 for side in size], self.patch // 2
        bright: Any = ops.any(ops.greater(x, -1.0), axis=-1)
        bright = bright[(slice(None), *[slice(half, half + room) for room in rooms])]
        allowed: Any = ops.reshape(ops.cast(bright, "int32"), (-1, int(np.prod(rooms))))
        allowed = ops.where(ops.any(allowed > 0, axis=-1, keepdims=True), allowed, 1)
        counted: Any = ops.cumsum(allowed, axis=-1)
        count: Any = counted[:, -1:]
        wanted: Any = ops.cast(ops.floor(place * ops.cast(count, "float32")), "int32")
        # Rounding can give place · count = count.
        wanted = ops.minimum(wanted, count - 1)
        before: Any = ops.cast(counted[:, None] <= wanted[..., None], "int32")
        corners = np.ravel_multi_index(tuple(np.indices(rooms)), tuple(size)).ravel()
        first: Any = ops.take(corners.astype("int32"), ops.sum(before, axis=-1))
        strides = np.array([int(np.prod(size[i + 1 :])) for i in range(len(size))])
        offsets = np.stack(np.meshgrid(*[np.arange(self.patch)] * len(size), indexing="ij"), -1)
        offsets = (offsets @ strides).ravel().astype("int32")
        index = ops.reshape(first[..., None] + offsets, (-1, self.patches * len(offsets), 1))
        flat = ops.reshape(x, (-1, int(np.prod(size)), channels))
        found = ops.take_along_axis(flat, ops.repeat(index, channels, axis=-1), axis=1)
        return ops.reshape(found, (-1, *[self.patch] * len(size), channels))

    def logit(self, patches: Tensor) -> Tensor:
        """The discriminator's logits of patches, by sample, [B, patches]."""
        return ops.reshape(self.networks["critic"](patches, training=True), (-1, self.patches))

    def critic_terms(self, batch: Batch, fake: Tensor) -> dict:
        real = self.cut(batch["scan"], batch["place"])
        return {"adversarial": self.adversary.critic(self.logit(real), self.logit(fake))}

    def generator_terms(self, batch: Batch, fake: Tensor) -> dict:
        return {"adversarial": self.adversary.generator(self.logit(fake))}

    def log_odds(self, x: Tensor) -> Tensor:
        """log((1 - D) / D) of every patch that lies in a sample, [B, *(size - patch + 1)]."""
        return -self.network("critic")(x, training=False)

    def spread(self, values: Tensor) -> Tensor:
        """What is known of patches, [B, *(size - patch + 1)], at every pixel, [B, *size]."""
        half = self.patch // 2
        for axis, side in enumerate(self.shape[:-1], 1):
            nearest = np.clip(np.arange(side) - half, 0, side - self.patch)
            values = ops.take(values, nearest, axis=axis)
        return values

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        odds = self.log_odds(x)
        doubt = ops.sigmoid(odds)
        residual = doubt if self.evidence == "posterior" else ops.softplus(odds)
        return Findings(x, self.spread(residual), per_sample(doubt), start)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Eight generated patches; the map of eight scans, from -1, healthy, to 1."""
        z = np.random.default_rng(0).standard_normal((8, self.latent), np.float32)
        doubt: Any = self.spread(ops.sigmoid(self.log_odds(samples)))
        return {
            "samples": row(self.trim(self.network("generator")(z, training=False))),
            "maps": row(2 * doubt[..., None] - 1),
        }
