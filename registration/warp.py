"""Resampling of images at points, with gradients to the image and to the points.

Keras's own `map_coordinates` is many times slower. Here an image is one flat array and every
corner of a cell one gather from it, compiled by XLA into one loop; what XLA does slowly is left to
TensorFlow. That choice, and gradients that are computed only where they are asked for, need
TensorFlow itself.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

Tensor = Any
Interpolation = Literal["nearest", "linear", "cubic"]
Border = Literal["constant", "edge", "mask"]

_FRAME = 2  # mirrored coefficients that a cubic spline needs on either side of the image
_SMALLEST = 1e-6  # coverage below which nothing is known of the image


def resample(
    image: Tensor,
    points: Tensor,
    *,
    interpolation: Interpolation = "linear",
    border: Border = "constant",
    value: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """The values of an image at points.

    A voxel is a box about its index: an axis of n voxels reaches from -0.5 to n - 0.5, as in ITK.
    Computed in float32, or in float64 where the image is.

    Args:
        image: [B, *grid, C], two or three axes of known length.
        points: [B, *out, rank], indices of the image's voxels, not whole.
        interpolation: 'nearest' (no gradient to points; for labels), 'linear', or 'cubic' (the
            B-spline through all voxels).
        border: 'constant' gives `value` outside the image, 'edge' what stands at its edge; 'mask'
            weighs only voxels inside the image and `mask`, and gives `value` where there are none
            within one voxel.
        value: what stands outside.
        mask: [B, *grid] or [B, *grid, 1], 0 where the image is not known; for border 'mask'.

    Returns:
        [B, *out, C].

    Raises:
        ValueError: ranks or shapes do not fit, an unknown word, or a cubic spline with a mask: it
            sees the whole image, so nothing can be left out.

    Reference: Unser 1999, equations 8 and 16, for the spline.
    """
    image, points = _as_floats(image, points)
    _check(image, points, interpolation, border, mask)
    sides = tf.constant(list(image.shape[1:-1]), points.dtype)
    if border == "mask":
        known = _framed(_as_mask(mask, image))
        both = tf.concat([_framed(image) * known, known], axis=-1)
        found = _at(both, tf.clip_by_value(points, -tf.ones_like(sides), sides) + 1, interpolation)
        covered = found[..., -1:]
        # A divisor of 1 where nothing is known: the gradient of what is not chosen stays finite.
        there = covered > _SMALLEST
        return tf.where(there, found[..., :-1] / tf.where(there, covered, 1.0), value)
    reach = 0.5 if border == "constant" and interpolation == "cubic" else 0.0
    near = tf.clip_by_value(points, tf.zeros_like(sides) - reach, sides - 1 + reach)
    found = _at(image, near, interpolation)
    if border == "edge":
        return found
    inside = tf.reduce_all((points >= -0.5) & (points < sides - 0.5), axis=-1, keepdims=True)
    return tf.where(inside, found, value)


def coverage(points: Tensor, shape: Sequence[int]) -> Tensor:
    """The share of linear weights that falls inside an image: 1 within it, 0 a voxel away.

    Args:
        points: [..., rank], indices of the image's voxels.
        shape: the image's grid.

    Returns:
        [..., 1].
    """
    points = tf.convert_to_tensor(points)
    sides = tf.constant([*shape], points.dtype)
    return tf.reduce_prod(
        tf.clip_by_value(tf.minimum(points + 1, sides - points), 0.0, 1.0), axis=-1, keepdims=True
    )


def spline_coefficients(image: Tensor) -> Tensor:
    """Coefficients of the cubic B-spline through an image, whose mirror stands at its borders.

    Args:
        image: [B, *grid, C].

    Returns:
        [B, *(grid + 4), C]: two mirrored coefficients on every side.

    Reference: Unser 1999, equation 16; here as one product with an inverse matrix an axis.
    """
    names = "bxyzc"[: image.shape.rank - 1] + "c"
    for name, length in zip(names[1:-1], image.shape[1:-1], strict=True):
        matrix = tf.constant(_prefilter(length), image.dtype)
        image = tf.einsum(f"{names},n{name}->{names.replace(name, 'n')}", image, matrix)
    return image


@functools.cache
def _prefilter(length: int) -> np.ndarray:
    """[length + 4, length]: from samples along an axis to mirrored coefficients."""
    rows = np.zeros((length, length))
    for tap, weight in zip((-1, 0, 1), (1 / 6, 4 / 6, 1 / 6), strict=True):
        np.add.at(rows, (np.arange(length), _mirrored(np.arange(length) + tap, length)), weight)
    return np.linalg.inv(rows)[_mirrored(np.arange(-_FRAME, length + _FRAME), length)]


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Where an index outside falls when the image is mirrored at its first and last voxel."""
    if length == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * length - 2)
    return np.minimum(index, 2 * length - 2 - index)


