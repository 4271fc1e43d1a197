"""DICOM series that belong together, told apart by their headers, as a table of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from ganatomy.rows import rewrite
from ganatomy.scans import ScanError, find_scans
from ganatomy.scans.dicom_header import peek, text
from ganatomy.scans.read import series_files, sniff
from ganatomy.scans.safety import read_start
from ganatomy.tables import TableError

Wanted = Mapping[str, str]


def write_series_pairs(
    root: Path,
    table: Path,
    roles: Mapping[str, Wanted],
    *,
    of: str = "StudyInstanceUID",
    leave_out: bool = False,
) -> int:
    """Write a CSV of the series below a folder that go together, a column for each role.

    Names of folders need not say anything: a series is known by its own header. What is not DICOM,
    and series of no role, are passed over. Patients are numbered; no value of a header is written.

    Args:
        root: the collection.
        table: the CSV to write, whose paths are absolute.
        roles: by role the elements that its series have, with `*` for anything, in any case.
        of: the element that series of one row share.
        leave_out: rows of which a role has no series are left out; else they are refused.

    Returns:
        How many rows there are.

    Raises:
        ScanError: a file that is not whole, or no such folder.
        TableError: a table that is there already, no or too few series, or two for one place.

    Example:
        >>> dose = {"scan": {"SeriesDescription": "low dose images"},
        ...         "target": {"SeriesDescription": "full dose images"}}
        >>> write_series_pairs(Path("LDCT-and-Projection-data"), Path("dose.csv"), dose)
    """
    if table.exists():
        raise TableError(f"{table} is there already: choose another name")
    rows: dict[str, dict[str, Path]] = {}
    patients: dict[str, str] = {}
    for path in find_scans(root):
        found = _role(path, roles, of)
        if found is None:
            continue
        role, key, patient = found
        row = rows.setdefault(key, {})
        if role in row:
            raise TableError(f"{row[role]} and {path} are both {role} of one {of}: ask for more")
        row[role] = path.resolve()
        patients[key] = patient
    whole = [key for key, row in rows.items() if len(row) == len(roles)]
    if not whole:
        raise TableError(f"{root}: no series that go together for {', '.join(roles)}")
    for row in rows.values():
        missing = [role for role in roles if role not in row]
        if missing and not leave_out:
            alone = next(iter(row.values()))
            raise TableError(f"{alone} has no {missing[0]} of its {of}: give leave_out=True")
    numbers = {p: n for n, p in enumerate(dict.fromkeys(patients[key] for key in whole), 1)}
    rewrite(
        table,
        (*roles, "patient"),
        [
            {role: str(rows[key][role]) for role in roles}
            | {"patient": f"patient {numbers[patients[key]]:03d}"}
            for key in whole
        ],
    )
    return len(whole)


def _role(path: Path, roles: Mapping[str, Wanted], of: str) -> tuple[str, str, str] | None:
    """The role of a series, what it shares with others, and whose it is; None of no role."""
    file = series_files(path)[0] if path.is_dir() else path
    if sniff(read_start(file)) != "dicom":
        return None
    elements = {name for wanted in roles.values() for name in wanted}
    header = peek(file, [*elements, of, "PatientID"])
    fits = [
        role
        for role, wanted in roles.items()
        if all(fnmatchcase(text(header, n).casefold(), v.casefold()) for n, v in wanted.items())
    ]
    if not fits:
        return None
    if len(fits) > 1:
        raise TableError(f"{path} may be {fits[0]} and {fits[1]}: ask for more")
    key = text(header, of)
    if not key:
        raise ScanError(path, f"has no {of}", "what tells which series go together")
    return fits[0], key, text(header, "PatientID") or key
