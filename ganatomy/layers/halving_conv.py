"""The DCGAN's convolution: kernel 4, stride 2."""

from typing import Any

import keras

from ganatomy.layers.resampling import halve


class _HalvingConv:
    """A convolution of kernel 4, stride 2 and padding "same", for grids of even sides.

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c], sides even. Output shape: halved sides, `filters` channels.

    Reference: Radford et al. 2016, section 3.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, 4, strides=2, padding="same", **kwargs)  # pyright: ignore

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return halve(inputs, kernel)

    def get_config(self):
        config = super().get_config()  # pyright: ignore
        fixed = ("kernel_size", "strides", "padding")
        return {key: config[key] for key in config if key not in fixed}


@keras.saving.register_keras_serializable(package="ganatomy")
class HalvingConv2D(_HalvingConv, keras.layers.Conv2D):
    __doc__ = _HalvingConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class HalvingConv3D(_HalvingConv, keras.layers.Conv3D):
    __doc__ = _HalvingConv.__doc__
