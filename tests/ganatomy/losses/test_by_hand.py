"""The losses of translation on images small enough to reckon by hand."""

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ganatomy.losses import (
    IMAGE_LOSSES,
    charbonnier,
    classification,
    edge,
    gradient_consistency,
    kl_divergence,
    l1,
    regulation,
    saliency,
    shape,
    steerable,
    style_content,
)
from ganatomy.losses.attention import saliency_map
from ganatomy.losses.ridges import ridge_responses

X = np.array([[0.0, 2.0, 2.0], [1.0, 1.0, 5.0]])[None, ..., None]
Y = np.array([[1.0, 2.0, 0.0], [1.0, 4.0, 5.0]])[None, ..., None]


def deep(image, slices=3):
    """A volume of the same slice again and again."""
    return np.repeat(image[:, :, :, None], slices, axis=3)


@pytest.mark.parametrize("of", [lambda x: x, deep], ids=["2D", "3D"])
def test_differences_and_edges(of):
    x, y = of(X), of(Y)
    differences = np.array([1, 0, 2, 0, 3, 0])
    expected = np.mean(np.sqrt(differences**2 + 0.5**2))
    np.testing.assert_allclose(charbonnier(x, y, epsilon=0.5), [expected])
    np.testing.assert_allclose(charbonnier(x, x, epsilon=0.5), [0.5])
    # Slopes of Y down: 0, 1, 2.5 in both rows; across: 0.5, -0.5, -1; 1.5, 2, 0.5.
    weights = np.hypot([0, 1, 2.5, 0, 1, 2.5], [0.5, -0.5, -1, 1.5, 2, 0.5])
    np.testing.assert_allclose(edge(x, y), [np.average(differences, weights=weights)])
    only = of(np.array([[0.0, 0, 1], [0, 0, 0]])[None, ..., None])
    np.testing.assert_allclose(edge(x, y, within=only), [2])
    np.testing.assert_allclose(edge(x, np.full_like(y, 7)), l1(x, np.full_like(y, 7)))


def test_means_of_rows_and_columns():
    rows, columns = np.array([4 / 3 - 1, 7 / 3 - 10 / 3]), np.array([0.5 - 1, 1.5 - 3, 3.5 - 2.5])
    expected = np.abs(rows).mean() + np.abs(columns).mean()
    np.testing.assert_allclose(regulation(X, Y), [expected])
    # Of a volume of equal slices: two stacks of such profiles, and the difference itself.
    np.testing.assert_allclose(regulation(deep(X), deep(Y)), [expected + 1])
    moved = np.array([[1.0, -1.0], [-1.0, 1.0]])[None, ..., None]
    np.testing.assert_allclose(regulation(moved, np.zeros_like(moved)), [0], atol=1e-12)


