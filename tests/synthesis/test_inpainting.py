"""Inpainting: where the hole is, and what counts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from synthesis.inpainting import Inpainting, hole_and_rim
from tests.synthesis.test_pix2pix import SMALL, pairs


def test_a_hole_has_the_voxels_that_are_said():
    hole, rim = hole_and_rim((8, 7), (4, 3), None, "box", 1.0)
    expected = np.zeros((8, 7), bool)
    expected[2:6, 2:5] = True
    np.testing.assert_array_equal(hole, expected)
    assert rim.sum() == 14  # the four sides, without the corners, which are √2 away
    moved, _ = hole_and_rim((8, 7), (4, 3), (1, -2), "box", 1.0)
    np.testing.assert_array_equal(moved, np.roll(expected, (1, -2), (0, 1)))
    ball, _ = hole_and_rim((9, 9, 9), (3, 3, 3), None, "ellipsoid", 1.0)
    assert ball.sum() == 19  # of 27, the 8 corners are √3 away, more than 1.5
    with pytest.raises(ValueError, match="does not lie in the 7 of axis 1"):
        hole_and_rim((8, 7), (4, 4), (0, 2), "box", 1.0)
    with pytest.raises(ValueError, match="hole needs 2 numbers"):
        hole_and_rim((8, 7), (4,), None, "box", 1.0)


def test_nothing_of_the_hole_is_seen_and_nothing_else_is_changed():
    keras.utils.set_random_seed(0)
    model = Inpainting((16, 12, 1), hole=(6, 4), place=(2, 0), context=2, **SMALL)
    scan = pairs((16, 12))["scan"]
    made, inside = model.translate(scan), model.hole
    other = np.where(inside[None, ..., None], -scan, scan)
    np.testing.assert_array_equal(model.translate(other), made)
    np.testing.assert_array_equal(made[:, ~inside], scan[:, ~inside])
    assert np.abs(made - scan)[:, inside].max() > 1e-3
    judged = [np.asarray(model.judge(x, scan)["logits"][0]) for x in (scan, other)]
    np.testing.assert_array_equal(*judged)


def test_the_hole_and_its_rim_are_weighed_by_themselves():
    model = Inpainting((16, 12, 1), hole=(6, 4), context=2, **SMALL)
    target = pairs((16, 12))["target"]
    off = target + (0.5 * model.hole + 0.25 * model.rim)[None, ..., None].astype("float32")
    terms = model.generator_terms(
        {"scan": target, "target": target}, {"generated": off, "drafts": []}
    )
    np.testing.assert_allclose(terms["hole"](), np.full(4, 0.5), rtol=1e-5)
    np.testing.assert_allclose(terms["context"](), np.full(4, 0.25), rtol=1e-5)
    whole = 0.5 * model.hole.mean() + 0.25 * model.rim.mean()
    np.testing.assert_allclose(terms["l1"](), np.full(4, whole), rtol=1e-5)
