"""The U-Net: any grid in, the same grid out, and every level takes part."""

from typing import Any

import keras
import numpy as np
import pytest

from ganatomy.networks import unet

SHAPES = [(16, 16, 1), (13, 22, 2), (9, 7, 3), (5, 5, 4), (8, 8, 8, 1), (7, 9, 6, 2)]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(11)


def images(shape, batch=2, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, *shape)).astype("float32")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_image_goes_to_an_image_of_its_grid(shape):
    network = unet(shape, channels=3, width=2, depth=2)
    made = np.asarray(network(images(shape)))
    assert made.shape == (2, *shape[:-1], 3)
    assert made.dtype == np.float32
    assert made.std() > 0
    levels = [layer.name for layer in network.layers]
    assert {"down_1", "down_2", "bottom", "up_2", "up_1"} <= set(levels)


@pytest.mark.parametrize(("side", "expected"), [(5, 0), (8, 1), (17, 2), (32, 3), (64, 4)])
def test_a_grid_halves_down_to_four_to_seven(side, expected):
    network = unet((side, side, 1), width=1)
    assert sum(layer.name.startswith("pool_") for layer in network.layers) == expected


def test_a_padded_grid_gives_what_the_mirrored_image_gives():
    small, big = unet((14, 16, 1), width=2, depth=2), unet((16, 16, 1), width=2, depth=2)
    big.set_weights(small.get_weights())
    x = images((14, 16, 1))
    mirrored = np.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)], mode="symmetric")
    np.testing.assert_allclose(small(x), np.asarray(big(mirrored))[:, 1:15], atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16, 1), (8, 8, 8, 1)], ids=str)
def test_detail_goes_across_and_context_comes_from_below(shape):
    network = unet(shape, width=4, depth=2, norm=None)
    x = images(shape, batch=1)
    point = (0, *(side // 2 for side in shape[:-1]), 0)
    changed = x.copy()
    changed[point] += 1
    reached = np.abs(np.asarray(network(changed)) - np.asarray(network(x)))[0, ..., 0]
    # The four convolutions of the finest level alone would not reach a border.
    assert reached[point[1:-1]] > 0
    assert max(reached.take(side, axis).max() for axis in range(2) for side in (0, -1)) > 0


def test_every_weight_learns():
    network: Any = unet((16, 16, 2), width=4, depth=2, activation="sigmoid")
    network.compile(optimizer=keras.optimizers.Adam(0.02), loss="binary_crossentropy")
    before = network.get_weights()
    x = images((16, 16, 2), batch=8)
    y = (x[..., :1] > 0.3).astype("float32")
    losses = network.fit(x, y, epochs=40, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, network.get_weights(), strict=True))


def test_a_copy_keeps_padding_and_output():
    network = unet((7, 9, 1), width=2, depth=1)
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    np.testing.assert_array_equal(copy(images((7, 9, 1))), network(images((7, 9, 1))))


def test_no_bias_stands_before_a_normalisation_and_the_last_layer_is_exact():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = unet((8, 8, 1), width=2)
    finally:
        keras.config.set_dtype_policy(before)
    biases = [w.path for w in network.weights if w.path.endswith("bias")]
    assert biases == ["output/bias"]
    made = network(images((8, 8, 1)))
    assert keras.backend.standardize_dtype(made.dtype) == "float32"


@pytest.mark.parametrize(
    ("shape", "depth", "reason"),
    [
        ((8, 8), None, "a shape is"),
        ((6, 8, 1), 3, "3 halvings need sides of 8"),
        ((1, 8, 1), None, "sides of 2"),
    ],
)
def test_grids_that_do_not_suit_are_said_not_to(shape, depth, reason):
    with pytest.raises(ValueError, match=reason):
        unet(shape, depth=depth)
