"""What a Spark worker does with an archive's scans: one answer or one error a row."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import RecordBatch

from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.scans.read import series_files
from ganatomy.scans.safety import check_path, read_start
from ganatomy.served import CHUNK, Answers

# Set in the workers by `ganatomy.archive`; an endpoint refuses a request as a whole instead.
VARIABLE = "GANATOMY_ARCHIVE"
# No file begins so by chance, and an archive's own ZIP files stay files that cannot be read.
MARK = b"slices of one series, packed by ganatomy\n"
# What one cell of a Spark table holds.
MOST = 1900 << 20
# What a scan's error begins with, in place of the path that the worker was not told.
NAME = "scan"


def contents(batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
    """Rows of `path` with the bytes there as `content`, or why there are none as `refused`.

    A row at a time, however many come in: a batch of large volumes would not fit.
    """
    for batch in batches:
        for row in batch.to_pylist():
            row["content"], row["refused"] = b"", ""
            try:
                row["content"] = _content(Path(row["path"]))
            except ScanError as error:
                row["refused"] = str(error)
            yield RecordBatch.from_pylist([row])


def _content(path: Path) -> bytes:
    """A file's bytes, or those of a folder's slices in one."""
    check_path(path)
    if not path.is_dir():
        return _bytes(path)
    packed = io.BytesIO()
    packed.write(MARK)
    size = 0
    with zipfile.ZipFile(packed, "w") as series:
        for file in series_files(path):
            content = _bytes(file)
            size += len(content)
            if size > MOST:
                raise ScanError(path, "is too large", f"at most {MOST >> 20} MiB")
            series.writestr(file.name, content)
    return packed.getvalue()


def _bytes(file: Path) -> bytes:
    read_start(file)  # refuses what is missing, closed, empty or special
    if file.stat().st_size > MOST:
        raise ScanError(file, "is too large", f"at most {MOST >> 20} MiB")
    return file.read_bytes()


class ArchivedAnswers(Answers):
    """Answers that name the broken scans of a table beside those of the others.

    The bounds are those of a file on disk, not of a request: an archive is nobody's upload.
    """

    def _predict(self, table: Any, map: bool) -> pd.DataFrame:
        contents = list(table["scan"])
        rows: list[dict[str, Any]] = []
        for begin in range(0, len(contents), CHUNK):
            rows += self._rows(contents[begin : begin + CHUNK])
        return pd.DataFrame(rows, columns=[*self.face.answers, "error"])

    def _rows(self, contents: list[Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = [{} for _ in contents]
        scans: dict[int, Scan] = {}
        for place, content in enumerate(contents):
            try:
                scans[place] = self._read(bytes(content))
            except ScanError as error:
                rows[place] = {"error": _without_name(error)}
        try:
            with self._one_at_a_time:
                answers = self.face.answer(list(scans.values())) if scans else []
        except ScanError:
            # One that does not suit the model; an answer does not depend on its company.
            answers = [self._alone(scan) for scan in scans.values()]
        for place, answer in zip(scans, answers, strict=True):
            rows[place] = {"error": "", **answer}
        return rows

    def _alone(self, scan: Scan) -> dict[str, Any]:
        try:
            return self.face.answer([scan])[0]
        except ScanError as error:
            return {"error": _without_name(error)}

    def _read(self, content: bytes) -> Scan:
        if not content.startswith(MARK):
            return read_scan(content, name=NAME, window=self.voi)
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(io.BytesIO(content[len(MARK) :])) as packed:
                packed.extractall(folder)
            try:
                scan = read_scan(folder, name=NAME, window=self.voi)
            except ScanError as error:
                path = error.path.replace(folder, NAME, 1)
                raise ScanError(path, error.problem, error.expected) from error
        return scan


def _without_name(error: ScanError) -> str:
    """The error's line after the scan's name, which the archive knows and the worker does not."""
    return str(error).removeprefix(NAME)


@cache
def answers_of(folder: str | Path) -> ArchivedAnswers:
    """One model a worker: Spark asks for it anew with every task."""
    return ArchivedAnswers(folder)
