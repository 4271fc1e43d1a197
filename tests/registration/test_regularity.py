"""Smoothness and folds of fields that are known in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from registration.regularity import (
    bending_energy,
    folding_penalty,
    folds,
    log_jacobian_spread,
    smoothness,
)

GRIDS = {2: (12, 10), 3: (8, 9, 7)}
SPACING = {2: (0.5, 2.0), 3: (0.43, 0.43, 6.5)}


def linear(rank, matrix, spacing=None):
    """The displacement of x -> x + A x in voxels, A in mm a mm."""
    spacing = np.ones(rank) if spacing is None else np.array(spacing)
    places = np.moveaxis(np.indices(GRIDS[rank]), 0, -1) * spacing
    return (places @ np.asarray(matrix, float).T / spacing)[None]


@pytest.fixture(params=[2, 3])
def rank(request):
    return request.param


def test_the_gradient_of_a_linear_map_is_its_matrix_whatever_the_spacing(rank):
    matrix = np.random.default_rng(2).normal(size=(rank, rank))
    for spacing in (SPACING[rank], (1.0,) * rank):
        field = linear(rank, matrix, spacing) + 3
        np.testing.assert_allclose(smoothness(field, spacing), [np.sum(matrix**2)], rtol=1e-9)
        np.testing.assert_allclose(bending_energy(field, spacing), 0, atol=1e-12)


def test_a_translation_costs_nothing(rank):
    field = np.full((2, *GRIDS[rank], rank), 4.0)
    np.testing.assert_array_equal(smoothness(field, SPACING[rank]), 0)
    np.testing.assert_array_equal(folding_penalty(field), 0)
    np.testing.assert_array_equal(log_jacobian_spread(field), 0)


def test_the_curvature_of_a_parabola(rank):
    spacing = SPACING[rank]
    x, y = (np.indices(GRIDS[rank])[k] * spacing[k] for k in (0, 1))
    field = np.zeros((1, *GRIDS[rank], rank))
    field[0, ..., 1] = (0.3 * x**2 + 0.2 * x * y) / spacing[1]
    # Derivatives in mm: twice 0.3 by x and x, 0.2 by x and y and by y and x.
    np.testing.assert_allclose(bending_energy(field, spacing), [0.6**2 + 2 * 0.2**2], rtol=1e-9)


def test_folds_are_counted_in_a_mask_and_overall(rank):
    # Mirrored along the first axis where x is 5 or more: slopes of u are -2 there.
    first = np.indices(GRIDS[rank])[0]
    field = np.zeros((1, *GRIDS[rank], rank))
    field[0, ..., 0] = np.where(first > 5, -2.0 * (first - 5), 0.0)
    n = GRIDS[rank][0]
    # Central differences: J is 1 up to 4, 0 at 5, -1 beyond.
    np.testing.assert_allclose(folds(field), [(n - 5) / n])
    np.testing.assert_allclose(folding_penalty(field), [(n - 6) / n])
    mask = (first >= 4)[None]
    np.testing.assert_allclose(folds(field, within=mask), [(n - 5) / (n - 4)])
    np.testing.assert_allclose(folds(field, within=first[None] < 5), [0])
    assert folding_penalty(field, margin=0.5)[0] > folding_penalty(field)[0]


def test_the_spread_is_of_the_logarithm(rank):
    # Twice as wide in one half, half as wide in the other: ln J is ±ln 2 but where they meet.
    first = np.indices(GRIDS[rank])[0].astype(float)
    middle = GRIDS[rank][0] // 2
    field = np.zeros((1, *GRIDS[rank], rank))
    field[0, ..., 0] = np.where(first < middle, first, middle - 0.5 * (first - middle))
    away = (np.abs(first - middle) > 0)[None].astype(float)
    low, high = (first < middle).mean(), (first > middle).mean()
    share = low / (low + high)
    expected = 2 * np.log(2) * np.sqrt(share * (1 - share))
    np.testing.assert_allclose(log_jacobian_spread(field, within=away), [expected], rtol=1e-6)
    np.testing.assert_allclose(log_jacobian_spread(linear(rank, 0.5 * np.eye(rank))), 0, atol=1e-6)


def test_folded_voxels_do_not_make_the_spread_nan(rank):
    field = linear(rank, -2 * np.eye(rank)[:, :1] @ np.eye(rank)[:1])
    np.testing.assert_array_equal(folds(field), 1)
    np.testing.assert_array_equal(log_jacobian_spread(field), 0)


def test_gradients(rank):
    rng = np.random.default_rng(3)
    field = 0.5 * rng.normal(size=(2, *GRIDS[rank], rank))
    weights = np.abs(rng.normal(size=(2, *GRIDS[rank])))
    for loss in (
        lambda u: smoothness(u, SPACING[rank]),
        lambda u: smoothness(u, SPACING[rank], within=weights),
        lambda u: bending_energy(u, SPACING[rank], within=weights),
        lambda u: folding_penalty(u, margin=0.3, within=weights),
        lambda u: log_jacobian_spread(0.1 * u),
    ):
        given = tf.constant(field)
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = tf.reduce_sum(loss(given))
        found = np.array(tape.gradient(value, given))
        step = rng.normal(size=field.shape)
        ahead, behind = (np.sum(loss(field + s * 1e-7 * step)) for s in (1, -1))
        np.testing.assert_allclose(np.sum(found * step), (ahead - behind) / 2e-7, rtol=1e-4)
        assert (found != 0).any()


def test_what_does_not_fit_is_refused(rank):
    field = np.zeros((1, *GRIDS[rank], rank))
    with pytest.raises(ValueError, match="a spacing of"):
        smoothness(field, (1.0,))
    with pytest.raises(ValueError, match="no curvature"):
        bending_energy(field[:, :2], (1.0,) * rank)
