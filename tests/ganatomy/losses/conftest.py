"""Images, and gradients beside finite differences, for the tests of the losses."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=[(12, 10), (8, 9, 7)], ids=["2D", "3D"])
def pair(request, rng):
    """Two related images [2, *grid, 2] in float64."""
    smooth = (0, *[1.0] * len(request.param), 0)
    x = gaussian_filter(rng.normal(size=(2, *request.param, 2)), smooth)
    return x, 0.7 * x + 0.5 * gaussian_filter(rng.normal(size=x.shape), smooth)


def gradient(loss, x):
    """Of the sum of a loss's values by its one argument, in float64."""
    x = tf.constant(x, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.reduce_sum(loss(x))
    found = tape.gradient(value, x)
    assert found is not None
    return found.numpy()


def check_gradient(loss, x, rng, tolerance=1e-6, width=1e-5):
    """Against central differences along four random directions."""
    found = gradient(loss, x)
    assert np.isfinite(found).all()
    for _ in range(4):
        step = rng.normal(size=x.shape)
        ahead, behind = (np.sum(loss(x + s * width * step)) for s in (1, -1))
        slope = (ahead - behind) / (2 * width)
        np.testing.assert_allclose(np.sum(found * step), slope, rtol=1e-4, atol=tolerance)
    return found
