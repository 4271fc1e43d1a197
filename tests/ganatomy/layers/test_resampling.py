"""The folded convolutions are the separate layers' linear maps, gradients included."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy import layers as ours


def pooled(rank):
    conv = getattr(keras.layers, f"Conv{rank}D")(3, 3, padding="same")
    pool = getattr(keras.layers, f"AveragePooling{rank}D")(2)
    return conv, lambda x: pool(conv(x))


def upsampled(rank):
    conv = getattr(keras.layers, f"Conv{rank}D")(3, 3, padding="same")
    up = getattr(keras.layers, f"UpSampling{rank}D")(2)
    return conv, lambda x: conv(up(x))


def halving(rank):
    conv = getattr(keras.layers, f"Conv{rank}D")(3, 4, strides=2, padding="same")
    return conv, conv


def doubling(rank):
    conv = getattr(keras.layers, f"Conv{rank}DTranspose")(3, 4, strides=2, padding="same")
    return conv, conv


def plain(rank):
    conv = getattr(keras.layers, f"Conv{rank}D")(3, 3, padding="same")
    return conv, conv


PAIRS = {
    "PooledConv": pooled,
    "UpsampledConv": upsampled,
    "HalvingConv": halving,
    "DoublingConv": doubling,
}
SIDES = {2: (6, 10), 3: (4, 6, 8)}


@pytest.fixture(params=[*[(name, rank) for name in PAIRS for rank in (2, 3)], ("Conv", 3)], ids=str)
def pair(request):
    name, rank = request.param
    rng = np.random.default_rng(rank)
    x = tf.constant(rng.normal(size=(2, *SIDES[rank], 2)).astype("float32"))
    conv, separate = plain(rank) if name == "Conv" else PAIRS[name](rank)
    settings = {"kernel_size": 3, "padding": "same"} if name == "Conv" else {}
    layer = getattr(ours, f"{name}{rank}D")(3, **settings)
    separate(x)
    layer.build(x.shape)
    assert layer.kernel.shape == conv.kernel.shape
    layer.kernel.assign(conv.kernel)
    bias = rng.normal(size=3).astype("float32")
    layer.bias.assign(bias)
    conv.bias.assign(bias)
    return layer, conv, separate, x


def first_and_second(function, kernel, x):
    """Output, its gradients, and the kernel's gradient of a penalty on the input's gradient."""
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
            loss = tf.reduce_sum(tf.tanh(y))
        to_x = inner.gradient(loss, x)
        penalty = tf.reduce_sum(tf.square(to_x))
    return y, to_x, outer.gradient(loss, kernel.value), outer.gradient(penalty, kernel.value)


def test_equal_to_the_separate_layers(pair):
    layer, conv, separate, x = pair
    mine, theirs = (
        first_and_second(layer, layer.kernel, x),
        first_and_second(separate, conv.kernel, x),
    )
    for one, other in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)


def test_shapes_are_known_before_the_call(pair):
    layer, _, _, x = pair
    assert tuple(layer.compute_output_shape((None, *x.shape[1:]))) == (None, *layer(x).shape[1:])
    symbolic = layer(keras.Input(x.shape[1:]))
    assert symbolic.shape == (None, *layer(x).shape[1:])


def test_the_batch_may_be_unknown(pair):
    layer, _, _, x = pair
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, *x.shape[1:]))])
    np.testing.assert_allclose(traced(x), layer(x), rtol=1e-4, atol=1e-5)


def test_configuration_round_trip(pair):
    layer, _, _, x = pair
    copy = type(layer).from_config(layer.get_config())
    copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), layer(x))
