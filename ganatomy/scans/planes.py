"""Image planes in space, and how a stack of them becomes one regular volume.

Positions and directions are DICOM's (LPS mm); affines are RAS.
"""

from dataclasses import dataclass

import numpy as np

from ganatomy.scans.errors import ScanError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SAME_PLACE = 1e-3  # mm
MAX_RESIDUAL = 0.1  # mm; positions rounded to 0.1 mm are common
NOTED_RESIDUAL = 0.01
MAX_TILT = 0.1  # degrees
SHEAR = 1e-3  # cosines of axes; rounded headers stay below
FLAT = 1e-6  # of the volume that axes of these lengths would span at right angles
# Ends rounded to 0.1 mm lean a short stack by more than 0.1°, though by no more than this; those
# given more finely by no more than a tenth of it.
ROUNDED_DRIFT = 0.2  # mm


@dataclass(frozen=True)
class Plane:
    """One image plane.

    Args:
        name: the file (or frame) it came from.
        position: LPS mm of the centre of the first pixel, [3].
        along_row: unit vector in which the column index grows, [3].
        along_column: unit vector in which the row index grows, [3].
        spacing: mm between rows, mm between columns.
    """

    name: str
    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]

    def __post_init__(self):
        axes = np.stack([self.along_row, self.along_column])
        if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-3:
            problem = "ImageOrientationPatient is not orthonormal"
            raise ScanError(self.name, problem, "two perpendicular unit vectors (to 0.001)")

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.along_row, self.along_column)

    def affine(self, step: np.ndarray) -> np.ndarray:
        """Index [row, column, slice, 1] to RAS mm; `step` is from one slice to the next, LPS."""
        lps = np.eye(4)
        lps[:3, 0] = self.along_column * self.spacing[0]
        lps[:3, 1] = self.along_row * self.spacing[1]
        lps[:3, 2] = step
        lps[:3, 3] = self.position
        return LPS_TO_RAS @ lps


def stack(planes: list[Plane], name: str) -> tuple[list[int], np.ndarray, list[str]]:
    """The order of parallel planes along their normal, the affine, and remarks.

    Args:
        planes: at least two, with one orientation.
        name: what errors call the whole.

    Raises:
        ScanError: planes at one place, missing ones, unequal gaps, or a tilted stack.
    """
    normal = planes[0].normal
    along = np.array([plane.position @ normal for plane in planes])
    order = [int(i) for i in np.argsort(along, kind="stable")]
    sorted_along = along[order]
    gaps = np.diff(sorted_along)
    if gaps.min() < SAME_PLACE:
        problem = "has several slices at one position (phases, echoes or duplicates)"
        raise ScanError(name, problem, "one slice a position")
    positions = np.array([planes[i].position for i in order])
    chord = positions[-1] - positions[0]
    drift = float(np.linalg.norm(np.cross(chord, normal)))
    tilt = np.degrees(np.arctan2(drift, chord @ normal))
    rounded_to_tenths = np.abs(positions - np.round(positions, 1)).max() < 1e-4
    if tilt > MAX_TILT and drift > (ROUNDED_DRIFT if rounded_to_tenths else ROUNDED_DRIFT / 10):
        problem = f"is sheared: the gantry was tilted by {tilt:.1f}°"
        raise ScanError(name, problem, f"slices stacked along their normal (to {MAX_TILT}°)")
    median = float(np.median(gaps))
    steps = gaps / median
    rounded = np.rint(steps)
    holes = np.flatnonzero((rounded >= 2) & (np.abs(steps - rounded) < 0.05))
    if holes.size:
        missing = int(rounded[holes[0]]) - 1
        problem = f"{missing} slice(s) missing after slice {holes[0] + 1} of {len(planes)}"
        raise ScanError(name, problem, f"a slice every {median:.3g} mm")
    step = chord / (len(planes) - 1)
    regular = positions[0] + np.arange(len(planes))[:, None] * step
    residual = float(np.abs(positions - regular).max())  # by coordinate, as they are rounded
    if residual > MAX_RESIDUAL:
        problem = f"is spaced unequally: a slice is {residual:.2f} mm off the regular grid"
        raise ScanError(name, problem, f"equal gaps (to {MAX_RESIDUAL} mm)")
    notes = []
    if tilt > MAX_TILT:
        notes.append(f"slices lean by {tilt:.1f}°, as far as rounded positions can tell")
    if residual > NOTED_RESIDUAL:
        notes.append(f"slices are up to {residual:.3f} mm off the regular grid")
    return order, planes[order[0]].affine(step), notes


def sheared(grid: np.ndarray) -> bool:
    """Whether a grid's axes are not at right angles, by more than a header rounds.

    Args:
        grid: homogeneous, voxel to mm.
    """
    axes = grid[:-1, :-1] / np.linalg.norm(grid[:-1, :-1], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(len(axes))).max()) > SHEAR


def singular(matrix: np.ndarray) -> bool:
    """Whether the axes of a grid are not independent, however short they are.

    Args:
        matrix: homogeneous, voxel to mm, or [B, …] of them, of which one may be.
    """
    linear = matrix[..., :-1, :-1]
    lengths = np.linalg.norm(linear, axis=-2).prod(-1)
    return not (np.abs(np.linalg.det(linear)) > FLAT * lengths).all()
