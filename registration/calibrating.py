"""What score and other signs are worth, from held-out scans that were displaced here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ganatomy.scans import Scan, ScanError
from ganatomy.tables import Table
from registration.confidence import Confidence
from registration.evidence import DARK, SIGNS, signs_of
from registration.known_transforms import (
    away,
    displaced,
    drawn,
    error_of,
    rigid,
    shown_points,
)
from registration.registration import LIMIT
from registration.transforms import moved

if TYPE_CHECKING:
    from registration.registrar import Registrar

PLACED = 60  # pairs that are placed wrongly by a known distance; only their signs are looked at
SCANS = 12  # or pairs of scans that all of these are made of, spread over those held out
FOUND = 20  # pairs that are registered
TIME = 60.0  # seconds after which no more pairs are registered
# Of a refined model every second begins astray, or there were nothing to know a failure by.
ASTRAY = 2
LOST = 2.0  # how much further than a known transform what goes astray is


def calibrate(
    registrar: Registrar,
    holdout: Table,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Set `confidence_` of a registrar from pairs whose transform is known.

    A held-out scan is displaced by up to 15° and 20 mm beside where it was, or beside the scan of
    the same patient where the table pairs them. `PLACED` such pairs are laid on each other 0 to 20
    mm off. `FOUND` are registered, bent instead where the model bends, as many as `TIME` allows;
    it is said where that was too short. Where the model's transforms are refined, every second
    of these is refined from a wrong place, from which most climb to a false optimum. Without
    held-out scans nothing is calibrated.

    Args:
        registrar: of a model that was just trained.
        holdout: scans it was not trained on.
        seed: of the displacements.
        progress: called with (pairs done, pairs in all).
    """
    rows, errors = [], []
    pairs = scan_pairs(registrar, holdout)
    placed = [Placed(registrar, *pair) for pair in pairs]
    total = PLACED + FOUND if pairs else 0
    until = float("inf")
    for number in range(total):
        if number == PLACED:
            until = time.monotonic() + TIME
        if time.monotonic() > until:
            done = number - PLACED
            why = f"{TIME:.0f} seconds have gone"
            print(f"calibrated on {done} of {FOUND} registrations: {why}", file=sys.stderr)
            break
        place = number % len(pairs)
        try:
            if number < PLACED:
                signs, error = placed[place].case(seed, number)
            else:
                signs, error = found_case(registrar, *pairs[place], seed, number)
        except ScanError:  # of scans that were good it has lost sight
            continue
        row = [signs[name] for name in SIGNS]
        if np.isfinite([*row, error]).all():
            rows.append(row)
            errors.append(error)
        if progress is not None:
            progress(number + 1, total)
    if rows:
        failed = np.array(errors) > LIMIT
        vars(registrar)["confidence_"] = Confidence.fit(np.array(rows), failed)


class Placed:
    """A pair that is laid on each other wrongly, again and again, on the model's own grid.

    Nothing is registered and no scan is resampled as a whole, so a case takes a moment.

    Args:
        registrar: whose critic judges.
        fixed: a scan.
        moving: a scan that lies on it as the headers say.
    """

    def __init__(self, registrar: Registrar, fixed: Scan, moving: Scan):
        self.model, self.fixed, self.moving = registrar.artifact_.model, fixed, moving
        self.pair, self.points = registrar.sampled(fixed, moving), shown_points(fixed)

    def case(self, seed: int, number: int) -> tuple[dict[str, float], float]:
        """The signs of the pair once displaced and laid down wrongly, and by how many mm it is.

        Args:
            seed: of the displacement.
            number: of the displacement.
        """
        known, pair = rigid(self.moving, seed, number), self.pair
        sample = moved(
            *(pair.moving[0], pair.moving_grid, known, pair.moving.shape[1:-1], pair.moving_grid),
            interpolation="cubic",
            value=DARK,
        )
        sample = np.clip(sample, pair.moving.min(), pair.moving.max())
        off = away(self.fixed, self.points, seed + 1, number).then(known.inverse())
        signs = signs_of(self.model, pair._replace(moving=sample[None]), off)
        return signs, error_of(off, self.points, known.points(self.points))


def found_case(
    registrar: Registrar, fixed: Scan, moving: Scan, seed: int, number: int
) -> tuple[dict[str, float], float]:
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
    return found.signs, error_of(found.transform, points, known.points(points))


def scan_pairs(registrar: Registrar, holdout: Table) -> list[tuple[Scan, Scan]]:
    """Scans that lie on each other: a patient's two, or twice one."""
    joined = registrar.artifact_.model.roles.get("moving") == "joined"
    paths, found = holdout.paths.get("fixed", []), []
    for place in range(0, len(paths), -(-len(paths) // SCANS) or 1):
        try:
            fixed = registrar.read(paths[place])
            moving = registrar.read(holdout.paths["moving"][place]) if joined else fixed
        except ScanError:  # said where all scans are prepared
            continue
        found.append((fixed, moving))
    return found
