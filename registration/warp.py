"""Resampling of images at points, with gradients to the image and to the points."""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from registration.sampling import FRAME, How, sampler

Tensor = Any
Interpolation = Literal["nearest", "linear", "cubic"]
Border = Literal["constant", "edge", "mask"]

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
        ValueError: ranks or shapes do not fit, 2³¹ voxels or more, an unknown word, or a cubic
            spline with a mask: it sees the whole image, so nothing can be left out.

    Reference: Unser 1999, "Splines: a perfect fit", for the cubic spline.
    """
    image, points = _as_floats(image, points)
    _check(image, points, interpolation, border, mask)
    if border == "mask":
        known = _framed(_as_mask(mask, image))
        # What is not known may be NaN, which no weight of 0 takes away.
        both = tf.concat([tf.where(known > 0, _framed(image), 0.0) * known, known], axis=-1)
        found = _at(both, points + 1, How(interpolation, "edge", 0.0))
        covered = found[..., -1:]
        # A divisor of 1 where nothing is known: the gradient of what is not chosen stays finite.
        there = covered > _SMALLEST
        return tf.where(there, found[..., :-1] / tf.where(there, covered, 1.0), value)
    if interpolation == "cubic":
        image = spline_coefficients(image)
    return _at(image, points, How(interpolation, border, float(value)))


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

    Reference: Unser 1999; its recursive filter is here a product with an inverse matrix an axis.
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
    return np.linalg.inv(rows)[_mirrored(np.arange(-FRAME, length + FRAME), length)]


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
    if (image.shape[:-1].num_elements() or 0) >= 2**31:
        raise ValueError(f"a batch of {image.shape} has 2³¹ voxels or more: make it smaller")
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


def _at(image: Tensor, points: Tensor, how: How) -> Tensor:
    shape, channels, rank = tuple(image.shape[1:-1]), image.shape[-1], points.shape[-1]
    out = tf.shape(points)[:-1]
    known = points.shape[1:-1].num_elements()
    flat = tf.reshape(points, [out[0], -1 if known is None else known, rank])
    found = tf.reshape(sampler(how, shape)(image, flat), tf.concat([out, [channels]], 0))
    return tf.ensure_shape(found, [*points.shape[:-1], channels])
