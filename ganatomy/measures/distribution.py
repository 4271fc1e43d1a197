"""How alike two sets of images are to a network, without pairs: FID and KID.

Both say nothing by themselves: they hold for one network, one size of picture and one number of
pictures, which stand in every definition.
"""

from __future__ import annotations

import numpy as np

from ganatomy.measures.measure import Measure

SUBSETS = 100
LARGEST_SUBSET = 1000


def frechet_distance(a, b) -> float:
    """The Fréchet distance of two Gaussians that have the means and covariances of two sets.

    Args:
        a: features [n, d], n of at least 2.
        b: features [m, d].

    Returns:
        Squared: ‖μa − μb‖² + tr(Sa + Sb − 2 (Sa Sb)^½), covariances over n − 1. Of sets of finite
        size it is too great, the more the fewer there are.

    Raises:
        ValueError: features that do not fit.

    Reference: Heusel et al. 2017, equation 6.
    """
    a, b = _features(a, b)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # sqrt(Sa) Sb sqrt(Sa) is symmetric and has the eigenvalues of Sa Sb, also where it is singular.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    apart = a.mean(0) - b.mean(0)
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared)


def kernel_distance(
    a, b, *, subsets: int = SUBSETS, size: int | None = None, seed: int = 0
) -> tuple[float, float, int]:
    """The unbiased squared maximum mean discrepancy under the cubic kernel (x·y / d + 1)³.

    Args:
        a: features [n, d].
        b: features [m, d].
        subsets: how many times as many of each are drawn, without putting back.
        size: how many are drawn; half of the smaller set, at most 1000, where None.
        seed: of the draws.

    Returns:
        The mean over subsets, which may be a little below 0 and is not clipped; their standard
        deviation; the size.

    Raises:
        ValueError: features that do not fit, or a size that is not from 2 to the smaller set.

    Reference: Bińkowski et al. 2018, section 4.
    """
    a, b = _features(a, b)
    smaller = min(len(a), len(b))
    size = min(LARGEST_SUBSET, max(2, smaller // 2)) if size is None else size
    if not 2 <= size <= smaller:
        raise ValueError(f"subsets of {size} of {smaller} features")
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(subsets):
        x, y = (v[rng.choice(len(v), size, replace=False)] for v in (a, b))
        xx, yy, xy = ((p @ q.T / a.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = sum((k.sum() - np.trace(k)) / (size * (size - 1)) for k in (xx, yy))
        draws.append(within - 2 * xy.mean())
    return float(np.mean(draws)), float(np.std(draws, ddof=1)), size


def set_measures(a, b, network: str) -> list[Measure]:
    """FID and KID of two sets of features.

    Args:
        a: features [n, d].
        b: features [m, d].
        network: what gave the features: its name, the activation, and the pictures' size.

    Raises:
        ValueError: features that do not fit.
    """
    a, b = _features(a, b)
    count = f"n = {len(a)} and {len(b)}"
    dimensions = a.shape[1]
    bias = "biased upwards at this n: compare only with figures of the same n"
    if min(len(a), len(b)) <= dimensions:
        bias = f"n is not above the {dimensions} features, covariances are singular: " + bias
    value, spread, size = kernel_distance(a, b)
    return [
        Measure(f"FID[{network}]", frechet_distance(a, b), f"{count}; {bias}"),
        Measure(
            f"KID[{network}]",
            value,
            f"{count}; unbiased, may be below 0; mean of {SUBSETS} subsets of {size}, "
            f"standard deviation {spread:.3g}",
        ),
    ]


def _features(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features are [n, d], two or more of each set: {a.shape}, {b.shape}")
    return a, b
