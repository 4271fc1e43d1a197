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
        ("spade", {"hidden": 4}),
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
    with pytest.raises(ValueError, match="generator is one of unet, resnet, dense, spade"):
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


def test_spade_undoes_its_normalisation_by_what_the_map_says():
    network = image_generator("spade", (8, 8, 1), 1, 2, labels=3, depth=0, hidden=4)
    draw = np.random.default_rng(0)
    network.set_weights([draw.normal(0, 0.5, w.shape) for w in network.get_weights()])
    maps = draw.integers(0, 3, (2, 8, 8, 1)).astype("float32") - 1
    made = np.asarray(network(maps))
    # A value between two labels is the nearer one, and no other label's neighbour.
    np.testing.assert_array_equal(network(maps + 0.4 * (maps < 1) - 0.4 * (maps > 0)), made)
    told = np.eye(3, dtype="float32")[maps[..., 0].astype(int) + 1]

    def conv(x, name, activation=None):
        kernel, *bias = network.get_layer(name).get_weights()
        y = keras.ops.conv(x, kernel, padding="same")
        y = np.asarray(y) + (bias[0] if bias else 0)
        return np.maximum(y, 0) if activation else y

    def sn(x, name):
        wrapper = network.get_layer(f"{name}_sn")
        kernel, bias = np.asarray(wrapper.normalised_kernel()[0]), wrapper.layer.bias
        return np.asarray(keras.ops.conv(x, kernel, padding="same")) + np.asarray(bias)

    x = begin = conv(told, "begin")
    for number in (1, 2):  # equation 1, then the activation and the convolution of its block
        plain = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
        shared = conv(told, f"block_1_spade_{number}_map", "relu")
        gain, offset = (conv(shared, f"block_1_spade_{number}_{n}") for n in ("gain", "offset"))
        x = plain * (1 + gain) + offset
        x = sn(np.where(x > 0, x, 0.2 * x), f"block_1_conv_{number}")
    x = begin + x
    expected = np.tanh(conv(np.where(x > 0, x, 0.2 * x), "made"))
    np.testing.assert_allclose(made, expected, atol=1e-4)
    with pytest.raises(ValueError, match="labels are 2 or more in one channel"):
        image_generator("spade", (8, 8, 2), 1, 2, labels=3)
    with pytest.raises(ValueError, match="norm is bare or batch"):
        image_generator("spade", (8, 8, 1), 1, 2, norm="layer")
