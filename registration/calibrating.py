"""What score and other signs are worth, from held-out scans that were displaced here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from registration.lookalike import lookalike
from registration.registration import LIMIT
from registration.transforms import Transform, moved

if TYPE_CHECKING:
    from registration.registrar import Registrar

PLACED = 60  # pairs that are placed wrongly by a known distance; only their signs are looked at
SCANS = 12  # or pairs of scans that all of these are made of, spread over those held out
FOUND = 20  # pairs that are registered
TIME = 60.0  # seconds after which no more pairs are registered, nor more looked for
# Of a refined model every second begins astray, or there were nothing to know a failure by.
ASTRAY = 2
LOST = 2.0  # how much further than a known transform what goes astray is
COPIED = 1  # seed of what copies of scans are made by


def calibrate(
    registrar: Registrar,
    holdout: Table,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Set `confidence_` of a registrar from pairs whose transform is known.

    What is compared are the pairs of `known_pairs`, never a scan with itself: it looks more alike
    than any two scans however well these are aligned, and its threshold is not theirs. The moving
    scan of a pair is displaced by up to 15° and 20 mm. Nobody knows the transform between different
    subjects: what the model itself finds stands for it, so that an error is the distance from
    there, and what it got wrong there counts as right.

    `PLACED` such pairs are laid on each other 0 to 20 mm off. `FOUND` are registered, bent instead
    where the model bends, as many as `TIME` allows; it is said where that was too short. Where the
    model's transforms are refined, every second of these is refined from a wrong place, from which
    most climb to a false optimum. Without held-out scans nothing is calibrated; where they make no
    pair, being of one subject where two are asked for, it is said. The artifact's facts get a room
    `confidence`: how many cases there were, how many had failed, and of what pairs.

    Args:
        registrar: of a model that was just trained.
        holdout: scans it was not trained on.
        seed: of the displacements.
        progress: called with (pairs done, pairs in all).
    """
    rows, errors = [], []
    pairs = known_pairs(registrar, holdout)
    if not pairs and len(holdout):
        print("not calibrated: the scans held out make no pair", file=sys.stderr)
    placed = [Placed(registrar, pair) for pair in pairs]
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
                signs, error = found_case(registrar, pairs[place], seed, number)
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
        found = Confidence.fit(np.array(rows), failed)
        # Most fail because they were laid so: that share is no reason to doubt an ordinary pair.
        good = len(rows) - found.failures
        odds = max(0.0, float(np.log((found.failures + 1) / (good + 1))))
        vars(registrar)["confidence_"] = found._replace(offset=found.offset - odds)
        registrar.artifact_.facts["confidence"] = {
            "n": found.n,
            "failures": found.failures,
            "between_subjects": any(pair.transform is not None for pair in pairs),
            "copies": any(pair.copied for pair in pairs),
        }


class Known(NamedTuple):
    """Two scans and where one lies on the other.

    Attributes:
        fixed: a scan.
        moving: another, or a copy of it.
        transform: of fixed points to moving points; None where they lie on each other as their
            headers say.
        copied: whether `moving` is a copy, see `registration.lookalike`.
    """

    fixed: Scan
    moving: Scan
    transform: Transform | None = None
    copied: bool = False

    def goals(self, points: np.ndarray) -> np.ndarray:
        """Where points of the fixed scan belong in the moving scan, mm."""
        return points if self.transform is None else self.transform.map(points)


