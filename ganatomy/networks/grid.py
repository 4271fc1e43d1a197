"""From a sample's shape to a pyramid: how often its grid halves, and what is left."""

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
