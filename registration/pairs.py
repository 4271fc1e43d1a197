"""Pairs of scans to measure on, with what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ganatomy.tables import Table, TableError, read_table

# Beside fixed and moving, what a table of pairs may say of each.
LABELS, POINTS = ("fixed_labels", "moving_labels"), ("fixed_points", "moving_points")


@dataclass(frozen=True)
class Pair:
    """Two scans, and the labels and landmarks of both where a table has them.

    Attributes:
        name: what results are called by.
        patient: whose they are, the pair by itself where nobody knows.
    """

    name: str
    fixed: Path
    moving: Path
    patient: str
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    fixed_points: Path | None = None
    moving_points: Path | None = None


def read_pairs(specs: Sequence[str], *, alone: bool = False) -> list[Pair]:
    """The pairs that the command line names.

    Args:
        specs: see `read_pair_table`; folders or files of scans where they may stand alone.
        alone: what names no pairs are scans, each paired with itself.

    Raises:
        TableError: see `read_pair_table`.
    """
    named = _columns(specs) | {spec.partition("=")[0] for spec in specs if "=" in spec}
    if alone and not {"fixed", "moving"} & named:
        table = read_table(specs, {"scan": "joined"})
        rows = zip(table.names, table.first, table.whose, strict=True)
        return [Pair(name, path, path, str(whose)) for name, path, whose in rows]
    return pairs_of(read_pair_table(specs))


def read_pair_table(specs: Sequence[str]) -> Table:
    """The table of pairs that the command line names.

    Args:
        specs: a CSV with the columns fixed and moving, and perhaps `fixed_labels` and
            `moving_labels`, `fixed_points` and `moving_points`, `patient`; or ROLE=GLOB for each.

    Raises:
        TableError: no such table or columns, or only one of two that belong together.
    """
    named = {spec.partition("=")[0] for spec in specs if "=" in spec}
    columns = _columns(specs) | named
    roles = {"fixed": "joined", "moving": "joined"}
    for kind in (LABELS, POINTS):
        held = [name for name in kind if name in columns]
        if len(held) == 1:
            other = next(name for name in kind if name not in columns)
            raise TableError(f"{specs[0]}: has {held[0]} without {other}")
        roles |= dict.fromkeys(held, "joined")
    return read_table(specs, roles)


def pairs_of(table: Table) -> list[Pair]:
    """The pairs of a table; scans that belong to no row are paired in their order.

    Raises:
        TableError: as many fixed as moving scans are expected.
    """
    paths = table.paths
    if len(paths["fixed"]) != len(paths["moving"]):
        counts = f"{len(paths['fixed'])} fixed and {len(paths['moving'])} moving scans"
        raise TableError(f"{counts}: give a pair a row")
    extra = {name: paths[name] for name in (*LABELS, *POINTS) if name in paths}
    return [
        Pair(
            name,
            paths["fixed"][place],
            paths["moving"][place],
            str(table.whose[place]),
            **{role: own[place] for role, own in extra.items()},
        )
        for place, name in enumerate(table.names)
    ]


def _columns(specs: Sequence[str]) -> set[str]:
    import csv

    if len(specs) != 1 or not specs[0].endswith(".csv") or not Path(specs[0]).is_file():
        return set()
    with open(specs[0], newline="", encoding="utf-8", errors="replace") as file:
        return set(next(csv.reader(file), ()))
