"""Restoration: what it removes is what the prior is against, in pieces and not in grains."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from anogan.aae import AdversarialAutoencoder
from anogan.restoration import ROUNDED, restore, total_variation
from anogan.vae import VAE
from anogan.vaegan import VAEGAN
from ganatomy.gradients import compiled
from tests.anogan.test_aae import chests, learn
from tests.anogan.test_detectors import SMALL, images, rough


def test_total_variation_of_a_few_pixels_by_hand():
    x = np.array([[0.0, 1.0, 1.0], [0.0, 1.0, 4.0]], "float32")[None, ..., None]
    # By pixel (down, right): (0, 1), (0, 0), (3, 0); (-, 1), (-, 3), (-, -).
    assert float(total_variation(x)[0]) == pytest.approx(1 + 0 + 3 + 1 + 3, abs=6 * ROUNDED)
    corner = np.zeros((1, 4, 4, 1), "float32")
    corner[0, 1, 1] = 1.0
    # (down, right) is (-1, -1) at the pixel, and 1 at its upper and its left neighbour.
    assert float(total_variation(corner)[0]) == pytest.approx(2 + np.sqrt(2), abs=16 * ROUNDED)


@pytest.mark.parametrize("shape", [(5, 7, 3), (4, 5, 6, 2)])
def test_total_variation_in_two_and_three_dimensions(shape):
    x = images(2, shape)
    grid = tuple(range(1, len(shape)))
    steps = [np.diff(x, axis=a, append=np.take(x, [-1], axis=a)) for a in grid]
    expected = np.sqrt(sum(s**2 for s in steps)).sum((*grid, len(shape)))
    np.testing.assert_allclose(total_variation(x), expected, rtol=1e-2)
    np.testing.assert_array_equal(total_variation(x * 0 + 0.3), 0)


def restored(scan, healthy, variation):
    """Under a prior by which an image is the less plausible the farther it is from `healthy`."""

    def implausibility(image):
        return keras.ops.sum((image - healthy) ** 2, axis=(1, 2, 3))

    @compiled
    def run(x):
        return restore(x, implausibility, steps=300, rate=0.02, variation=variation)

    return np.asarray(run(scan))


def test_a_patch_is_removed_and_a_speck_stays():
    healthy = np.zeros((2, 16, 16, 1), "float32")
    scan = healthy.copy()
    scan[0, 3:9, 3:9] = scan[1, 5:7, 5:7] = 0.8
    scan[0, 13, 13] = 0.8
    found = restored(scan, healthy, variation=0.5)
    removed = (scan - found)[0, ..., 0]
    # Rudin's square of side s loses about λ · 4 / 2s of its height to the prior.
    assert removed[4:8, 4:8].min() > 0.4
    assert removed[13, 13] < 0.1
    assert np.abs(removed[:2]).max() < 0.05


def test_the_weight_decides_how_much_is_left_in_place():
    healthy, scan = np.zeros((3, 8, 8, 1), "float32"), images(3)
    removed = []
    for variation in (0.0, 0.3, 50.0):
        found = restored(scan, healthy, variation=variation)
        removed.append(np.abs(scan - found).mean())
    assert removed[0] == pytest.approx(np.abs(scan).mean(), rel=0.02)
    assert removed[0] > 1.3 * removed[1]
    # Under a heavy prior the mean alone may change.
    assert removed[2] < 0.15 * removed[0]


@pytest.mark.parametrize("kind", [AdversarialAutoencoder, VAE, VAEGAN])
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 8, 2)])
def test_a_restoration_is_never_worse_than_the_scan(kind, shape):
    keras.utils.set_random_seed(0)
    model = rough(kind(shape, restoration_steps=10, variation=0.1, **SMALL))
    x = images(3, shape)
    found = model.inspect(x)

    def objective(image):
        against = np.asarray(model.implausibility(image))
        return against + 0.1 * np.asarray(total_variation(x - image))

    assert (objective(found.reconstruction) < objective(x)).all()
    assert np.isfinite(found.paper_score).all()
    np.testing.assert_allclose(found.latent, model.code(found.reconstruction), rtol=1e-3, atol=1e-4)


def test_it_removes_an_opacity_and_less_of_the_rest_than_a_reconstruction(draw_chest):
    keras.utils.set_random_seed(0)
    settings = {"latent": 4, "width": 8, "deviation": 0.1}
    model = VAE((16, 16, 1), optimizers={"autoencoder": {"learning_rate": 5e-3}}, **settings)
    learn(model, chests(draw_chest, range(64)), 200)
    restoring = VAE((16, 16, 1), restoration_steps=100, variation=4.0, **settings)
    for name, network in model.networks.items():
        restoring.networks[name].set_weights(network.get_weights())
    well = chests(draw_chest, range(100, 120))
    ill = chests(draw_chest, range(100, 120), abnormal=True)
    where = np.abs(ill - well)[..., 0] > 0.2

    def contrast(model):
        residual = np.abs(model.inspect(ill).residual)
        return residual[where].mean() / residual[~where].mean()

    assert contrast(restoring) > 1.3 * contrast(model)
    assert restoring.inspect(well).paper_score.mean() < 0.8 * model.inspect(well).paper_score.mean()


@pytest.mark.parametrize("kind", [AdversarialAutoencoder, VAE])
def test_what_speaks_against_an_image_is_squares_of_pixels_and_its_code(kind):
    keras.utils.set_random_seed(0)
    model, x = rough(kind((8, 8, 1), deviation=0.5, **SMALL)), images(3)
    code = np.asarray(model.code(x))
    squares = np.square(x - np.asarray(model.decode(code))).sum((1, 2, 3))
    expected = 2 * squares + 0.5 * np.square(code).sum(1)
    if kind is VAE:
        log = np.asarray(model.network("encoder")(x, training=False))[:, model.latent :]
        expected += 0.5 * (np.exp(log) - log - 1).sum(1)
    np.testing.assert_allclose(model.implausibility(x), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="deviation is above 0"):
        kind((8, 8, 1), deviation=0.0, **SMALL)


@pytest.mark.parametrize("kind", [AdversarialAutoencoder, VAE])
def test_at_the_default_weight_a_planted_patch_is_removed(kind, draw_chest):
    keras.utils.set_random_seed(0)
    shape = (16, 16, 1)
    settings: dict[str, Any] = {"latent": 4, "width": 8}
    training: dict[str, Any] = {"optimizers": {"autoencoder": {"learning_rate": 5e-3}}}
    if kind is AdversarialAutoencoder:
        training["critic_updates"] = 1
    model = kind(shape, **training, **settings)
    learn(model, chests(draw_chest, range(64)), 150)
    restoring = kind(shape, restoration_steps=100, **settings)
    for name, network in model.networks.items():
        restoring.networks[name].set_weights(network.get_weights())
    well = chests(draw_chest, range(100, 110))
    ill = well.copy()
    ill[:, 5:11, 2:8] += 0.8
    more = restoring.inspect(ill).residual - restoring.inspect(well).residual
    inside = more[:, 5:11, 2:8].mean((1, 2))
    more[:, 5:11, 2:8] = 0
    assert (inside > 0.1).all()
    assert (inside > 5 * np.abs(more).mean((1, 2))).all()
