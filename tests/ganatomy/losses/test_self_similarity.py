"""Self-similarity beside descriptors counted voxel by voxel."""

import itertools

import numpy as np
import pytest

from ganatomy.losses import mind
from ganatomy.losses.self_similarity import descriptors
from tests.ganatomy.losses.conftest import check_gradient, gradient


def counted(x, radius, distance, form):
    """The descriptors of one image of one channel."""
    last = np.array(x.shape) - 1

    def at(index):
        return x[tuple(np.clip(index, 0, last))]

    rank = x.ndim
    steps = [s * distance * e for e in np.eye(rank, dtype=int) for s in (-1, 1)]
    if form == "mind":
        pairs = [(np.zeros(rank, int), step) for step in steps]
    else:
        pairs = [(a, b) for a, b in itertools.combinations(steps, 2) if np.dot(a, b) == 0]
    far = np.zeros((*x.shape, len(pairs)))
    reach = range(-radius, radius + 1)
    for index in np.ndindex(x.shape):
        patch = [
            np.add(index, by)
            for by in itertools.product(reach, repeat=rank)
            if ((np.add(index, by) >= 0) & (np.add(index, by) <= last)).all()
        ]
        for k, (a, b) in enumerate(pairs):
            far[index][k] = np.mean([(at(p + a) - at(p + b)) ** 2 for p in patch])
    noise = far.mean(-1)
    noise = np.clip(noise, 1e-3 * noise.mean(), 1e3 * noise.mean())
    return np.exp(-(far - far.min(-1, keepdims=True)) / noise[..., None])


@pytest.mark.parametrize(("form", "counts"), [("ssc", (4, 12)), ("mind", (4, 6))])
def test_as_counted_voxel_by_voxel(rng, form, counts):
    for grid, count in zip([(7, 6), (5, 4, 3)], counts, strict=True):
        x = rng.normal(size=(2, *grid, 1))
        found = np.array(descriptors(x, form=form))
        assert found.shape == (2, *grid, count)
        expected = [counted(image[..., 0], 1, 2, form) for image in x]
        np.testing.assert_allclose(found, expected, atol=1e-8)


def test_channels_are_described_one_by_one(pair):
    x, _ = pair
    both = np.array(descriptors(x))
    apart = [np.array(descriptors(x[..., c : c + 1])) for c in range(2)]
    np.testing.assert_allclose(both, np.concatenate(apart, axis=-1))


@pytest.mark.parametrize("form", ["ssc", "mind"])
def test_no_change_by_scale_offset_and_inversion(pair, form):
    x, y = pair
    np.testing.assert_allclose(mind(x, -50 * x + 3, form=form), 0, atol=1e-9)
    np.testing.assert_allclose(mind(x, 1 - y, form=form), mind(x, y, form=form), rtol=1e-6)


def test_lower_the_better_aligned(pair):
    x, _ = pair
    values = [np.mean(mind(x, -np.roll(x, s, axis=1))) for s in (0, 1, 3)]
    assert values[0] < 1e-9
    assert values[1] > 0.01
    assert values[2] > 0.01


@pytest.mark.parametrize("form", ["ssc", "mind"])
def test_gradients(pair, rng, form):
    x, y = pair
    found = check_gradient(lambda x: mind(x, y, form=form), x, rng, width=1e-8)
    assert np.abs(found).max() > 1e-5
    flat = np.full_like(x, 0.5)
    assert np.isfinite(gradient(lambda y: mind(x, y, form=form), flat)).all()


def test_another_form_is_refused(pair):
    with pytest.raises(ValueError, match="not ssc or mind"):
        mind(*pair, form="nine")  # pyright: ignore
