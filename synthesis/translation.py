"""What every translation model is: a game whose generator makes the target's kind of image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.game import AdversarialModel, Batch, Stage
from ganatomy.gradients import compiled
from ganatomy.losses import IMAGE_LOSSES

Tensor = Any
SHOWN = 4  # scans on a picture of how training goes


class Translation(AdversarialModel):
    """Base of the translation models.

    A batch holds `scan` [B, *size, C] and `target` [B, *size, C'], both in [-1, 1] and of one size,
    in two or three dimensions. Where `roles` calls the target "joined", the two are of the same
    place of one patient; where "independent", any target comes with any scan, and losses that
    compare with an aligned target are refused.

    The player that holds the generators is called `generator`. It has every loss of
    `ganatomy.losses.IMAGE_LOSSES` as a term, at weight 0 unless `term_weights` says
    otherwise.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: C'; those of the scan where None.
        features: the feature network of losses that need one, a name of
            `ganatomy.networks.features.feature_network`; built only where such a loss has a weight.
        sharpness_weights: a file for the network of the loss `sharpness`, made by
            `python -m synthesis.sharpness_training`; those that are shipped where None. Only
            training reads it.
        **game: `term_weights`, `optimizers`, `averages` of `AdversarialModel`.

    Raises:
        WrongUse: a loss that needs an aligned pair, where the target is independent, or one that
            needs equal channels, where scan and target have others; in training: a file of weights
            that is missing or another network's.
    """

    task: ClassVar[str] = "translate"
    roles: ClassVar[dict[str, str]] = {"scan": "joined", "target": "joined"}
    # A target that is joined; one of a stream of its own has a grid of its own.
    grids: ClassVar[dict[str, str]] = {"target": "scan"}
    default_weights: ClassVar[dict[str, Any]] = {f"generator/{name}": 0.0 for name in IMAGE_LOSSES}

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        features: str = "mednist",
        sharpness_weights: str | None = None,
        **game: Any,
    ):
        super().__init__(**game)
        self.shape = tuple(shape)
        self.target_shape = (*self.shape[:-1], target_channels or self.shape[-1])
        asked = [name for name in IMAGE_LOSSES if self._weighed(f"generator/{name}")]
        refused = [name for name in asked if IMAGE_LOSSES[name].aligned]
        if refused and self.roles["target"] != "joined":
            raise WrongUse(
                f"generator/{refused[0]} compares with an aligned target, and {type(self).__name__}"
                " takes any target with any scan: leave it out, or train a model of pairs"
            )
        own, made = self.shape[-1], self.target_shape[-1]
        # A default that does not fit is left out by the model whose default it is.
        alike = [
            name
            for name in asked
            if IMAGE_LOSSES[name].against == "scan"
            and IMAGE_LOSSES[name].channels == "same"
            and f"generator/{name}" in self._asked
        ]
        if alike and own != made:
            raise WrongUse(
                f"generator/{alike[0]} compares a scan of {own} channels with a target of {made}: "
                "set its weight to 0"
            )
        self.feature_network: keras.Model | None = None
        self.sharpness_network: keras.Model | None = None
        self.sharpness_weights = sharpness_weights
        wanted = {IMAGE_LOSSES[name].network for name in asked}
        if "features" in wanted:
            from ganatomy.networks.features import feature_network

            self.feature_network = feature_network(features)
        if "sharpness" in wanted:
            from ganatomy.networks.sharpness import WEIGHTS, sharpness_network

            self.sharpness_network = sharpness_network(WEIGHTS)

    def enter(self, stage: Stage, *, jit_compile: bool = False) -> None:
        """Also reads the user's own `sharpness_weights`."""
        super().enter(stage, jit_compile=jit_compile)
        if self.sharpness_network is not None and self.sharpness_weights:
            from ganatomy.networks.sharpness import read_weights

            read_weights(self.sharpness_network, self.sharpness_weights)

    def _weighed(self, term: str) -> bool:
        """Whether a term has a weight at any step."""
        return bool(np.any(np.atleast_2d(self._term_weights.get(term, 1.0))[:, -1]))

    # What a model defines --------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        """The targets of scans [B, *size, C], each by itself, [B, *size, C']; in the graph."""
        raise NotImplementedError

    # What it then has --------------------------------------------------------------------------

    def image_terms(self, generated: Tensor, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Every image loss by name, not yet computed.

        Args:
            generated: [B, *size, C'].
            batch: with what it is compared with, `scan` and `target`.
        """

        networks = {"features": self.feature_network, "sharpness": self.sharpness_network}

        def term(name: str) -> Callable[[], Tensor]:
            loss = IMAGE_LOSSES[name]
            network = [networks[loss.network]] if loss.network else []
            return lambda: loss.function(generated, batch[loss.against], *network)

        return {name: term(name) for name in IMAGE_LOSSES}

    def translate(self, samples: np.ndarray) -> np.ndarray:
        """Translate samples one by one, so that none depends on the others.

        Args:
            samples: [n, *size, C], in [-1, 1].

        Returns:
            [n, *size, C'], float32.

        Raises:
            ValueError: no samples, or samples of another shape.
        """
        samples = np.asarray(samples, np.float32)
        if samples.shape[1:] != self.shape or not len(samples):
            raise ValueError(f"samples have shape {samples.shape}; expected [n, {self.shape}]")
        if "_generate" not in vars(self):
            object.__setattr__(self, "_generate", compiled(self.generate))
        return np.concatenate([np.asarray(self._generate(one[None])) for one in samples])

    def pictures(self, samples: Any) -> dict[str, Any]:
        """Scans above their translations, of volumes the middle slice."""
        scans = np.asarray(samples[:SHOWN])
        return {"translations": np.concatenate([_row(scans), _row(self.translate(scans))])}


def _row(images: np.ndarray) -> np.ndarray:
    """Images [n, *size, c] beside each other, their first channel, [H, n W]."""
    if images.ndim == 5:
        images = images[:, :, :, images.shape[3] // 2]
    return np.concatenate(list(images[..., 0]), axis=1)
