"""What histograms say: how alike intensities are, alone and together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ganatomy.measures.measure import Measure

BINS = 256
JOINT_BINS = 64


def histogram(images: Iterable[np.ndarray], low: float, high: float) -> np.ndarray:
    """Counts of the intensities of images, [C, 256]; what is beyond the ends counts to these.

    Args:
        images: each [*grid, C].
        low: where the first bin begins.
        high: where the last bin ends.
    """
    total: np.ndarray | None = None
    for image in images:
        values = np.clip(np.asarray(image, np.float64), low, high).reshape(-1, image.shape[-1])
        counts = [np.histogram(channel, BINS, (low, high))[0] for channel in values.T]
        total = np.array(counts) if total is None else total + counts
    if total is None:
        raise ValueError("a histogram is of at least one image")
    return total


def histogram_measures(a: np.ndarray, b: np.ndarray, low: float, high: float) -> list[Measure]:
    """The Jensen-Shannon divergence and the Wasserstein distance of two histograms.

    Args:
        a: counts [C, 256] of `histogram`.
        b: the same, of the same ends.
        low: as there.
        high: as there.

    Raises:
        ValueError: histograms of different numbers of channels.

    Reference: Lin 1991, equation 4.1; Rubner et al. 2000. M4 and M5 of Yi, Walia, Babyn 2019.
    """
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import wasserstein_distance

    if a.shape != b.shape:
        raise ValueError(f"histograms of {len(a)} and of {len(b)} channels are not compared")
    centres = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
    how = (
        f"{BINS} bins from {low:g} to {high:g}, what is beyond in the last, all pixels of a set "
        "together, mean of channels"
    )
    # Of scipy's the square is the divergence.
    divergence = np.mean([jensenshannon(p, q) ** 2 for p, q in zip(a, b, strict=True)])
    moved = np.mean(
        [wasserstein_distance(centres, centres, p, q) for p, q in zip(a, b, strict=True)]
    )
    return [
        Measure("JS", float(divergence), f"Jensen-Shannon divergence of histograms, nats, {how}"),
        Measure("Wasserstein", float(moved), f"of histograms, in intensities, {how}"),
    ]


def shared_information(found, truth) -> list[Measure]:
    """Mutual information of two aligned images, and its normalised form.

    Args:
        found: [*grid, C].
        truth: the same.

    Returns:
        MI in nats, 0 for images that say nothing of each other; normalised 1 to 2.

    Raises:
        ValueError: images of two shapes.

    Reference: Studholme, Hill, Hawkes 1999, equation 8; M16 of Yi, Walia, Babyn 2019.
    """
    from sklearn.metrics import mutual_info_score

    found, truth = np.asarray(found, np.float64), np.asarray(truth, np.float64)
    if found.shape != truth.shape:
        raise ValueError(f"images of one shape, not {found.shape} and {truth.shape}")
    values, ratios = [], []
    for channel in range(found.shape[-1]):
        x, y = found[..., channel].ravel(), truth[..., channel].ravel()
        table = np.histogram2d(x, y, JOINT_BINS)[0]
        values.append(mutual_info_score(None, None, contingency=table))
        of_x, of_y, of_both = (_entropy(t) for t in (table.sum(1), table.sum(0), table.ravel()))
        ratios.append((of_x + of_y) / of_both if of_both else 2.0)
    how = f"joint histogram of {JOINT_BINS} bins over each image's own range, mean of channels"
    return [
        Measure("MI", float(np.mean(values)), f"mutual information, nats, {how}"),
        Measure("NMI", float(np.mean(ratios)), f"(H(x) + H(y)) / H(x, y), {how}"),
    ]


def median_intensity(image) -> float:
    """Normalised median intensity: the median over the 95th percentile, of the mean of channels.

    Its spread over the pictures of a set says how unequal stains are.

    Args:
        image: [*grid, C], not negative.

    Raises:
        ValueError: a 95th percentile that is not positive.

    Reference: Bejnordi et al. 2016, section III-D; M17 of Yi, Walia, Babyn 2019.
    """
    grey = np.asarray(image, np.float64).mean(-1)
    high = float(np.percentile(grey, 95))
    if high <= 0:
        raise ValueError("a normalised median needs intensities above 0")
    return float(np.median(grey)) / high


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
