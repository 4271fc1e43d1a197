"""The feature network that is shipped, and one that the user brings."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ganatomy.errors import WrongUse
from ganatomy.losses import perceptual
from ganatomy.networks.features import MEDNIST, WEIGHTS, feature_network, vgg_classifier

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def network():
    return feature_network(taps=("block1", "block4", "pooled"))


def test_taps_by_name_on_images_of_any_size(network):
    for height, width in ((64, 64), (72, 100)):
        found = network(np.zeros((2, height, width, 1), "float32"))
        assert found["block1"].shape == (2, height, width, 16)
        assert found["block4"].shape == (2, height // 8, width // 8, 128)
        assert found["pooled"].shape == (2, 128)
        assert {str(value.dtype.name) for value in found.values()} == {"float32"}
    assert network.trainable_variables == []


def test_the_shipped_weights_are_trained_and_small():
    assert WEIGHTS.stat().st_size < 1_500_000
    network = vgg_classifier()
    network.load_weights(WEIGHTS)
    paths = sorted((ROOT / "samples").rglob("*.jp*g"))[:4]
    assert paths
    pictures = [
        np.asarray(Image.open(path).convert("L").resize((64, 64)), np.float32) for path in paths
    ]
    logits = network(np.stack(pictures)[..., None] / 127.5 - 1)
    # Chest radiographs of another source than it was trained on.
    assert (np.argmax(logits, -1) == MEDNIST.index("CXR")).mean() >= 0.5


def test_half_precision_changes_nothing(network):
    x = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 1)).astype("float32")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = feature_network(taps=("pooled",))(x)["pooled"]
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_allclose(found, network(x)["pooled"], rtol=1e-4)


def test_a_perceptual_loss_grows_with_blur_and_has_a_gradient(network):
    rng = np.random.default_rng(1)
    x = np.clip(rng.normal(size=(2, 64, 64, 1)), -1, 1).astype("float32")
    losses = [perceptual(x, (1 - s) * x, network) for s in (0.0, 0.2, 0.6)]
    np.testing.assert_allclose(losses[0], 0, atol=1e-9)
    assert (np.array(losses[1]) < np.array(losses[2])).all()
    given = tf.constant(0.8 * x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = perceptual(given, x, network)
    assert (np.array(tape.gradient(value, given)) != 0).mean() > 0.9


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(WrongUse, match="no feature network"):
        feature_network("resnet")
    with pytest.raises(WrongUse, match="block9"):
        feature_network(taps=("block9",))
    with pytest.raises(WrongUse, match="never downloaded"):
        feature_network("vgg19", ("block1_conv2",), tmp_path / "none.h5")


@pytest.mark.slow
def test_vgg19_with_the_users_weights(tmp_path):
    plain = keras.applications.VGG19(include_top=False, weights=None)
    path = tmp_path / "mine.weights.h5"
    plain.save_weights(path)
    found = feature_network("vgg19", ("block1_conv2",), path)
    x = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 1)).astype("float32")
    prepared = keras.applications.vgg19.preprocess_input(
        np.repeat((x + 1) * 127.5, 3, axis=-1).copy()
    )
    expected = keras.Model(plain.input, plain.get_layer("block1_conv2").output)(prepared)
    np.testing.assert_allclose(found(x)["block1_conv2"], expected, rtol=1e-3, atol=1e-2)
