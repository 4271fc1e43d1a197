"""Our layers against tensorflow-addons 0.23 on fixed inputs (benchmarks/parity)."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.layers import SpectralNormalization

REFERENCES = Path(__file__).parents[2] / "data" / "parity"

LAYERS = {
    "spectral_norm_dense": lambda: keras.layers.Dense(4),
    "spectral_norm_conv2d": lambda: keras.layers.Conv2D(5, 3, strides=2, padding="same"),
    "spectral_norm_conv3d": lambda: keras.layers.Conv3D(3, 3, padding="same"),
}


def reference(name):
    with np.load(REFERENCES / f"{name}.npz") as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture(params=LAYERS)
def spectral(request):
    expected = reference(request.param)
    wrapper = SpectralNormalization(LAYERS[request.param]())
    wrapper.build(expected["x"].shape)
    wrapper.layer.kernel.assign(expected["kernel"])
    wrapper.layer.bias.assign(expected["bias"])
    wrapper.u.assign(expected["u"])
    return wrapper, expected


def test_spectral_norm_forward_and_u(spectral):
    """Equal at every step although addons replaces its kernel by W/σ: u does not feel the scale,
    and W/σ₁ over its own estimate is W over the estimate for W."""
    wrapper, expected = spectral
    for step in range(1, 6):
        y = wrapper(expected["x"], training=True)
        if step not in (1, 5):
            continue
        np.testing.assert_allclose(y, expected[f"y_{step}"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(wrapper.u, expected[f"u_{step}"], rtol=1e-4, atol=1e-5)


def test_spectral_norm_kernel(spectral):
    wrapper, expected = spectral
    kernel, sigma, u = wrapper.normalised_kernel()
    np.testing.assert_allclose(kernel, expected["kernel_1"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(u, expected["u_1"], rtol=1e-5, atol=1e-6)
    ratio = np.linalg.norm(expected["kernel"]) / np.linalg.norm(expected["kernel_1"])
    assert float(sigma) == pytest.approx(ratio, rel=1e-5)


def test_spectral_norm_gradient(spectral):
    """addons differentiates by the kernel it has assigned, so its gradient G is that by W/σ; the
    published one, through σ, is (G - <G, W/σ> v u')/σ (Miyato et al. 2018, equation 12)."""
    wrapper, expected = spectral
    kernel, sigma, u = (np.asarray(value) for value in wrapper.normalised_kernel())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(wrapper(expected["x"], training=True) * expected["weight"])
    gradient = tape.gradient(loss, wrapper.layer.kernel.value)
    assigned = expected["kernel_gradient"]
    matrix = expected["kernel"].reshape(-1, u.shape[-1])
    v = expected["u"] @ matrix.T
    v /= np.linalg.norm(v)
    through_sigma = np.sum(assigned * kernel) * (v.T @ u).reshape(kernel.shape)
    np.testing.assert_allclose(gradient, (assigned - through_sigma) / sigma, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "groups"), [("instance_norm", -1), ("group_norm", 2), ("layer_norm", 1)]
)
def test_group_normalisation(name, groups):
    """Keras' own layer stands for addons' InstanceNormalization and GroupNormalization."""
    expected = reference(name)
    layer = keras.layers.GroupNormalization(groups, epsilon=float(expected["epsilon"]))
    layer.build(expected["x"].shape)
    layer.gamma.assign(expected["gamma"])
    layer.beta.assign(expected["beta"])
    images = tf.constant(expected["x"])
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = layer(images)
        loss = tf.reduce_sum(y * expected["weight"])
    np.testing.assert_allclose(y, expected["y"], rtol=1e-4, atol=1e-5)
    gradients = tape.gradient(loss, [images, layer.gamma.value, layer.beta.value])
    for value, name in zip(gradients, ("x", "gamma", "beta"), strict=True):
        np.testing.assert_allclose(value, expected[f"{name}_gradient"], rtol=1e-3, atol=1e-4)


def test_the_references_say_what_made_them():
    files = sorted(REFERENCES.glob("*.npz"))
    assert {file.stem for file in files} >= {*LAYERS, "moving_average", "dense_image_warp"}
    for file in files:
        assert list(reference(file.stem)["versions"]) == [
            "tensorflow 2.15.1",
            "tensorflow-addons 0.23.0",
        ]
