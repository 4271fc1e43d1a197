"""Spectral normalisation as published: the kernel is divided, not replaced."""

from typing import Any

import keras
from keras import ops

_DENSE_AND_CONV = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


@keras.saving.register_keras_serializable(package="ganatomy")
class SpectralNormalization(keras.layers.Wrapper):
    """Call a layer with W/σ(W) in place of its kernel W.

    σ is estimated by one power iteration a call, v = W u/‖W u‖, u' = Wᵀv/‖Wᵀv‖, σ = vᵀ W u',
    from a u that is kept between calls and moves only in calls with training=True. The gradient
    runs through σ, with u and v as constants. The kernel itself stays what the optimizer made of
    it: keras.layers.SpectralNormalization assigns W/σ to it, which is a projection.

    Every training call moves u, where the published algorithm makes one iteration a step. A critic
    makes one on real samples, one on generated ones and one for the generator's term: three a step
    of one update each, four with a gradient penalty's own call.

    Args:
        layer: Dense, Conv1D-3D or Conv1DTranspose-3DTranspose.
        eps: keeps the division of u and v by their norms finite.

    Raises:
        ValueError: the layer has no such kernel.

    Reference: Miyato et al. 2018, equations 8 and 12, algorithm 1.
    """

    def __init__(self, layer: keras.layers.Layer, eps: float = 1e-12, **kwargs):
        super().__init__(layer, **kwargs)
        if not isinstance(layer, _DENSE_AND_CONV + _TRANSPOSED):
            raise ValueError(
                "spectral normalisation is defined here for dense, convolution and transposed "
                f"convolution layers, not for {type(layer).__name__}"
            )
        self.eps = eps

    def build(self, input_shape=None):
        super().build(input_shape)
        self.u = self.add_weight(
            shape=(1, self.layer.kernel.shape[self._output_axis]),
            initializer="random_normal",
            trainable=False,
            dtype="float32",
            autocast=False,
            # Replicas hold equal kernels, so their u are equal: nothing to average.
            aggregation="only_first_replica",
            name="u",
        )

    @property
    def _output_axis(self) -> int:
        # A transposed convolution's kernel is stored [..., out, in].
        return -2 if isinstance(self.layer, _TRANSPOSED) else -1

    def normalised_kernel(self) -> tuple[Any, Any, Any]:
        """W/σ(W) in the kernel's shape, its σ, and the u after one more iteration."""
        kernel: Any = ops.cast(ops.convert_to_tensor(self.layer.kernel), "float32")
        matrix: Any = ops.moveaxis(kernel, self._output_axis, -1)
        matrix = ops.reshape(matrix, (-1, matrix.shape[-1]))
        constant = ops.stop_gradient(matrix)
        v = self._unit(ops.matmul(ops.convert_to_tensor(self.u), ops.transpose(constant)))
        u = self._unit(ops.matmul(v, constant))
        sigma = ops.sum(ops.matmul(v, matrix) * u)
        return kernel / sigma, sigma, u

    def call(self, inputs, training=False):
        kernel, _, u = self.normalised_kernel()
        if training:
            self.u.assign(u)
        with keras.StatelessScope(state_mapping=[(self.layer.kernel, kernel)]):
            return self.layer(inputs)

    def _unit(self, vector: Any) -> Any:
        return vector / (ops.norm(vector) + self.eps)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), "eps": self.eps}
