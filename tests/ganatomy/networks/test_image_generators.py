"""Networks from image to image, and the critic of patches: any grid, and what a patch is."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy.gradients import gradient
from ganatomy.networks import image_generator, patch_critic, unet_generator
from ganatomy.networks.patch_critic import receptive_field


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(3)


def images(shape, batch=2):
    return np.random.default_rng(1).uniform(-1, 1, (batch, *shape)).astype("float32")


@pytest.mark.parametrize("shape", [(16, 12, 1), (13, 21, 2), (9, 7, 10, 1)], ids=str)
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("unet", {}),
        ("unet", {"norm": "batch", "up": "resize", "depth": 2}),
        ("resnet", {"blocks": 2}),
        ("dense", {"blocks": 1, "up": "transposed"}),
    ],
    ids=str,
)
def test_an_image_of_any_grid_goes_to_one_of_the_same(shape, kind, settings):
    network = image_generator(kind, shape, 3, 2, **settings)
    made = np.asarray(network(images(shape)))
    assert made.shape == (2, *shape[:-1], 3)
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    # Another sample in the batch changes nothing, and every voxel in sight something.
    np.testing.assert_allclose(network(images(shape)[:1]), made[:1], atol=1e-5)


def test_what_a_generator_does_not_take_is_refused():
    with pytest.raises(ValueError, match="generator is one of unet, resnet, dense"):
        image_generator("vgg", (16, 16, 1), 1, 2)
    with pytest.raises(ValueError, match="up is one of transposed, resize"):
        image_generator("unet", (16, 16, 1), 1, 2, up="magic")


def test_dropout_is_in_the_innermost_levels_and_comes_from_outside():
    network = unet_generator((32, 32, 1), width=2, depth=5, dropout=0.5)
    kept = network.inputs[1].shape[1]
    assert kept == 2 * 2 * 16 + 4 * 4 * 8 + 8 * 8 * 4
    x, whole = images((32, 32, 1)), np.ones((2, kept), "float32")
    plain = unet_generator((32, 32, 1), width=2, depth=5)
    plain.set_weights(network.get_weights())
    np.testing.assert_allclose(network([x, whole]), plain(x), atol=1e-6)
    assert np.abs(np.asarray(network([x, 0 * whole])) - np.asarray(plain(x))).max() > 1e-3


@pytest.mark.parametrize(("depth", "side"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_a_patch_is_as_large_as_published(depth, side):
    assert receptive_field(depth) == side


@pytest.mark.parametrize("depth", [1, 2])
def test_a_logit_sees_its_patch_and_nothing_else(depth):
    side = 96
    critic = patch_critic((side, side, 1), 2, depth, None)
    with_zeros = images((side, side, 1), 1)

    def middle(x):
        logit = critic(x)["logits"][0]
        return logit[:, logit.shape[1] // 2, logit.shape[2] // 2]

    slope = np.asarray(gradient(middle, with_zeros))[0, ..., 0]
    rows = np.flatnonzero(np.abs(slope).max(1))
    assert rows.max() - rows.min() + 1 == receptive_field(depth)


def test_a_critic_has_the_published_patches_and_scales():
    assert patch_critic((256, 256, 2), 1).output["logits"][0].shape == (None, 30, 30, 1)
    critic = patch_critic((20, 24, 18, 1), 2, depth=1, scales=3, spectral_norm=True)
    said = critic(images((20, 24, 18, 1)))
    assert [tuple(one.shape[1:]) for one in said["logits"]] == [
        (8, 10, 7, 1),
        (3, 4, 3, 1),
        (1, 1, 1, 1),
    ]
    assert [len(one) for one in said["features"]] == [2, 2, 2]
    with pytest.raises(ValueError, match="needs sides of 17 or more"):
        patch_critic((16, 16, 1), 2, depth=3)
    assert patch_critic((17, 17, 1), 2, depth=3).output["logits"][0].shape[1:] == (1, 1, 1)
