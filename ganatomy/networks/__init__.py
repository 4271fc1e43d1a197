"""Generators, critics and encoders: plain functions that return a keras.Model.

One definition serves pictures and volumes. Initial weights follow `keras.utils.set_random_seed`:
the same seed before the same build gives the same weights.
"""

from ganatomy.networks.dcgan import dcgan_critic, dcgan_generator
from ganatomy.networks.dense_critic import dense_critic
from ganatomy.networks.encoder import encoder
from ganatomy.networks.family import family
from ganatomy.networks.residual import residual_critic, residual_generator
from ganatomy.networks.unet import unet

__all__ = [
    "dcgan_critic",
    "dcgan_generator",
    "dense_critic",
    "encoder",
    "family",
    "residual_critic",
    "residual_generator",
    "unet",
]
