"""Tables of results that grow a row at a time, so that a killed run goes on; names of files."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ganatomy.artifacts import ArtifactError, write_whole

# Bytes of a result's name; a file name may have 255, and a suffix follows.
LONGEST = 190


def append(file: Path, header: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> None:
    """Add rows to a table; a new one gets its header."""
    with open(file, "a", newline="") as stored:
        write = csv.writer(stored)
        if stored.tell() == 0:
            write.writerow(header)
        write.writerows(rows)


def whole_rows(file: Path, header: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows that were written whole; a last line cut short is removed."""
    if not file.exists():
        return []
    text = file.read_bytes()
    # The csv module ends rows so; a name may hold a bare line feed.
    head, end, _ = text.rpartition(b"\r\n")
    if head + end != text:
        file.write_bytes(head + end)
    with open(file, newline="") as stored:
        reader = csv.DictReader(stored)
        rows = list(reader)
        if reader.fieldnames and tuple(reader.fieldnames) != header:
            raise ArtifactError(f"{file} has other columns than this version: choose another --out")
        return rows


def rewrite(file: Path, header: tuple[str, ...], rows: Iterable[dict[str, str]]) -> None:
    """Write a table anew; it appears whole or not at all."""
    text = io.StringIO(newline="")
    write = csv.DictWriter(text, header)
    write.writeheader()
    write.writerows(rows)
    write_whole(file, text.getvalue())


def resumed(
    folder: Path,
    rows: Iterable[dict[str, str]],
    inputs: dict[str, str],
    whole: Callable[[dict[str, str]], bool],
    what: str,
) -> tuple[set[str], set[str]]:
    """The names of scans that are done, and of those whose rows are to be dropped and made anew.

    Args:
        folder: of the results.
        rows: of their table, with columns scan, error and input.
        inputs: the fingerprint of each scan's file by name.
        whole: whether a row has its result.
        what: how an error calls that.

    Raises:
        ArtifactError: a result of another file that has the name of one of these.
    """
    done, again = set(), set()
    for row in rows:
        name = row["scan"]
        if name not in inputs:
            continue
        same = row["input"] == inputs[name]
        if whole(row) and not same:
            raise ArtifactError(
                f"{folder} holds the {what} of another file named {name}: choose another --out"
            )
        (done if same and not row["error"] else again).add(name)
    return done, again


def safe(name: str) -> str:
    """A scan's name as a file name that stays inside its folder, and is another for every name."""
    cleaned = re.sub(r"[^\w.\-#]+", "_", name).strip(".").encode()[:LONGEST]
    text = cleaned.decode(errors="ignore") or "scan"
    if text == name:
        return name
    return f"{text}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"
