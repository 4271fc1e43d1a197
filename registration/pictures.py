"""A registration in three planes, as a page shows it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ganatomy.scans import Scan
from ganatomy.scans.framing import DISPLAY, PLANES, WORLD_AXIS
from registration.registration import Registration, grid_of
from registration.transforms import Affine

FINE = 320  # pixels of the longer side of a picture of lines
LINES = 16  # along the longer side
SIDE = 512  # pixels of a picture's longer side at most


class Plane(NamedTuple):
    """One plane of the fixed scan.

    Attributes:
        name: 'axial', 'coronal', 'sagittal', or 'picture'.
        axes: of the fixed grid, down and across the picture.
        signs: 1 where the axis runs as the picture does, else -1.
        place: index along the axis across the plane; None for a picture.
    """

    name: str
    axes: tuple[int, int]
    signs: tuple[int, int]
    place: int | None

    def cut(self, array: np.ndarray) -> np.ndarray:
        """What the plane shows of an array on the fixed grid, [rows, columns]."""
        if self.place is not None:
            across = ({0, 1, 2} - set(self.axes)).pop()
            array = np.take(array, self.place, axis=across)
        down, right = self.axes
        turned = array if down < right else np.swapaxes(array, 0, 1)
        return turned[:: self.signs[0], :: self.signs[1]]


def write_pictures(found: Registration, path: Path) -> None:
    """Write the planes of a registration for its report, as `.npz`.

    Of each: `fixed`, `moved` and `before` (as the headers alone have it), 0 to 255; `jacobian`,
    the logarithm of the change of volume, NaN where it folds; `lines`, the moving scan's grid as
    it lies on the fixed scan; `size`, mm down and across.
    """
    as_it_was = Registration(found.fixed, found.moving, Affine.identity(found.fixed.rank), 0.0)
    images = {
        "fixed": _shades(found.fixed),
        "moved": _shades(found.moved, like=found.moving),
        "before": _shades(as_it_was.moved, like=found.moving),
    }
    volume = found.jacobian
    logarithm = np.log(volume, out=np.full(volume.shape, np.nan, np.float32), where=volume > 0)
    arrays, names = {}, []
    for plane in planes_of(found):
        names.append(plane.name)
        spacing = np.linalg.norm(grid_of(found.fixed)[:-1, :-1], axis=0)
        sides = [found.fixed.shape[axis] * spacing[axis] for axis in plane.axes]
        arrays[f"{plane.name}/size"] = np.array(sides)
        for name, image in images.items():
            arrays[f"{plane.name}/{name}"] = _fewer(plane.cut(image))
        arrays[f"{plane.name}/jacobian"] = _fewer(plane.cut(logarithm)).astype(np.float16)
        arrays[f"{plane.name}/lines"] = _lines(found, plane)
    np.savez_compressed(path, allow_pickle=False, planes=np.array(names), **arrays)


def planes_of(found: Registration) -> list[Plane]:
    """Three planes through what the fixed scan shows, as radiologists look at them."""
    fixed = found.fixed
    if fixed.rank == 2:
        return [Plane("picture", (0, 1), (1, 1), None)]
    from nibabel.orientations import io_orientation

    directions = io_orientation(fixed.affine)
    shown = _centre(fixed)
    made = []
    for name, letters in DISPLAY.items():
        axes, signs = [], []
        for letter in letters[:2]:
            axis = int(np.flatnonzero(directions[:, 0] == WORLD_AXIS[letter])[0])
            axes.append(axis)
            signs.append(int(directions[axis, 1]) * (1 if letter in "RAS" else -1))
        world = PLANES.index(name)
        across = int(np.flatnonzero(directions[:, 0] == world)[0])
        made.append(Plane(name, (axes[0], axes[1]), (signs[0], signs[1]), shown[across]))
    return made


def _centre(scan: Scan) -> list[int]:
    """The voxel about which the scan is bright."""
    weight = scan.pixels.mean(-1)
    weight = weight - weight.min()
    total = float(weight.sum())
    middle = []
    for axis, length in enumerate(scan.shape):
        others = tuple(a for a in range(scan.rank) if a != axis)
        middle.append(round(float(weight.sum(others) @ np.arange(length)) / total))
    return middle


def _shades(scan: Scan, like: Scan | None = None) -> np.ndarray:
    """Grey from black to white between two percentiles, uint8 [*grid]."""
    low, high = np.percentile((like or scan).pixels, (0.5, 99.5))
    grey = (scan.pixels.mean(-1) - low) / max(float(high - low), 1e-12)
    return np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def _lines(found: Registration, plane: Plane) -> np.ndarray:
    """The moving scan's straight lines, in its mm, as they run over the fixed scan: uint8."""
    fixed, grid = found.fixed, grid_of(found.fixed)
    spacing = np.linalg.norm(grid[:-1, :-1], axis=0)
    sides = np.array([fixed.shape[axis] * spacing[axis] for axis in plane.axes])
    size = np.maximum(np.rint(FINE * sides / sides.max()), 2).astype(int)
    index = np.zeros((*size, fixed.rank))
    if plane.place is not None:
        index[:] = plane.place
    for number, (axis, sign) in enumerate(zip(plane.axes, plane.signs, strict=True)):
        steps = (np.arange(size[number]) + 0.5) * fixed.shape[axis] / size[number] - 0.5
        line = steps if sign > 0 else steps[::-1]
        index[..., axis] = line[:, None] if number == 0 else line[None, :]
    points = index @ grid[:-1, :-1].T + grid[:-1, -1]
    there = found.transform.map(points)
    pitch = sides.max() / LINES
    drawn = np.zeros(tuple(size), bool)
    for axis in plane.axes:
        along = there @ (grid[:-1, axis] / spacing[axis])
        cell = np.floor(along / pitch)
        for direction in (0, 1):
            drawn |= np.diff(cell, axis=direction, append=np.take(cell, [-1], direction)) != 0
    return np.where(drawn, 255, 0).astype(np.uint8)


def _fewer(image: np.ndarray) -> np.ndarray:
    """Every so manyth row and column, so that neither side is longer than a page shows."""
    step = [max(1, -(-side // SIDE)) for side in image.shape]
    return image[:: step[0], :: step[1]]
