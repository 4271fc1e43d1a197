"""Nearest up-sampling followed by a convolution of kernel 3, as one transposed convolution."""

from typing import Any

import keras
from keras import ops

from ganatomy.layers.resampling import double, fold


class _UpsampledConv:
    """A kernel-3, padding-"same" convolution of the input repeated twice along each axis.

    The same linear map as up-sampling and convolution one after the other, without the products
    that the repeated inputs cost; the kernel that is trained has size 3.

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c]. Output shape: doubled sides, `filters` channels.

    Reference: UpsampleConv of Gulrajani et al. 2017; the folded form is Karras et al. 2018's.
    """

    filters: int

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, kernel_size=3, padding="same", **kwargs)  # pyright: ignore

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        folded = ops.flip(fold(kernel), axis=tuple(range(len(inputs.shape) - 2)))
        return double(inputs, ops.swapaxes(folded, -1, -2))

    def compute_output_shape(self, input_shape):
        return (
            input_shape[0],
            *(2 * side for side in input_shape[1:-1]),
            self.filters,
        )

    def get_config(self):
        config = super().get_config()  # pyright: ignore
        return {key: config[key] for key in config if key not in ("kernel_size", "padding")}


@keras.saving.register_keras_serializable(package="ganatomy")
class UpsampledConv2D(_UpsampledConv, keras.layers.Conv2D):
    __doc__ = _UpsampledConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class UpsampledConv3D(_UpsampledConv, keras.layers.Conv3D):
    __doc__ = _UpsampledConv.__doc__
