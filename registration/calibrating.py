"""What score and other signs are worth, from held-out scans that were displaced here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ganatomy.scans import Scan, ScanError
from ganatomy.tables import Table
from registration.confidence import Confidence
from registration.known_transforms import displaced, drawn, error_of, rigid, shown_points
from registration.registration import LIMIT

if TYPE_CHECKING:
    from registration.registrar import Registrar

CASES = 60  # registrations to calibrate on
# Of a refined model every third begins astray, or there were nothing to know a failure by.
ASTRAY = 3
LOST = 2.0  # how much further than a known transform what goes astray is


def calibrate(
    registrar: Registrar,
    holdout: Table,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Set `confidence_` of a registrar from pairs whose transform is known.

    A held-out scan is displaced by up to 15° and 20 mm, or bent where the model bends, and
    registered to where it was, or to the scan of the same patient where the table pairs them.
    Where the model's transforms are refined, every third is refined from a wrong place, from which
    most climb to a false optimum.
    Without held-out scans nothing is calibrated.

    Args:
        registrar: of a model that was just trained.
        holdout: scans it was not trained on.
        seed: of the displacements.
        progress: called with (registrations done, registrations in all).
    """
    signs, failed = [], []
    pairs = _pairs(registrar, holdout)
    for number in range(CASES if pairs else 0):
        fixed, moving = pairs[number % len(pairs)]
        try:
            own, error = known_case(registrar, fixed, moving, seed, number)
        except ScanError:  # of scans that were good it has lost sight
            continue
        if np.isfinite([*own, error]).all():
            signs.append(own)
            failed.append(error > LIMIT)
        if progress is not None:
            progress(number + 1, CASES)
    if signs:
        vars(registrar)["confidence_"] = Confidence.fit(np.array(signs), np.array(failed))


def known_case(
    registrar: Registrar, fixed: Scan, moving: Scan, seed: int, number: int
) -> tuple[list[float], float]:
    """The signs and the error, in mm, of one registration whose transform is known.

    Args:
        registrar: that aligns.
        fixed: a scan.
        moving: a scan that lies on it as the headers say.
        seed: of the displacement.
        number: of the displacement.
    """
    known = drawn("smooth" if registrar.bends else "rigid", moving, seed, number)
    points = shown_points(fixed, seed=number)
    astray = None
    if registrar.settings_.refine != "none" and number % ASTRAY == ASTRAY - 1:
        astray = rigid(fixed, seed + 1, number, LOST)
    found = registrar.align(fixed, displaced(moving, known), astray=astray)
    return registrar.signs(found), error_of(found.transform, points, known.points(points))


def _pairs(registrar: Registrar, holdout: Table) -> list[tuple[Scan, Scan]]:
    """Scans that lie on each other: a patient's two, or twice one."""
    joined = registrar.artifact_.model.roles.get("moving") == "joined"
    found = []
    for place, path in enumerate(holdout.paths.get("fixed", [])[:CASES]):
        try:
            fixed = registrar.read(path)
            moving = registrar.read(holdout.paths["moving"][place]) if joined else fixed
        except ScanError:  # said where all scans are prepared
            continue
        found.append((fixed, moving))
    return found
