"""Losses between a translated image and another one, by the name that presets weigh them by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ganatomy import losses

Tensor = Any


@dataclass(frozen=True)
class ImageLoss:
    """A loss between what a generator made and another image of the batch.

    Attributes:
        function: (generated, other) -> [B], lower where they are more alike; with `features` it
            takes a feature network as its third argument.
        against: "target", which then has to be aligned with the scan, or "scan", what was
            translated, which needs no pair.
        features: whether it looks through a feature network.
    """

    function: Callable[..., Tensor]
    against: str = "target"
    features: bool = False

    @property
    def aligned(self) -> bool:
        return self.against == "target"


# A loss is in the terms of every translation model as `generator/NAME`, at weight 0 unless asked
# for: `--set loss.NAME=10`.
IMAGE_LOSSES: dict[str, ImageLoss] = {
    "l1": ImageLoss(losses.l1),
    "l2": ImageLoss(losses.l2),
    "gradient_difference": ImageLoss(losses.gradient_difference),
    "ssim": ImageLoss(losses.ssim),
    "perceptual": ImageLoss(losses.perceptual, features=True),
    "mutual_information": ImageLoss(losses.mutual_information),
    "ncc": ImageLoss(losses.ncc),
    "self_regularisation": ImageLoss(losses.l1, against="scan"),
}
