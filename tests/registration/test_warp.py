"""Resampling: its values, borders and gradients, against scipy and tensorflow-addons."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from registration.warp import coverage, resample, spline_coefficients

PARITY = Path(__file__).parents[1] / "data" / "parity"
ORDERS = {"nearest": 0, "linear": 1, "cubic": 3}
SHAPES = {2: (7, 9), 3: (6, 5, 8)}


def grid(shape):
    return np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("interpolation", ORDERS)
def test_own_voxels_give_the_image(rng, rank, interpolation):
    image = rng.standard_normal((2, *SHAPES[rank], 3))
    points = np.stack([grid(SHAPES[rank])] * 2)
    for border in ("constant", "edge") + (("mask",) if interpolation != "cubic" else ()):
        found = resample(image, points, interpolation=interpolation, border=border)
        np.testing.assert_allclose(found, image, atol=1e-12)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("interpolation", ORDERS)
def test_inside_it_is_what_scipy_gives(rng, rank, interpolation):
    shape = SHAPES[rank]
    image = rng.standard_normal((2, *shape, 2))
    points = rng.uniform(0, np.array(shape) - 1, (2, 50, rank))
    found = resample(image, points, interpolation=interpolation).numpy()
    for b, c in itertools.product(range(2), range(2)):
        expected = ndimage.map_coordinates(
            image[b, ..., c], points[b].T, order=ORDERS[interpolation], mode="mirror"
        )
        np.testing.assert_allclose(found[b, :, c], expected, atol=1e-10)


def test_spline_coefficients_are_those_of_scipy(rng):
    image = rng.standard_normal((1, 9, 2, 1, 1))
    expected = ndimage.spline_filter(image[0, :, :, 0, 0], order=3, mode="mirror")
    found = spline_coefficients(tf.constant(image))[0, 2:-2, 2:-2, 2, 0]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_beyond_the_edge_stands_the_edge_or_the_value(rng, interpolation):
    image = rng.standard_normal((1, 6, 7, 1))
    points = rng.uniform(-4, 11, (1, 200, 2))
    edge = resample(image, points, interpolation=interpolation, border="edge")[0, :, 0]
    expected = ndimage.map_coordinates(
        image[0, ..., 0], points[0].T, order=ORDERS[interpolation], mode="nearest"
    )
    np.testing.assert_allclose(edge, expected, atol=1e-12)
    constant = resample(image, points, interpolation=interpolation, value=-3.0)[0, :, 0]
    inside = ((points[0] >= -0.5) & (points[0] < [5.5, 6.5])).all(-1)
    np.testing.assert_allclose(constant, np.where(inside, expected, -3), atol=1e-12)


def test_masked_voxels_have_no_weight():
    image = np.array([[2.0, 4.0, np.nan, 8.0]])[..., None, None]
    image = np.concatenate([image, image], axis=2)
    mask = np.isfinite(image)
    at = np.array([0.5, 1.25, 1.75, 2.0, 2.5, -0.5, -1.0, 3.9, 4.0])
    points = np.stack([at, np.zeros_like(at)], -1)[None]
    found = resample(image, points, border="mask", mask=mask, value=-1.0)[0, :, 0]
    np.testing.assert_allclose(found, [3, 4, 4, -1, 8, 2, -1, 8, -1], atol=1e-12)
    found = resample(image, points, border="mask", mask=mask[..., 0], value=-1.0)[0, :, 0]
    np.testing.assert_allclose(found, [3, 4, 4, -1, 8, 2, -1, 8, -1], atol=1e-12)
    np.testing.assert_allclose(
        coverage(points, (4, 2))[0, :, 0], [1, 1, 1, 1, 1, 0.5, 0, 0.1, 0], atol=1e-12
    )


@pytest.mark.parametrize(
    ("interpolation", "border", "rank"),
    [
        ("nearest", "edge", 2),
        ("linear", "constant", 3),
        ("linear", "edge", 2),
        ("linear", "mask", 2),
        ("cubic", "edge", 2),
        ("cubic", "constant", 3),
    ],
)
def test_gradients_are_finite_differences(rng, interpolation, border, rank):
    shape = (3, 4) if rank == 2 else (3, 4, 2)
    image = rng.standard_normal((2, *shape, 2))
    # Away from whole and half indices, where the derivative jumps.
    points = rng.integers(-1, shape, (2, 40, rank)) + rng.uniform(0.05, 0.45, (2, 40, rank))
    weight = rng.standard_normal((2, 40, 2))
    mask = (rng.random((2, *shape)) < 0.8) if border == "mask" else None

    def loss(image, points):
        found = resample(image, points, interpolation=interpolation, border=border, mask=mask)
        return tf.reduce_sum(found * weight)

    values = [tf.constant(image), tf.constant(points)]
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = loss(*values)
    gradients = tape.gradient(total, values)
    for which in [0, 1] * 3:  # each step moves every number there is
        step = rng.standard_normal(values[which].shape)
        up, down = (
            loss(*[v + s * step if k == which else v for k, v in enumerate(values)])
            for s in (1e-4, -1e-4)
        )
        found = np.sum(gradients[which] * step)
        np.testing.assert_allclose(found, (up - down) / 2e-4, atol=1e-5)


def test_voxels_are_found_in_volumes_beyond_whole_floats(rng):
    """Of more than 2²⁴ voxels float32 knows only every second one by its number."""
    image = np.tile(np.arange(4100, dtype=np.float32) % 997, (4100, 1))[None, ..., None]
    rows, columns = rng.integers(4000, 4099, (2, 1, 30))
    points = np.stack([rows, columns + 0.5], -1).astype(np.float32)
    expected = (columns[0] % 997 + (columns[0] + 1) % 997) / 2
    np.testing.assert_allclose(resample(image, points)[0, :, 0], expected, atol=1e-3)


@pytest.mark.parametrize("jit", [False, True])
def test_a_graph_of_any_batch_gives_what_eager_code_does(rng, jit):
    image, points = rng.standard_normal((3, 4, 5, 2)), rng.uniform(0, 3, (3, 6, 2))

    def both(image, points):
        with tf.GradientTape() as tape:
            tape.watch([image, points])
            found = resample(image, points)
            loss = tf.reduce_sum(found**2)
        return found, *tape.gradient(loss, [image, points])

    whole = both(tf.constant(image), tf.constant(points))
    signature = [tf.TensorSpec((None, 4, 5, 2), "float64"), tf.TensorSpec((None, 6, 2), "float64")]
    graph = tf.function(both, input_signature=signature, autograph=False, jit_compile=jit)
    for one, other in zip(graph(image[1:], points[1:]), whole, strict=True):
        np.testing.assert_allclose(one, other[1:], atol=1e-12)


def test_it_equals_tensorflow_addons():
    """`dense_image_warp` takes its flow off the index; values and both gradients."""
    with np.load(PARITY / "dense_image_warp.npz") as stored:
        known = {name: stored[name] for name in stored.files}
    image, flow = tf.constant(known["image"]), tf.constant(known["flow"])
    with tf.GradientTape() as tape:
        tape.watch([image, flow])
        points = tf.cast(grid((7, 9))[None], tf.float32) - flow
        warped = resample(image, points, border="edge")
        loss = tf.reduce_sum(warped * known["weight"])
    image_gradient, flow_gradient = tape.gradient(loss, [image, flow])
    np.testing.assert_allclose(warped, known["y"], atol=1e-5)
    np.testing.assert_allclose(image_gradient, known["image_gradient"], atol=1e-5)
    np.testing.assert_allclose(flow_gradient, known["flow_gradient"], atol=1e-5)


def test_gradients_have_gradients(rng):
    """A penalty on a gradient goes through the resampling, eager and in a graph."""
    values = [rng.standard_normal((1, 4, 5, 1)), rng.uniform(0, 3, (1, 6, 2))]
    step = [rng.standard_normal(v.shape) for v in values]

    def penalty(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(resample(*values) ** 2)
        return sum(tf.reduce_sum(g**2) for g in tape.gradient(total, values))

    def slope(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = penalty(*values)
        return tape.gradient(total, values)

    up, down = (
        penalty(*(tf.constant(v + s * d) for v, d in zip(values, step, strict=True)))
        for s in (1e-5, -1e-5)
    )
    for way in (slope, tf.function(slope)):
        found = way(*map(tf.constant, values))
        along = sum(np.sum(g * d) for g, d in zip(found, step, strict=True))
        np.testing.assert_allclose(along, (up - down) / 2e-5, rtol=1e-5)
