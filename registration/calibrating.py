"""What the discriminator's score is worth, from held-out scans that were displaced here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ganatomy.scans import Scan, ScanError
from ganatomy.tables import Table
from registration.confidence import Confidence
from registration.known_transforms import displaced, drawn, error_of, shown_points
from registration.registration import LIMIT

if TYPE_CHECKING:
    from registration.registrar import Registrar

CASES = 60  # registrations to calibrate on


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
    Without held-out scans nothing is calibrated.

    Args:
        registrar: of a model that was just trained.
        holdout: scans it was not trained on.
        seed: of the displacements.
        progress: called with (registrations done, registrations in all).
    """
    scores, failed = [], []
    pairs = _pairs(registrar, holdout)
    for number in range(CASES if pairs else 0):
        fixed, moving = pairs[number % len(pairs)]
        try:
            score, error = known_case(registrar, fixed, moving, seed, number)
        except ScanError:  # of scans that were good it has lost sight
            continue
        if np.isfinite(score) and np.isfinite(error):
            scores.append(score)
            failed.append(error > LIMIT)
        if progress is not None:
            progress(number + 1, CASES)
    if scores:
        vars(registrar)["confidence_"] = Confidence.fit(np.array(scores), np.array(failed))


def known_case(
    registrar: Registrar, fixed: Scan, moving: Scan, seed: int, number: int
) -> tuple[float, float]:
    """The score and the error, in mm, of one registration whose transform is known.

    Args:
        registrar: that aligns.
        fixed: a scan.
        moving: a scan that lies on it as the headers say.
        seed: of the displacement.
        number: of the displacement.
    """
    known = drawn("smooth" if registrar.bends else "rigid", moving, seed, number)
    points = shown_points(fixed, seed=number)
    found = registrar.align(fixed, displaced(moving, known))
    return found.alignment_score, error_of(found.transform, points, known.points(points))


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
