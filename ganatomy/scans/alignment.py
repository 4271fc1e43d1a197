"""Where and how large an image lies against a healthy mean: shifts and scales, by search.

Parameters are `[shift of each axis…, log-scale of each axis…]`, shifts as fractions of the
side: the aligned image at index m is the unaligned one at `c + exp(log-scale)·(m - c) +
shift·side`, c the centre.
"""

import itertools

import numpy as np
from scipy.optimize import minimize

from ganatomy.scans.resample import along_axes, weights

MAX_SHIFT = 0.15
MAX_LOG_SCALE = float(np.log(1.15))
SEARCH_SIDE = 32
# coarse grid by rank: side of the image, shifts and scales an axis
COARSE = {2: (16, 7, 5), 3: (12, 5, 3)}


def search_image(image: np.ndarray) -> np.ndarray:
    """The image blurred by a sixteenth of its side and shrunk to at most 32 a side.

    Args:
        image: `[n0, n1(, n2)]`.
    """
    return along_axes(
        image.astype(np.float32),
        [weights(_centres(n, min(n, SEARCH_SIDE)), n, sigma=n / 16) for n in image.shape],
    )


def align(image: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Parameters that maximise the normalised correlation with a template.

    A joint search over a coarse grid finds the basin; L-BFGS-B refines within the bounds
    (shifts of 15 % of the side, scales of 15 %). Deterministic.

    Args:
        image: a search image.
        template: a search image of the same shape.

    Returns:
        float64 [2 × rank]; zeros where one of the two shows nothing.
    """
    rank = image.ndim
    target = _centred(template)
    if not np.any(target) or np.ptp(image) == 0:
        return np.zeros(2 * rank)
    start = _coarse(image, template)
    bounds = [(-MAX_SHIFT, MAX_SHIFT)] * rank + [(-MAX_LOG_SCALE, MAX_LOG_SCALE)] * rank

    def loss(parameters: np.ndarray) -> float:
        moved = _centred(move(image, parameters))
        return -float(np.vdot(moved, target))

    # differences over 0.002 of the side look past the kinks of linear interpolation
    options = {"maxiter": 30, "eps": 2e-3, "ftol": 1e-6}
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x if found.fun < loss(start) else start


def move(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """The image under alignment parameters, on its own grid, edges repeated."""
    rank = image.ndim
    matrices = [
        _matrix(n, parameters[axis], parameters[rank + axis]) for axis, n in enumerate(image.shape)
    ]
    return along_axes(image, matrices)


def _matrix(side: int, shift: float, log_scale: float) -> np.ndarray:
    centre = (side - 1) / 2
    return weights(centre + np.exp(log_scale) * (np.arange(side) - centre) + shift * side, side)


def _coarse(image: np.ndarray, template: np.ndarray) -> np.ndarray:
    rank = image.ndim
    side, shifts, scales = COARSE[rank]
    shrink = [weights(_centres(n, min(n, side)), n) for n in image.shape]
    small, target = along_axes(image, shrink), _centred(along_axes(template, shrink))
    tried = list(
        itertools.product(
            np.linspace(-MAX_SHIFT, MAX_SHIFT, shifts),
            np.linspace(-MAX_LOG_SCALE, MAX_LOG_SCALE, scales),
        )
    )
    moved = small[None]  # [candidates so far, n0, n1(, n2)]
    for axis, n in enumerate(small.shape):
        stacked = np.stack([_matrix(n, shift, log_scale) for shift, log_scale in tried])
        product = np.tensordot(np.moveaxis(moved, axis + 1, -1), stacked, axes=(-1, 2))
        product = np.moveaxis(np.moveaxis(product, -1, axis + 1), -1, 1)
        moved = product.reshape(-1, *small.shape)
    flat = moved.reshape(len(tried) ** rank, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    scores = flat @ target.ravel() / np.maximum(np.linalg.norm(flat, axis=1), 1e-12)
    best = np.unravel_index(int(scores.argmax()), (len(tried),) * rank)
    return np.array([tried[b][0] for b in best] + [tried[b][1] for b in best])


def _centres(length: int, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * (length / count) - 0.5


def _centred(image: np.ndarray) -> np.ndarray:
    image = image - image.mean()
    return image / max(float(np.linalg.norm(image)), 1e-12)
