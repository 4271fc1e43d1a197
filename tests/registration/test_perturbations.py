"""Known transforms: what error they have, that noise alone decides them, and that they invert."""

import numpy as np
import pytest

from registration.fields import jacobian_determinant
from registration.perturbations import (
    Range,
    bend,
    displacement,
    draws,
    matrix_of,
    perturb,
    without_affine,
)


def points(rank: int) -> np.ndarray:
    """A grid of a head's extent about the origin, mm."""
    axes = [np.linspace(-side, side, 6) for side in (85.0, 70.0, 60.0)[:rank]]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, rank)


def noise(count: int, samples: int = 64) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((samples, *draws(count))).astype(np.float32)


@pytest.mark.parametrize(
    ("rank", "count", "turning"),
    [(2, 3, "angle"), (2, 6, "linear"), (3, 6, "angle"), (3, 12, "linear")],
)
def test_the_error_is_the_one_asked_for_and_parameters_stay_in_range(rank, count, turning):
    asked = np.linspace(0.1, 18, 64).astype(np.float32)
    found = perturb(noise(count), asked, points(rank))
    error = displacement(matrix_of(found, np.zeros(rank, np.float32)), points(rank))
    np.testing.assert_allclose(np.asarray(error), asked, rtol=2e-3)
    assert np.abs(np.asarray(found)[:, :-rank]).max() <= getattr(Range(), turning)
    assert np.abs(np.asarray(found)[:, -rank:]).max() <= Range().shift


def test_rotations_and_shifts_both_take_part():
    found = np.asarray(perturb(noise(6), np.full(64, 10.0, np.float32), points(3)))
    assert (np.abs(found).mean(axis=0) > [0.02] * 3 + [1.0] * 3).all()


def test_only_points_that_count_decide_the_error():
    grid = points(3)
    weights = np.repeat((np.linalg.norm(grid, axis=-1) < 60)[None].astype(np.float32), 64, 0)
    asked = np.full(64, 9.0, np.float32)
    matrix = matrix_of(perturb(noise(6), asked, grid, weights=weights), np.zeros(3, np.float32))
    inner = displacement(matrix, grid[weights[0] > 0])
    np.testing.assert_allclose(np.asarray(inner), asked, rtol=2e-3)
    assert np.asarray(displacement(matrix, grid)).mean() > 10


def test_a_sample_is_perturbed_alike_in_any_company():
    drawn, asked = noise(6), np.linspace(1, 20, 64).astype(np.float32)
    whole = np.asarray(perturb(drawn, asked, points(3)))
    alone = np.asarray(perturb(drawn[7:8], asked[7:8], points(3)))
    np.testing.assert_allclose(alone[0], whole[7], rtol=1e-5, atol=1e-6)


def test_another_number_of_parameters_is_refused():
    with pytest.raises(ValueError, match="5 parameters in 3D; expected 6 or 12"):
        perturb(noise(5), np.ones(64, np.float32), points(3))


@pytest.mark.parametrize("shape", [(20, 24), (10, 12, 9)])
def test_a_bend_has_the_error_asked_for_and_does_not_fold(shape):
    rank = len(shape)
    columns = np.diag([1.5, 2.0, 2.5][:rank])
    drawn = np.random.default_rng(0).standard_normal((3, *[4] * rank, rank)).astype(np.float32)
    asked = np.array([0.5, 1.0, 2.0], np.float32)
    field = bend(drawn, asked, shape, columns)
    length = np.linalg.norm(np.asarray(field), axis=-1)
    np.testing.assert_allclose(length.reshape(3, -1).mean(axis=1), asked, rtol=0.1)
    assert np.asarray(jacobian_determinant(field, columns)).min() > 0


@pytest.mark.parametrize("rank", [2, 3])
def test_a_bending_without_its_affine_part_has_none(rank):
    noise = np.random.default_rng(5).standard_normal((2, *(4,) * rank, rank)).astype("float32")
    found = np.asarray(without_affine(noise))
    index = np.moveaxis(np.indices((4,) * rank), 0, -1).reshape(-1, rank)
    design = np.append(index, np.ones((len(index), 1)), 1)
    fit, *_ = np.linalg.lstsq(design, found.reshape(2, -1, rank)[0], rcond=None)
    np.testing.assert_allclose(fit, 0, atol=1e-6)
    affine = (index @ np.arange(rank * rank).reshape(rank, rank) + 3.0).reshape(noise[:1].shape)
    np.testing.assert_allclose(np.asarray(without_affine(affine)), 0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(without_affine(noise + affine)), found, atol=1e-4)
