"""Differences voxel by voxel, over the whole image or weighted."""

from typing import Any

from keras import ops

from ganatomy.losses.arrays import as_pair, averaged

Tensor = Any


def l1(x: Tensor, y: Tensor, *, within: Tensor | None = None) -> Tensor:
    """The mean absolute difference.

    Args:
        x: [B, *grid, C].
        y: the same.
        within: [B, *grid] or [B, *grid, 1], a mask or weights: with a map of vessels the vessels'
            term of Mahapatra et al. 2018.

    Returns:
        [B]: 0 the same; in the intensities' unit.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Isola et al. 2017, equation 3.
    """
    x, y = as_pair(x, y)
    return averaged(ops.abs(x - y), within)


def l2(x: Tensor, y: Tensor, *, within: Tensor | None = None) -> Tensor:
    """The mean squared difference.

    Args:
        x: [B, *grid, C].
        y: the same.
        within: as in `l1`.

    Returns:
        [B]: 0 the same; in the square of the intensities' unit.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Pathak et al. 2016, equation 1, there within the hole.
    """
    x, y = as_pair(x, y)
    return averaged(ops.square(x - y), within)


def charbonnier(
    x: Tensor, y: Tensor, *, epsilon: float = 1e-3, within: Tensor | None = None
) -> Tensor:
    """The mean of sqrt(difference² + ε²): `l1` that is smooth at 0.

    Args:
        x: [B, *grid, C].
        y: the same.
        epsilon: ε, in the intensities' unit.
        within: as in `l1`.

    Returns:
        [B]: ε the same; in the intensities' unit.

    Raises:
        ValueError: shapes that do not fit.

    Reference: Charbonnier et al. 1994; Lai et al. 2017, equation 1, with ε of 1e-3.
    """
    x, y = as_pair(x, y)
    square: Tensor = ops.square(x - y)
    return averaged(ops.sqrt(square + epsilon**2), within)
