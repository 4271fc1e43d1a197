"""AnoGAN: gradient descent finds the code of a scan."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal

import numpy as np
from keras import ops

from anogan.detector import Findings
from anogan.latent_gan import LatentGAN, total
from ganatomy.gradients import descend

Tensor = Any


class AnoGAN(LatentGAN):
    """AnoGAN: a GAN on healthy images and, for each scan, a search for its code.

    The code minimises (1 − λ) Σ|x − G(z)| + λ Σ|f(x) − f(G(z))|, with f the features of a named
    layer of the discriminator; the minimum is the score. All scans of a chunk are searched by one
    loop in the graph, each with its own optimiser state. The first code is a function of
    (search_seed, the sample's content): a score does not depend on a scan's neighbours.

    Args:
        lam: λ, weight of the discrimination loss.
        search_steps: at most so many steps of Adam on z.
        search_rate: Adam's step size on z.
        search_decay: step size at the end of the search as a fraction of the first.
        restarts: searches a scan, from different first codes; the best counts.
        patience: steps without a fall of `tolerance` after which a scan's search stops.
        tolerance: relative fall that counts as progress.
        search_start: "prior" (z ~ N(0, I)) or "encoder" (needs `encoding`).
        search_seed: of the first codes.
        **gan: arguments of `LatentGAN`.

    Reference: Schlegl, Seeböck, Waldstein, Schmidt-Erfurth, Langs, "Unsupervised anomaly detection
    with generative adversarial networks to guide marker discovery", IPMI 2017, its residual loss,
    discrimination loss (feature matching) and anomaly score.
    """

    default_weights: ClassVar[dict[str, Any]] = {"critic/penalty": 0.0}

    def __init__(
        self,
        shape: tuple[int, ...],
        lam: float = 0.1,
        search_steps: int = 500,
        search_rate: float = 0.01,
        search_decay: float = 1.0,
        restarts: int = 1,
        patience: int | None = None,
        tolerance: float = 1e-3,
        search_start: Literal["prior", "encoder"] = "prior",
        search_seed: int = 0,
        network: Literal["dcgan", "residual"] = "dcgan",
        adversary: str = "nonsaturating",
        critic_updates: int = 1,
        critic_norm: str | None = "batch",
        encoding: Literal["izi", "ziz", "izi_f"] | None = None,
        **gan: Any,
    ):
        if search_start not in ("prior", "encoder"):
            raise ValueError(f"search_start {search_start!r} is neither prior nor encoder")
        if search_start == "encoder" and not encoding:
            raise ValueError("search_start encoder needs an encoding: izi, ziz or izi_f")
        super().__init__(
            shape,
            network=network,
            adversary=adversary,
            critic_updates=critic_updates,
            critic_norm=critic_norm,
            encoding=encoding,
            **gan,
        )
        self.lam, self.restarts = lam, restarts
        self.search_start, self.search_seed = search_start, search_seed
        self.search = {
            "steps": search_steps,
            "learning_rate": search_rate,
            "decay": search_decay,
            "patience": patience,
            "tolerance": tolerance,
        }

    def start(self, samples: np.ndarray) -> np.ndarray:
        """First codes, [n, restarts, latent], each from (search_seed, the sample's bytes)."""

        def draw(sample: np.ndarray) -> np.ndarray:
            text = f"{self.search_seed}:".encode() + np.ascontiguousarray(sample).tobytes()
            key = int.from_bytes(hashlib.sha256(text).digest()[:16], "big")
            generator = np.random.Generator(np.random.Philox(key=key))
            return generator.standard_normal((self.restarts, self.latent), np.float32)

        return np.stack([draw(sample) for sample in samples])

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        generator, critic = self.network("generator"), self.network("critic")
        batch = x.shape[0]
        if self.search_start == "encoder":
            code = self.network("encoder")(x, training=False)
            # The first search begins at the encoder's code, the others around it.
            start = ops.concatenate([start[:, :1] * 0.0, 0.5 * start[:, 1:]], 1) + code[:, None]
        images = ops.repeat(x, self.restarts, axis=0)
        features = ops.stop_gradient(critic(images, training=False)["features"])

        def objective(z: Tensor) -> Tensor:
            fake = generator(z, training=False)
            residual = total(ops.abs(images - fake))
            discrimination = total(ops.abs(features - critic(fake, training=False)["features"]))
            return (1.0 - self.lam) * residual + self.lam * discrimination

        z = ops.reshape(start, (batch * self.restarts, self.latent))
        found = descend(objective, z, **self.search)
        score = ops.reshape(found.value, (batch, self.restarts))
        best = ops.argmin(score, axis=1)
        codes = ops.reshape(found.x, (batch, self.restarts, self.latent))
        code = ops.squeeze(ops.take_along_axis(codes, ops.reshape(best, (-1, 1, 1)), axis=1), 1)
        image = generator(code, training=False)
        return Findings.against(x, image, ops.min(score, axis=1), code)
