"""Networks that belong together, by name: what `network: dcgan` in a preset stands for."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from ganatomy.networks.dcgan import dcgan_critic, dcgan_down, dcgan_generator
from ganatomy.networks.residual import residual_critic, residual_down, residual_generator


class Family(NamedTuple):
    """Generator and critic of one kind.

    Attributes:
        generator: (shape, latent, width, norm, name) -> a model from codes to images.
        critic: (shape, width, norm, spectral, features, name) -> a model from images to a logit.
        trunk: (image, width, norm) -> every block's activations, the critic without its head.
    """

    generator: Callable[..., keras.Model]
    critic: Callable[..., keras.Model]
    trunk: Callable[..., list[Any]]


FAMILIES = {
    "dcgan": Family(dcgan_generator, dcgan_critic, dcgan_down),
    "residual": Family(residual_generator, residual_critic, residual_down),
}


def family(name: str) -> Family:
    """The networks of a name: "dcgan" (Radford 2016) or "residual" (Gulrajani 2017).

    Raises:
        ValueError: there are none of that name.
    """
    if name not in FAMILIES:
        raise ValueError(f"network is one of {', '.join(FAMILIES)}, not {name!r}")
    return FAMILIES[name]
