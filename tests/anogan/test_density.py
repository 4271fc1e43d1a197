"""A density of features: its distances by hand, and that it is fitted where training ends."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from anogan.density import GANDensity, Mahalanobis, Nearest, PlantedDensity
from tests.anogan.test_planted import images, trained

SHAPE = (16, 16, 1)
SMALL = {"width": 2, "chunk": 4}
DENSITIES = ("gaussian", "neighbours")


def features(count, places=3, n=4, seed=0):
    draw = np.random.default_rng(seed)
    mixed = draw.normal(size=(count, places, n)) @ np.random.default_rng(9).normal(size=(n, n))
    return (mixed + np.arange(places)[:, None]).astype("float32")


def fitted(layer, healthy):
    layer(healthy)
    layer.fit(healthy)
    return layer


def test_a_gaussian_measures_mahalanobis_distances_of_every_place():
    healthy, new = features(40), features(5, seed=1)
    found = np.asarray(fitted(Mahalanobis(), healthy)(new))
    assert found.shape == (5, 3)
    for place in range(3):
        # About the mean in float32, as the layer stores it.
        known = LedoitWolf(assume_centered=True).fit(healthy[:, place] - healthy[:, place].mean(0))
        squares = known.mahalanobis(new[:, place] - healthy[:, place].mean(0))
        np.testing.assert_allclose(found[:, place], np.sqrt(squares / 4), rtol=1e-3)
    # What is like the healthy ones lies about 1 away, a little less as variances shrink together.
    own = np.asarray(fitted(Mahalanobis(), features(400))(features(400)))
    np.testing.assert_allclose(np.square(own).mean(0), 1, atol=0.25)


def test_a_channel_that_never_differs_measures_nothing():
    healthy, new = features(30), features(5, seed=1)
    healthy[:, :, 2] = 0.1  # no binary fraction: its mean is not it to the last digit
    layer = fitted(Mahalanobis(), healthy)
    found = np.asarray(layer(new))
    new[:, :, 2] += 100.0
    np.testing.assert_array_equal(np.asarray(layer(new)), found)
    # It is the distance of the other three, on the scale of four.
    others = [0, 1, 3]
    alone = np.asarray(fitted(Mahalanobis(), healthy[..., others])(new[..., others]))
    np.testing.assert_allclose(found * np.sqrt(4 / 3), alone, rtol=1e-3)
    flat = np.ones((30, 3, 4), "float32")
    np.testing.assert_array_equal(np.asarray(fitted(Mahalanobis(), flat)(new)), 0)


def test_neighbours_measure_the_mean_distance_to_the_nearest():
    healthy, new = features(9), features(5, seed=1)
    layer = fitted(Nearest(memory=16, neighbours=2), healthy)
    found = np.asarray(layer(new))
    for place in range(3):
        gaps = np.linalg.norm(new[:, None, place] - healthy[None, :, place], axis=-1)
        expected = np.sort(gaps, axis=1)[:, :2].mean(1) / np.sqrt(4)
        np.testing.assert_allclose(found[:, place], expected, rtol=1e-3)
    nearest = np.asarray(fitted(Nearest(memory=16, neighbours=1), healthy)(healthy))
    np.testing.assert_allclose(nearest, 0, atol=5e-3)


def test_a_full_memory_keeps_samples_evenly_and_few_samples_are_refused():
    healthy = features(9)
    layer = fitted(Nearest(memory=3, neighbours=1), healthy)
    np.testing.assert_array_equal(layer.get_weights()[0], healthy[[0, 4, 8]].swapaxes(0, 1))
    with pytest.raises(ValueError, match="1 samples are too few for 2 neighbours"):
        fitted(Nearest(memory=3, neighbours=2), healthy[:1])


@pytest.mark.parametrize("density", DENSITIES)
def test_score_and_map_are_distances_of_the_networks_own_features(density):
    keras.utils.set_random_seed(0)
    model = PlantedDensity(
        SHAPE, density=density, layer="up_2", averages={"localiser": 0.9}, **SMALL
    )
    healthy, new = images(23, SHAPE), images(4, SHAPE, 1)
    model.solve(healthy)
    seen = [np.asarray(model.features_of(x)) for x in (healthy, new)]
    assert seen[0].shape == (23, 8, 8, 4)
    kind = Mahalanobis if density == "gaussian" else Nearest
    flat = [x.reshape(len(x), 64, 4) for x in seen]
    means = [x.mean(1, keepdims=True) for x in flat]
    means = [m / (np.linalg.norm(m, axis=-1, keepdims=True) + 1e-6) for m in means]
    found = model.inspect(new)
    np.testing.assert_allclose(
        found.paper_score, np.asarray(fitted(kind(), means[0])(means[1]))[:, 0], rtol=0.02
    )
    local = np.asarray(fitted(kind(), flat[0])(flat[1])).reshape(4, 8, 8)
    np.testing.assert_allclose(found.residual, local.repeat(2, 1).repeat(2, 2), rtol=0.02)
    np.testing.assert_allclose(found.latent, means[1][:, 0], atol=1e-4)
    np.testing.assert_array_equal(found.reconstruction, new)


@pytest.mark.parametrize("layer", ["bottom", "up_1", "down_2"])
def test_a_padded_grid_has_a_map_of_its_own_pixels(layer):
    # 13 sides are 16 inside the network: one pixel before, two after.
    model = PlantedDensity((13, 13, 1), layer=layer, depth=2, **SMALL)
    model.solve(images(12, (13, 13, 1)))
    found = model.inspect(images(2, (13, 13, 1))).residual
    assert found.shape == (2, 13, 13)
    factor = {"bottom": 4, "up_1": 1, "down_2": 2}[layer]
    steps = np.abs(np.diff(found, axis=1)).max((0, 2)) > 0
    changes = {n for n in range(12) if (n + 2) // factor != (n + 1) // factor}
    assert set(np.flatnonzero(steps)) <= changes


def test_volumes_have_a_density_too():
    model = PlantedDensity((8, 8, 8, 2), density="neighbours", depth=1, **SMALL)  # pyright: ignore
    model.solve(images(6, (8, 8, 8, 2)))
    found = model.inspect(images(3, (8, 8, 8, 2)))
    assert found.residual.shape == (3, 8, 8, 8)
    assert np.isfinite(found.paper_score).all()


def test_every_place_of_a_full_pass_is_alike():
    for density in DENSITIES:
        model = PlantedDensity(SHAPE, density=density, width=2, chunk=32)
        model.solve(images(40, SHAPE))
        found = model.inspect(np.repeat(images(1, SHAPE, 3), 37, axis=0))
        for values in found:
            np.testing.assert_array_equal(values, np.repeat(values[:1], 37, axis=0))


def test_trained_features_tell_the_ill_from_the_healthy(draw_chest):
    model, healthy, abnormal = trained(PlantedDensity, draw_chest, layer="up_2")
    found = model.inspect(np.concatenate([healthy, abnormal]))
    labels = [0] * 20 + [1] * 20
    assert roc_auc_score(labels, found.paper_score) > 0.9
    assert roc_auc_score(labels, found.residual.mean((1, 2))) > 0.9


@pytest.mark.parametrize("source", ["critic", "encoder"])
def test_a_gans_density_has_the_features_of_the_network_it_names(source):
    small = {"network": "dcgan", "layer": "block_2_out", "latent": 4, "width": 2, "chunk": 8}
    model = GANDensity((16, 16, 1), source=source, averages={"encoder": 0.9}, **small)
    healthy = images(12, (16, 16, 1))
    model.solve(healthy)
    network = model.network(source)
    own = keras.Model(network.input, network.get_layer("block_2_out").output)
    np.testing.assert_allclose(model.features_of(healthy), own(healthy), atol=1e-6)
    found = model.inspect(healthy)
    assert found.residual.shape == (12, 16, 16)
    # Of the 4x4 places each has 4x4 pixels.
    places = found.residual[:, ::4, ::4]
    np.testing.assert_array_equal(found.residual, places.repeat(4, 1).repeat(4, 2))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="none of gaussian, neighbours"):
        PlantedDensity(SHAPE, density="kernel", **SMALL)  # pyright: ignore
    with pytest.raises(ValueError, match="no layer of the network"):
        PlantedDensity(SHAPE, layer="top", **SMALL)
    with pytest.raises(ValueError, match="neither critic nor encoder"):
        GANDensity(SHAPE, "block_1_out", source="generator")  # pyright: ignore
    with pytest.raises(ValueError, match="source is one of generator, critic, not 'encoder'"):
        GANDensity(SHAPE, "block_1_out", source="encoder", encoding=None, network="dcgan", width=2)
    with pytest.raises(ValueError, match="layer 'flat' has no grid"):
        GANDensity(SHAPE, "flat", network="dcgan", width=2)
    with pytest.raises(ValueError, match="neighbours are 1 to 4, not 5"):
        PlantedDensity(SHAPE, density="neighbours", memory=4, neighbours=5, **SMALL)  # pyright: ignore
