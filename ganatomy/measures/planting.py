"""Planted lesions: abnormal tissue in a healthy scan, with its exact outline.

Where no real lesion is outlined, a method is measured on these, and its settings are chosen on
these, in healthy scans that it was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

KINDS = ("intensity", "texture", "deformation", "foreign")
# Semi-axes of an ellipsoid are up to so many times longer or shorter than the ball's radius.
ELONGATION = 1.3
# The share of the radius over which a lesion fades out.
EDGE = 0.3
# What pushes tissue from the middle and what draws it there; beyond -1 or 3 tissue would fold.
LENSES = (-0.9, 1.5)


class PlantedLesion(NamedTuple):
    """A scan with a lesion.

    Attributes:
        image: the altered scan, shape and type of the healthy one.
        mask: where it was altered, bool.
        centre: index of the lesion's middle, [axes].
    """

    image: np.ndarray
    mask: np.ndarray
    centre: tuple[int, ...]


def plant_lesion(
    image: np.ndarray,
    kind: str,
    size: float,
    seed: int,
    *,
    spacing: Sequence[float] | None = None,
    within: np.ndarray | None = None,
    strength: float = 1.0,
    donor: np.ndarray | None = None,
) -> PlantedLesion:
    """Plant one lesion in a healthy image or volume.

    It fills an ellipsoid with the volume of a ball of that diameter (in 2D an ellipse with the
    area of the disc), somewhere inside `within`, and vanishes towards its border. The seed
    decides place, shape and content. What happens to be as it was (a flat background under a
    deformation) is no part of the mask.

    Args:
        image: [*grid], two or three axes, floating point, in units of its own.
        kind: "intensity", lighter or darker by `strength` standard deviations of what lies
            `within`; "texture", grains of that deviation in place of the detail that was there;
            "deformation", tissue drawn towards the middle or pushed from it; "foreign", tissue
            of `donor`, gradients and all, without a seam.
        size: diameter in mm, or in pixels without `spacing`.
        seed: of all that is random.
        spacing: mm a pixel, one number an axis.
        within: where the lesion may lie, bool [*grid]; None is anywhere.
        strength: how much, relative to the kind's own measure; 1 is plain to see, and is the most
            that a deformation takes.
        donor: another scan with as many axes and the same spacing, for "foreign" only.

    Raises:
        ValueError: a lesion that does not fit, or arguments that do not.

    Reference: Pérez, Gangnet, Blake 2003, equations 2 and 12, for "foreign".
    """
    image = np.asarray(image)
    _check(image, kind, size, strength, spacing, within, donor)
    draw = np.random.default_rng([seed, KINDS.index(kind)])
    steps = np.ones(image.ndim) if spacing is None else np.asarray(spacing, float)
    allowed = np.ones(image.shape, bool) if within is None else np.asarray(within, bool)

    semi = ELONGATION ** draw.uniform(-1, 1, image.ndim)
    semi *= 0.5 * size / np.prod(semi) ** (1 / image.ndim)
    centre = _place(allowed, float(semi.max()), steps, draw, size)
    box = tuple(
        slice(max(0, middle - reach), min(side, middle + reach + 1))
        for middle, reach, side in zip(
            centre, np.ceil(semi / steps).astype(int), image.shape, strict=True
        )
    )
    mesh = np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing="ij")
    away = [(axis - middle) * step for axis, middle, step in zip(mesh, centre, steps, strict=True)]
    radius = np.sqrt(sum((d / s) ** 2 for d, s in zip(away, semi, strict=True)))

    old = image[box].astype(np.float64)
    fade = np.clip((1 - radius) / EDGE, 0, 1)
    contrast = strength * float(image[allowed].std(dtype=np.float64))
    if kind == "intensity":
        new = old + draw.choice([-1.0, 1.0]) * contrast * fade
    elif kind == "texture":
        uneven = _unevenness(old.shape, semi / steps, draw)
        new = old + fade * (ndimage.gaussian_filter(old, 1.0) + contrast * uneven - old)
    elif kind == "deformation":
        new = _deformed(image, mesh, centre, radius, strength * draw.choice(LENSES))
    else:
        tissue = _tissue(np.asarray(donor, np.float64), old.shape, draw)
        new = old + strength * (_blended(old, tissue, radius < 1) - old)
    altered = image.copy()
    altered[box] = np.where(radius < 1, new, old)
    return PlantedLesion(altered, altered != image, tuple(int(middle) for middle in centre))


def _check(image, kind, size, strength, spacing, within, donor) -> None:
    if image.ndim not in (2, 3) or not np.issubdtype(image.dtype, np.floating):
        raise ValueError(
            f"an image of floating point and two or three axes, not {image.dtype} {image.shape}"
        )
    if kind not in KINDS:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r}")
    if not size > 0 or not strength > 0:
        raise ValueError("size and strength are positive")
    if kind == "deformation" and strength > 1:
        raise ValueError("the strength of a deformation is at most 1")
    if spacing is not None and (len(spacing) != image.ndim or min(spacing) <= 0):
        raise ValueError(f"spacing is {image.ndim} positive numbers, not {tuple(spacing)}")
    if within is not None and np.shape(within) != image.shape:
        raise ValueError(f"within has shape {np.shape(within)}, the image {image.shape}")
    if (donor is None) == (kind == "foreign"):
        raise ValueError("a donor is for lesions of foreign tissue, and they need one")
    if donor is not None and np.ndim(donor) != image.ndim:
        raise ValueError(f"the donor has {np.ndim(donor)} axes, the image {image.ndim}")


def _place(
    allowed: np.ndarray, reach: float, steps: np.ndarray, draw: np.random.Generator, size: float
) -> np.ndarray:
    """A pixel at least `reach` mm from everything that is not allowed, evenly among those."""
    # Outside the grid nothing is allowed either.
    room = ndimage.distance_transform_edt(np.pad(allowed, 1), sampling=steps)
    inner = np.asarray(room)[tuple(slice(1, -1) for _ in allowed.shape)]
    places = np.argwhere(inner > reach)
    if not len(places):
        raise ValueError(f"a lesion of size {size:g} does not fit where lesions may lie")
    return places[draw.integers(len(places))]


def _unevenness(shape: tuple[int, ...], semi: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1, a few grains across the lesion."""
    grain = np.maximum(0.5, semi / 6)
    noise = ndimage.gaussian_filter(draw.standard_normal(shape), grain)
    return (noise - noise.mean()) / max(float(noise.std()), 1e-12)


