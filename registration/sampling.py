"""The loops behind `resample`, compiled by XLA, and their gradients.

Keras's own `map_coordinates` is many times slower. Here an image is one flat array and each
neighbour of a point one gather from it, so that XLA makes one loop of it all. Compiling, and
gradients that are computed only where they are asked for, need TensorFlow itself.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

Tensor = Any

FRAME = 2  # voxels by which an image of spline coefficients is longer on every side


class How(NamedTuple):
    """What is sampled, and what stands outside.

    Attributes:
        interpolation: 'nearest', 'linear' or 'cubic'; for the last, images are coefficients.
        border: 'constant' or 'edge'.
        value: outside, for 'constant'.
    """

    interpolation: str
    border: str
    value: float


@functools.lru_cache(maxsize=256)
def sampler(how: How, shape: tuple[int, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of [B, *shape, C] and points [B, N, rank] that gives [B, N, C], and gradients.

    Args:
        how: to sample.
        shape: of the images; with the frame, for a cubic spline.
    """

    def compiled(function: Callable) -> Callable:
        bound = functools.partial(function, how, shape)
        return tf.function(bound, jit_compile=True, autograph=False)

    values, slopes = compiled(_apart(_values)), compiled(_apart(_slopes))
    spread, plain_slopes = compiled(_spread), compiled(_slopes)
    # A tape that looks on would have XLA hand out whatever its own gradients need.
    unseen = tf.stop_gradient

    @tf.custom_gradient
    def sample(image: Tensor, points: Tensor):
        def backward(upstream: Tensor):
            # Two calls and not one: a graph drops the costly one where nobody wants it.
            return to_image(points, upstream), to_points(image, points, upstream)

        return values(unseen(image), unseen(points)), backward

    @tf.custom_gradient
    def to_image(points: Tensor, upstream: Tensor):
        # A scatter is a gather's transpose: its gradients are samples of what comes in. A loop's
        # own gradient could not leave XLA.
        def backward(image: Tensor):
            again = sampler(how._replace(value=0.0), shape)
            return to_points(image, points, upstream), again(image, points)

        return spread(unseen(points), unseen(upstream)), backward

    @tf.custom_gradient
    def to_points(*inputs: Tensor):
        def backward(weight: Tensor):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs)
                again = plain_slopes(*inputs)
            zero = tf.UnconnectedGradients.ZERO
            return tape.gradient(again, inputs, weight, unconnected_gradients=zero)

        return slopes(*map(unseen, inputs)), backward

    return sample


class _Neighbours(NamedTuple):
    """Of each point [B, N]: the voxels about it, and what it takes of them."""

    first: Tensor  # the first of them in the flat images
    steps: list[int]  # in the flat images, along each axis
    weights: list[list[Tensor]]  # by axis, one a neighbour
    slopes: list[list[Tensor]]  # their derivatives by the point
    inside: Tensor | None  # None where everything counts as inside


def _apart(function: Callable) -> Callable:
    """The function in a loop of one turn, into which XLA fuses nothing from outside.

    In a larger compiled graph, a gather at points that are gathered themselves would gather those
    anew for each neighbour: seven squarings of a field took a hundred times as long.
    """

    def turned(how: How, shape: tuple[int, ...], image: Tensor, points: Tensor, *upstream: Tensor):
        # Known only when it runs, or XLA would see that one turn is no loop.
        odd = tf.math.is_nan(tf.reshape(points, [-1])[:1])
        turns = 1 + tf.reduce_sum(tf.cast(odd, tf.int32))
        width = len(shape) if upstream else image.shape[-1]
        batch, count = tf.unstack(tf.shape(points)[:2])
        return tf.while_loop(
            lambda turn, _: turn < turns,
            lambda turn, _: (turn + 1, function(how, shape, image, points, *upstream)),
            (0, tf.zeros([batch, count, width], image.dtype)),
        )[1]

    return turned


def _values(how: How, shape: tuple[int, ...], image: Tensor, points: Tensor) -> Tensor:
    near = _neighbours(how, shape, points)
    flat = tf.reshape(image, [-1, image.shape[-1]])
    total: Tensor = 0.0
    for taps in itertools.product(*(range(len(w)) for w in near.weights)):
        weight = _product([w[t] for w, t in zip(near.weights, taps, strict=True)])
        total += weight[..., None] * tf.gather(flat, near.first + _offset(taps, near.steps))
    return total if near.inside is None else tf.where(near.inside[..., None], total, how.value)


def _slopes(
    how: How, shape: tuple[int, ...], image: Tensor, points: Tensor, upstream: Tensor
) -> Tensor:
    """The gradient to the points: gathers only."""
    if how.interpolation == "nearest":
        return tf.zeros_like(points)
    near = _neighbours(how, shape, points)
    flat = tf.reshape(image, [-1, image.shape[-1]])
    upstream = _heard(near, upstream)

    def read(offset: int) -> Tensor:
        return tf.reduce_sum(tf.gather(flat, near.first + offset) * upstream, axis=-1)

    return tf.stack(_differentiated(near, read)[1:], axis=-1)


