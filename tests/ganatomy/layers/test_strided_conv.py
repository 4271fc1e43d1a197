"""The strided convolution of volumes beside Keras' own."""

import numpy as np
import pytest
from keras import layers, ops

from ganatomy.gradients import gradient
from ganatomy.layers import StridedConv3D


@pytest.mark.parametrize("sides", [(6, 8, 4), (5, 8, 7)])
def test_the_strided_convolution_is_keras_own(sides):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(2, *sides, 2)).astype("float32")
    kernel = ops.convert_to_tensor(draw.normal(size=(3, 3, 3, 2, 3)).astype("float32"))
    ours = StridedConv3D(3)
    plain = layers.Conv3D(3, 3, strides=2, padding="same")
    for layer in (ours, plain):
        layer.build(x.shape)
    found, expected = (layer.convolution_op(x, kernel) for layer in (ours, plain))
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-4)
    slopes = [
        gradient(lambda k, of=layer: ops.square(of.convolution_op(x, k)), kernel)
        for layer in (ours, plain)
    ]
    np.testing.assert_allclose(*map(np.asarray, slopes), rtol=1e-3, atol=1e-2)
