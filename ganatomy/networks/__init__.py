"""Generators, critics and encoders: plain functions that return a keras.Model.

One definition serves pictures and volumes. Initial weights follow `keras.utils.set_random_seed`:
the same seed before the same build gives the same weights.
"""

from ganatomy.networks.block_generator import block_generator
from ganatomy.networks.dcgan import dcgan_critic, dcgan_generator
from ganatomy.networks.dense_critic import dense_critic
from ganatomy.networks.encoder import encoder
from ganatomy.networks.family import family
from ganatomy.networks.image_generator import image_generator
from ganatomy.networks.patch_critic import patch_critic
from ganatomy.networks.residual import residual_critic, residual_generator
from ganatomy.networks.unet import unet
from ganatomy.networks.unet_generator import unet_generator

__all__ = [
    "block_generator",
    "dcgan_critic",
    "dcgan_generator",
    "dense_critic",
    "encoder",
    "family",
    "image_generator",
    "patch_critic",
    "residual_critic",
    "residual_generator",
    "unet",
    "unet_generator",
]
