"""Oblique anisotropic grids, maps between them, and images that show where they were sampled."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

FLIP = np.diag([-1.0, -1.0, 1.0])
# Fixed and moving grids of different shapes, spacings and directions; the moving one is the
# larger, so that what the fixed one shows is found in it.
FIXED_SHAPE, MOVING_SHAPE = (13, 11, 7), (60, 50, 40)


def turn(degrees: tuple[float, float, float]) -> np.ndarray:
    """A rotation about x, then y, then z."""
    made = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [i for i in range(3) if i != axis]
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        made = one @ made
    return made


def place(columns: np.ndarray, shape: tuple[int, ...], middle: tuple[float, ...]) -> np.ndarray:
    """Homogeneous voxel-to-mm with these columns and this place of the grid's middle."""
    rank = len(shape)
    made = np.eye(rank + 1)
    made[:rank, :rank] = columns
    made[:rank, rank] = np.array(middle) - columns @ ((np.array(shape) - 1) / 2)
    return made


def fixed_grid() -> np.ndarray:
    return place(turn((10, -15, 20)) * (0.9, 1.7, 6.5), FIXED_SHAPE, (12.0, -30.0, 45.0))


def mirrored_grid() -> np.ndarray:
    """Left-handed, as most DICOM and NIfTI grids are in RAS."""
    grid = fixed_grid() @ np.diag([1.0, 1.0, -1.0, 1.0])
    grid[:3, 3] += fixed_grid()[:3, 2] * (FIXED_SHAPE[2] - 1)
    return grid


def moving_grid() -> np.ndarray:
    return place(turn((-8, 12, 5)) * (1.9, -2.3, 3.0), MOVING_SHAPE, (15.0, -25.0, 50.0))


def rigid_map() -> np.ndarray:
    made = np.eye(4)
    made[:3, :3], made[:3, 3] = turn((7, -9, 12)), (6.0, -4.0, 9.0)
    return made


def affine_map() -> np.ndarray:
    made = rigid_map()
    made[:3, :3] = made[:3, :3] @ np.array([[1.1, 0.05, 0], [0, 0.93, -0.04], [0.02, 0, 1.05]])
    return made


def smooth_field(shape: tuple[int, ...], seed: int = 0, size: float = 4.0) -> np.ndarray:
    """Displacements of a few mm, other ones along each axis."""
    draw, rank = np.random.default_rng(seed), len(shape)
    at = np.stack(np.meshgrid(*[np.linspace(0, np.pi, n) for n in shape], indexing="ij"), -1)
    waves = [np.sin(at @ draw.uniform(0.5, 1.5, rank) + draw.uniform(0, 6)) for _ in range(rank)]
    return (size * np.stack(waves, -1)).astype(np.float32)


def points_of(grid: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`[*shape, rank]`, mm, voxel by voxel."""
    rank = len(shape)
    return np.moveaxis(np.indices(shape), 0, -1) @ grid[:rank, :rank].T + grid[:rank, rank]


def sent(points: np.ndarray, matrix: np.ndarray, field=None, grid=None) -> np.ndarray:
    """Where `x -> matrix(x + u(x))` sends points; u linear between voxels, 0 outside its grid."""
    rank = len(matrix) - 1
    if field is not None:
        back = np.linalg.inv(grid)
        indices = np.moveaxis(points @ back[:rank, :rank].T + back[:rank, rank], -1, 0)
        indices = np.where(np.abs(indices - np.rint(indices)) < 1e-9, np.rint(indices), indices)
        parts = [
            map_coordinates(np.float64(part), indices, order=1)
            for part in np.moveaxis(field, -1, 0)
        ]
        points = points + np.stack(parts, -1)
    return points @ matrix[:rank, :rank].T + matrix[:rank, rank]


def inner_points(seed: int = 1, count: int = 200) -> np.ndarray:
    """Points inside the fixed grid, on no voxel, `[count, 3]`, mm."""
    index = np.random.default_rng(seed).uniform(0.05, 0.95, (count, 3)) * (
        np.array(FIXED_SHAPE) - 1
    )
    return index @ fixed_grid()[:3, :3].T + fixed_grid()[:3, 3]
