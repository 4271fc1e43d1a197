"""The linear control: principal components through the same pipeline as any network."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from anogan.detector import Detector, Findings
from ganatomy.game import Stage

Tensor = Any
# Values of samples that are fitted on; where there are more, those of some samples drawn of all.
MOST = 2**23


class Linear(Detector):
    """Principal components of healthy samples; what they do not span is the residual.

    Not a game: `solve` fits it in closed form. It stands beside every network, since what is done
    with a residual decides more than where it comes from.

    Args:
        shape: of one sample, (*size, channels).
        components: how many are kept; 0 leaves the healthy mean alone.
        chunk: samples in one pass of scoring.
    """

    def __init__(self, shape: tuple[int, ...], components: int = 4, chunk: int = 32, **game: Any):
        super().__init__(**game)
        self.shape, self.components, self.chunk = tuple(shape), components, chunk
        self.assemble()

    def build_networks(self) -> dict[str, keras.Model]:
        # In float32 under any policy: the control of a network in mixed precision is the same.
        exact: dict[str, Any] = {"dtype": "float32"}
        layers = keras.layers
        x = keras.Input(self.shape, **exact)
        flat = layers.Flatten(**exact)(x)
        # No components: a code of length 1 that is always 0.
        code = layers.Dense(max(self.components, 1), name="code", **exact)(flat)
        made = layers.Dense(int(np.prod(self.shape)), name="image", **exact)(code)
        image = layers.Reshape(self.shape, **exact)(made)
        return {"projection": keras.Model(x, {"image": image, "code": code}, name="projection")}

    def stages(self) -> list[Stage]:
        return []

    def solve(self, samples: np.ndarray) -> None:
        """Fit on healthy samples [n, *size, channels], n > components; of very many on some."""
        from sklearn.decomposition import PCA

        most = max(self.components + 1, MOST // int(np.prod(self.shape)))
        if len(samples) > most:
            chosen = np.random.default_rng(0).choice(len(samples), most, replace=False)
            samples = samples[np.sort(chosen)]
        flat = np.asarray(samples, np.float32).reshape(len(samples), -1)
        if len(flat) <= self.components:
            raise ValueError(f"{len(flat)} samples are too few for {self.components} components")
        pca = PCA(max(self.components, 1), svd_solver="full").fit(flat)
        mean, basis = np.asarray(pca.mean_), np.asarray(pca.components_)
        if not self.components:
            basis = np.zeros_like(basis)
        projection = self.networks["projection"]
        projection.get_layer("code").set_weights([basis.T, -mean @ basis.T])
        projection.get_layer("image").set_weights([basis, mean])

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        projected = self.networks["projection"](x)
        image = projected["image"]
        score = ops.mean(ops.abs(x - image), axis=tuple(range(1, len(x.shape))))
        return Findings.against(x, image, score, projected["code"])
