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
from ganatomy.measures.froc import (
    FrocBand,
    Marks,
    froc_band,
    froc_differences,
    froc_measures,
    lesion_marks,
)
from ganatomy.measures.measure import Measure
from ganatomy.measures.pixels import (
    HealthyPixels,
    PixelCounts,
    pixel_counts,
    pixel_differences,
    pixel_measures,
)
from ganatomy.measures.planting import PlantedLesion, plant_lesion

__all__ = [
    "FrocBand",
    "HealthyPixels",
    "Interval",
    "Marks",
    "Measure",
    "PixelCounts",
    "PlantedLesion",
    "RocBand",
    "SeedSummary",
    "detection_measures",
    "froc_band",
    "froc_differences",
    "froc_measures",
    "lesion_marks",
    "paired_difference",
    "percentile_interval",
    "pixel_counts",
    "pixel_differences",
    "pixel_measures",
    "plant_lesion",
    "resample_weights",
    "roc_band",
    "summarise_seeds",
]
