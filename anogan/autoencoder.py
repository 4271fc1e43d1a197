"""What autoencoders of healthy samples share: their networks, and two ways to a counterpart."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from keras import ops

from anogan.detector import Detector, Findings
from anogan.latent_gan import row, total
from anogan.restoration import restore
from ganatomy.networks import encoder, family
from ganatomy.objectives import per_sample

Tensor = Any


class Autoencoder(Detector):
    """Base of the autoencoders: encoder E and decoder D; a subclass says how they are trained.

    The healthy counterpart of a scan is D(E(x)), or, with `restoration_steps`, the image near the
    scan that the model finds plausible (`anogan.restoration`). The score is the mean |x - x̂|.

    Args:
        shape: of one sample, (*size, channels).
        latent: length of the code.
        width: channels at the finest grid of encoder and decoder.
        network: "dcgan" (Radford 2016) or "residual" (Gulrajani 2017).
        norm: normalisation in encoder and decoder: "layer", "batch", "instance" or None. Most
            publish "batch"; statistics of healthy scans, all much alike, are none for others, and
            what trains well under it may reconstruct badly afterwards.
        restoration_steps: of the descent on the image; 0: the reconstruction is the counterpart.
        restoration_rate: its first step size, where an image's range is from -1 to 1.
        variation: λ, weight of the total variation of what a restoration removes, against the
            model's own `implausibility`, a negative log-likelihood.
        chunk: samples in one pass of scoring.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.
    """

    # How many numbers the encoder gives for one of the code; the first of them is the code.
    heads: ClassVar[int] = 1

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int = 8,
        width: int = 32,
        network: Literal["dcgan", "residual"] = "dcgan",
        norm: str | None = "layer",
        restoration_steps: int = 0,
        restoration_rate: float = 0.02,
        variation: float = 1.0,
        chunk: int = 32,
        **game: Any,
    ):
        super().__init__(**game)
        if restoration_steps < 0 or variation < 0:
            raise ValueError("restoration_steps and variation are 0 or more")
        self.shape = tuple(shape)
        self.latent, self.width, self.network_kind, self.norm = latent, width, network, norm
        self.restoration_steps, self.chunk = restoration_steps, chunk
        self.restoration = {
            "steps": restoration_steps,
            "rate": restoration_rate,
            "variation": variation,
        }
        self.assemble()

    def build_networks(self) -> dict:
        return {
            # The code is free: a prior that is not bounded cannot be met by one that is.
            "encoder": encoder(
                self.shape,
                self.heads * self.latent,
                kind=self.network_kind,
                width=self.width,
                norm=self.norm,
                activation=None,
            ),
            "decoder": family(self.network_kind).generator(
                self.shape, self.latent, width=self.width, norm=self.norm, name="decoder"
            ),
        }

    def code(self, x: Tensor) -> Tensor:
        """The code of images, as it is used after training, [B, latent]."""
        return self.network("encoder")(x, training=False)[:, : self.latent]

    def decode(self, code: Tensor) -> Tensor:
        """Images of codes, as they are made after training."""
        return self.network("decoder")(code, training=False)

    def implausibility(self, x: Tensor) -> Tensor:
        """-log p of images [B, *size, channels] by the trained model, up to a constant, [B]."""
        raise NotImplementedError

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        if self.restoration_steps:
            image = restore(x, self.implausibility, **self.restoration)
            code = self.code(image)
        else:
            code = self.code(x)
            image = self.decode(code)
        return Findings.against(x, image, per_sample(ops.abs(x - image)), code)

    def pictures(self, samples: Tensor) -> dict[str, Any]:
        """Scans above their reconstructions; what eight codes of the prior stand for."""
        z = np.random.default_rng(0).standard_normal((8, self.latent), np.float32)
        pair = [row(samples), row(self.decode(self.code(samples)))]
        return {"reconstructions": np.concatenate(pair), "samples": row(self.decode(z))}


def squares(x: Tensor) -> Tensor:
    """Sum of squares over all axes but the first, in float32, [B]."""
    return total(ops.square(ops.cast(x, "float32")))
