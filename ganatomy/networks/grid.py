"""How often a sample's grid halves, and how one that does not is continued by its mirror image."""

from collections.abc import Callable
from typing import Any

from keras import ops

BASE = 4


def pyramid(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """How often the grid of a sample halves until its smallest side is 4 to 7.

    Args:
        shape: (H, W, C) or (D1, D2, D3, C).

    Returns:
        The number of halvings, and the grid that is left: (64, 96, 1) -> 4, (4, 6).

    Raises:
        ValueError: not two or three sides and channels, a side below 8, or one that does not halve
            so often.
    """
    shape = tuple(shape)
    if len(shape) not in (3, 4) or any(not isinstance(n, int) or n < 1 for n in shape):
        raise ValueError(f"a shape is (H, W, C) or (D1, D2, D3, C) in whole numbers, not {shape}")
    sides = shape[:-1]
    halvings = (min(sides) // BASE).bit_length() - 1
    if halvings < 1:
        raise ValueError(f"every side has to be {2 * BASE} or more; the shape is {shape}")
    factor = 2**halvings
    if any(side % factor for side in sides):
        raise ValueError(
            f"every side has to be a multiple of {factor} for {halvings} halvings of the smallest "
            f"side, {min(sides)}; the shape is {shape}. Pad or resize, for example to "
            f"{tuple(-(-side // factor) * factor for side in sides)}"
        )
    return halvings, tuple(side // factor for side in sides)


def reflected(x: Any, width: int) -> Any:
    """Images continued by their mirror image, [B, *grid, C], by so many voxels at every side."""
    return ops.pad(x, [(0, 0), *[(width, width)] * (len(x.shape) - 2), (0, 0)], mode="reflect")


def halvable(x: Any, factor: int) -> tuple[Any, Callable[[Any], Any]]:
    """Images continued by their mirror image until every side is a multiple of a number.

    Args:
        x: [B, *grid, C], sides longer than half the factor.
        factor: what every side is made a multiple of.

    Returns:
        The images, and what cuts images of the new grid to the old one.
    """
    sides = tuple(x.shape[1:-1])
    missing = [-side % factor for side in sides]
    if not any(missing):
        return x, lambda made: made
    pads = [(n // 2, n - n // 2) for n in missing]
    cut = tuple(slice(low, low + side) for (low, _), side in zip(pads, sides, strict=True))
    padded = ops.pad(x, [(0, 0), *pads, (0, 0)], mode="reflect")
    return padded, lambda made: made[(slice(None), *cut)]
