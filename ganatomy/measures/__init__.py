"""Measures: how well a model does, with intervals."""

from ganatomy.measures.bootstrap import Interval, percentile_interval, resample_weights
from ganatomy.measures.detection import (
    RocBand,
    SeedSummary,
    detection_measures,
    paired_difference,
    roc_band,
    summarise_seeds,
)

__all__ = [
    "Interval",
    "RocBand",
    "SeedSummary",
    "detection_measures",
    "paired_difference",
    "percentile_interval",
    "resample_weights",
    "roc_band",
    "summarise_seeds",
]
