"""Convolutions whose gradients are fast on CPUs."""

import itertools
from typing import Any, Literal

import keras
from keras import ops

Tensor = Any
Padding = Literal["same", "valid"]


def convolve(x: Tensor, kernel: Tensor, padding: Padding = "same") -> Tensor:
    """A 3D convolution of stride 1, channels last.

    TensorFlow's gradient to a 3D kernel takes a CPU 5 to 7 times as long as the convolution; here
    it is one matrix product a tap, and the gradient to the input a convolution like the first.
    With a GPU it is Keras' own.

    Args:
        x: [B, n1, n2, n3, c].
        kernel: [k1, k2, k3, c, out]; sides are odd where padding is "same".
        padding: as Keras'.
    """
    if keras.distribution.list_devices("gpu"):
        return ops.conv(x, kernel, padding=padding, data_format="channels_last")
    sides = tuple(kernel.shape[:3])

    @ops.custom_gradient
    def apply(x: Tensor, kernel: Tensor):
        def backward(*upstream: Tensor, **_: Any):
            (slope,) = upstream
            turned = ops.swapaxes(ops.flip(kernel, axis=(0, 1, 2)), -1, -2)
            if padding == "same":
                seen = _padded(x, [side // 2 for side in sides])
                return convolve(slope, turned), _to_kernel(seen, slope, sides)
            wide = _padded(slope, [side - 1 for side in sides])
            return convolve(wide, turned, "valid"), _to_kernel(x, slope, sides)

        return ops.conv(x, kernel, padding=padding, data_format="channels_last"), backward

    # A tensor, where it was a variable: TensorFlow wants variables told apart from inputs.
    return apply(ops.convert_to_tensor(x), ops.reshape(kernel, tuple(kernel.shape)))


def _padded(x: Tensor, widths: list[int]) -> Tensor:
    return ops.pad(x, [(0, 0), *((width, width) for width in widths), (0, 0)])


def _to_kernel(x: Tensor, slope: Tensor, sides: tuple[int, ...]) -> Tensor:
    """[*sides, c, out]: what each tap saw, times what came back."""
    grid = tuple(slope.shape[1:-1])
    flat: Tensor = ops.reshape(slope, (-1, slope.shape[-1]))
    taps = []
    for tap in itertools.product(*(range(side) for side in sides)):
        window = tuple(slice(t, t + n) for t, n in zip(tap, grid, strict=True))
        seen: Tensor = ops.reshape(x[(slice(None), *window)], (-1, x.shape[-1]))
        taps.append(ops.matmul(ops.transpose(seen), flat))
    return ops.reshape(ops.stack(taps), (*sides, x.shape[-1], slope.shape[-1]))


def thin_convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """A 2D convolution to few channels, of stride 1 and padding "valid", channels last.

    A convolution along the columns, of every tap along the rows beside each other, and the sum of
    their shifts: TensorFlow has a CPU take 5 times as long over a kernel of 7 to one channel.

    Args:
        x: [B, n1, n2, c].
        kernel: [k1, k2, c, out].
    """
    high, wide, seen, out = kernel.shape
    taps = ops.reshape(ops.transpose(kernel, (0, 2, 1, 3)), (high, 1, seen, wide * out))
    made: Tensor = ops.conv(x, taps, padding="valid", data_format="channels_last")
    length = x.shape[2] - wide + 1
    return sum(made[:, :, t : t + length, t * out : (t + 1) * out] for t in range(wide))


@keras.saving.register_keras_serializable(package="ganatomy")
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, as `thin_convolve` where a large kernel leads to few channels.

    With a GPU it is Keras' own.

    Args:
        filters: channels of the output.
        kernel_size: as all other arguments, that of `keras.layers.Conv2D`.

    Input shape: [B, n1, n2, c]. Output shape: as Keras'.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        thin = (
            self.kernel_size[1] >= 5
            and self.filters <= 2
            and set(self.strides) == set(self.dilation_rate) == {1}
            and self.groups == 1
            and self.data_format == "channels_last"
            and self.padding == "valid"
            and None not in inputs.shape[1:]
        )
        if not thin or keras.distribution.list_devices("gpu"):
            return super().convolution_op(inputs, kernel)
        return thin_convolve(inputs, kernel)


@keras.saving.register_keras_serializable(package="ganatomy")
class Conv3D(keras.layers.Conv3D):
    """Keras' convolution of volumes, with `convolve`'s gradients.

    Args:
        filters: channels of the output.
        kernel_size: as all other arguments, that of `keras.layers.Conv3D`.

    Input shape: [B, n1, n2, n3, c]. Output shape: as Keras'.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        plain = (
            set(self.strides) == set(self.dilation_rate) == {1}
            and self.groups == 1
            and self.data_format == "channels_last"
            and (self.padding == "valid" or all(side % 2 for side in self.kernel_size))
            and None not in inputs.shape[1:]
        )
        if not plain:
            return super().convolution_op(inputs, kernel)
        return convolve(inputs, kernel, "valid" if self.padding == "valid" else "same")
