"""Mutual information beside histograms counted voxel by voxel."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import BSpline
from sklearn.metrics import mutual_info_score

from ganatomy.losses import information as module
from ganatomy.losses import (
    joint_histogram,
    mutual_information,
    normalised_mutual_information,
)
from tests.ganatomy.losses.conftest import check_gradient, gradient

SPLINE = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)


def counted(x, y, bins, weights=None):
    """The joint histogram of two lists of intensities, a voxel at a time."""
    found = np.zeros((bins, bins))
    weights = np.ones(len(x)) if weights is None else weights
    places = [1 + (v - v.min()) / (v.max() - v.min()) * (bins - 3) for v in (x, y)]
    for a, b, weight in zip(*places, weights, strict=True):
        rows, columns = (np.nan_to_num(SPLINE(p - np.arange(bins))) for p in (a, b))
        found += weight * np.outer(rows, columns)
    return found / weights.sum()


def entropy(shares):
    shares = shares[shares > 0]
    return -np.sum(shares * np.log(shares))


def entropies(shares):
    return entropy(shares.sum(1)), entropy(shares.sum(0)), entropy(shares)


@pytest.mark.parametrize("piece", [2**14, 300])
def test_as_counted_voxel_by_voxel(pair, monkeypatch, piece):
    monkeypatch.setattr(module, "PIECE", piece)
    x, y = pair
    weights = np.abs(x[..., 1])
    for within in (None, weights):
        shares = [
            [
                counted(
                    x[b, ..., c].ravel(),
                    y[b, ..., c].ravel(),
                    12,
                    None if within is None else within[b].ravel(),
                )
                for c in range(2)
            ]
            for b in range(2)
        ]
        found = joint_histogram(x, y, 12, within=within)
        np.testing.assert_allclose(found, shares, atol=1e-12)
        parts = np.array([[entropies(s) for s in row] for row in shares])
        expected = np.mean(parts[..., 2] - parts[..., 0] - parts[..., 1], axis=1)
        np.testing.assert_allclose(mutual_information(x, y, 12, within=within), expected, rtol=1e-6)
        expected = np.mean(2 - (parts[..., 0] + parts[..., 1]) / parts[..., 2], axis=1)
        np.testing.assert_allclose(
            normalised_mutual_information(x, y, 12, within=within), expected, rtol=1e-6
        )


def test_as_scikit_learn_on_bins(rng):
    # Intensities in the middles of bins 3 apart: no window reaches two of them.
    x = rng.integers(0, 4, size=(1, 40, 40, 1))
    y = np.where(rng.random(x.shape) < 0.7, 3 - x, rng.integers(0, 4, size=x.shape))
    expected = -mutual_info_score(x.ravel(), y.ravel())
    # 15 bins: places 1, 5, 9 and 13.
    shares = np.array(joint_histogram(x, y, 15))[0, 0]
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(mutual_information(x, y, 15)[0], expected, rtol=1e-4)


def test_independent_images_tell_nothing(rng):
    x, y = rng.normal(size=(2, 1, 200, 200, 1))
    assert -0.02 < mutual_information(x, y)[0] <= 0
    assert normalised_mutual_information(x, y)[0] > 0.995


def test_lower_the_better_aligned_whatever_the_contrast(pair):
    x, _ = pair
    other = np.exp(-((x - x.mean()) ** 2))  # not monotone: no correlation finds it
    losses = [
        [f(np.roll(other, s, axis=1), x)[0] for s in (0, 1, 3)]
        for f in (mutual_information, normalised_mutual_information)
    ]
    for values in losses:
        assert values[0] < values[1]
        assert values[0] < values[2]


def test_no_change_by_scale_offset_and_sign(pair):
    x, y = pair
    for f in (mutual_information, normalised_mutual_information):
        np.testing.assert_allclose(f(1e4 * x + 7, -3 * y), f(x, y), rtol=1e-6)
        np.testing.assert_allclose(f(y, x), f(x, y), rtol=1e-9)


@pytest.mark.parametrize("f", [mutual_information, normalised_mutual_information])
def test_gradients(pair, rng, f, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 700)
    x, y = pair
    span = (float(min(x.min(), y.min())) - 1, float(max(x.max(), y.max())) + 1)
    weights = np.abs(x[..., 0]) + 0.1
    found = check_gradient(lambda x: f(x, y, 8, span=span), x, rng)
    assert np.abs(found).max() > 1e-5
    check_gradient(lambda y: f(x, y, 8, span=span, within=weights), y, rng)
    check_gradient(lambda w: f(x, y, 8, span=span, within=w), weights, rng)


def test_beyond_the_span_there_is_no_gradient_and_inside_there_is(pair):
    x, y = pair
    found = gradient(lambda x: mutual_information(x, y, span=(-0.3, 0.3)), x)
    assert (found[np.abs(x) > 0.3] == 0).all()
    assert (found[np.abs(x) < 0.29] != 0).all()


def test_a_constant_image_tells_nothing(pair):
    x, _ = pair
    flat = np.full_like(x, 0.5)
    np.testing.assert_allclose(mutual_information(x, flat), 0, atol=1e-6)
    np.testing.assert_allclose(normalised_mutual_information(x, flat), 1, atol=1e-6)
    assert np.isfinite(gradient(lambda y: mutual_information(x, y), flat)).all()
    nothing = np.zeros(x.shape[:-1])
    np.testing.assert_array_equal(normalised_mutual_information(x, x, within=nothing), 1)
    found = gradient(lambda y: normalised_mutual_information(x, y, within=nothing), x)
    assert np.isfinite(found).all()


def test_float32_in_a_compiled_graph_of_any_batch(pair):
    x, y = (image.astype("float32") for image in pair)
    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32)

    @tf.function(input_signature=[spec, spec])
    def compiled(x, y):
        value = mutual_information(x, y)
        return value, tf.gradients(tf.reduce_sum(value), x)[0]

    value, slope = compiled(x, y)
    np.testing.assert_allclose(value, mutual_information(*pair), rtol=1e-4)
    expected = gradient(lambda x: mutual_information(x, pair[1]), pair[0])
    np.testing.assert_allclose(slope, expected, atol=1e-4 * np.abs(expected).max())
    assert keras.ops.shape(value) == (2,)


def test_too_few_bins_are_refused(pair):
    with pytest.raises(ValueError, match="4 bins"):
        mutual_information(*pair, bins=3)
