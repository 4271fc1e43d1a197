"""Separable linear interpolation as one small matrix an axis.

Every map between a scan and a model's grid is a permutation of axes with a scale and an
offset for each, so that resampling is a matrix product an axis: exact, fast, and its way back
is the same with the inverse coordinates. Index i is the centre of pixel i; an axis of n pixels
reaches from -0.5 to n - 0.5.
"""

import numpy as np

EDGE = 1e-6  # rounding at the outer border of the outermost pixel


def weights(coordinates: np.ndarray, length: int, sigma: float = 0.0) -> np.ndarray:
    """Rows that interpolate an axis of `length` pixels at the coordinates.

    Between centres linear; beyond the outermost centres the edge's value. A Gaussian of
    `sigma` pixels comes before (anti-aliasing), renormalised at the edges.

    Args:
        coordinates: [n] in pixels of the axis.
        length: pixels of the axis.
        sigma: standard deviation of the blur, pixels; 0 for none.

    Returns:
        float32 [n, length]; each row sums to one.
    """
    at = np.minimum(np.maximum(coordinates, 0), length - 1)
    low = np.minimum(np.floor(at), max(length - 2, 0))
    part = (at - low)[:, None]
    distance = np.arange(length)[None, :] - low[:, None]
    if sigma > 0:
        near = _gaussian(distance, sigma)
        far = _gaussian(distance - 1, sigma)
        rows = (1 - part) * near + part * far
        rows /= rows.sum(axis=1, keepdims=True)
    else:
        rows = (1 - part) * (distance == 0) + part * (distance == 1)
    return rows.astype(np.float32)


def _gaussian(distance: np.ndarray, sigma: float) -> np.ndarray:
    return np.where(np.abs(distance) <= 4 * sigma + 0.5, np.exp(-0.5 * (distance / sigma) ** 2), 0)


def antialias(scale: float) -> float:
    """Sigma in input pixels for a step of `scale` input pixels (scikit-image's rule)."""
    return max(0.0, (abs(scale) - 1) / 2)


def along_axes(array: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """Multiply the first axes of an array by one matrix each: `[n0, n1, …] -> [m0, m1, …]`."""
    rest = array.shape[len(matrices) :]
    for matrix in matrices:
        # the axis just done goes last, so that the next one is first for its own product
        array = (matrix @ array.reshape(matrix.shape[1], -1)).T
    array = array.reshape(*rest, *(matrix.shape[0] for matrix in matrices))
    return np.moveaxis(array, range(len(rest)), range(-len(rest), 0)) if rest else array


def inside(coordinates: np.ndarray, length: int) -> np.ndarray:
    """Which coordinates lie on the axis, outer halves of the border pixels included."""
    return (coordinates >= -0.5 - EDGE) & (coordinates <= length - 0.5 + EDGE)
