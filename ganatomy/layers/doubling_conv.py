"""The DCGAN's transposed convolution: kernel 4, stride 2."""

from typing import Any

import keras

from ganatomy.layers.resampling import double


class _DoublingConv:
    """A transposed convolution of kernel 4, stride 2 and padding "same".

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c]. Output shape: doubled sides, `filters` channels.

    Reference: Radford et al. 2016, section 3.
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, 4, strides=2, padding="same", **kwargs)  # pyright: ignore

    def call(self, inputs: Any) -> Any:
        outputs = double(inputs, self.kernel)  # pyright: ignore
        if self.use_bias:  # pyright: ignore
            outputs = outputs + self.bias  # pyright: ignore
        return self.activation(outputs)  # pyright: ignore

    def get_config(self):
        config = super().get_config()  # pyright: ignore
        fixed = ("kernel_size", "strides", "padding")
        return {key: config[key] for key in config if key not in fixed}


@keras.saving.register_keras_serializable(package="ganatomy")
class DoublingConv2D(_DoublingConv, keras.layers.Conv2DTranspose):
    __doc__ = _DoublingConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class DoublingConv3D(_DoublingConv, keras.layers.Conv3DTranspose):
    __doc__ = _DoublingConv.__doc__
