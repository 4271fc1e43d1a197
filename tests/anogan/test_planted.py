"""The planted-anomaly network: what is planted is what is said to be, and it is found."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.fft import dstn, idstn

from anogan.blending import (
    along_axes,
    chosen_places,
    ellipses,
    moved,
    poisson_blend,
    rise_matrices,
)
from anogan.planted import Planted
from ganatomy.batches import batches
from ganatomy.training import train
from tests.feeding import feed

GRIDS = [(12, 10), (9, 8, 7)]


def images(count, shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, *shape)).astype("float32")


def batch_of(model, count=8, seed=4, array=None, step=0):
    array = images(20, model.shape, 7) if array is None else array
    (batch,) = batches(
        {"scan": array},
        model.noise,
        roles=model.roles,
        batch_size=count,
        updates=1,
        first_step=step,
        steps=step + 1,
        seed=seed,
    )
    return {name: value[:, 0] for name, value in batch.items()}


# Blending ------------------------------------------------------------------------------------


def solved(image, donor, box):
    """One channel of a blend by scipy's sine transform on the box alone."""
    axes = range(image.ndim)
    divergence = np.zeros_like(image)
    for axis in axes:
        own, other = np.diff(image, axis=axis), np.diff(donor, axis=axis)
        change = np.where(np.abs(other) > np.abs(own), other - own, 0)
        divergence += np.diff(change, axis=axis, prepend=0, append=0)
    size = [part.stop - part.start for part in box]
    values = [2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)) - 2 for n in size]
    denominator = sum(np.meshgrid(*values, indexing="ij"))
    result = image.copy()
    result[box] += idstn(dstn(divergence[box], type=1) / denominator, type=1)
    return result


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_blend_is_the_poisson_equations_solution_in_its_box(grid):
    corner = np.array([[1, 2, 0], [0, 0, 0], [5, 4, 3]], "float32")[:, : len(grid)]
    size = np.array([[4, 5, 3], [*grid, 7][:3], [1, 2, 2]], "float32")[:, : len(grid)]
    image, donor = images(3, (*grid, 2)), images(3, (*grid, 2), 1)
    blended = np.asarray(poisson_blend(image, donor, corner, size))
    for n in range(3):
        box = tuple(slice(int(a), int(a + d)) for a, d in zip(corner[n], size[n], strict=True))
        for c in range(2):
            expected = solved(image[n, ..., c].astype(float), donor[n, ..., c].astype(float), box)
            np.testing.assert_allclose(blended[n, ..., c], expected, atol=1e-4)


