"""Differences and slopes by hand."""

import numpy as np
import pytest

from ganatomy.losses import gradient_difference, l1, l2, total_variation
from tests.ganatomy.losses.conftest import check_gradient, gradient

X = np.array([[0.0, 2.0, 2.0], [1.0, 1.0, 5.0]])[None, ..., None]
Y = np.array([[1.0, 2.0, 0.0], [1.0, 4.0, 5.0]])[None, ..., None]


def test_by_hand():
    np.testing.assert_allclose(l1(X, Y), [(1 + 2 + 3) / 6])
    np.testing.assert_allclose(l2(X, Y), [(1 + 4 + 9) / 6])
    # Down: |1|, |-1|, |3|. Across: |2|, |0|; |0|, |4|.
    np.testing.assert_allclose(total_variation(X), [5 / 3 + 6 / 4])
    np.testing.assert_allclose(total_variation(X, spacing=(0.5, 2.0)), [2 * 5 / 3 + 6 / 4 / 2])
    # Down for Y: 0, 2, 5; across: 1, 2; 3, 1.
    down, across = (1 + 1 + 4) / 3, (1 + 4 + 9 + 9) / 4
    np.testing.assert_allclose(gradient_difference(X, Y), [down + across])


def test_only_within():
    vessel = np.array([[[0, 1, 1], [0, 0, 0]]])
    np.testing.assert_allclose(l1(X, Y, within=vessel), [(0 + 2) / 2])
    np.testing.assert_allclose(l2(X, Y, within=vessel[..., None]), [4 / 2])
    # The one slope with both ends inside: 0 of X beside 2 of Y.
    np.testing.assert_allclose(gradient_difference(X, Y, within=vessel), [4])
    np.testing.assert_allclose(total_variation(X, within=vessel), [0])
    weights = np.array([[[0, 3, 1], [0, 0, 0]]])
    np.testing.assert_allclose(l1(X, Y, within=weights), [(3 * 0 + 1 * 2) / 4])


def test_gradients(pair, rng):
    x, y = pair
    weights = np.abs(x[..., 0])
    # So near that no absolute value changes its sign on the way.
    for loss in (l1, l2, gradient_difference):
        check_gradient(lambda x, loss=loss: loss(x, y), x, rng, width=1e-8)
        found = check_gradient(lambda x, loss=loss: loss(x, y, within=weights), x, rng, width=1e-8)
        assert (found != 0).mean() > 0.9
    check_gradient(total_variation, x, rng, width=1e-8)
    outside = np.zeros_like(weights)
    outside[:, :4] = 1
    assert (gradient(lambda x: l1(x, y, within=outside), x)[:, 4:] == 0).all()


def test_what_does_not_fit_is_refused(pair):
    with pytest.raises(ValueError, match="a spacing of 1 axes"):
        total_variation(pair[0], spacing=(1.0,))
