"""Sharpness: its map by hand, and the loss through a network of known answer."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from ganatomy.errors import WrongUse
from ganatomy.losses import sharpness
from ganatomy.losses.sharpness import sharpness_map
from ganatomy.networks.features import WEIGHTS as OTHERS
from ganatomy.networks.sharpness import WEIGHTS, read_weights, sharpness_network
from tests.ganatomy.losses.conftest import check_gradient

ROOT = Path(__file__).parents[3]


def test_map_by_hand():
    board = np.where(np.indices((12, 12)).sum(0) % 2, 0.1, -0.1)
    np.testing.assert_array_equal(sharpness_map(board, 3), 1)  # neighbours differ by turns
    np.testing.assert_array_equal(sharpness_map(board / 10, 3), 0)  # below the threshold
    step = np.zeros((12, 12))
    step[:, 6:] = 1
    np.testing.assert_array_equal(sharpness_map(step, 3), 0)  # 3 neighbours in a row
    dot = np.zeros((12, 12))
    dot[5, 5] = 1
    found = sharpness_map(dot, 3)  # only the dot itself differs from 6 or more
    assert found[5, 5] == pytest.approx(1 / 9)
    assert found.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match="picture"):
        sharpness_map(dot[None])


def test_less_where_it_is_blurred(rng):
    noise = rng.uniform(-1, 1, size=(40, 40))
    maps = [sharpness_map(gaussian_filter(noise, s)).mean() for s in (0, 1, 2, 4)]
    assert maps[0] > 0.95
    assert np.all(np.diff(maps) < 0)


def test_loss_through_a_network(pair, rng):
    x, y = pair
    image = keras.Input((None, None, 1), dtype="float64")
    square = keras.Model(image, image * image)
    axes = tuple(range(1, x.ndim))
    expected = np.mean((x**2 - y**2) ** 2, axis=axes)
    np.testing.assert_allclose(sharpness(x, y, square), expected)
    check_gradient(lambda x: sharpness(x, y, square), x, rng)
    single = sharpness(x.astype("float32"), keras.ops.cast(y, "bfloat16"), square)
    np.testing.assert_allclose(single, expected, rtol=0.05)
    two = keras.Model(image, [image, image * image])
    with pytest.raises(ValueError, match="one output"):
        sharpness(x, y, two)


def test_network_learns_is_saved_and_frozen(tmp_path):
    network = sharpness_network(width=4)
    picture = np.zeros((1, 9, 13, 1), "float32")
    assert network(picture).shape == picture.shape
    network.save_weights(tmp_path / "s.weights.h5")
    loaded = sharpness_network(tmp_path / "s.weights.h5", width=4)
    np.testing.assert_array_equal(loaded(picture), network(picture))
    assert not loaded.trainable_variables
    with pytest.raises(WrongUse, match=r"are not at .*none\.h5"):
        sharpness_network(tmp_path / "none.h5")


def test_the_shipped_weights_foretell_maps_and_see_blur():
    assert WEIGHTS.stat().st_size < 1_000_000
    network = sharpness_network(WEIGHTS)
    assert not network.trainable_variables
    # Chest radiographs of another source than it was trained on.
    paths = sorted((ROOT / "samples").rglob("*.jp*g"))[:4]
    shown = [np.asarray(Image.open(path).convert("L").resize((128, 128)), float) for path in paths]
    pictures = np.stack(shown) / 127.5 - 1
    blurred = {s: np.stack([gaussian_filter(p, s) for p in pictures]) for s in (0, 1, 2)}
    maps = {s: np.stack([sharpness_map(p) for p in of]) for s, of in blurred.items()}
    seen = {s: of[..., None].astype("float32") for s, of in blurred.items()}
    found = np.concatenate([np.asarray(network(seen[s]))[..., 0] for s in maps])
    truth = np.concatenate([*maps.values()])
    assert np.abs(found - truth).mean() < 0.1
    gaps = [np.asarray(sharpness(seen[0], seen[s], network)) for s in maps]
    assert np.all(gaps[0] == 0)
    assert np.all(np.diff(gaps, axis=0) > 0)


def test_other_files_than_its_weights_are_refused_in_a_line(tmp_path):
    network = sharpness_network()
    texts = tmp_path / "text.weights.h5"
    texts.write_text("no numbers")
    pickled = tmp_path / "weights.pkl"
    pickled.write_bytes(b"")
    for file in (texts, pickled, OTHERS):
        with pytest.raises(WrongUse, match=r"weights of the sharpness network: expected a") as told:
            read_weights(network, file)
        assert str(file) in str(told.value)
        assert "\n" not in str(told.value)
