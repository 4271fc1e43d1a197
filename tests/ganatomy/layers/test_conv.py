"""A convolution to few channels: Keras' values, gradients and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy import layers


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("kernel", "filters", "settings"),
    [(7, 1, {}), ((3, 5), 2, {"use_bias": False}), (7, 1, {"padding": "same"}), (3, 1, {})],
)
def test_few_channels_of_a_large_kernel_are_as_keras_makes_them(kernel, filters, settings, dtype):
    draw = np.random.default_rng(0)
    x = tf.constant(draw.normal(size=(2, 12, 17, 5)).astype(np.float32))
    own = layers.Conv2D(filters, kernel, dtype=dtype, **settings)
    plain = keras.layers.Conv2D(filters, kernel, dtype=dtype, **settings)
    own.build(x.shape)
    plain.build(x.shape)
    plain.set_weights([draw.normal(size=w.shape).astype(np.float32) for w in plain.weights])
    own.set_weights(plain.get_weights())
    found = []
    for layer in (own, plain):
        with tf.GradientTape() as tape:
            tape.watch(x)
            made = layer(x)
            loss = tf.reduce_sum(tf.cast(made, tf.float32) ** 2)
        found.append([made, *tape.gradient(loss, [x, *layer.trainable_variables])])
    exact = dtype == "float32"
    for mine, theirs in zip(*found, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        scale = float(tf.reduce_max(tf.abs(tf.cast(theirs, tf.float32))))
        near = 1e-5 if exact else 2e-2
        np.testing.assert_allclose(
            tf.cast(mine, tf.float32), tf.cast(theirs, tf.float32), atol=near * scale
        )
