"""The Dice loss on maps counted by hand."""

import numpy as np
import pytest

from ganatomy.losses import dice
from tests.ganatomy.losses.conftest import check_gradient, gradient


def test_by_hand():
    x = np.eye(3)[[[0, 1, 1], [1, 2, 0]]][None]
    y = np.eye(3)[[[0, 1, 0], [1, 2, 2]]][None]
    # Label 1: 2 common of 3 and 2; label 2: 1 of 1 and 2; background: 1 of 2 and 2.
    overlaps = np.array([2 * 1 / 4, 2 * 2 / 5, 2 * 1 / 3])
    np.testing.assert_allclose(dice(x, y), [1 - overlaps[1:].mean()], atol=1e-4)
    np.testing.assert_allclose(dice(x, y, background=True), [1 - overlaps.mean()], atol=1e-4)
    first_row = np.array([[[1, 1, 1], [0, 0, 0]]])
    # In the first row label 1 has 1 common of 2 and 1, label 2 is in neither.
    np.testing.assert_allclose(dice(x, y, within=first_row), [1 - (2 / 3 + 1) / 2], atol=1e-4)
    np.testing.assert_allclose(dice(x[..., 1:2], y[..., 1:2]), [1 - 4 / 5], atol=1e-4)


def test_soft_maps_overlap_fully_with_themselves(pair):
    x = np.abs(pair[0])
    np.testing.assert_allclose(dice(x, x), 0, atol=1e-9)


def test_gradients(pair, rng):
    x, y = np.abs(pair)
    check_gradient(lambda x: dice(x, y, background=True), x, rng)
    # Nothing overlaps yet, and still the label is called for.
    apart = gradient(lambda x: dice(x, y), np.full_like(x, 0.01))
    assert (apart[..., 1] < 0).any()


def test_what_does_not_fit_is_refused(pair):
    with pytest.raises(ValueError, match="one shape"):
        dice(pair[0], pair[1][..., :1])
