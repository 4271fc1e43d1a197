"""Differentiation outside a training step: gradients of functions, and descent on an input.

With game.py this is the only place that differentiates. Networks, layers,
objectives and losses stay on keras.ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

Tensor = Any


def gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradient of the sum of `function(x)` to `x`; itself differentiable.

    Args:
        function: maps `x` [B, ...] to one value a sample [B] (any shape is summed).
        x: where to differentiate.

    Returns:
        A tensor of the shape of `x`. Where each value depends on its own sample
        only, row b is the gradient of the value of sample b.
    """
    x = tf.convert_to_tensor(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = tf.reduce_sum(function(x))
    return tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


class Descent(NamedTuple):
    """Where a descent ended: the best point of every sample, its value, and its steps."""

    x: Tensor  # [B, ...]
    value: Tensor  # [B]
    steps: Tensor  # [B], int32


def descend(
    function: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    steps: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    patience: int | None = None,
    tolerance: float = 1e-3,
    decay: float = 1.0,
) -> Descent:
    """Minimise every sample's own value by Adam, as one loop in the graph.

    Adam is elementwise and the objective is a sum over samples, so each sample has
    an optimiser state of its own and never feels its neighbours. A sample whose best
    value has not fallen by the fraction `tolerance` within `patience` steps stops; the
    loop ends when all have.

    Args:
        function: maps [B, ...] to one value a sample [B].
        start: where to begin, [B, ...] float32.
        steps: at most so many.
        learning_rate: Adam's first step size.
        betas: Adam's decay rates.
        patience: steps without progress after which a sample stops; None never stops.
        tolerance: relative fall of the best value that counts as progress.
        decay: the step size at the end as a fraction of the first (cosine in between).

    Reference: Kingma & Ba 2015, algorithm 1; Schlegl et al. 2017, section 2.2.
    """
    start = tf.convert_to_tensor(start)
    # The number itself where it is known: one unknown does not broadcast with a batch of one.
    batch = tf.shape(start)[0] if start.shape[0] is None else start.shape[0]
    wide = (-1,) + (1,) * (start.shape.rank - 1)
    beta_1, beta_2 = betas

    def value_and_slope(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = function(x)
            total = tf.reduce_sum(value)
        return value, tape.gradient(total, x)

    def goes_on(step, x, mean, square, best_x, best, anchor, since, used):
        running = tf.less(step, steps)
        if patience is None:
            return running
        return running & tf.reduce_any(since < patience)

    def one_step(step, x, mean, square, best_x, best, anchor, since, used):
        value, slope = value_and_slope(x)
        active = tf.ones([batch], tf.bool) if patience is None else since < patience
        better = active & (value < best)
        best_x = tf.where(tf.reshape(better, wide), x, best_x)
        best = tf.where(better, value, best)
        # Progress is measured against the value at the last progress, not the last step:
        # many small falls count once they add up.
        progress = active & (best < anchor * (1.0 - tolerance))
        anchor = tf.where(progress, best, anchor)
        since = tf.where(progress, 0, since + tf.cast(active, tf.int32))
        used = used + tf.cast(active, tf.int32)
        count = tf.cast(step + 1, x.dtype)
        mean = beta_1 * mean + (1.0 - beta_1) * slope
        square = beta_2 * square + (1.0 - beta_2) * tf.square(slope)
        rate = learning_rate * (
            decay + (1.0 - decay) * 0.5 * (1.0 + tf.cos(3.141592653589793 * (count - 1) / steps))
        )
        move = (
            rate * (mean / (1.0 - beta_1**count)) / (tf.sqrt(square / (1.0 - beta_2**count)) + 1e-8)
        )
        x = tf.where(tf.reshape(active, wide), x - move, x)
        return step + 1, x, mean, square, best_x, best, anchor, since, used

    infinite = tf.fill([batch], tf.constant(float("inf"), start.dtype))
    none = tf.zeros([batch], tf.int32)
    begin = (
        tf.constant(0),
        start,
        tf.zeros_like(start),
        tf.zeros_like(start),
        start,
        infinite,
        infinite,
        none,
        none,
    )
    _, x, _, _, best_x, best, _, _, used = tf.while_loop(
        goes_on, one_step, begin, parallel_iterations=1
    )
    value = function(x)
    better = value < best
    return Descent(
        tf.where(tf.reshape(better, wide), x, best_x), tf.where(better, value, best), used
    )


def compiled(function: Callable, *, jit_compile: bool = False) -> Callable:
    """`function` as a graph; shapes are traced once each.

    Args:
        function: of tensors.
        jit_compile: by XLA: quicker where much happens to few numbers, slower in convolutions on a
            processor. Numerics are TensorFlow's own where it is not.
    """
    return tf.function(function, autograph=False, reduce_retracing=False, jit_compile=jit_compile)
