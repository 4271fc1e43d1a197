"""A density of healthy features: how far a sample's, or one place's, are from healthy ones."""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from anogan.blending import along_axes
from anogan.detector import Detector, Findings
from anogan.fanogan import FAnoGAN
from anogan.planted import Planted
from ganatomy.gradients import compiled

Tensor = Any
FAR = 1e6


class _Distance(keras.layers.Layer):
    """Distances [B, places] of features [B, places, n], each place with a density of its own."""

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]


@keras.saving.register_keras_serializable(package="anogan")
class Mahalanobis(_Distance):
    """Mahalanobis distance to healthy features, divided by √n.

    Channels in which healthy samples never differ measure nothing, but n counts them.

    Reference: Ledoit, Wolf 2004, for the covariance; Defard et al. 2021 (PaDiM), equation 2.
    """

    def build(self, input_shape):
        places, n = input_shape[1:]
        self.centre = self.add_weight(shape=(places, n), trainable=False, name="centre")
        self.whitening = self.add_weight(shape=(places, n, n), trainable=False, name="whitening")

    def call(self, features):
        away = ops.swapaxes(features - self.centre, 0, 1)
        white = ops.matmul(away, self.whitening)
        return ops.transpose(ops.sqrt(ops.mean(ops.square(white), axis=-1)))

    def fit(self, features: np.ndarray) -> None:
        """Learn healthy features [n, places, channels]."""
        from sklearn.covariance import ledoit_wolf

        centre, whitening = features.mean(0), np.zeros(self.whitening.shape)
        for place in range(features.shape[1]):
            # A channel in which healthy samples never differ measures nothing: it has no scale,
            # and the covariance, shrunk towards a multiple of I, would lend it the others'.
            (varies,) = np.nonzero(np.ptp(features[:, place], axis=0) > 0)
            if not varies.size:
                continue
            away = (features[:, place].astype(np.float64) - centre[place])[:, varies]
            covariance, _ = ledoit_wolf(away, assume_centered=True)
            values, axes = np.linalg.eigh(covariance)
            # Nor does a direction without variance, where the covariance was not shrunk.
            known = values > 1e-10 * max(values.max(), 1e-30)
            roots = np.where(known, 1 / np.sqrt(np.where(known, values, 1.0)), 0.0)
            whitening[place][np.ix_(varies, np.arange(varies.size))] = axes * roots
        self.set_weights([centre, whitening])


