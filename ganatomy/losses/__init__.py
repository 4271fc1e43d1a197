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

__all__ = ["joint_histogram", "mutual_information", "ncc", "normalised_mutual_information"]
