"""What a stored transform is, and whose axes it is told in.

Here a transform sends points of the fixed scan to the moving scan: `x -> matrix(x + u(x))`, the
displacement first, then the matrix, as ANTs applies its pair of files. Coordinates in 3D are mm
in RAS. In 2D they are those of a picture, `[row, column]`, in pixels or mm.

ITK and DICOM count in LPS; a picture in ITK has the coordinates `(column, row)`. Both changes
are their own inverse.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import map_coordinates

from ganatomy.scans.planes import LPS_TO_RAS, sheared, singular

ROUNDING = 1e-6  # a rotation that float32 has been through is still one
STILL = 1e-3  # mm that a grid may shift without its field being sampled anew


class StoredTransform(NamedTuple):
    """A transform of fixed points to moving points, `x -> matrix(x + u(x))`.

    Args:
        matrix: float64 `[4, 4]`, mm RAS (2D: `[3, 3]`).
        field: float32 `[*grid, 3]` (2D: `[*grid, 2]`), displacements u in mm along the axes of
            the coordinates, or None where nothing is displaced. Outside its grid u is 0.
        grid: float64 `[4, 4]` (2D: `[3, 3]`), voxel of the field to mm RAS; None without one.
        frames: DICOM: frame of reference UIDs of the fixed and of the moving scan.
    """

    matrix: np.ndarray
    field: np.ndarray | None = None
    grid: np.ndarray | None = None
    frames: tuple[str, str] | None = None


def checked_matrix(matrix: np.ndarray, what: str = "the matrix") -> np.ndarray:
    """The matrix as float64.

    Args:
        matrix: homogeneous, `[4, 4]` or `[3, 3]`.
        what: how an error calls it.

    Raises:
        ValueError: another shape, not finite, last row not 0 … 0 1, or singular.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape not in ((4, 4), (3, 3)):
        raise ValueError(f"{what} has shape {matrix.shape}; expected (4, 4), or (3, 3) in 2D")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{what} is not finite; expected numbers")
    rank = len(matrix) - 1
    if not np.array_equal(matrix[rank], np.eye(rank + 1)[rank]):
        raise ValueError(f"{what} is no affine map; expected 0 … 0 1 as its last row")
    if singular(matrix):
        raise ValueError(f"{what} is singular; expected {rank} independent axes")
    return matrix


def checked_field(field: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The field as float32 and its grid as float64.

    Args:
        field: `[*grid, 3]`, or `[*grid, 2]` in 2D.
        grid: voxel to mm, `[4, 4]` or `[3, 3]`.

    Raises:
        ValueError: shapes that do not fit, a grid one voxel thin, or values that are not finite.
    """
    grid = checked_matrix(grid, "the field's grid")
    field, rank = np.asarray(field, np.float32), len(grid) - 1
    if field.ndim != rank + 1 or field.shape[-1] != rank:
        expected = "(…, …, …, 3)" if rank == 3 else "(…, …, 2)"
        raise ValueError(f"the field has shape {field.shape}; expected {expected} as its grid")
    if min(field.shape[:-1]) < 2:
        raise ValueError("the field is one voxel thin; expected 2 or more along each axis")
    if not np.isfinite(field).all():
        raise ValueError("the field holds values that are not finite; expected mm")
    return field, grid


def axes(rank: int) -> np.ndarray:
    """`[rank, rank]`, from the coordinates here to those of ITK and DICOM, and back."""
    return LPS_TO_RAS[:3, :3] if rank == 3 else np.array([[0.0, 1.0], [1.0, 0.0]])


def other_axes(matrix: np.ndarray) -> np.ndarray:
    """A homogeneous matrix told in the coordinates of ITK and DICOM, or told back."""
    change = np.eye(len(matrix))
    change[:-1, :-1] = axes(len(matrix) - 1)
    return change @ matrix @ change


def rigid(matrix: np.ndarray) -> np.ndarray | None:
    """The rigid transform that a matrix is but for rounding; None where it is none.

    A rotation computed in float32 is one to 1e-6 only; the nearest exact one stands for it.

    Args:
        matrix: homogeneous, float64.
    """
    linear = matrix[:-1, :-1]
    if np.abs(linear.T @ linear - np.eye(len(linear))).max() > ROUNDING:
        return None
    if np.linalg.det(linear) < 0:
        return None
    nearest = matrix.copy()
    left, _, right = np.linalg.svd(linear)
    nearest[:-1, :-1] = left @ right
    return nearest


def total_field(matrix: np.ndarray, field: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The one displacement field, float32, that does what field and matrix do together.

    Between voxels too, where it is interpolated linearly; outside the grid the matrix is lost.

    Args:
        matrix: applied after the field.
        field: `[*grid, rank]`, mm.
        grid: voxel to mm.

    Raises:
        ValueError: see `checked_matrix` and `checked_field`; ranks that differ.
    """
    field, grid = checked_field(field, grid)
    matrix = checked_matrix(matrix)
    rank = len(grid) - 1
    if len(matrix) != len(grid):
        raise ValueError("matrix and field differ in rank; expected both 2D or both 3D")
    points = grid_points(field.shape[:-1], grid)
    moved = (points + field) @ matrix[:rank, :rank].T + matrix[:rank, rank]
    return (moved - points).astype(np.float32)


def grid_points(shape: tuple[int, ...], grid: np.ndarray) -> np.ndarray:
    """Where the voxels of a grid lie: float64 `[*shape, rank]`, mm."""
    rank = len(shape)
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return indices @ grid[:rank, :rank].T + grid[:rank, rank]


def straight(field: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same field on a grid whose axes are at right angles, which files of images ask for.

    Headers round their cosines; where righting them shifts a voxel by more than 1 µm, the field
    is interpolated at the new places.

    Args:
        field: `[*grid, rank]`, mm.
        grid: voxel to mm.

    Raises:
        ValueError: a grid that is truly sheared.
    """
    rank, shape = len(grid) - 1, np.array(field.shape[:-1])
    if sheared(grid):
        raise ValueError("the field's grid is sheared; expected axes at right angles")
    spacing = np.linalg.norm(grid[:rank, :rank], axis=0)
    left, _, right = np.linalg.svd(grid[:rank, :rank] / spacing)
    made = np.eye(rank + 1)
    made[:rank, :rank] = (left @ right) * spacing
    middle = (shape - 1) / 2  # stays where it is
    made[:rank, rank] = (grid @ [*middle, 1])[:rank] - made[:rank, :rank] @ middle
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1)
    shifts = corners @ (made - grid)[:rank, :rank].T + (made - grid)[:rank, rank]
    if np.abs(shifts).max() <= STILL:
        return field, made
    points = grid_points(tuple(shape), made)
    inverse = np.linalg.inv(grid)
    indices = np.moveaxis(points @ inverse[:rank, :rank].T + inverse[:rank, rank], -1, 0)
    sampled = [
        map_coordinates(part, indices, order=1, mode="nearest")
        for part in np.moveaxis(field, -1, 0)
    ]
    return np.stack(sampled, -1).astype(np.float32), made
