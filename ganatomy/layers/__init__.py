"""Layers that Keras lacks, one a file."""

from ganatomy.layers.conv import Conv2D, Conv3D
from ganatomy.layers.doubling_conv import DoublingConv2D, DoublingConv3D
from ganatomy.layers.halving_conv import HalvingConv2D, HalvingConv3D
from ganatomy.layers.instance_norm import InstanceNormalization
from ganatomy.layers.pooled_conv import PooledConv2D, PooledConv3D
from ganatomy.layers.spectral_norm import SpectralNormalization
from ganatomy.layers.strided_conv import StridedConv3D
from ganatomy.layers.upsampled_conv import UpsampledConv2D, UpsampledConv3D

__all__ = [
    "Conv2D",
    "Conv3D",
    "DoublingConv2D",
    "DoublingConv3D",
    "HalvingConv2D",
    "HalvingConv3D",
    "InstanceNormalization",
    "PooledConv2D",
    "PooledConv3D",
    "SpectralNormalization",
    "StridedConv3D",
    "UpsampledConv2D",
    "UpsampledConv3D",
]
