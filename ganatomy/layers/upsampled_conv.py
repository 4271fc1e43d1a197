"""Nearest up-sampling followed by a convolution of kernel 3, as one transposed convolution."""

from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy.layers.fixed_conv import FixedConv
from ganatomy.layers.resampling import double, fold


class _UpsampledConv(FixedConv):
    """A kernel-3, padding-"same" convolution of the input repeated twice along each axis.

    The same linear map as up-sampling and convolution one after the other, without the products
    that the repeated inputs cost; the kernel that is trained has size 3.

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c]. Output shape: doubled sides, `filters` channels.

    Reference: UpsampleConv of Gulrajani et al. 2017; the folded form is Karras et al. 2018's.
    """

    filters: int
    fixed: ClassVar[dict[str, Any]] = {"kernel_size": 3, "padding": "same"}

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        folded = ops.flip(fold(kernel), axis=tuple(range(len(inputs.shape) - 2)))
        return double(inputs, ops.swapaxes(folded, -1, -2))

    def compute_output_shape(self, input_shape):
        return (
            input_shape[0],
            *(2 * side for side in input_shape[1:-1]),
            self.filters,
        )


@keras.saving.register_keras_serializable(package="ganatomy")
class UpsampledConv2D(_UpsampledConv, keras.layers.Conv2D):
    __doc__ = _UpsampledConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class UpsampledConv3D(_UpsampledConv, keras.layers.Conv3D):
    __doc__ = _UpsampledConv.__doc__
