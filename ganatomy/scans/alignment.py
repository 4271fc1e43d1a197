"""Where and how large an image lies against a healthy mean: shifts and scales, by search.

Parameters are `[shift of each axis…, log-scale of each axis…]`, shifts as fractions of the
side: the aligned image at index m is the unaligned one at `c + exp(log-scale)·(m - c) +
shift·side`, c the centre.
"""

import itertools
from functools import lru_cache

import numpy as np

from ganatomy.scans.resample import along_axes, weights

MAX_SHIFT = 0.15
MAX_LOG_SCALE = float(np.log(1.15))
SEARCH_SIDE = 32
MAX_STEPS = 15
# cost of a parameter at its bound, twice: the mean image is smooth, so that correlation alone
# favours enlarging whatever is compared with it
PRIOR = 0.01
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
    """Parameters that maximise the normalised correlation with a template, less a small cost.

    A joint search over a coarse grid finds the basin; Gauss-Newton steps refine within the
    bounds (shifts of 15 % of the side, scales of 15 %). Deterministic.

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
    return _refine(start, image, target)


def _refine(parameters: np.ndarray, image: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Climb from the coarse best: Gauss-Newton steps within the bounds, damped on failure.

    Reference: Evangelidis and Psarakis, IEEE TPAMI 30, 2008 (forward additive scheme).
    """
    rank = image.ndim
    limit = np.repeat([MAX_SHIFT, MAX_LOG_SCALE], rank)
    prior = PRIOR / limit**2
    damping = 1e-3
    best, error, jacobian = _residual(parameters, image, target)
    best -= float(prior @ parameters**2) / 2
    for _ in range(MAX_STEPS):
        normal = jacobian @ jacobian.T + np.diag(prior)
        normal[np.diag_indices(2 * rank)] *= 1 + damping
        step = np.linalg.solve(normal, jacobian @ error - prior * parameters)
        tried = np.clip(parameters + step, -limit, limit)
        score, new_error, new_jacobian = _residual(tried, image, target)
        score -= float(prior @ tried**2) / 2
        if score > best:
            small = score - best < 1e-6
            parameters, best, error, jacobian = tried, score, new_error, new_jacobian
            damping = max(damping / 10, 1e-6)
            if small:
                break
        else:
            damping *= 30
            if damping > 1e3:
                break
    return parameters


def move(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """The image under alignment parameters, on its own grid, edges repeated."""
    rank = image.ndim
    matrices = [
        _matrix(n, parameters[axis], parameters[rank + axis]) for axis, n in enumerate(image.shape)
    ]
    return along_axes(image, matrices)


def _residual(parameters: np.ndarray, image: np.ndarray, target: np.ndarray):
    """Correlation with a centred unit target, what is left of it, and the Jacobian.

    Returns:
        correlation c of the moved, centred, unit image u; target - c·u, flat [n]; derivative
        of u by each parameter, [2 × rank, n].
    """
    rank = image.ndim
    matrices, slopes = [], []
    for axis, n in enumerate(image.shape):
        pair = parameters[axis], parameters[rank + axis]
        matrices.append(_matrix(n, *pair))
        slopes.append(_slope(n, *pair))
    moved = along_axes(image, matrices)
    moved = moved - moved.mean()
    length = max(float(np.linalg.norm(moved)), 1e-12)
    unit = moved.ravel() / length
    correlation = float(unit @ target.ravel())
    jacobian = np.empty((2 * rank, image.size), np.float32)
    for axis, n in enumerate(image.shape):
        changed = along_axes(image, [*matrices[:axis], slopes[axis], *matrices[axis + 1 :]])
        from_centre = (np.arange(n, dtype=np.float32) - (n - 1) / 2).reshape(
            [-1 if a == axis else 1 for a in range(rank)]
        )
        jacobian[axis] = (n * changed).ravel()
        grow = np.float32(np.exp(parameters[rank + axis]))
        jacobian[rank + axis] = (grow * from_centre * changed).ravel()
    jacobian -= jacobian.mean(axis=1, keepdims=True)
    jacobian /= length
    jacobian -= np.outer(jacobian @ unit, unit)
    return correlation, target.ravel() - correlation * unit, jacobian


def _coordinates(side: int, shift: float, log_scale: float) -> np.ndarray:
    centre = (side - 1) / 2
    return centre + np.exp(log_scale) * (np.arange(side) - centre) + shift * side


def _matrix(side: int, shift: float, log_scale: float) -> np.ndarray:
    return weights(_coordinates(side, shift, log_scale), side)


def _slope(side: int, shift: float, log_scale: float) -> np.ndarray:
    """The derivative of `_matrix` by the coordinate: next pixel minus this one, 0 off the edge."""
    at = _coordinates(side, shift, log_scale)
    low = np.clip(np.floor(at), 0, max(side - 2, 0))
    distance = np.arange(side) - low[:, None]
    rows = (distance == 1).astype(np.float32) - (distance == 0)
    rows[(at < 0) | (at > side - 1)] = 0
    return rows


@lru_cache(maxsize=32)
def _candidates(side: int, shifts: int, scales: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of shift and log-scale of one axis [n, 2], and their matrices [n, side, side]."""
    tried = list(
        itertools.product(
            np.linspace(-MAX_SHIFT, MAX_SHIFT, shifts),
            np.linspace(-MAX_LOG_SCALE, MAX_LOG_SCALE, scales),
        )
    )
    return np.array(tried), np.stack([_matrix(side, *pair) for pair in tried])


def _coarse(image: np.ndarray, template: np.ndarray) -> np.ndarray:
    rank = image.ndim
    side, shifts, scales = COARSE[rank]
    shrink = [weights(_centres(n, min(n, side)), n) for n in image.shape]
    small, target = along_axes(image, shrink), _centred(along_axes(template, shrink))
    moved = small[None]  # [candidates so far, n0, n1(, n2)]
    for axis, n in enumerate(small.shape):
        stacked = _candidates(n, shifts, scales)[1]
        product = np.tensordot(np.moveaxis(moved, axis + 1, -1), stacked, axes=(-1, 2))
        product = np.moveaxis(np.moveaxis(product, -1, axis + 1), -1, 1)
        moved = product.reshape(-1, *small.shape)
    flat = moved.reshape(len(moved), -1)
    # the target is centred, so only the length needs the candidates' means
    length = np.sqrt(np.einsum("ij,ij->i", flat, flat) - flat.shape[1] * flat.mean(axis=1) ** 2)
    scores = flat @ target.ravel() / np.maximum(length, 1e-6)
    pairs = [_candidates(n, shifts, scales)[0] for n in small.shape]
    scores = scores.reshape([len(p) for p in pairs])
    for axis, pair in enumerate(pairs):
        cost = PRIOR / 2 * ((pair / (MAX_SHIFT, MAX_LOG_SCALE)) ** 2).sum(axis=1)
        scores = scores - cost.reshape([-1 if a == axis else 1 for a in range(rank)])
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    chosen = [p[b] for p, b in zip(pairs, best, strict=True)]
    return np.array([c[0] for c in chosen] + [c[1] for c in chosen])


def _centres(length: int, count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) * (length / count) - 0.5


def _centred(image: np.ndarray) -> np.ndarray:
    image = image - image.mean()
    return image / max(float(np.linalg.norm(image)), 1e-12)
