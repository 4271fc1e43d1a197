"""The data table: a row is a sample, a column is a role."""

from __future__ import annotations

import glob
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ganatomy import roles as kinds
from ganatomy.errors import WrongUse
from ganatomy.scans import find_scans

ATTRIBUTES = ("label", "patient", "mask")
# What stands behind a name and is no part of it; a DICOM file may be called by numbers and dots.
SUFFIX = re.compile(r"\.(nii\.gz|nii|png|jpe?g|tiff?|dcm|dicom|ima)$", re.IGNORECASE)


class TableError(WrongUse):
    """What is wrong with a data table, in one line."""


@dataclass
class Table:
    """Paths by role, and what is known about each row of the first role.

    A row is a scan of the first role and those joined to it. An independent role's scans belong to
    no row: rows are picked without them, and a split divides them by themselves. Labels stay with
    the scans they are of, in a row or not.

    Args:
        paths: by role; the first and those joined to it have equal lengths and the same order.
        names: one a row of the first role, short and unique: what results are called by.
        label: 0 healthy, 1 abnormal, one a row; None where unknown.
        patient: whose scan it is, one a row, the scan's own name where its cell is empty; None
            where unknown.
        groups: what else is known, a row a row.
        independent: by independent role other than the first, whose each of its scans is: the
            patient, the scan's own name where unknown.
        mask: a picture of what is abnormal in each row, None where it has none; None where no row
            has.
        labels: by role of labels, the role of the scans that they are of, one by one.
    """

    paths: dict[str, list[Path]]
    names: list[str]
    label: np.ndarray | None = None
    patient: np.ndarray | None = None
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    independent: dict[str, np.ndarray] = field(default_factory=dict)
    mask: list[Path | None] | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def first(self) -> list[Path]:
        return next(iter(self.paths.values()))

    @property
    def whose(self) -> np.ndarray:
        """Whose each row is: the patient, or the scan by itself where no patients are known."""
        return np.array(self.names, str) if self.patient is None else self.patient

    @property
    def joined(self) -> list[str]:
        """The first role and those joined to it, labels among them."""
        return [role for role in self.paths if self.labels.get(role, role) not in self.independent]

    def streams(self) -> dict[str, list[str]]:
        """By independent role, the role itself and its labels."""
        return {
            role: [own for own in self.paths if self.labels.get(own, own) == role]
            for role in self.independent
        }

    def keeping(self, role: str, kept: np.ndarray) -> Table:
        """The table with an independent role's scans, and their labels, where a mask is True."""
        index = np.flatnonzero(kept)
        own = {name: [self.paths[name][i] for i in index] for name in self.streams()[role]}
        whose = self.independent | {role: self.independent[role][index]}
        return replace(self, paths=self.paths | own, independent=whose)

    def rows(self, which: np.ndarray) -> Table:
        """The rows that a boolean mask or an index array names; independent roles stay whole."""
        index = np.arange(len(self))[which]

        def of(values):
            return None if values is None else values[index]

        return Table(
            {
                role: [paths[i] for i in index] if role in self.joined else list(paths)
                for role, paths in self.paths.items()
            },
            [self.names[i] for i in index],
            of(self.label),
            of(self.patient),
            self.groups.iloc[index] if len(self.groups) else self.groups,
            dict(self.independent),
            None if self.mask is None else [self.mask[i] for i in index],
            dict(self.labels),
        )


