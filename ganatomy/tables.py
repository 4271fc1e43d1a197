"""The data table: a row is a sample, a column is a role."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ganatomy.errors import WrongUse
from ganatomy.scans import find_scans

ATTRIBUTES = ("label", "patient")


class TableError(WrongUse):
    """What is wrong with a data table, in one line."""


@dataclass
class Table:
    """Paths by role, and what is known about each row of the first role.

    Args:
        paths: by role; joined roles have equal lengths and the same order.
        names: one a row of the first role, short and unique: what results are called by.
        label: 0 healthy, 1 abnormal, one a row; None where unknown.
        patient: whose scan it is, one a row, the scan's own name where its cell is empty; None
            where unknown.
    """

    paths: dict[str, list[Path]]
    names: list[str]
    label: np.ndarray | None = None
    patient: np.ndarray | None = None
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def first(self) -> list[Path]:
        return next(iter(self.paths.values()))

    def rows(self, which: np.ndarray) -> Table:
        """The rows that a boolean mask or an index array names (all roles joined)."""
        index = np.arange(len(self))[which]

        def of(values):
            return None if values is None else values[index]

        return Table(
            {role: [paths[i] for i in index] for role, paths in self.paths.items()},
            [self.names[i] for i in index],
            of(self.label),
            of(self.patient),
            self.groups.iloc[index] if len(self.groups) else self.groups,
        )


def read_table(specs: Sequence[str], roles: Mapping[str, str]) -> Table:
    """The table that the command line names.

    Args:
        specs: one folder or file (every scan below it, as the first role), one CSV whose columns
            are roles (and `label`, `patient`, groups), or `ROLE=GLOB` for each role, where the key
            of a row is what the stars matched.
        roles: the model's roles, "joined" (paired by key) or "independent".

    Raises:
        TableError: a role is missing or unknown, nothing was found, or keys do not pair.
    """
    first = next(iter(roles))
    named = [spec.partition("=") for spec in specs]
    if specs and all(role in roles and equals for role, equals, _ in named):
        return _from_globs({role: pattern for role, _, pattern in named}, roles)
    if len(specs) == 1 and specs[0].endswith(".csv"):
        return _from_csv(Path(specs[0]), roles)
    unknown = [role for role, equals, _ in named if equals and not Path(role + "=").exists()]
    if unknown and not any(Path(spec).exists() for spec in specs):
        raise TableError(f"no role {unknown[0]!r}; the model's roles are {', '.join(roles)}")
    if set(roles) != {first}:
        raise TableError(
            f"the model needs the roles {', '.join(roles)}: give a CSV with these columns, or "
            f"one ROLE=GLOB for each"
        )
    paths: list[Path] = []
    names: list[str] = []
    for spec in specs:
        root = Path(spec)
        if not root.exists():
            raise TableError(f"{spec}: no such file or folder")
        found = find_scans(root)
        if not found:
            raise TableError(f"{spec}: no scans below it")
        paths += found
        names += [_name(path, root) for path in found]
    return Table({first: paths}, _unique(names))


def read_labelled_table(specs: Sequence[str], roles: Mapping[str, str]) -> Table:
    """A table of healthy and abnormal scans: a CSV with `label`, or a folder of folders.

    In a folder the subfolder `normal` is healthy and every other subfolder abnormal; a folder
    without `normal` is healthy altogether.
    """
    table = read_table(specs, roles)
    if table.label is None and len(specs) == 1 and (Path(specs[0]) / "normal").is_dir():
        root = Path(specs[0])
        kinds = [path.relative_to(root).parts[0] for path in table.first]
        table.label = np.array([kind != "normal" for kind in kinds], int)
        table.groups = pd.DataFrame({"folder": kinds})
    return table


def table_of_two(normal: Path, abnormal: Path) -> Table:
    """A labelled table of a folder of healthy and a folder of abnormal scans."""
    healthy, sick = (read_table([str(p)], {"scan": "joined"}) for p in (normal, abnormal))
    return Table(
        {"scan": healthy.first + sick.first},
        _unique([f"normal/{n}" for n in healthy.names] + [f"abnormal/{n}" for n in sick.names]),
        np.array([0] * len(healthy) + [1] * len(sick)),
    )


def _from_csv(path: Path, roles: Mapping[str, str]) -> Table:
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors are ValueErrors: empty, torn, not UTF-8
        line = " ".join(str(error).split())
        raise TableError(f"{path}: cannot be read as a table in UTF-8: {line}") from error
    missing = [role for role in roles if role not in frame]
    if missing:
        raise TableError(
            f"{path}: no column {missing[0]!r}; the model's roles are {', '.join(roles)}"
        )
    if not len(frame):
        raise TableError(f"{path}: no rows")
    first = next(iter(roles))
    label = None
    if "label" in frame:
        if not set(frame["label"]) <= {"0", "1"}:
            raise TableError(f"{path}: column 'label' holds something other than 0 and 1")
        label = frame["label"].to_numpy(int)
    others = [c for c in frame if c not in roles and c not in ATTRIBUTES]
    names = _unique(list(frame[first]))
    patient = None
    if "patient" in frame:
        # A scan whose patient nobody wrote down is not of one patient with all such scans.
        cells = zip(frame["patient"], names, strict=True)
        patient = np.array([cell.strip() or name for cell, name in cells], str)
    return Table(
        {role: [path.parent / cell for cell in frame[role]] for role in roles},
        names,
        label,
        patient,
        pd.DataFrame(frame[others]),
    )


def _from_globs(patterns: Mapping[str, str], roles: Mapping[str, str]) -> Table:
    missing = [role for role in roles if role not in patterns]
    if missing:
        raise TableError(f"no --data {missing[0]}=GLOB; the roles are {', '.join(roles)}")
    found: dict[str, dict[str, Path]] = {}
    for role in roles:
        pattern = patterns[role]
        matcher = re.compile(
            "".join(
                "([^/]*)" if part == "*" else re.escape(part) for part in re.split(r"(\*)", pattern)
            )
        )
        found[role] = {}
        for hit in sorted(glob.glob(pattern)):
            match = matcher.fullmatch(hit)
            if match:
                key = "/".join(match.groups()) or Path(hit).name
                found[role][key] = Path(hit)
        if not found[role]:
            raise TableError(f"{role}={pattern}: nothing matches")
    joined = [role for role, how in roles.items() if how == "joined"]
    keys = sorted(found[joined[0]]) if joined else []
    for role in joined:
        odd = set(keys) ^ set(found[role])
        if odd:
            raise TableError(
                f"{len(odd)} keys have no partner between {joined[0]} and {role}, "
                f"{sorted(odd)[0]!r} for one"
            )
    paths = {
        role: [found[role][k] for k in (keys if role in joined else sorted(found[role]))]
        for role in roles
    }
    first = next(iter(roles))
    return Table(paths, keys if first in joined else sorted(found[first]))


def _name(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _unique(names: list[str]) -> list[str]:
    """Names made unique by a number, should two folders hold the same one."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen[name] = seen.get(name, 0) + 1
        result.append(name if count == 1 else f"{name}#{count}")
    return result


def split(table: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    """Two tables, by patient where patients are known; the second holds about `fraction`.

    Which side a patient falls on depends on (seed, the patient's or scan's name) alone, so
    that a scan more in the folder moves no other.
    """
    who = table.patient if table.patient is not None else np.array(table.names)
    draw = {
        name: int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
        for name in set(who)
    }
    order = sorted(draw, key=lambda name: draw[name])
    held = set(order[: round(fraction * len(order))])
    mask = np.array([name in held for name in who])
    return table.rows(~mask), table.rows(mask)


def fingerprint(paths: Iterable[Path], *extra: str) -> str:
    """A hash of files by name, size and time, and of whatever else decides their pixels."""
    digest = hashlib.sha256()
    for path in paths:
        members = sorted(path.iterdir()) if path.is_dir() else [path]
        for member in members:
            try:
                stat = member.stat()
                line = f"{member.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
            except OSError:
                line = f"{member}\0unreadable\n"
            digest.update(line.encode())
    for text in extra:
        digest.update(b"\0" + text.encode())
    return digest.hexdigest()[:32]
