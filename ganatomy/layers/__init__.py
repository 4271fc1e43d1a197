"""Layers that Keras lacks, one a file."""

from ganatomy.layers.spectral_norm import SpectralNormalization

__all__ = ["SpectralNormalization"]
