"""The DCGAN's convolution: kernel 4, stride 2."""

from typing import Any, ClassVar

import keras

from ganatomy.layers.fixed_conv import FixedConv
from ganatomy.layers.resampling import halve


class _HalvingConv(FixedConv):
    """A convolution of kernel 4, stride 2 and padding "same", for grids of even sides.

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c], sides even. Output shape: halved sides, `filters` channels.

    Reference: Radford et al. 2016, section 3.
    """

    fixed: ClassVar[dict[str, Any]] = {"kernel_size": 4, "strides": 2, "padding": "same"}

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return halve(inputs, kernel)


@keras.saving.register_keras_serializable(package="ganatomy")
class HalvingConv2D(_HalvingConv, keras.layers.Conv2D):
    __doc__ = _HalvingConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class HalvingConv3D(_HalvingConv, keras.layers.Conv3D):
    __doc__ = _HalvingConv.__doc__