def _as_floats(image: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    image, points = tf.convert_to_tensor(image), tf.convert_to_tensor(points)
    dtype = tf.float64 if image.dtype == tf.float64 else tf.float32
    return tf.cast(image, dtype), tf.cast(points, dtype)


def _as_mask(mask: Any, image: Tensor) -> Tensor:
    if mask is None:
        return tf.ones_like(image[..., :1])
    return tf.reshape(tf.cast(mask, image.dtype), tf.shape(image[..., :1]))


def _check(image: Tensor, points: Tensor, interpolation: str, border: str, mask: Any) -> None:
    rank = image.shape.rank - 2
    if rank not in (2, 3) or None in image.shape[1:]:
        raise ValueError(f"an image is [B, *grid, C] with 2 or 3 axes, not {image.shape}")
    if points.shape.rank < 2 or points.shape[-1] != rank:
        raise ValueError(f"points of an image of rank {rank} are [B, *out, {rank}]")
    if not image.shape[:1].is_compatible_with(points.shape[:1]):
        raise ValueError(f"{image.shape[0]} images but points for {points.shape[0]}")
    if interpolation not in ("nearest", "linear", "cubic"):
        raise ValueError(f"interpolation {interpolation!r} is not nearest, linear or cubic")
    if border not in ("constant", "edge", "mask"):
        raise ValueError(f"border {border!r} is not constant, edge or mask")
    if border == "mask" and interpolation == "cubic":
        raise ValueError("a cubic spline sees the whole image: a mask needs nearest or linear")
    if mask is not None:
        if border != "mask":
            raise ValueError("a mask needs border 'mask'")
        found = tf.TensorShape(np.shape(mask) if not tf.is_tensor(mask) else mask.shape)
        if not any(found.is_compatible_with(s) for s in (image.shape[:-1], [*image.shape[:-1], 1])):
            raise ValueError(f"the mask is {found}, the image {image.shape}")


def _framed(image: Tensor) -> Tensor:
    """With one voxel of zeros on every side."""
    return tf.pad(image, [(0, 0), *[(1, 1)] * (image.shape.rank - 2), (0, 0)])


def _at(image: Tensor, points: Tensor, interpolation: str) -> Tensor:
    """Values at points inside the image, or within half a voxel for a cubic spline."""
    rank, channels = image.shape.rank - 2, image.shape[-1]
    if interpolation == "cubic":
        image, points = spline_coefficients(image), points + _FRAME
    if interpolation == "linear":
        for axis in range(1, rank + 1):  # a cell has two corners along every axis
            if image.shape[axis] == 1:
                image = tf.repeat(image, 2, axis)
    out = tf.shape(points)[:-1]
    flat = (
        tf.reshape(points, [-1, np.prod(points.shape[1:-1]), rank])
        if _known(points)
        else (tf.reshape(points, [out[0], -1, rank]))
    )
    found = _sampler(interpolation, tuple(image.shape[1:-1]))(image, flat)
    found = tf.reshape(found, tf.concat([out, [channels]], 0))
    return tf.ensure_shape(found, [*points.shape[:-1], channels])


def _known(points: Tensor) -> bool:
    return None not in points.shape[1:-1]


@functools.lru_cache(maxsize=256)
def _sampler(interpolation: str, shape: tuple[int, ...]) -> Callable[[Tensor, Tensor], Tensor]:
    """The compiled sampling of [B, *shape, C] at [B, N, rank], with its gradients."""

    def compiled(function: Callable) -> Callable:
        bound = functools.partial(function, interpolation, shape)
        return tf.function(bound, jit_compile=True, autograph=False)

    values, slopes, spread = compiled(_values), compiled(_slopes), compiled(_spread)
    # A tape that looks on would have XLA hand out whatever its own gradients need.
    unseen = tf.stop_gradient

    @tf.custom_gradient
    def sample(image: Tensor, points: Tensor):
        def backward(upstream: Tensor):
            # Two calls and not one: a graph drops the costly one where nobody wants it.
            return to_image(points, upstream), slopes(image, points, upstream)

        return values(unseen(image), unseen(points)), backward

    @tf.custom_gradient
    def to_image(points: Tensor, upstream: Tensor):
        # A scatter is a gather's transpose: its gradients are samples of what comes in. A loop's
        # own gradient could not leave XLA.
        def backward(image: Tensor):
            return slopes(image, points, upstream), sample(image, points)

        return spread(unseen(points), unseen(upstream)), backward

    return sample


def _values(interpolation: str, shape: tuple[int, ...], image: Tensor, points: Tensor) -> Tensor:
    first, steps, weights, _ = _neighbours(interpolation, shape, points)
    flat = tf.reshape(image, [-1, image.shape[-1]])
    total: Tensor = 0.0
    for taps in itertools.product(*(range(len(w)) for w in weights)):
        weight = _product([w[t] for w, t in zip(weights, taps, strict=True)])
        total += weight[..., None] * tf.gather(flat, first + _offset(taps, steps))
    return total


def _slopes(
    interpolation: str, shape: tuple[int, ...], image: Tensor, points: Tensor, upstream: Tensor
) -> Tensor:
    """The gradient to the points: gathers only."""
    if interpolation == "nearest":
        return tf.zeros_like(points)
    first, steps, weights, slopes = _neighbours(interpolation, shape, points)
    flat = tf.reshape(image, [-1, image.shape[-1]])
    total: list[Tensor] = [0.0 for _ in steps]
    for taps in itertools.product(*(range(len(w)) for w in weights)):
        found = tf.reduce_sum(tf.gather(flat, first + _offset(taps, steps)) * upstream, -1)
        for axis in range(len(steps)):
            factors = [
                (slopes if other == axis else weights)[other][tap] for other, tap in enumerate(taps)
            ]
            total[axis] += _product(factors) * found
    return tf.stack(total, axis=-1)


def _spread(interpolation: str, shape: tuple[int, ...], points: Tensor, upstream: Tensor) -> Tensor:
    """The gradient to the image: every point gives its neighbours their shares.

    Scattering is what XLA does slowest. A point's neighbours along the last axis lie side by side,
    so their shares go as one row to the first of them; what stands in the rows is summed up at
    the end. The rows of the other axes take turns in a loop: unrolled, a cubic spline in 3D took
    fifteen times as long to compile and seven times to run.
    """
    first, steps, weights, _ = _neighbours(interpolation, shape, points)
    channels, taps = upstream.shape[-1], len(weights[-1])
    row = tf.stack(weights[-1], axis=-1)[..., None] * upstream[..., None, :]
    others = [*itertools.product(range(taps), repeat=len(steps) - 1)]
    chosen = tf.constant(others)
    offsets = tf.constant([_offset(each, steps[:-1]) for each in others])
    stacked = [tf.stack(each) for each in weights[:-1]]

    def one_turn(turn: Tensor, rows: Tensor):
        weight = _product([tf.gather(w, chosen[turn, axis]) for axis, w in enumerate(stacked)])
        shares = tf.reshape(weight[..., None, None] * row, [-1, taps * channels])
        where = tf.reshape(first + offsets[turn], [-1, 1])
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


def _neighbours(interpolation: str, shape: tuple[int, ...], points: Tensor):
    """Of each point the first neighbour in the flat image; the steps along its axes; and each
    axis's weights of the neighbours and their derivatives."""
    steps = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    volume = int(np.prod(shape))
    first = tf.range(tf.shape(points)[0])[:, None] * volume
    weights, slopes = [], []
    for axis, (length, step) in enumerate(zip(shape, steps, strict=True)):
        place = points[..., axis]
        if interpolation == "nearest":
            low = tf.clip_by_value(tf.floor(place + 0.5), 0.0, float(length - 1))
            weights.append([tf.ones_like(place)])
            slopes.append([tf.zeros_like(place)])
        elif interpolation == "linear":
            low = tf.clip_by_value(tf.floor(place), 0.0, float(length - 2))
            part = place - low
            weights.append([1 - part, part])
            slopes.append([-tf.ones_like(part), tf.ones_like(part)])
        else:
            low = tf.clip_by_value(tf.floor(place) - 1, 0.0, float(length - 4))
            part = place - low - 1
            weights.append(_spline(part))
            slopes.append(_spline_slope(part))
        first += tf.cast(low, tf.int32) * step
    return first, steps, weights, slopes


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