def test_a_flat_donor_changes_nothing_and_a_brighter_self_does_not_either():
    image = images(2, (8, 8, 1))
    box = np.full((2, 2), 2, "float32"), np.full((2, 2), 4, "float32")
    for donor in (np.zeros_like(image), image + 0.5):
        np.testing.assert_allclose(poisson_blend(image, donor, *box), image, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_donor_moves_by_whole_pixels_with_its_border_repeated(grid):
    x = images(1, (*grid, 2))
    shift = np.array([[2.2, -3.4, 1][: len(grid)]], "float32")
    expected = x
    for axis, (step, side) in enumerate(zip((2, -3, 1), grid, strict=False), 1):
        expected = np.take(expected, np.clip(np.arange(side) + step, 0, side - 1), axis)
    np.testing.assert_array_equal(moved(x, shift), expected)


def test_places_are_drawn_evenly_among_those_allowed():
    likely = np.zeros((1, 4, 5), "float32")
    allowed = {(1, 2), (3, 3), (3, 4)}
    for place in allowed:
        likely[(0, *place)] = 1
    draws = np.random.default_rng(0).random((1, 600, 4, 5), "float32")
    chosen = [tuple(map(int, place)) for place in np.asarray(chosen_places(likely, draws))[0]]
    counts = [chosen.count(place) for place in allowed]
    assert sum(counts) == 600
    assert min(counts) > 150


@pytest.mark.parametrize("grid", [(21, 25), (13, 13, 15)], ids=str)
def test_an_ellipse_lies_where_it_is_put(grid):
    centre = np.array([[[n // 2 for n in grid]]], "float32")
    radii = np.array([[[4, 8, 5][: len(grid)]]], "float32")
    for angle, long in ((0.0, 1), (np.pi / 2, 0)):
        shape = np.asarray(ellipses(centre, radii, np.full((1, 1), angle, "float32"), grid))[0, 0]
        middle = tuple(n // 2 for n in grid)
        assert shape[middle] > 0.99
        for axis, radius in ((long, 8), (1 - long, 4)):
            edge = list(middle)
            edge[axis] = min(edge[axis] + radius, grid[axis] - 1)
            if edge[axis] == middle[axis] + radius:
                np.testing.assert_allclose(shape[tuple(edge)], 0.5, atol=1e-3)


def test_a_coarse_grid_rises_by_linear_interpolation():
    x = np.array([0.0, 2.0, 0.0], "float32").reshape(1, 3, 1, 1)
    risen = along_axes(x, rise_matrices((3, 1), (5, 2)))
    np.testing.assert_allclose(np.asarray(risen)[0, :, 0, 0], [0, 1, 2, 1, 0])


# Planting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 16, 1), (12, 18, 3), (8, 8, 8, 1)], ids=str)
@pytest.mark.parametrize("kind", ["patches", "opacities"])
def test_what_is_named_is_what_was_changed(shape, kind):
    none = {"patches": {"opacities": 0}, "opacities": {"patches": 0}}[kind]
    model = Planted(shape, width=2, clean=0.0, restore=False, **none)
    batch = batch_of(model)
    planted, change = (np.asarray(value) for value in model.plant(batch))
    assert planted.shape == (8, *shape)
    assert np.abs(planted).max() <= 1
    touched = np.abs(planted - batch["scan"]).max(axis=(*range(1, len(shape) + 1),))
    assert (touched > 0.01).sum() > 0
    np.testing.assert_array_equal(
        change.max(axis=(*range(1, len(shape)),)) > 0.001, touched > 0.001
    )
    # The blurred change has the sum of the change, but for what crosses the border.
    difference = np.abs(planted - batch["scan"]).mean(-1)
    assert abs(change.sum() / difference.sum() - 1) < 0.1


def test_a_share_of_the_samples_stays_clean():
    model = Planted((16, 16, 1), width=2, clean=0.4)
    batch = batch_of(model, 20)
    planted, change = (np.asarray(value) for value in model.plant(batch))
    clean = np.asarray(batch["clean"]) < 0.4
    assert 3 < clean.sum() < 15
    np.testing.assert_allclose(planted[clean], batch["scan"][clean], atol=1e-5)
    assert change[clean].max() == 0


def test_planted_samples_have_their_mean_and_deviation_back():
    model = Planted((16, 16, 1), width=2, clean=0.0)
    batch = batch_of(model, array=0.3 * images(20, (16, 16, 1)))
    planted = np.asarray(model.plant(batch)[0])
    for measure in (np.mean, np.std):
        np.testing.assert_allclose(
            measure(planted, (1, 2, 3)), measure(batch["scan"], (1, 2, 3)), atol=1e-4
        )


@pytest.mark.parametrize(("organ", "low"), [("dark", True), ("bright", False)])
def test_opacities_lie_about_places_inside_the_organ(organ, low, draw_chest):
    scans = np.stack([draw_chest(seed) for seed in range(12)])[..., None] / 127.5 - 1
    model = Planted(
        (48, 48, 1), width=2, organ=organ, patches=0, radii=(0.03, 0.03), clean=0.0, restore=False
    )
    batch = batch_of(model, 12, array=scans.astype("float32"))
    inside = np.asarray(model.inside(batch["scan"]))
    assert 0.05 < inside.mean() < 0.6
    assert inside[:, :4].max() == inside[:, :, -4:].max() == 0
    shade = np.asarray(batch["scan"])[..., 0]
    assert (shade[inside > 0].mean() < shade[:, 5:-5, 5:-5].mean()) == low
    if organ == "bright":  # what is bright changes little where it moves towards a bright level
        return
    change = np.asarray(model.plant(batch)[1])
    assert inside[change > 0.5 * change.max()].mean() > 0.8


def test_planting_is_a_function_of_seed_step_and_place():
    model = Planted((16, 16, 1), width=2)
    one, again = (np.asarray(model.plant(batch_of(model))[0]) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    batch = batch_of(model)
    part = {name: value[2:5] for name, value in batch.items()}
    np.testing.assert_allclose(model.plant(part)[0], one[2:5], atol=1e-6)
    assert np.abs(np.asarray(model.plant(batch_of(model, seed=5))[0]) - one).max() > 0.1


# Learning --------------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_with_a_soft_target():
    model = Planted((8, 8, 1), width=2)
    logit = np.linspace(-3, 3, 128, dtype="float32").reshape(2, 8, 8)
    target = images(2, (8, 8)) / 2 + 0.5
    p = 1 / (1 + np.exp(-logit.astype(float)))
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean((1, 2))
    terms = model.localiser_terms({}, {"logit": logit, "target": target})
    np.testing.assert_allclose(terms["entropy"], expected, rtol=1e-5)
    batch = batch_of(model)
    played = model.play(batch)
    change = np.asarray(model.plant(batch)[1])
    np.testing.assert_allclose(played["target"], 1 - np.exp(-change / 0.15), atol=1e-6)


def trained(kind, draw_chest, **settings):
    """A small model, trained on made pictures, with healthy and abnormal ones it has not seen."""
    keras.utils.set_random_seed(0)

    def scans(seeds, **more):
        drawn = [draw_chest(seed, side=32, **more) for seed in seeds]
        return np.float32(drawn)[..., None] / 127.5 - 1

    array = scans(range(80))
    optimizers = {"localiser": {"learning_rate": 0.005}}
    model = kind((32, 32, 1), width=4, depth=2, optimizers=optimizers, **settings)

    data = feed(model, 16, scan=array)
    train(model, data, {"localise": 100}, every=50)
    model.solve(array)
    return model, scans(range(500, 520)), scans(range(600, 620), abnormal=True)


def test_it_finds_opacities_that_nobody_planted(draw_chest):
    from sklearn.metrics import roc_auc_score

    model, healthy, abnormal = trained(Planted, draw_chest)
    found = model.inspect(np.concatenate([healthy, abnormal]))
    assert roc_auc_score([0] * 20 + [1] * 20, found.paper_score) > 0.95
    # It points into the lung that is ill, not at the other.
    maps = found.residual[20:]
    ill = np.abs(abnormal - healthy.mean(0))[..., 0]
    left, right = (
        (slice(None), slice(4, 28), slice(0, 16)),
        (slice(None), slice(4, 28), slice(16, 32)),
    )
    agree = (maps[left].sum((1, 2)) > maps[right].sum((1, 2))) == (
        ill[left].sum((1, 2)) > ill[right].sum((1, 2))
    )
    assert agree.mean() > 0.85


def test_findings_name_pixels_and_leave_the_sample_as_it_is():
    model = Planted((16, 16, 2), width=2, averages={"localiser": 0.9})
    x = images(3, (16, 16, 2))
    found = model.inspect(x)
    np.testing.assert_array_equal(found.reconstruction, x)
    assert ((found.residual > 0) & (found.residual < 1)).all()
    np.testing.assert_allclose(found.paper_score, found.residual.mean((1, 2)), rtol=1e-5)
    assert found.latent.shape == (3, 8)
    shown = model.pictures(x[..., :1].repeat(2, -1))["healthy"]
    assert shown.shape == (32, 48)
    assert np.abs(shown).max() <= 1


def test_settings_that_plant_nothing_are_refused():
    with pytest.raises(ValueError, match="something has to be planted"):
        Planted((8, 8, 1), patches=0, opacities=0)
    with pytest.raises(ValueError, match="none of dark, bright"):
        Planted((8, 8, 1), organ="grey")  # pyright: ignore
