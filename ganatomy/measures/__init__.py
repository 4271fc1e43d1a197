"""Measures: how well a model does, with intervals."""

from ganatomy.measures.agreement import (
    agatston,
    agreement_measures,
    bland_altman,
    intraclass_correlation,
)
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
from ganatomy.measures.paired import over_images, paired_measures
from ganatomy.measures.pixels import (
    HealthyPixels,
    PixelCounts,
    pixel_counts,
    pixel_differences,
    pixel_measures,
)
from ganatomy.measures.planting import PlantedLesion, plant_lesion
from ganatomy.measures.regions import (
    contrast_to_background,
    edge_distance,
    flat_region,
    full_width,
    line_profile,
    noise_level,
    region_measures,
)
from ganatomy.measures.segmentation import segmentation_measures

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
    "agatston",
    "agreement_measures",
    "bland_altman",
    "contrast_to_background",
    "detection_measures",
    "edge_distance",
    "flat_region",
    "froc_band",
    "froc_differences",
    "froc_measures",
    "full_width",
    "intraclass_correlation",
    "lesion_marks",
    "line_profile",
    "noise_level",
    "over_images",
    "paired_difference",
    "paired_measures",
    "percentile_interval",
    "pixel_counts",
    "pixel_differences",
    "pixel_measures",
    "plant_lesion",
    "region_measures",
    "resample_weights",
    "roc_band",
    "segmentation_measures",
    "summarise_seeds",
]
