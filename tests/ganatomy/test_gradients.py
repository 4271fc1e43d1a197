"""Differentiation: derivatives are right, and every sample of a descent is alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganatomy.gradients import compiled, descend, gradient


def bowl(centre):
    """Sum over all axes but the first of (x - centre)² times a slope a coordinate."""
    centre = tf.constant(centre)

    def value(x):
        weights = tf.range(1.0, x.shape[1] + 1.0)
        return tf.reduce_sum(weights * tf.square(x - centre), axis=1)

    return value


def points(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_gradient_is_the_limit_of_differences():
    x = points(3, 4).astype("float64")

    def function(x):
        return tf.reduce_sum(tf.sin(x) * tf.square(x), axis=1)

    exact = gradient(function, x).numpy()
    step = 1e-5
    for place in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[place] = step
        slope = (function(x + shift) - function(x - shift)).numpy().sum() / (2 * step)
        assert exact[place] == pytest.approx(slope, abs=1e-8)


def test_gradient_can_be_differentiated_again():
    x = tf.constant([[1.0], [2.0]])
    second = gradient(lambda y: tf.reduce_sum(gradient(lambda v: v**3, y), axis=1), x)
    np.testing.assert_allclose(second, 6 * x, rtol=1e-6)


def test_gradient_of_what_does_not_depend_on_x_is_zero():
    np.testing.assert_array_equal(gradient(lambda x: tf.ones([2]), points(2, 3)), np.zeros((2, 3)))


def test_descent_follows_keras_adam_step_by_step():
    start, centre = points(1, 5), points(5, seed=1)
    variable = tf.Variable(start)
    adam = keras.optimizers.Adam(0.05, beta_1=0.8, beta_2=0.95, epsilon=1e-8)
    adam.build([variable])
    for steps in range(1, 8):
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(bowl(centre)(variable))
        adam.apply([tape.gradient(value, variable)], [variable])
        found = descend(bowl(centre), start, steps=steps, learning_rate=0.05, betas=(0.8, 0.95))
        # Downhill all the way, so the best point is the last.
        np.testing.assert_allclose(found.x, variable.numpy(), atol=2e-6)
        np.testing.assert_allclose(found.value, bowl(centre)(variable), rtol=1e-5)


def test_a_sample_descends_alike_in_any_company():
    centre, start = points(6, seed=1), points(8, 6)
    search = compiled(lambda x: descend(bowl(centre), x, steps=40, learning_rate=0.1, patience=5))
    together = search(tf.constant(start))
    company = np.concatenate([points(3, 6, seed=9) * 100, start[:1], points(4, 6, seed=8)])
    moved = search(tf.constant(company))
    for one, other in zip(together, moved, strict=True):
        np.testing.assert_array_equal(one[0], other[3])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("signature", [True, False], ids=["any number", "this number"])
def test_a_batch_of_any_size_descends_in_a_graph(count, signature):
    centre, start = points(3, seed=1), points(count, 3)

    def search(x):
        return descend(bowl(centre), x, steps=4, learning_rate=0.1, patience=3)

    graph = tf.function(search, input_signature=[tf.TensorSpec((None, 3))] if signature else None)
    for one, other in zip(graph(tf.constant(start)), search(start), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_best_point_is_returned_and_not_the_last():
    # A step size that overshoots: the last point is worse than an earlier one.
    start = np.array([[0.3]], "float32")
    visited = []

    def value(x):
        found = tf.reduce_sum(tf.square(x), axis=1)
        tf.py_function(lambda v: visited.append(float(v)), [found[0]], [])
        return found

    found = descend(value, start, steps=9, learning_rate=0.5)
    assert visited[-1] > min(visited)
    assert float(found.value[0]) == min(visited)
    np.testing.assert_allclose(float(found.x[0, 0]) ** 2, min(visited), rtol=1e-6)


def test_the_start_counts_where_nothing_is_better():
    start = np.zeros((1, 2), "float32")
    found = descend(lambda x: tf.reduce_sum(x**2, axis=1), start, steps=5, learning_rate=0.1)
    np.testing.assert_array_equal(found.x, start)
    assert float(found.value[0]) == 0.0


def test_patience_stops_each_sample_for_itself():
    # The first sample sits in its minimum; the second has far to go.
    start = np.array([[0.0], [50.0]], "float32")
    found = descend(
        lambda x: tf.reduce_sum(x**2, axis=1) + 1.0,
        start,
        steps=60,
        learning_rate=0.5,
        patience=4,
        tolerance=1e-3,
    )
    # Its first value is progress from nothing; then four steps without any.
    assert found.steps.numpy().tolist() == [5, 60]
    assert float(found.value[1]) < 700


def test_without_patience_every_step_is_taken():
    found = descend(
        lambda x: tf.reduce_sum(x**2, axis=1),
        np.zeros((3, 1), "float32"),
        steps=7,
        learning_rate=0.1,
    )
    assert found.steps.numpy().tolist() == [7, 7, 7]


def test_many_small_falls_count_as_progress_once_they_add_up():
    # Each step falls by less than the tolerance, three of them by more.
    def value(x):
        return 1.0 - 4e-4 * tf.reduce_sum(x, axis=1)

    start = np.zeros((1, 1), "float32")
    settings = {"steps": 50, "learning_rate": 1.0, "tolerance": 1e-3}
    assert int(descend(value, start, patience=4, **settings).steps[0]) == 50
    assert int(descend(value, start, patience=2, **settings).steps[0]) == 3


def test_the_step_size_decays_to_the_stated_fraction():
    def value(x):
        return -tf.reduce_sum(x, axis=1)  # a constant slope: Adam's move is the step size

    start = np.zeros((1, 1), "float32")
    constant = descend(value, start, steps=4, learning_rate=1.0)
    decayed = descend(value, start, steps=4, learning_rate=1.0, decay=0.1)
    expected = sum(0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * k / 4)) for k in range(4))
    assert float(constant.x[0, 0]) == pytest.approx(4.0, abs=1e-3)
    assert float(decayed.x[0, 0]) == pytest.approx(expected, abs=1e-3)
