"""What arrays a loss takes, and how its map becomes one value a sample."""

from typing import Any

from keras import ops

Tensor = Any


def as_floats(x: Tensor) -> Tensor:
    """In float32, or in float64 where it is; a loss in half precision is rounding.

    Args:
        x: [B, *grid, C], two or three dimensions.

    Raises:
        ValueError: another rank.
    """
    x = ops.convert_to_tensor(x)
    if len(x.shape) not in (4, 5):
        raise ValueError(f"an image is [B, *grid, C] in 2D or 3D, not {tuple(x.shape)}")
    return x if x.dtype == "float64" else ops.cast(x, "float32")


def as_pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Two images of one shape as floats.

    Raises:
        ValueError: shapes that differ.
    """
    x, y = as_floats(x), as_floats(y)
    shapes = tuple(x.shape), tuple(y.shape)
    if len(shapes[0]) != len(shapes[1]) or any(
        a != b for a, b in zip(*shapes, strict=True) if a is not None and b is not None
    ):
        raise ValueError(f"images of one shape are compared, not {shapes[0]} and {shapes[1]}")
    return x, y


def as_weights(within: Tensor, like: Tensor) -> Tensor:
    """A mask or weights as [B, *grid, 1].

    Args:
        within: [B, *grid] or [B, *grid, 1], not negative.
        like: the image it is of.

    Raises:
        ValueError: a grid that is not the image's.
    """
    within = ops.cast(within, like.dtype)
    if len(within.shape) == len(like.shape) - 1:
        within = within[..., None]
    if tuple(within.shape[1:]) != (*like.shape[1:-1], 1):
        raise ValueError(f"weights {tuple(within.shape)} are not of images {tuple(like.shape)}")
    return within


def averaged(values: Tensor, within: Tensor | None = None) -> Tensor:
    """The mean of a map a sample, [B]; with weights the weighted mean, 0 where all weights are.

    Args:
        values: [B, *grid, C].
        within: [B, *grid] or [B, *grid, 1], a mask or weights.
    """
    axes = tuple(range(1, len(values.shape)))
    if within is None:
        return ops.mean(values, axis=axes)
    within = as_weights(within, values)
    total: Tensor = ops.sum(within, axis=axes)
    # A divisor of 1 where nothing is weighed: 0 / 0 has no gradient.
    total = ops.where(total > 0, total, ops.ones_like(total))
    mean: Tensor = ops.mean(values, axis=-1, keepdims=True)
    return ops.sum(mean * within, axis=axes) / total