def _differentiated(
    near: _Neighbours, read: Callable[[int], Tensor], axis: int = 0, offset: int = 0
) -> list[Tensor]:
    """The weighted sum along this axis and those after it, and its slopes along each of them.

    Nested, what axes have in common is computed once: a third less time than product by product.
    """
    if axis == len(near.steps):
        return [read(offset)]
    below = [
        _differentiated(near, read, axis + 1, offset + tap * near.steps[axis])
        for tap in range(len(near.weights[axis]))
    ]
    value, *slopes = zip(*below, strict=True)

    def mixed(weights: list[Tensor], parts: Sequence[Tensor]) -> Tensor:
        return sum(w * part for w, part in zip(weights, parts, strict=True))

    weights = near.weights[axis]
    return [
        mixed(weights, value),
        mixed(near.slopes[axis], value),
        *[mixed(weights, slope) for slope in slopes],
    ]


def _spread(how: How, shape: tuple[int, ...], points: Tensor, upstream: Tensor) -> Tensor:
    """The gradient to the image: every point gives its neighbours their shares.

    Scattering is what XLA does slowest. A point's neighbours along the last axis lie side by side,
    so their shares go as one row to the first of them; what stands in the rows is summed up at
    the end. The rows of the other axes take turns in a loop: unrolled, a cubic spline in 3D took
    seven times as long to compile and to run.
    """
    near = _neighbours(how, shape, points)
    upstream = _heard(near, upstream)
    channels, taps = upstream.shape[-1], len(near.weights[-1])
    row = tf.stack(near.weights[-1], axis=-1)[..., None] * upstream[..., None, :]
    others = [*itertools.product(range(taps), repeat=len(shape) - 1)]
    chosen = tf.constant(others)
    offsets = tf.constant([_offset(each, near.steps[:-1]) for each in others])
    stacked = [tf.stack(each) for each in near.weights[:-1]]

    def one_turn(turn: Tensor, rows: Tensor):
        weight = _product([tf.gather(w, chosen[turn, axis]) for axis, w in enumerate(stacked)])
        shares = tf.reshape(weight[..., None, None] * row, [-1, taps * channels])
        where = tf.reshape(near.first + offsets[turn], [-1, 1])
        return turn + 1, tf.tensor_scatter_nd_add(rows, where, shares)

    count = tf.shape(points)[0] * int(np.prod(shape))
    _, rows = tf.while_loop(
        lambda turn, rows: turn < len(others),
        one_turn,
        (0, tf.zeros([count, taps * channels], points.dtype)),
        maximum_iterations=len(others),
    )
    rows = tf.reshape(rows, [count, taps, channels])
    total = rows[:, 0]
    for tap in range(1, taps):
        total += tf.pad(rows[: count - tap, tap], [(tap, 0), (0, 0)])
    return tf.reshape(total, [-1, *shape, channels])


def _neighbours(how: How, shape: tuple[int, ...], points: Tensor) -> _Neighbours:
    frame = FRAME if how.interpolation == "cubic" else 0
    # Between the last voxel's centre and its border a spline goes on; lines end at the centre.
    reach = 0.5 if frame and how.border == "constant" else 0.0
    volume = int(np.prod(shape))
    # A sum of whole floats is exact up to here, and one conversion is faster than one an axis.
    exact = volume <= 2**24 or points.dtype == tf.float64
    first: Tensor = 0.0 if exact else 0
    inside: Tensor = True
    steps, weights, slopes = [], [], []
    for axis, length in enumerate(shape):
        place, side = points[..., axis], length - 2 * frame
        # An axis of one voxel has no second one: no step leads to it, and its weight is 0.
        step = int(np.prod(shape[axis + 1 :])) if length > 1 else 0
        inside &= (place >= -0.5) & (place < side - 0.5)
        near = tf.clip_by_value(place, -reach, side - 1 + reach)
        free = tf.cast(near == place, place.dtype)  # what is held at the edge has no slope
        place = near + frame
        if how.interpolation == "nearest":
            low = tf.minimum(tf.floor(place + 0.5), length - 1.0)
            found, slope = [free * 0 + 1], [free * 0]
        elif how.interpolation == "linear":
            low = tf.minimum(tf.floor(place), max(length - 2.0, 0.0))
            found, slope = [1 - (place - low), place - low], [-free, free]
        else:
            low = tf.clip_by_value(tf.floor(place) - 1, 0.0, length - 4.0)
            found = _spline(place - low - 1)
            slope = [free * each for each in _spline_slope(place - low - 1)]
        first += (low if exact else tf.cast(low, tf.int32)) * step
        steps.append(step)
        weights.append(found)
        slopes.append(slope)
    first = tf.cast(first, tf.int32) + tf.range(tf.shape(points)[0])[:, None] * volume
    return _Neighbours(first, steps, weights, slopes, inside if how.border == "constant" else None)


def _heard(near: _Neighbours, upstream: Tensor) -> Tensor:
    """What comes back of the points inside."""
    return upstream if near.inside is None else tf.where(near.inside[..., None], upstream, 0.0)


def _spline(t: Tensor) -> list[Tensor]:
    """The four cubic B-splines about a point at t between its second and third neighbour."""
    return [
        (1 - t) ** 3 / 6,
        2 / 3 - t**2 + t**3 / 2,
        2 / 3 - (1 - t) ** 2 + (1 - t) ** 3 / 2,
        t**3 / 6,
    ]


def _spline_slope(t: Tensor) -> list[Tensor]:
    return [
        -((1 - t) ** 2) / 2,
        1.5 * t**2 - 2 * t,
        2 * (1 - t) - 1.5 * (1 - t) ** 2,
        t**2 / 2,
    ]


def _product(factors: list[Tensor]) -> Tensor:
    return functools.reduce(lambda a, b: a * b, factors)


def _offset(taps: Sequence[int], steps: Sequence[int]) -> int:
    return sum(tap * step for tap, step in zip(taps, steps, strict=True))
