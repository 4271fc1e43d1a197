"""Perceptual differences by networks of known activations."""

import keras
import numpy as np
import pytest

from ganatomy.losses import perceptual
from tests.ganatomy.losses.conftest import gradient


def doubling(shape):
    """A network of two activations: the image twice, and its square."""
    image = keras.Input(shape)
    return keras.Model(image, {"twice": image * 2, "square": image * image})


def expected(x, y):
    axes = tuple(range(1, x.ndim))
    return (np.mean((2 * x - 2 * y) ** 2, axes) + np.mean((x**2 - y**2) ** 2, axes)) / 2


@pytest.mark.parametrize("channels", [1, 2])
def test_pictures_volumes_and_channels(pair, channels):
    x, y = pair
    rank = x.ndim - 2
    for shape in {(None,) * rank, (None, None)}:
        network = doubling((*shape, channels))
        np.testing.assert_allclose(perceptual(x, y, network), expected(x, y), rtol=1e-5)


def test_slices_and_channels_keep_their_place(rng):
    x, y = rng.normal(size=(2, 3, 6, 5, 4, 2)).astype("float32")
    network = keras.Sequential(
        [keras.Input((6, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    apart = [
        [
            np.mean(np.square(network(x[b, ..., k, c][None, ..., None])
                              - network(y[b, ..., k, c][None, ..., None])))
            for k in range(4)
            for c in range(2)
        ]
        for b in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(perceptual(x, y, network), np.mean(apart, axis=1), rtol=1e-4)


def test_gradient_and_the_same_image(pair):
    x, y = pair
    network = doubling((None, None, 1))
    np.testing.assert_array_equal(perceptual(x, x, network), 0)
    assert (gradient(lambda x: perceptual(x, y, network), x) != 0).all()


def test_a_network_of_other_channels_is_refused(pair):
    with pytest.raises(ValueError, match="does not see"):
        perceptual(*pair, doubling((None, None, 3)))
