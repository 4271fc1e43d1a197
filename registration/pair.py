"""A fixed and a moving scan, refused or remarked on before a network sees them."""

from __future__ import annotations

import numpy as np

from ganatomy.scans import Scan, ScanError
from registration.registration import grid_of

SHAPES = {2: "a picture or a single slice", 3: "a volume"}


def check_scan(scan: Scan, rank: int, role: str) -> None:
    """Refuse a scan that a model of pairs cannot take.

    Args:
        scan: fixed or moving.
        rank: the model's.
        role: what the error calls it.

    Raises:
        ScanError: of other dimensions, a single slice, constant, or without a place in mm.
    """
    if scan.rank != rank:
        found = "a volume" if scan.rank == 3 else "a single slice or picture"
        raise ScanError(scan.path, f"is {found}", f"{SHAPES[rank]} as {role} scan ({rank}D model)")
    if min(scan.shape) < 2:
        expected = f"{SHAPES[rank]} of 2 or more along each axis as {role} scan ({rank}D model)"
        raise ScanError(scan.path, "is one voxel thin", expected)
    if not np.isfinite(scan.pixels).all():
        raise ScanError(scan.path, "has pixels that are not finite", "numbers")
    if scan.pixels.min() == scan.pixels.max():
        raise ScanError(scan.path, "is constant: every pixel is the same", "an image")
    grid_of(scan)


def remarks_on(fixed: Scan, moving: Scan) -> list[str]:
    """What in the headers of a pair may be wrong, a sentence each."""
    found = [f"{scan.path}: {odd}" for scan in (fixed, moving) if (odd := _contradiction(scan))]
    left = [scan for scan in (fixed, moving) if _left_handed(scan)]
    if not found and len(left) == 1 and fixed.kind == moving.kind == "nifti":
        found.append(
            f"{left[0].path}: has a left-handed affine, the other scan a right-handed one: make "
            "sure that left and right are not exchanged"
        )
    return found


def _contradiction(scan: Scan) -> str:
    """That NIfTI's two places do not agree on which side is which."""
    if scan.kind != "nifti" or scan.header is None:
        return ""
    quaternion, own = scan.header.get_qform(coded=True)
    matrix, other = scan.header.get_sform(coded=True)
    if not (own and other):
        return ""
    if np.linalg.det(quaternion[:3, :3]) * np.linalg.det(matrix[:3, :3]) > 0:
        return ""
    return "its qform and sform exchange left and right; the sform is used"


def _left_handed(scan: Scan) -> bool:
    return scan.affine is not None and float(np.linalg.det(scan.affine[:3, :3])) < 0
