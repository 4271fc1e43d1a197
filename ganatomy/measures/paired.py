"""Measures of aligned pairs of images, and their means over many with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ganatomy.measures.feature_similarity import fsim
from ganatomy.measures.fidelity import fidelity
from ganatomy.measures.histograms import shared_information
from ganatomy.measures.measure import Measure
from ganatomy.measures.registration import mean_interval
from ganatomy.measures.visual import vif


def paired_measures(found, truth, scale: float) -> list[Measure]:
    """What can be measured of one image beside its aligned truth, in one list.

    Args:
        found: [*grid, C].
        truth: the same, aligned.
        scale: from the lowest to the highest intensity there can be.

    Returns:
        MAE, MSE, NMSE, PSNR, SNR, SSIM, UQI, VIF, FSIM, MI, NMI; those that the image is too
        small for are left out.

    Raises:
        ValueError: images of two shapes, or a scale that is not positive.
    """
    first = fidelity(found, truth, scale)
    seen = [measured(found, truth, scale) for measured in (vif, fsim)]
    there = [measure for measure in seen if measure is not None]
    return [*first, *there, *shared_information(found, truth)]


def over_images(
    each: Sequence[Sequence[Measure]], groups=None, why: str = "too small or without an error"
) -> list[Measure]:
    """The mean of every measure over images, with its 95 % interval.

    An image that a measure could not be taken of, or of which it is infinite (the PSNR of equal
    images), is left out of that measure's mean, and the definition says how many were.

    Args:
        each: the measures of every image.
        groups: the patient of each; patients are resampled where given.
        why: images are left out of a measure, in words.

    Returns:
        In the order in which they first come, those with at least one finite value.
        Where images were measured in several ways, the definition names all.
    """
    found: dict[str, dict[int, Measure]] = {}
    for number, measures in enumerate(each):
        for measure in measures:
            found.setdefault(measure.name, {})[number] = measure
    means = []
    for name, of in found.items():
        definitions = list(dict.fromkeys(measure.definition for measure in of.values()))
        rows = [number for number, measure in of.items() if np.isfinite(measure.value)]
        if not rows:
            continue
        patients = None if groups is None else [groups[number] for number in rows]
        value = mean_interval([of[number].value for number in rows], groups=patients)
        by = "patients" if groups is not None else "images"
        told = f"{' or '.join(definitions)}; mean of {len(rows)} images, 95 % interval over {by}"
        if len(rows) < len(each):
            told += f"; {len(each) - len(rows)} left out, {why}"
        means.append(Measure(name, value, told))
    return means