def read_table(specs: Sequence[str], roles: Mapping[str, str]) -> Table:
    """The table that the command line names.

    Args:
        specs: one folder or file (every scan below it, as the first role), one CSV whose columns
            are roles (and `label`, `patient`, `mask`, groups), or `ROLE=GLOB` for each role,
            where the key of a row is what the stars matched.
        roles: the model's roles, "joined" (paired by key), "independent", or the name of another
            role, whose labels these are: paired with it by key, or left out of the table. In a CSV
            an independent role's cells are a list that may be longer or shorter than the others:
            its empty cells are no scans, and so are rows where all joined cells are empty.

    Raises:
        TableError: a role is missing or unknown, nothing was found, keys do not pair, or a row of
            a CSV lacks a joined scan.
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


def table_of_two(normal: Path | None, abnormal: Path) -> Table:
    """A labelled table of a folder of healthy scans, or none, and a folder of abnormal ones."""
    folders = {0: normal, 1: abnormal}
    read = {n: read_table([str(p)], {"scan": "joined"}) for n, p in folders.items() if p}
    return Table(
        {"scan": [path for table in read.values() for path in table.first]},
        _unique([f"{('normal', 'abnormal')[n]}/{own}" for n, t in read.items() for own in t.names]),
        np.array([label for label, table in read.items() for _ in table.names]),
    )


def with_masks(table: Table, folder: Path) -> Table:
    """The table with the masks below a folder, each called as its scan, whatever the suffix.

    `abnormal/1.png` has `abnormal/1.nii.gz`, or `1.nii.gz` where no other scan is called `1`.

    Raises:
        TableError: no such folder, two masks of one name, or none that has the name of a scan.
    """
    if not folder.is_dir():
        raise TableError(f"{folder}: no such folder of masks")
    found: dict[str, Path] = {}
    for path in find_scans(folder):
        name = SUFFIX.sub("", _name(path, folder))
        if name in found:
            raise TableError(f"{path} and {found[name].name} are masks of one name")
        found[name] = path
    names = [SUFFIX.sub("", name) for name in table.names]
    alone = [name.rpartition("/")[2] for name in names]
    counts = Counter(alone)
    masks = [
        found.get(name) or (found.get(last) if counts[last] == 1 else None)
        for name, last in zip(names, alone, strict=True)
    ]
    if not any(masks):
        raise TableError(f"{folder}: no mask has the name of a scan, {table.names[0]!r} for one")
    return replace(table, mask=masks)


def _from_csv(path: Path, roles: Mapping[str, str]) -> Table:
    if not path.is_file():
        raise TableError(f"{path}: no such table")
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors are ValueErrors: empty, torn, not UTF-8
        line = " ".join(str(error).split())
        raise TableError(f"{path}: cannot be read as a table in UTF-8: {line}") from error
    missing = kinds.missing(roles, frame)
    if missing:
        raise TableError(
            f"{path}: no column {missing[0]!r}; the model's roles are {', '.join(roles)}"
        )
    roles = {role: kind for role, kind in roles.items() if role in frame}
    if not len(frame):
        raise TableError(f"{path}: no rows")
    places = _filled(path, frame, roles)
    first = next(iter(roles))
    rows = places[first]
    label = None
    if "label" in frame:
        label = frame["label"].to_numpy()[rows]
        if not set(label) <= {"0", "1"}:
            raise TableError(f"{path}: column 'label' holds something other than 0 and 1")
        label = label.astype(int)
    others = [c for c in frame if c not in roles and c not in ATTRIBUTES]
    cells = {role: frame[role].to_numpy()[place] for role, place in places.items()}
    masks = None
    if "mask" in frame and "mask" not in roles:
        written = [cell.strip() for cell in frame["mask"].to_numpy()[rows]]
        masks = [path.parent / cell if cell else None for cell in written]

    def whose(role: str, names: list[str]) -> np.ndarray:
        # A scan whose patient nobody wrote down is not of one patient with all such scans.
        known = (
            frame["patient"].to_numpy()[places[role]] if "patient" in frame else [""] * len(names)
        )
        return np.array([p.strip() or name for p, name in zip(known, names, strict=True)], str)

    names = _unique(list(cells[first]))
    return Table(
        {role: [path.parent / cell for cell in own] for role, own in cells.items()},
        names,
        label,
        whose(first, names) if "patient" in frame else None,
        pd.DataFrame(frame[others]).iloc[rows],
        {role: whose(role, list(cells[role])) for role in kinds.streams(roles)},
        masks,
        kinds.labels(roles),
    )


def _filled(path: Path, frame: pd.DataFrame, roles: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The places of each role's scans among the rows of a CSV, alike for joined roles.

    Raises:
        TableError: a row lacks a joined scan and holds another, or a role has no scan.
    """
    full = {role: np.array([bool(cell.strip()) for cell in frame[role]]) for role in roles}
    joined = np.stack([full[role] for role in kinds.in_rows(roles)])
    # A row is either a sample, or the place where a longer independent column goes on.
    torn = ~joined.all(0) & (joined.any(0) | ~np.any(list(full.values()), axis=0))
    if torn.any():
        row = int(np.argmax(torn))
        role = next(role for role in kinds.in_rows(roles) if not full[role][row])
        raise TableError(f"{path}: row {row + 1} has no scan in column {role!r}")
    for role, scans in kinds.labels(roles).items():
        odd = full[role] != full[scans]
        if odd.any():
            row = int(np.argmax(odd)) + 1
            raise TableError(f"{path}: row {row} has only one of columns {scans!r} and {role!r}")
    for role, own in full.items():
        if not own.any():
            raise TableError(f"{path}: column {role!r} holds no scan")
    return {role: np.flatnonzero(own) for role, own in full.items()}


