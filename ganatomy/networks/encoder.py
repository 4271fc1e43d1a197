"""From images to latent vectors: a critic's trunk with another head."""

import keras
from keras import layers

from ganatomy.networks.family import family


def encoder(
    shape: tuple[int, ...],
    latent: int,
    kind: str = "dcgan",
    width: int = 64,
    norm: str | None = "batch",
    activation: str | None = "tanh",
    name: str = "encoder",
) -> keras.Model:
    """Images to latent vectors.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C) of a sample.
        latent: length of z.
        kind: "dcgan" or "residual", the trunk of that critic.
        width: as in that critic.
        norm: "batch", "layer", "instance" or None.
        activation: "tanh" keeps z in [-1, 1], as f-AnoGAN does; None leaves it free.

    Returns:
        images [B, *shape] -> z [B, latent], float32.

    Raises:
        ValueError: a kind that there is not.

    Reference: Schlegl et al. 2019, section 3.2 (the izi_f encoder).
    """
    image = keras.Input(shape, name="image")
    flat = layers.Flatten(name="flat")(family(kind).trunk(image, width, norm)[-1])
    z = layers.Dense(latent, activation=activation, dtype="float32", name="z")(flat)
    return keras.Model(image, z, name=name)
