"""The section on maps against masks: pixels, lesions, and the controls beside them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ganatomy.measures import FrocBand, Interval
from ganatomy.report.figures import froc
from ganatomy.report.words import as_interval, count, interval, number, percent, signed, title

MEASURES = (
    "pixel_auroc",
    "pixel_average_precision",
    "dice",
    "dice_a_scan",
    "pixel_sensitivity",
    "pixel_specificity",
    "best_dice_oracle",
)


def pixel_section(pixels: Any, resampled: str, pixel_fpr: float | None) -> dict[str, Any] | None:
    """What the page says of masks; None where a folder has none.

    Args:
        pixels: `pixels` of measures.json.
        resampled: patients or scans.
        pixel_fpr: the share of healthy pixels that the threshold lets pass for abnormal.
    """
    if not isinstance(pixels, Mapping) or not pixels.get("measures"):
        return None
    controls = pixels.get("controls") or {}
    maps = {"This model": pixels, **controls}
    names = [name for name in MEASURES if name in pixels["measures"]]
    rates = list(pixels["lesion_sensitivity"])
    gains = {name: of.get("differences") or {} for name, of in controls.items()}
    head = [*maps, *(f"Gain over {name}" for name in gains)]
    table = {
        "head": ["Measure", *head],
        "rows": [
            [
                title(name),
                *(_cell(of["measures"], name) for of in maps.values()),
                *(_cell(of, name, _gain) for of in gains.values()),
            ]
            for name in names
        ],
    }
    lesions = {
        "head": ["False positives a scan", *head],
        "rows": [
            [
                "Mean of all below" if rate == "mean" else rate,
                *(_cell(of["lesion_sensitivity"], rate) for of in maps.values()),
                *(
                    _cell(of, "lesion_sensitivity" if rate == "mean" else "", _gain)
                    for of in gains.values()
                ),
            ]
            for rate in rates
        ],
    }
    band = FrocBand(*(np.array(pixels["froc"][part], float) for part in FrocBand._fields))
    return {
        "said": _said(pixels),
        "refused": [str(line) for line in pixels.get("refused", [])],
        "table": table,
        "lesions": lesions,
        "froc": froc(band),
        "explain": _explained(pixels, resampled, pixel_fpr),
    }


def _said(pixels: Mapping[str, Any]) -> str:
    said = (
        f"Masks outline {count(pixels['n_lesions'], 'lesion')} in {pixels['n_with_lesions']:,} of "
        f"{count(pixels['n_scans'], 'scan')}."
    )
    if pixels.get("unmasked"):
        said += f" {count(pixels['unmasked'], 'abnormal scan')} without a mask left out."
    return said


def _explained(pixels: Mapping[str, Any], resampled: str, pixel_fpr: float | None) -> str:
    said = "All pixels of all scans are taken together, where the model looked. "
    if pixels.get("threshold") is None:
        said += (
            "This model has no threshold of pixels, and so no Dice at it: calibrate sets one on "
            "healthy scans. "
        )
    else:
        rate = "a stated share" if pixel_fpr is None else percent(pixel_fpr)
        said += (
            f"The threshold {number(pixels['threshold'])} was set on healthy scans alone, where "
            f"{rate} of the pixels of an average one lie above it. "
        )
    return said + (
        "The best Dice is an oracle’s: its threshold was chosen on these very masks, and nobody "
        "has it beforehand. A lesion counts as found where a connected part of the map touches it "
        "of which at least a tenth lies in lesions; other parts are false positives. "
        f"Intervals hold 95 % of the values over resampled {resampled}."
    )


def _cell(measures: Mapping[str, Any], name: str, write=interval) -> str:
    found = as_interval(measures.get(name))
    return "–" if found is None else write(found)


def _gain(measured: Interval) -> str:
    value, low, high = (signed(part) for part in measured)
    return f"{value} ({low} to {high})"
