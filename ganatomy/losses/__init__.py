"""Losses beside the adversarial ones: pure functions of arrays, lower is better.

Arrays are [B, *grid, C] in two or three dimensions; a result is [B], one value a sample, in
float32 (float64 where the arrays are). The average over the batch and the weight are the game's
business.
"""

from ganatomy.losses.attention import saliency
from ganatomy.losses.correlation import ncc
from ganatomy.losses.edges import edge, gradient_consistency, regulation
from ganatomy.losses.image_losses import IMAGE_LOSSES, ImageLoss
from ganatomy.losses.information import (
    joint_histogram,
    mutual_information,
    normalised_mutual_information,
)
from ganatomy.losses.labels import classification, shape
from ganatomy.losses.latents import kl_divergence
from ganatomy.losses.overlap import dice
from ganatomy.losses.perception import perceptual
from ganatomy.losses.pointwise import charbonnier, l1, l2
from ganatomy.losses.ridges import steerable
from ganatomy.losses.self_similarity import mind
from ganatomy.losses.sharpness import sharpness
from ganatomy.losses.slopes import gradient_difference, total_variation
from ganatomy.losses.structure import ssim
from ganatomy.losses.style import style_content

__all__ = [
    "IMAGE_LOSSES",
    "ImageLoss",
    "charbonnier",
    "classification",
    "dice",
    "edge",
    "gradient_consistency",
    "gradient_difference",
    "joint_histogram",
    "kl_divergence",
    "l1",
    "l2",
    "mind",
    "mutual_information",
    "ncc",
    "normalised_mutual_information",
    "perceptual",
    "regulation",
    "saliency",
    "shape",
    "sharpness",
    "ssim",
    "steerable",
    "style_content",
    "total_variation",
]
