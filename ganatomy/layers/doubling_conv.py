"""The DCGAN's transposed convolution: kernel 4, stride 2."""

from typing import Any, ClassVar

import keras

from ganatomy.layers.fixed_conv import FixedConv
from ganatomy.layers.resampling import double


class _DoublingConv(FixedConv):
    """A transposed convolution of kernel 4, stride 2 and padding "same".

    Args:
        filters: channels of the output.

    Input shape: [B, n1, n2, (n3,) c]. Output shape: doubled sides, `filters` channels.

    Reference: Radford et al. 2016, section 3.
    """

    fixed: ClassVar[dict[str, Any]] = {"kernel_size": 4, "strides": 2, "padding": "same"}

    def call(self, inputs: Any) -> Any:
        outputs = double(inputs, self.kernel)  # pyright: ignore
        if self.use_bias:  # pyright: ignore
            outputs = outputs + self.bias  # pyright: ignore
        return self.activation(outputs)  # pyright: ignore


@keras.saving.register_keras_serializable(package="ganatomy")
class DoublingConv2D(_DoublingConv, keras.layers.Conv2DTranspose):
    __doc__ = _DoublingConv.__doc__


@keras.saving.register_keras_serializable(package="ganatomy")
class DoublingConv3D(_DoublingConv, keras.layers.Conv3DTranspose):
    __doc__ = _DoublingConv.__doc__
