"""Transforms of single slices in the coordinates that ITK takes from the slices' headers.

Here a slice has the coordinates `[row, column]`, in mm from its first pixel. ITK reads its file as
a picture that lies where the first two of its LPS coordinates say. Pictures without a header have
those of their pixels in both.
"""

from __future__ import annotations

import numpy as np

from ganatomy.scans.planes import LPS_TO_RAS, sheared
from ganatomy.scans.scan import Scan
from registration.conventions import StoredTransform
from registration.registration import grid_of

SWAP = np.eye(3)[[1, 0, 2]]
FLAT = 0.01  # of a pixel's side that the first two coordinates see; ITK refuses 0


def itk_places(fixed: Scan, moving: Scan) -> bool:
    """Whether ITK has a place for both scans; not for slices that do not lie across the patient."""
    return not any(_frame(scan) is None for scan in (fixed, moving))


def as_itk_has_it(transform: StoredTransform, fixed: Scan, moving: Scan) -> StoredTransform:
    """A transform between two scans as one between what ITK reads of them.

    Args:
        transform: of `stored`. That of two volumes stays as it is, and that of slices of which ITK
            has no place.
        fixed: a scan.
        moving: another.

    Returns:
        Of slices in `[y, x]` of LPS mm, which writing turns as it turns a picture's coordinates.
    """
    return _told(transform, *_frames(fixed, moving))


def as_scans_have_it(transform: StoredTransform, fixed: Scan, moving: Scan) -> StoredTransform:
    """The way back: what was read from a file, in the scans' own coordinates."""
    return _told(transform, *map(np.linalg.inv, _frames(fixed, moving)))


def _told(transform: StoredTransform, fixed: np.ndarray, moving: np.ndarray) -> StoredTransform:
    matrix, field, grid, uids = transform
    if len(matrix) == 4:  # a field of a whole body is not copied for nothing
        return transform
    matrix = moving @ matrix @ np.linalg.inv(fixed)
    if field is not None and grid is not None:
        field = (field @ fixed[:-1, :-1].T).astype(np.float32)
        grid = fixed @ grid
    return StoredTransform(matrix, field, grid, uids)


def _frames(fixed: Scan, moving: Scan) -> list[np.ndarray]:
    frames = [_frame(scan) for scan in (fixed, moving)]
    known = [frame for frame in frames if frame is not None]
    return known if len(known) == 2 else [np.eye(3)] * 2


def _frame(scan: Scan) -> np.ndarray | None:
    """From a slice's own coordinates to ITK's `[y, x]`, [3, 3]; None where ITK has none."""
    if scan.affine is None or scan.rank == 3:
        return np.eye(scan.rank + 1)
    grid = (LPS_TO_RAS @ scan.affine)[np.ix_([0, 1, 3], [0, 1, 3])]
    seen = np.linalg.norm(grid[:2, :2], axis=0) / grid_of(scan).diagonal()[:2]
    if seen.min() < FLAT or sheared(grid):
        return None
    grid[:2, :2] /= seen  # of a tilted slice ITK keeps the spacing
    return SWAP @ grid @ np.linalg.inv(grid_of(scan))