class Placed:
    """A pair that is laid on each other wrongly, again and again, on the model's own grid.

    Nothing is registered and no scan is resampled as a whole, so a case takes a moment.

    Args:
        registrar: whose critic judges.
        known: the pair.
    """

    def __init__(self, registrar: Registrar, known: Known):
        self.model, self.known = registrar.artifact_.model, known
        self.pair, self.points = registrar.sampled(*known[:2]), shown_points(known.fixed)

    def case(self, seed: int, number: int) -> tuple[dict[str, float], float]:
        """The signs of the pair laid down wrongly, and by how many mm it is.

        Scans that lie on each other are displaced first, or the moved one would be as sharp as the
        fixed one only at the right place.

        Args:
            seed: of the displacement.
            number: of the displacement.
        """
        off = away(self.known.fixed, self.points, seed + 1, number)
        if self.known.transform is not None:
            there = off.then(self.known.transform)
            error = error_of(there, self.points, self.known.goals(self.points))
            return signs_of(self.model, self.pair, there), error
        motion, pair = rigid(self.known.moving, seed, number), self.pair
        sample = moved(
            *(pair.moving[0], pair.moving_grid, motion, pair.moving.shape[1:-1], pair.moving_grid),
            interpolation="cubic",
            value=DARK,
        )
        sample = np.clip(sample, pair.moving.min(), pair.moving.max())
        there = off.then(motion.inverse())
        signs = signs_of(self.model, pair._replace(moving=sample[None]), there)
        return signs, error_of(there, self.points, motion.points(self.points))


def found_case(
    registrar: Registrar, known: Known, seed: int, number: int
) -> tuple[dict[str, float], float]:
    """The signs and the error, in mm, of one registration whose transform is known.

    Args:
        registrar: that aligns.
        known: a pair, whose moving scan is displaced first.
        seed: of the displacement.
        number: of the displacement.
    """
    fixed, moving = known[:2]
    motion = drawn("smooth" if registrar.kind == "smooth" else "rigid", moving, seed, number)
    points = shown_points(fixed, seed=number)
    astray = None
    if registrar.settings_.refine != "none" and number % ASTRAY == ASTRAY - 1:
        astray = rigid(fixed, seed + 1, number, LOST)
    found = registrar.align(fixed, displaced(moving, motion), astray=astray)
    return found.signs, error_of(found.transform, points, motion.points(known.goals(points)))


def known_pairs(registrar: Registrar, holdout: Table) -> list[Known]:
    """Held-out pairs, of which one scan's place on the other is known or taken to be.

    - Two scans that a row joins lie on each other as their headers say.
    - A scan that a row joins to itself lies on a copy of itself, shaded anew, with other noise, and
      bent where the training bends: still more alike than two scans of one patient.
    - Where the model pairs any scan with any other, or `between_subjects` of its settings says of a
      scan joined to itself that others are what it is to be registered with, it meets the next
      scan of another subject, with the transform that the model finds.

    Args:
        registrar: whose model says in `roles` whether rows join scans.
        holdout: scans it was not trained on.
    """
    model = registrar.artifact_.model
    joined = model.roles.get("moving") == "joined"
    paths, found = holdout.paths.get("fixed", []), []
    until = time.monotonic() + TIME
    for place in range(0, len(paths), -(-len(paths) // SCANS) or 1):
        if found and time.monotonic() > until:
            break
        path = paths[place]
        alone = joined and holdout.paths["moving"][place] == path
        between = not joined or (alone and registrar.settings_.between_subjects)
        other = another(holdout, place) if between else holdout.paths["moving"][place]
        if other is None:
            continue
        try:
            pair = Known(registrar.read(path), registrar.read(other))
            registrar.check_pair(pair.fixed, pair.moving)
            if between:
                pair = pair._replace(transform=registrar.align(pair.fixed, pair.moving).transform)
            elif alone:
                copy = lookalike(pair.fixed, COPIED, place, model.bending)
                pair = pair._replace(moving=copy, copied=True)
        except ScanError:  # said where all scans are prepared
            continue
        found.append(pair)
    return found


def another(table: Table, row: int) -> Path | None:
    """The next moving scan that is of another subject than a row's fixed scan, if there is one.

    Args:
        table: whose moving scans belong to rows or to none.
        row: of the fixed scan.
    """
    path, own = table.paths["fixed"][row], table.whose[row]
    paths, whose = table.paths["moving"], table.independent.get("moving", table.whose)
    for step in range(len(paths)):
        place = (row + 1 + step) % len(paths)
        if whose[place] != own and paths[place] != path:
            return paths[place]
    return None
