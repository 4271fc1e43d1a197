"""Losses between a translated image and another one, by the name that presets weigh them by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ganatomy.losses.attention import saliency
from ganatomy.losses.correlation import ncc
from ganatomy.losses.edges import edge, gradient_consistency, regulation
from ganatomy.losses.information import mutual_information
from ganatomy.losses.perception import perceptual
from ganatomy.losses.pointwise import charbonnier, l1, l2
from ganatomy.losses.ridges import steerable
from ganatomy.losses.self_similarity import mind
from ganatomy.losses.sharpness import sharpness
from ganatomy.losses.slopes import gradient_difference
from ganatomy.losses.structure import ssim
from ganatomy.losses.style import style_content

Tensor = Any


@dataclass(frozen=True)
class ImageLoss:
    """A loss between what a generator made and another image of the batch.

    Attributes:
        function: (generated, other) -> [B], lower where they are more alike; with `network` it
            takes that network as its third argument.
        against: "target", which then has to be aligned with the scan, or "scan", what was
            translated, which needs no pair.
        network: the frozen network that it looks through: "features" (see
            `ganatomy.networks.features`) or "sharpness" (see `ganatomy.networks.sharpness`).
        channels: "any" where the two may have different numbers of channels.
    """

    function: Callable[..., Tensor]
    against: Literal["target", "scan"] = "target"
    network: Literal["features", "sharpness"] | None = None
    channels: Literal["same", "any"] = "same"

    @property
    def aligned(self) -> bool:
        """Whether it needs an aligned pair of scan and target."""
        return self.against == "target"


# L2 to L18 of table 2 of Yi, Walia, Babyn 2019 that compare two images. The cycle loss (L3) is `l1`
# of a scan and what comes back of it, the losses of labels (L7, L13) and codes (L15) are the
# model's own, frequency (L14) and physics (L17) those of reconstruction.
IMAGE_LOSSES: dict[str, ImageLoss] = {
    "l1": ImageLoss(l1),
    "l2": ImageLoss(l2),
    "charbonnier": ImageLoss(charbonnier),
    "gradient_difference": ImageLoss(gradient_difference),
    "edge": ImageLoss(edge),
    "sharpness": ImageLoss(sharpness, network="sharpness"),
    "perceptual": ImageLoss(perceptual, network="features"),
    "ssim": ImageLoss(ssim),
    "style_content": ImageLoss(style_content, network="features"),
    "steerable": ImageLoss(steerable),
    "saliency": ImageLoss(saliency),
    "ncc": ImageLoss(ncc),
    "mutual_information": ImageLoss(mutual_information),
    "gradient_consistency": ImageLoss(gradient_consistency, "scan", channels="any"),
    "self_regularisation": ImageLoss(l1, "scan"),
    "perceptual_to_scan": ImageLoss(perceptual, "scan", network="features"),
    "edge_to_scan": ImageLoss(edge, "scan"),
    "regulation": ImageLoss(regulation, "scan"),
    "mind_to_scan": ImageLoss(mind, "scan"),
    "mutual_information_to_scan": ImageLoss(mutual_information, "scan"),
}
