"""Losses beside the adversarial ones: pure functions of arrays, lower is better.

A package where architecture.md planned one file: one idea a file.

Arrays are [B, *grid, C] in two or three dimensions; a result is [B], one value a sample, in
float32 (float64 where the arrays are). The average over the batch and the weight are the game's
business.
"""

from ganatomy.losses.correlation import ncc
from ganatomy.losses.information import (
    joint_histogram,
    mutual_information,
    normalised_mutual_information,
)
from ganatomy.losses.overlap import dice
from ganatomy.losses.perception import perceptual
from ganatomy.losses.pointwise import l1, l2
from ganatomy.losses.self_similarity import mind
from ganatomy.losses.slopes import gradient_difference, total_variation
from ganatomy.losses.structure import ssim

__all__ = [
    "dice",
    "gradient_difference",
    "joint_histogram",
    "l1",
    "l2",
    "mind",
    "mutual_information",
    "ncc",
    "normalised_mutual_information",
    "perceptual",
    "ssim",
    "total_variation",
]
