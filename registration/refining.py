"""A network's rigid or affine transform, climbed by what the two scans tell of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ganatomy.scans import Scan, ScanError
from registration.registration import grid_of
from registration.transforms import Affine

Reach = Literal["none", "near", "far"]


@dataclass(frozen=True, eq=False)
class Refinement:
    """What a refinement did to a network's transform.

    Attributes:
        reach: 'near' for a few mm, 'far' for what may be off by 15° and 20 mm; of a head. What is
            half or twice as large may be off by half or twice the mm.
        before: the network's transform, of fixed points to moving points in mm.
        information: mutual information of the scans in nats, as the refined transform has them.
        information_before: the same, as the network's transform has them.
        seconds: it took.
    """

    reach: Reach
    before: Affine
    information: float
    information_before: float
    seconds: float


def refined(
    fixed: Scan,
    moving: Scan,
    starts: Sequence[Affine],
    *,
    reach: Reach,
    kind: Literal["rigid", "affine"] = "rigid",
) -> tuple[Affine, Refinement]:
    """The transform refined on the scans' own grids, and what that did.

    Args:
        fixed: as it was read.
        moving: the same.
        starts: the first is what it is compared with.
        reach: 'near' or 'far'.
        kind: of the motion that is added.

    Raises:
        ScanError: a scan has no contrast to climb by.
    """
    from registration.refinement import FAR, NEAR, refine, sized

    images, grids = (_grey(fixed), _grey(moving)), (grid_of(fixed), grid_of(moving))
    levels = sized({"near": NEAR, "far": FAR}[reach], images[0].shape, grids[0])
    try:
        found = refine(*images, *grids, starts, kind=kind, levels=levels)
    except ValueError as error:
        problem = "and the fixed scan have too little contrast to refine by"
        raise ScanError(moving.path, problem, "scans with contrast, or refine=none") from error
    done = Refinement(reach, starts[0], found.information, found.before, found.seconds)
    return found.transform, done


def _grey(scan: Scan) -> np.ndarray:
    # A mean over one channel takes longer than a climb.
    return scan.pixels[..., 0] if scan.pixels.shape[-1] == 1 else scan.pixels.mean(-1)