@keras.saving.register_keras_serializable(package="anogan")
class Nearest(_Distance):
    """Mean distance to the nearest healthy features that are remembered, divided by √n.

    Args:
        memory: how many healthy samples are remembered at most.
        neighbours: over how many of the nearest the mean is taken.

    Reference: Ramaswamy et al. 2000; Roth et al. 2022 (PatchCore) for features of places.
    """

    def __init__(self, memory: int = 512, neighbours: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.memory, self.neighbours = memory, neighbours

    def build(self, input_shape):
        places, n = input_shape[1:]
        self.known = self.add_weight(shape=(places, self.memory, n), trainable=False, name="known")

    def call(self, features):
        x: Tensor = ops.swapaxes(features, 0, 1)
        known: Tensor = self.known
        product: Tensor = ops.matmul(x, ops.swapaxes(known, 1, 2))
        size_x: Tensor = ops.sum(ops.square(x), axis=-1)
        size_known: Tensor = ops.sum(ops.square(known), axis=-1)
        squares = ops.relu(size_x[:, :, None] + size_known[:, None] - 2 * product)
        nearest: Tensor = ops.top_k(-squares, self.neighbours)[0]  # pyright: ignore
        distance: Tensor = ops.mean(ops.sqrt(ops.relu(-nearest) / x.shape[-1]), axis=-1)
        return ops.transpose(distance)

    def fit(self, features: np.ndarray) -> None:
        """Remember healthy features [n, places, channels], evenly spaced where there are more.

        Raises:
            ValueError: fewer samples than neighbours.
        """
        if len(features) < self.neighbours:
            raise ValueError(
                f"{len(features)} samples are too few for {self.neighbours} neighbours"
            )
        count = min(self.memory, len(features))
        chosen = np.linspace(0, len(features) - 1, count).round().astype(int)
        # What is not used lies so far away that it is nobody's neighbour.
        known = np.full(self.known.shape, FAR, np.float32)
        known[:, :count] = np.swapaxes(features[chosen], 0, 1)
        self.set_weights([known])

    def get_config(self):
        return {**super().get_config(), "memory": self.memory, "neighbours": self.neighbours}


class FeatureDensity(Detector):
    """Mixin: a detector whose trained network's features get a density of healthy samples.

    Features of samples that a network was not taught about lie apart as well; how far is measured
    without their having been seen. Of a sample it measures the mean over places, scaled to length
    1 (the paper's score), and of every place its own features (the map).

    Args:
        shape: of one sample, (*size, channels).
        source: the network that has the features, a name of the detector's networks.
        layer: whose activations they are, a name of that network's layers; they have a grid.
        density: "gaussian", the Mahalanobis distance, or "neighbours", the nearest healthy ones.
        memory: healthy samples that "neighbours" remembers at most.
        neighbours: how many of them are near.
        **detector: arguments of the detector.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        source: str,
        layer: str,
        density: Literal["gaussian", "neighbours"] = "gaussian",
        memory: int = 512,
        neighbours: int = 3,
        **detector: Any,
    ):
        if density not in ("gaussian", "neighbours"):
            raise ValueError(f"density {density!r} is none of gaussian, neighbours")
        if not 1 <= neighbours <= memory:
            raise ValueError(f"neighbours are 1 to {memory}, not {neighbours}")
        # Networks are built in the detector's own constructor.
        self.source, self.layer, self.density = source, layer, density
        self.memory, self.neighbours = memory, neighbours
        super().__init__(shape, **detector)  # pyright: ignore

    def build_networks(self) -> dict[str, keras.Model]:
        networks = super().build_networks()
        if self.source not in networks:
            raise ValueError(f"source is one of {', '.join(networks)}, not {self.source!r}")
        source = networks[self.source]
        if self.layer not in [layer.name for layer in source.layers]:
            raise ValueError(f"layer {self.layer!r} is no layer of the network")
        features: Tensor = source.get_layer(self.layer).output
        if len(features.shape) != len(self.shape) + 1:
            raise ValueError(f"layer {self.layer!r} has no grid")
        return {**networks, "density": self._density_network(tuple(features.shape[1:]))}

    def _density_network(self, shape: tuple[int, ...]) -> keras.Model:
        """From features [B, *places, n] to the distance of the whole [B] and of places."""
        exact: dict[str, Any] = {"dtype": "float32"}

        def distance(name: str) -> _Distance:
            if self.density == "gaussian":
                return Mahalanobis(name=name, **exact)
            return Nearest(self.memory, self.neighbours, name=name, **exact)

        features = keras.Input(shape, name="features", **exact)
        places = keras.layers.Reshape((-1, shape[-1]), **exact)(features)
        mean: Tensor = ops.mean(places, axis=1, keepdims=True)
        length: Tensor = ops.sqrt(ops.sum(ops.square(mean), axis=-1, keepdims=True))
        embedding = mean / (length + 1e-6)
        outputs = {
            "whole": ops.squeeze(distance("whole")(embedding), -1),
            "local": keras.layers.Reshape(shape[:-1], **exact)(distance("local")(places)),
            "embedding": ops.squeeze(embedding, 1),
        }
        return keras.Model(features, outputs, name="density")

    def features_of(self, x: Tensor) -> Tensor:
        """Features [B, *places, n] of samples [B, *size, c], by the network that was trained."""
        source = self.network(self.source)
        look = keras.Model(source.input, source.get_layer(self.layer).output)
        return ops.cast(look(x, training=False), "float32")

    def solve(self, samples: np.ndarray) -> None:
        """Fit the density on healthy samples [n, *size, c]."""
        extract = compiled(self.features_of)
        (features,) = self.passes(lambda x: [extract(x)], samples)
        density: Any = self.networks["density"]
        embedding = density.predict(features, batch_size=self.chunk, verbose=0)["embedding"]
        density.get_layer("whole").fit(embedding[:, None])
        density.get_layer("local").fit(features.reshape(len(features), -1, features.shape[-1]))

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        found = self.networks["density"](self.features_of(x))
        local = found["local"][..., None]
        matrices = [
            _belonging(few, many)
            for few, many in zip(local.shape[1:-1], self.shape[:-1], strict=True)
        ]
        return Findings(x, along_axes(local, matrices)[..., 0], found["whole"], found["embedding"])


class PlantedDensity(FeatureDensity, Planted):
    """A density of what the planted-anomaly network sees in healthy samples.

    Args:
        shape: of one sample, (*size, channels).
        layer: whose activations the features are, a name of `ganatomy.networks.unet`.
        **settings: the other arguments of `FeatureDensity`, and those of `Planted`.

    Reference: Sato et al. 2023 (AnatPaste), section 3.2; Li et al. 2021 (CutPaste), section 2.2.
    """

    def __init__(self, shape: tuple[int, ...], layer: str = "bottom", **settings: Any):
        super().__init__(shape, source="localiser", layer=layer, **settings)


class GANDensity(FeatureDensity, FAnoGAN):
    """A density of what the critic or the encoder of an f-AnoGAN sees in healthy samples.

    Args:
        shape: of one sample, (*size, channels).
        layer: whose activations the features are: "block_2_out" of a DCGAN, "block_2" of residual
            networks.
        source: "critic" or "encoder".
        **settings: the other arguments of `FeatureDensity`, and those of `FAnoGAN`.

    Reference: Zenati et al. 2018, section 3, for a discriminator's features as evidence; Defard et
    al. 2021 (PaDiM) for their density.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        layer: str,
        source: Literal["critic", "encoder"] = "critic",
        **settings: Any,
    ):
        if source not in ("critic", "encoder"):
            raise ValueError(f"source {source!r} is neither critic nor encoder")
        super().__init__(shape, source=source, layer=layer, **settings)


def _belonging(places: int, side: int) -> np.ndarray:
    """Which place each pixel belongs to, [side, places] of 0 and 1.

    A place covers the least power of two of pixels that lets all of them cover the side; what
    that is too many is padding, half of it before the first pixel, as in `ganatomy.networks.unet`.
    """
    factor = 1 << (-(-side // places) - 1).bit_length()
    before = (places * factor - side) // 2
    place = (np.arange(side) + before) // factor
    return np.eye(places, dtype=np.float32)[place]
