"""Whether a moving scan looks like the mirror image of what it should be."""

from __future__ import annotations

from typing import Any

import numpy as np

BINS = 32
# By so much the mirror image has to fit better: most anatomy is nearly its own mirror image.
MARGIN = 0.1


def looks_mirrored(model: Any, fixed: np.ndarray, moving: np.ndarray, moved: np.ndarray) -> bool:
    """Whether a moving sample fits better with left and right exchanged.

    It is aligned that way too, and what the two images know of the fixed one compared. Pictures
    have no side that a header tells.

    Args:
        model: an `Aligner` of volumes whose first axis runs to the right.
        fixed: sample [1, *shape, channels].
        moving: the same.
        moved: the moving sample as the model aligned it, `Alignment.moved`.
    """
    if fixed.ndim != 5:
        return False
    mirrored = np.ascontiguousarray(moving[:, ::-1])
    both = moved, model.align(fixed, mirrored).moved
    plain, other = (shared_information(fixed[..., 0], one[..., 0]) for one in both)
    return other > plain * (1 + MARGIN)


def shared_information(one: np.ndarray, other: np.ndarray) -> float:
    """Mutual information of two images as a share of their mean entropy, 0 to 1.

    Args:
        one: any shape.
        other: the same shape.

    Reference: Studholme et al. 1999, normalised mutual information (here scaled to 0 to 1).
    """
    counts, *_ = np.histogram2d(np.ravel(one), np.ravel(other), BINS)
    joint = counts / counts.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    single = _entropy(rows) + _entropy(columns)
    return float(2 * (single - _entropy(joint.ravel())) / single) if single > 0 else 0.0


def _entropy(shares: np.ndarray) -> float:
    known = shares[shares > 0]
    return float(-(known * np.log(known)).sum())
