"""What the registration of two scans found, in mm, on the grids of the scans themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ganatomy.scans import Scan, ScanError
from ganatomy.scans.placed import check_labels
from registration.conventions import checked_matrix, grid_points
from registration.transforms import Affine, Transform, moved

if TYPE_CHECKING:
    from registration.refining import Refinement

Order = Literal[0, 1, 3]

INTERPOLATION = {0: "nearest", 1: "linear", 3: "cubic"}
LIMIT = 5.0  # mm of error above which a registration has failed
# Of the probability that it has failed: above, it is said to.
LIKELY = 0.5
# Points that are mapped at once: a grid of a whole body would take gigabytes.
SLAB = 4_000_000


@dataclass(eq=False)
class Registration:
    """A moving scan aligned to a fixed one.

    What is a picture has coordinates `[row, column]`, in pixels, or in mm from its first pixel
    where the file states a spacing; all else is mm in RAS.

    Args:
        fixed: as it was read.
        moving: the same.
        transform: of fixed points to moving points.
        alignment_score: the discriminator's of the pair as `transform` has it, higher is better
            aligned.
        failure: the probability that the error is above 5 mm, as calibrated on transforms that
            were known; None where the model was not calibrated.
        seconds: the alignment took; reading the scans and the look for exchanged sides left aside.
        remarks: what is odd about the pair, a sentence each.
        labels: of the moving scan on the fixed grid, where some were given.
        landmarks: of the moving scan on the fixed scan, [n, rank], mm, where some were given.
        translated_by: name and preset of the model whose image of the moving scan was aligned; None
            where that was the scan itself.
        refinement: what was done to the network's transform, and that transform; None where
            `transform` is the network's own.
        network_score: the discriminator's of the pair as the network's own transform has it.
        signs: what failures are known by, see `registration.evidence`; empty where nobody looked.
    """

    fixed: Scan
    moving: Scan
    transform: Transform
    alignment_score: float
    failure: float | None = None
    seconds: float = float("nan")
    remarks: list[str] = field(default_factory=list)
    labels: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    translated_by: tuple[str, str] | None = None
    refinement: Refinement | None = None
    network_score: float = float("nan")
    signs: dict[str, float] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What distances are in: 'mm', or 'pixels' where either picture states no spacing."""
        stated = self.fixed.rank == 3 or (self.fixed.spacing and self.moving.spacing)
        return "mm" if stated else "pixels"

    @property
    def failed(self) -> bool | None:
        """Whether it is likely to have failed; None where nobody can tell."""
        return None if self.failure is None else self.failure > LIKELY

    @cached_property
    def moved(self) -> Scan:
        """The moving scan on the fixed grid, resampled once from its own pixels.

        Where it shows nothing it has its darkest value. Units, modality and header are the moving
        scan's, the place is the fixed scan's.
        """
        return self.resampled()

    def resampled(self, order: Order = 1) -> Scan:
        """`moved` by another interpolation.

        Args:
            order: 1 linear, 3 cubic B-spline, 0 nearest.
        """
        moving = self.moving
        pixels = self._on_fixed(moving.pixels, order, float(moving.pixels.min()))
        header = moving.header if moving.kind in ("nifti", "dicom") else None
        return Scan(
            pixels,
            self.fixed.affine,
            moving.units,
            moving.modality,
            moving.path,
            moving.kind,
            header,
            [*moving.notes, "resampled on the grid of another scan"],
        )

    @cached_property
    def inverse(self) -> Transform:
        """The transform of moving points to fixed points.

        Raises:
            ValueError: the transform folds and has none.
        """
        return self.transform.inverse()

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where landmarks of the moving scan lie on the fixed scan: they go with the inverse.

        Args:
            points: [..., rank], mm.
        """
        return self.transform.points(points)

    def warp(self, labels: Scan | np.ndarray, order: Order = 0) -> np.ndarray:
        """Labels of the moving scan on the fixed grid; 0 where the moving scan shows nothing.

        Args:
            labels: whole numbers on the moving scan's grid, [*grid], or a scan with a grid of its
                own in the moving scan's mm.
            order: 0 keeps whole numbers; 1 or 3 for maps that may be interpolated.

        Returns:
            [*fixed grid]; of the labels' type with order 0, else float32.

        Raises:
            ScanError: a scan of labels without a place, of another rank or, with order 0, of other
                than whole numbers.
            ValueError: an array that is not on the moving scan's grid.
        """
        if isinstance(labels, Scan):
            if labels.channels != 1 or labels.rank != self.moving.rank:
                problem = f"is {labels.rank}D with {labels.channels} channels"
                raise ScanError(labels.path, problem, f"labels in {self.moving.rank}D")
            if order == 0:
                check_labels(labels)
            array, grid = labels.pixels[..., 0], grid_of(labels)
        else:
            array, grid = np.asarray(labels), grid_of(self.moving)
            if array.shape != self.moving.shape:
                raise ValueError(
                    f"labels have shape {array.shape}; expected the moving scan's, "
                    f"{self.moving.shape}"
                )
        found = self._on_fixed(array[..., None], order, 0.0, grid)[..., 0]
        return found.astype(array.dtype) if order == 0 else found

    @cached_property
    def jacobian(self) -> np.ndarray:
        """The change of volume at each voxel of the fixed scan, float32 [*grid]."""
        shape, grid = self.fixed.shape, grid_of(self.fixed)
        if isinstance(self.transform, Affine):
            turned = np.linalg.det(self.transform.matrix[:-1, :-1])
            return np.full(shape, turned, np.float32)
        found = np.empty(shape, np.float32)
        for start, stop in _slabs(shape):
            # With a neighbour on either side, differences are as on the whole grid.
            low, high = max(start - 1, 0), min(stop + 1, shape[0])
            part = self.transform.jacobian_determinant((high - low, *shape[1:]), _from(grid, low))
            found[start:stop] = part[start - low : stop - low]
        return found

    @cached_property
    def inside(self) -> np.ndarray:
        """Which voxels of the fixed scan lie in the moving scan, bool [*fixed grid]."""
        shape, grid = self.fixed.shape, grid_of(self.fixed)
        back = Affine(grid_of(self.moving)).inverse()
        limit = np.array(self.moving.shape) - 0.5
        found = np.empty(shape, bool)
        for start, stop in _slabs(shape):
            points = grid_points((stop - start, *shape[1:]), _from(grid, start))
            index = back.map(self.transform.map(points))
            found[start:stop] = ((index >= -0.5) & (index <= limit)).all(-1)
        return found

    @cached_property
    def folds(self) -> float:
        """The share of the fixed scan's voxels where the transform folds."""
        return float((self.jacobian <= 0).mean())

    @cached_property
    def overlap(self) -> float:
        """The share of the fixed scan that the moved scan covers."""
        return float(self.inside.mean())

    def save(
        self, folder: str | Path, *, model: str = "model", points: Path | None = None
    ) -> dict[str, Any]:
        """Write moved scan, transform, labels, landmarks and summary; see `write_registration`."""
        from registration.writing import write_registration

        Path(folder).mkdir(parents=True, exist_ok=True)
        return write_registration(self, Path(folder), model=model, points=points)

    def _on_fixed(
        self, pixels: np.ndarray, order: Order, value: float, grid: np.ndarray | None = None
    ) -> np.ndarray:
        """Pixels [*grid, C] of the moving scan on the fixed grid, float32."""
        if order not in INTERPOLATION:
            raise ValueError(f"order is {order}; expected 0, 1 or 3")
        own = grid_of(self.moving) if grid is None else grid
        shape, place = self.fixed.shape, grid_of(self.fixed)
        found = np.empty((*shape, pixels.shape[-1]), np.float32)
        for start, stop in _slabs(shape):
            found[start:stop] = moved(
                pixels,
                own,
                self.transform,
                (stop - start, *shape[1:]),
                _from(place, start),
                interpolation=INTERPOLATION[order],  # pyright: ignore[reportArgumentType]
                value=value,
            )
        return found


def grid_of(scan: Scan) -> np.ndarray:
    """Where the voxels of a scan lie: [4, 4], voxel to mm RAS; of a picture [3, 3].

    A picture's coordinates are its pixels, in mm where it states their spacing.

    Raises:
        ScanError: a volume without a place, or with one that is no grid's.
    """
    if scan.rank == 2:
        return np.diag([*(scan.spacing or (1.0, 1.0)), 1.0])
    if scan.affine is None:
        raise ScanError(scan.path, "gives no place in mm", "a volume with orientation and spacing")
    try:
        return checked_matrix(scan.affine)
    except ValueError as error:
        problem = "has a grid without volume"
        raise ScanError(scan.path, problem, "three independent axes") from error


def _from(grid: np.ndarray, start: int) -> np.ndarray:
    """The grid that begins so many voxels further along the first axis."""
    further = grid.copy()
    further[:-1, -1] += start * grid[:-1, 0]
    return further


def _slabs(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First and last-plus-one places along the first axis, of two sizes at most."""
    rows = max(1, SLAB // int(np.prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield start, min(start + rows, shape[0])