def test_gradient_consistency_sees_edges_whichever_way_they_go(pair):
    x, y = pair
    np.testing.assert_allclose(gradient_consistency(x, 1 - 2 * x), 0, atol=1e-6)
    np.testing.assert_allclose(gradient_consistency(x, 1 - 2 * x, signed=True), 2, atol=1e-6)
    np.testing.assert_allclose(gradient_consistency(x, np.ones_like(x)), 1, atol=1e-3)
    axes = tuple(range(1, x.ndim - 1))
    padded = [np.pad(v, [(0, 0), *[(1, 1)] * len(axes), (0, 0)], mode="edge") for v in (x, y)]
    inner = (slice(None), *[slice(1, -1)] * len(axes))
    slopes = [np.stack(np.gradient(p, axis=axes))[(slice(None), *inner)] for p in padded]
    strengths = [np.sqrt((s**2).sum(axis=(0, -1))) for s in slopes]
    expected = [
        1 - np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(*strengths, strict=True)
    ]
    np.testing.assert_allclose(gradient_consistency(x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(gradient_consistency(x[..., :1], x[..., :1]), 0, atol=1e-6)


def test_style_is_how_channels_go_together():
    image = keras.Input((None, None, 2), dtype="float64")
    same = keras.Model(image, image)
    x = np.array([[[1.0, 2.0], [3.0, 0.0]]])[None]
    y = np.array([[[1.0, 0.0], [1.0, 1.0]]])[None]
    # Over 2 places and 2 channels: [[10, 2], [2, 4]] / 4 and [[2, 1], [1, 1]] / 4.
    style = (8**2 + 1 + 1 + 3**2) / 16 / (4 * 2**2)
    content = (0 + 4 + 4 + 1) / 4
    np.testing.assert_allclose(style_content(x, y, same), [style + content])
    np.testing.assert_allclose(style_content(x, y, same, style=2, content=0), [2 * style])
    # Places change places: no other style.
    np.testing.assert_allclose(style_content(x, x[:, :, ::-1], same, content=0), [0], atol=1e-12)
    # Slices of a volume have a style each.
    volume = [np.stack([a, b], axis=3) for a, b in ((x, y), (y, y))]
    np.testing.assert_allclose(style_content(*volume, same, content=0), [style / 2])
    with pytest.raises(ValueError, match="weight"):
        style_content(x, y, same, style=0, content=0)
    pooled = keras.Model(image, keras.ops.mean(image, axis=(1, 2)))
    with pytest.raises(ValueError, match="grid"):
        style_content(x, y, pooled)


def test_ridges_are_second_derivatives_at_every_angle():
    i, j = np.meshgrid(np.arange(33.0), np.arange(33.0), indexing="ij")
    x = (0.1 * i * i - 0.2 * i * j)[None, ..., None]
    found = np.array(ridge_responses(x, sigmas=(2.0,), orientations=4))[0, 16, 16]
    angles = np.arange(4) * np.pi / 4
    u, v = np.cos(angles), np.sin(angles)
    np.testing.assert_allclose(found, 4 * (0.2 * u * u - 0.4 * u * v), atol=2e-3)
    i, j, k = np.meshgrid(*[np.arange(17.0)] * 3, indexing="ij")
    across = np.array(ridge_responses((0.5 * (i**2 + j**2 + k**2))[None, ..., None], sigmas=(1.0,)))
    # The same along all six directions.
    np.testing.assert_allclose(across[0, 8, 8, 8], np.ones(6), atol=2e-3)


def test_steerable_beside_scipy(rng):
    x, y = gaussian_filter(rng.normal(size=(2, 1, 12, 10, 1)), (0, 0, 1, 1, 0))
    found = [
        gaussian_filter((x - y)[0, ..., 0], 1.5, orders, mode="nearest", truncate=6)
        for orders in ((2, 0), (0, 2))
    ]
    found = 1.5**2 * np.abs(found)
    expected = np.where(found <= 0.1, found**2 / 2, 0.1 * (found - 0.05)).mean()
    assert (found > 0.1).any()
    assert (found < 0.1).any()
    huber = steerable(x, y, sigmas=(1.5,), orientations=2, delta=0.1)
    np.testing.assert_allclose(huber, [expected], rtol=1e-6)


def test_what_stands_out():
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = 9.0
    found = np.array(saliency_map(x, shares=(2,)))[0, ..., 0]
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = 1  # the mean of the box of 3 is 1
    expected[2, 2] = 8
    np.testing.assert_allclose(found, expected, atol=1e-5)
    nothing = np.zeros_like(x)
    np.testing.assert_allclose(saliency(nothing, x, shares=(2,)), [(8 + 64) / 25], rtol=1e-4)
    np.testing.assert_allclose(
        saliency(nothing, x, weighing=True, shares=(2,)), [81 * 8 / 25], rtol=1e-4
    )
    volume = np.zeros((1, 5, 5, 5, 1))
    volume[0, 2, 2, 2] = 27.0
    found = np.array(saliency_map(volume, shares=(2,)))[0, ..., 0]
    np.testing.assert_allclose(
        [found[2, 2, 2], found[1, 1, 1], found[0, 0, 0]], [26, 1, 0], atol=1e-5
    )


def test_labels():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]]))[None]
    labels = np.array([[[0, 1]]])
    np.testing.assert_allclose(shape(logits, labels), [-(np.log(0.5) + np.log(0.8)) / 2])
    # Of label 1: 0.8 of 1 is common; label 2 is foreseen where it is not.
    one, two = 2 * 0.8 / (0.25**2 + 0.8**2 + 1), 0
    np.testing.assert_allclose(shape(logits, labels, form="dice"), [1 - (one + two) / 2], atol=2e-4)
    both = shape(logits, labels[..., None], form="both")
    np.testing.assert_allclose(both, shape(logits, labels) + shape(logits, labels, form="dice"))
    first = np.array([[[1, 0]]])
    np.testing.assert_allclose(shape(logits, labels, within=first), [np.log(2)])
    np.testing.assert_allclose(classification(logits[0, 0], np.array([0, 1])), np.log([2, 1.25]))
    np.testing.assert_allclose(
        classification(logits[0, 0], np.array([[0.5, 0.5, 0], [0, 1, 0]])),
        [(np.log(2) + np.log(4)) / 2, np.log(1.25)],
    )
    with pytest.raises(ValueError, match="not of images"):
        shape(logits, labels[:, :, :1])
    with pytest.raises(ValueError, match="classes"):
        classification(logits, labels)


def test_codes():
    mean, variance = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[1.0, 4.0], [1.0, 1.0]])
    expected = [(1 + (4 + 4 - np.log(4) - 1)) / 2, 0]
    np.testing.assert_allclose(kl_divergence(mean, np.log(variance)), expected)
    np.testing.assert_allclose(
        kl_divergence(mean, np.log(variance), reduction="mean"), np.array(expected) / 2
    )
    np.testing.assert_allclose(kl_divergence(mean), [(1 + 4) / 2, 0])
    with pytest.raises(ValueError, match="sum or mean"):
        kl_divergence(mean, reduction="none")


def test_what_needs_a_pair_is_said():
    needs_none = {name for name, loss in IMAGE_LOSSES.items() if not loss.aligned}
    assert needs_none == {
        "edge_to_scan",
        "gradient_consistency",
        "mind_to_scan",
        "mutual_information_to_scan",
        "perceptual_to_scan",
        "regulation",
        "self_regularisation",
    }