def _deformed(image, mesh, centre, radius, strength) -> np.ndarray:
    """The image seen through a lens: what is at radius r comes from r (1 + s (1 − r)²)."""
    factor = 1 + strength * np.square(np.clip(1 - radius, 0, None))
    source = [middle + (axis - middle) * factor for axis, middle in zip(mesh, centre, strict=True)]
    return ndimage.map_coordinates(image.astype(np.float64), source, order=1, mode="nearest")


def _tissue(donor: np.ndarray, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """A block of the donor; where it is smaller than the block, its border is repeated."""
    rows = []
    for side, length in zip(donor.shape, shape, strict=True):
        first = draw.integers(max(0, side - length) + 1)
        rows.append(np.minimum(first + np.arange(length), side - 1))
    return donor[np.ix_(*rows)]


def _blended(image: np.ndarray, donor: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Solve Δu = div v inside, u the image elsewhere; v is the larger of both gradients."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    count = int(inside.sum())
    number = np.full(image.shape, -1)
    number[inside] = np.arange(count)
    right, diagonal = np.zeros(count), np.zeros(count)
    rows, columns = [], []
    for axis in range(image.ndim):
        first = tuple(slice(None, -1) if a == axis else slice(None) for a in range(image.ndim))
        second = tuple(slice(1, None) if a == axis else slice(None) for a in range(image.ndim))
        own, other = np.diff(image, axis=axis), np.diff(donor, axis=axis)
        step = np.where(np.abs(other) > np.abs(own), other, own)
        for here, there, sign in ((first, second, -1.0), (second, first, 1.0)):
            # One equation a pixel: the sum over its neighbours of u(here) − u(there) = v.
            mine, its = number[here].ravel(), number[there].ravel()
            known = mine >= 0
            np.add.at(diagonal, mine[known], 1.0)
            np.add.at(right, mine[known], sign * step.ravel()[known])
            outside = known & (its < 0)
            np.add.at(right, mine[outside], image[there].ravel()[outside])
            both = known & (its >= 0)
            rows.append(mine[both])
            columns.append(its[both])
    row, column = np.concatenate(rows), np.concatenate(columns)
    every = np.arange(count)
    system = coo_array(
        (
            np.concatenate([diagonal, -np.ones(len(row))]),
            (np.concatenate([every, row]), np.concatenate([every, column])),
        ),
        shape=(count, count),
    )
    result = image.copy()
    result[inside] = spsolve(system.tocsc(), right)
    return result