def _from_globs(patterns: Mapping[str, str], roles: Mapping[str, str]) -> Table:
    missing = kinds.missing(roles, patterns)
    if missing:
        raise TableError(f"no --data {missing[0]}=GLOB; the roles are {', '.join(roles)}")
    roles = {role: kind for role, kind in roles.items() if role in patterns}
    labels = kinds.labels(roles)
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
    first, *rest = roles
    keys = sorted(found[first])
    alone = {role: sorted(found[role]) for role in kinds.streams(roles)}
    for role in rest:
        partner = labels.get(role, first)
        if role not in alone and "*" not in patterns[role] + patterns[partner]:
            # Two scans that are named in full are a pair, whatever they are called.
            found[role] = dict(zip(found[partner], found[role].values(), strict=True))
        odd = set(found[partner]) ^ set(found[role])
        if role not in alone and odd:
            raise TableError(
                f"{len(odd)} keys have no partner between {partner} and {role}, "
                f"{sorted(odd)[0]!r} for one"
            )
    order = {role: alone.get(labels.get(role, role), keys) for role in roles}
    paths = {role: [found[role][key] for key in order[role]] for role in roles}
    whose = {role: np.array(own, str) for role, own in alone.items()}
    return Table(paths, keys, independent=whose, labels=labels)


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
    that a scan more in the folder moves no other. An independent role's scans are divided
    likewise; those of the rows' patients follow them.

    Raises:
        TableError: an independent role has no scan left to train on.
    """

    def drawn(names: set[str]) -> set[str]:
        draw = {
            name: int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
            for name in names
        }
        order = sorted(draw, key=lambda name: draw[name])
        return set(order[: round(fraction * len(order))])

    held = drawn(set(table.whose))
    mask = np.array([name in held for name in table.whose])
    training, rest = table.rows(~mask), table.rows(mask)
    for role, whose in table.independent.items():
        other = held | drawn(set(whose) - set(table.whose))
        away = np.array([name in other for name in whose], bool)
        training, rest = training.keeping(role, ~away), rest.keeping(role, away)
        if not training.paths[role]:
            raise TableError(f"all scans of {role} are held out: give more, or hold out fewer")
    return training, rest


def fingerprint(paths: Iterable[Path], *extra: str) -> str:
    """A hash of files by path, size and time, and of whatever else decides their pixels.

    It tells at once whether files have changed here; the same data elsewhere have another, see
    `ganatomy.cache.content_hash`.
    """
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
