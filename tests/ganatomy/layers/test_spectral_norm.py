"""Spectral normalisation: a largest singular value of one, and a kernel left alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.layers import PooledConv2D, SpectralNormalization, UpsampledConv3D

LAYERS = {
    "dense": (lambda: keras.layers.Dense(7), (5,)),
    "conv1d": (lambda: keras.layers.Conv1D(4, 3), (9, 3)),
    "conv2d": (lambda: keras.layers.Conv2D(4, 3, padding="same"), (6, 6, 3)),
    "conv3d": (lambda: keras.layers.Conv3D(4, 3, padding="same"), (4, 4, 4, 2)),
    "transposed": (lambda: keras.layers.Conv2DTranspose(3, 4, strides=2), (4, 4, 8)),
    "pooled": (lambda: PooledConv2D(4), (6, 6, 3)),
    "upsampled": (lambda: UpsampledConv3D(4), (3, 3, 3, 2)),
}


def published_matrix(wrapper, kernel):
    """Outputs × everything else, as Miyato et al. flatten a kernel."""
    kernel = np.asarray(kernel)
    if "Transpose" in type(wrapper.layer).__name__:
        kernel = np.swapaxes(kernel, -1, -2)
    return kernel.reshape(-1, wrapper.u.shape[-1]).T


@pytest.fixture(params=LAYERS)
def wrapped(request):
    keras.utils.set_random_seed(5)
    make, shape = LAYERS[request.param]
    wrapper = SpectralNormalization(make())
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    wrapper(x)
    return wrapper, x


def test_the_kernel_that_is_used_has_norm_one_and_the_stored_one_stays(wrapped):
    wrapper, x = wrapped
    stored = wrapper.layer.kernel.numpy()
    for _ in range(30):
        wrapper(x, training=True)
    np.testing.assert_array_equal(wrapper.layer.kernel, stored)
    kernel, sigma, _ = wrapper.normalised_kernel()
    largest = np.linalg.norm(published_matrix(wrapper, stored), 2)
    assert float(sigma) == pytest.approx(largest, rel=1e-2)
    assert np.linalg.norm(published_matrix(wrapper, kernel), 2) == pytest.approx(1.0, rel=1e-2)


def test_the_output_is_the_layers_with_the_divided_kernel(wrapped):
    wrapper, x = wrapped
    kernel, _, _ = wrapper.normalised_kernel()
    y = wrapper(x)
    wrapper.layer.kernel.assign(kernel)
    np.testing.assert_allclose(y, wrapper.layer(x), rtol=1e-5, atol=1e-6)


def test_u_is_one_iteration_a_training_call_and_none_otherwise(wrapped):
    wrapper, x = wrapped
    start = wrapper.u.numpy()
    wrapper(x, training=False)
    wrapper(x)
    np.testing.assert_array_equal(wrapper.u, start)
    wrapper(x, training=True)
    matrix = published_matrix(wrapper, wrapper.layer.kernel).T
    v = start @ matrix.T
    u = (v / np.linalg.norm(v)) @ matrix
    np.testing.assert_allclose(wrapper.u, u / np.linalg.norm(u), rtol=1e-4, atol=1e-5)


def test_the_gradient_runs_through_sigma(wrapped):
    """The output does not feel the kernel's scale, so the gradient is orthogonal to the kernel."""
    wrapper, x = wrapped
    kernel = wrapper.layer.kernel
    # u and v are constants of the gradient, which is exact where they are the singular vectors.
    wrapper.u.assign(np.linalg.svd(published_matrix(wrapper, kernel))[0][:, :1].T)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.tanh(wrapper(x)))
    gradient = tape.gradient(loss, kernel.value).numpy()
    cosine = np.sum(gradient * kernel.numpy()) / (
        np.linalg.norm(gradient) * np.linalg.norm(kernel.numpy())
    )
    assert abs(cosine) < 1e-4
    assert np.linalg.norm(gradient) > 1e-3


def test_u_is_saved(tmp_path):
    def build():
        return keras.Sequential(
            [keras.Input((6, 6, 3)), SpectralNormalization(keras.layers.Conv2D(4, 3))]
        )

    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    one, two = build(), build()
    one(x, training=True)
    one.save_weights(tmp_path / "one.weights.h5")
    two.load_weights(tmp_path / "one.weights.h5")
    np.testing.assert_array_equal(one.layers[0].u, two.layers[0].u)
    np.testing.assert_array_equal(one(x), two(x))
    assert [v.name for v in one.non_trainable_variables] == ["u"]
    assert one.layers[0].u.aggregation == "only_first_replica"


def test_a_saved_model_comes_back(tmp_path):
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, SpectralNormalization(PooledConv2D(3, activation="relu"))(image))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))


def test_second_derivatives_and_graphs():
    critic = SpectralNormalization(keras.layers.Dense(3))
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 5)).astype("float32"))
    critic(x)

    @tf.function
    def slope(x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.tanh(critic(x, training=True)))
            penalty = tf.reduce_sum(tf.square(inner.gradient(y, x)))
        return outer.gradient(penalty, critic.layer.kernel.value)

    before = critic.u.numpy()
    value = slope(x).numpy()
    assert np.isfinite(value).all()
    assert np.abs(value).max() > 0
    assert np.abs(critic.u.numpy() - before).max() > 0


def test_mixed_precision_keeps_sigma_in_float32():
    keras.utils.set_random_seed(1)
    policy = keras.DTypePolicy("mixed_bfloat16")
    wrapper = SpectralNormalization(keras.layers.Dense(6, dtype=policy), dtype=policy)
    x = np.random.default_rng(0).normal(size=(2, 8)).astype("float32")
    assert wrapper(x, training=True).dtype == tf.bfloat16
    assert wrapper.u.value.dtype == tf.float32
    kernel, sigma, _ = wrapper.normalised_kernel()
    assert kernel.dtype == sigma.dtype == tf.float32


def test_other_layers_are_refused():
    with pytest.raises(ValueError, match="DepthwiseConv2D"):
        SpectralNormalization(keras.layers.DepthwiseConv2D(3))
