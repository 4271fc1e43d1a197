"""What every loss has in common: one value a sample, its gradient, and its precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.losses import (
    IMAGE_LOSSES,
    classification,
    dice,
    gradient_consistency,
    kl_divergence,
    normalised_mutual_information,
    saliency,
    shape,
    style_content,
    total_variation,
)
from tests.ganatomy.losses.conftest import check_gradient


def seen(dtype="float64"):
    """A network of pictures with two activations, in the precision of a finite difference."""
    rng = np.random.default_rng(0)
    image = keras.Input((None, None, 1), dtype=dtype)
    kernel = rng.normal(size=(3, 3, 1, 2)).astype(dtype)
    first = keras.ops.conv(image, kernel, padding="same")
    return keras.Model(image, {"first": first, "squared": first * first})


def of_labels(loss):
    """Of logits, with the brightest channel of the other image as labels."""
    return lambda x, y: loss(x, np.argmax(y, axis=-1))


def through(loss):
    """An image loss with the network that it asks for."""
    if not loss.network:
        return loss.function
    return lambda x, y: loss.function(x, y, NETWORKS[loss.network])


NETWORK = seen()
NETWORKS = {
    "features": NETWORK,
    "sharpness": keras.Model(NETWORK.input, NETWORK.output["squared"]),
}
LOSSES = {name: through(loss) for name, loss in IMAGE_LOSSES.items()} | {
    "style": lambda x, y: style_content(x, y, NETWORK, content=0),
    "gradient_consistency_signed": lambda x, y: gradient_consistency(x, y, signed=True),
    "saliency_weighing": lambda x, y: saliency(x, y, weighing=True),
    "normalised_mutual_information": normalised_mutual_information,
    "dice": dice,
    "total_variation": lambda x, y: total_variation(x),
    "shape": of_labels(shape),
    "shape_dice": of_labels(lambda x, labels: shape(x, labels, form="dice")),
    "classification": lambda x, y: classification(
        keras.ops.reshape(x, (2, -1)), np.argmax(y.reshape(2, -1), 1)
    ),
    "kl": lambda x, y: kl_divergence(x, y),
    "kl_by_log_variance": lambda x, y: kl_divergence(y, x),
    "kl_of_unit_variance": lambda x, y: kl_divergence(x, reduction="mean"),
}
# Their gradient takes what they find in the image as constants.
OF_THE_RANGE = {name: {"span": (-4.0, 4.0)} for name in LOSSES if "mutual_information" in name}


@pytest.fixture
def images(pair):
    return tuple(np.asarray(image) for image in pair)


@pytest.mark.parametrize("name", LOSSES)
def test_one_value_a_sample_whatever_stands_beside_it(images, name):
    x, y = images
    found = np.asarray(LOSSES[name](x, y))
    assert found.shape == (2,)
    assert found.dtype == np.float64
    if name not in ("classification",):
        swapped = np.asarray(LOSSES[name](x[::-1], y[::-1]))
        np.testing.assert_allclose(swapped[::-1], found, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(images, rng, name):
    x, y = images
    settings = OF_THE_RANGE.get(name, {})
    found = check_gradient(lambda x: LOSSES[name](x, y, **settings), x, rng, width=1e-7)
    assert np.abs(found).max() > 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_precisions(images, name):
    x, y = (np.asarray(tf.cast(image, tf.bfloat16), np.float64) for image in images)
    exact = np.asarray(LOSSES[name](x, y))
    single = LOSSES[name](x.astype("float32"), y.astype("float32"))
    # Numbers of half the digits are taken as they are, and reckoned with in float32.
    half = LOSSES[name](tf.cast(x, tf.bfloat16), y.astype("float32"))
    for found in (single, half):
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, exact, rtol=2e-4, atol=2e-5)
