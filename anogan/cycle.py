"""From sick to healthy by a translation model of one's name: what it changes is the lesion."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from anogan.detector import Detector, Findings, largest
from ganatomy.errors import WrongUse
from ganatomy.game import Stage
from ganatomy.image_models import ImageModel, image_model, image_preset
from ganatomy.registry import Preset
from ganatomy.scans import Preprocessing


class Cycle(Detector):
    """The healthy counterpart is what a translation model from sick to healthy makes of a scan.

    Not a game: the model is trained before, e.g. by the preset `sick-to-healthy-cycle`, on sick
    scans and healthy ones of other patients, and asked for by its name, as from where a command
    runs. Its identity term teaches it to leave alone what is healthy. Here its residual gets a
    healthy map and a threshold. The score is the mean of |x - G(x)|; the latent code is empty.

    The counterpart is as good as the synthesis: a generator that hides the lesion in a pattern, to
    undo it on the way back, or that changes what is healthy, makes a worse map than no network.

    Args:
        shape: of one sample, (*size, channels).
        translate: the name of the translation model, with this preset's preprocessing.
        chunk: scans are examined so many samples at a time; the model takes them one by one.

    Reference: Zhu et al. 2017 for the cycle; Yi, Walia, Babyn 2019, section 3.5, for its use.
    """

    def __init__(self, shape: tuple[int, ...], translate: str = "", chunk: int = 32, **game: Any):
        super().__init__(**game)
        self.shape, self.translate, self.chunk = tuple(shape), translate, chunk
        self.assemble()

    def build_networks(self) -> dict:
        return {}

    def stages(self) -> list[Stage]:
        return []

    @cached_property
    def translation_(self) -> ImageModel:
        """The model of the name, loaded when first asked for."""
        return image_model(self.translate)

    def inspect(self, samples: np.ndarray) -> Findings:
        samples = np.asarray(samples, np.float32)
        if not len(samples):
            raise ValueError("no samples to inspect")
        image = self.translation_.translate_arrays(samples)
        difference = samples - image
        score = np.abs(difference).mean(tuple(range(1, samples.ndim)))
        return Findings(image, np.asarray(largest(difference)), score, self.start(samples))

    @staticmethod
    def check_preset(preset: Preset) -> None:
        """Refuse a name that is no model of samples like this preset's.

        Raises:
            WrongUse: none is given, or which setting differs.
            ArtifactError: there is no translation model of that name.
        """
        name = preset.hyperparameters.get("translate")
        if not name:
            raise WrongUse(
                f"{preset.name} needs a translation model from sick to healthy: --set translate="
                "MODEL"
            )
        other = image_preset(name)
        grids = (preset.preprocessing, *map(other.preprocessing_of, ("scan", "target")))
        own, scan, target = (Preprocessing(**settings) for settings in grids)
        for field in Preprocessing.model_fields:
            # How far tiles overlap does not show in one.
            values = [getattr(grid, field) for grid in (own, scan, target)]
            if field != "overlap" and (values[1] != values[0] or values[2] != values[0]):
                raise WrongUse(
                    f"{name}: preprocessing.{field} is {values[1]!r} for scans and {values[2]!r} "
                    f"for targets there, {values[0]!r} in {preset.name}: they have to agree"
                )
