"""A convolution of kernel 3 followed by average pooling, as one strided convolution."""

from typing import Any, ClassVar

import keras

from ganatomy.layers.fixed_conv import FixedConv
from ganatomy.layers.resampling import fold, halve


class _PooledConv(FixedConv):
    """Mean over 2 neighbours an axis of a kernel-3, padding-"same" convolution.

    The same linear map as convolution and pooling one after the other; the kernel that is trained
    has size 3. On the CPU it takes about half the time, gradients and second derivatives included.

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c], sides even. Output shape: halved sides, `filters` channels.

    Reference: ConvMeanPool of Gulrajani et al. 2017; the folded form is Karras et al. 2018's.
    """

    filters: int
    fixed: ClassVar[dict[str, Any]] = {"kernel_size": 3, "padding": "same"}

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return halve(inputs, fold(kernel) / 2 ** (len(inputs.shape) - 2))

    def compute_output_shape(self, input_shape):
        return (
            input_shape[0],
            *(side // 2 for side in input_shape[1:-1]),
            self.filters,
        )


@keras.saving.register_keras_serializable(package="ganatomy")
class PooledConv2D(_PooledConv, keras.layers.Conv2D):
    __doc__ = _PooledConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class PooledConv3D(_PooledConv, keras.layers.Conv3D):
    __doc__ = _PooledConv.__doc__
