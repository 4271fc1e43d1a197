"""Landmarks in CSV files: a point a row, other columns as they may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ganatomy.scans import ScanError

COLUMNS = {3: ["x", "y", "z"], 2: ["row", "column"]}


def read_points(path: str | Path, rank: int) -> np.ndarray:
    """The points of a file.

    Args:
        path: a CSV with the columns x, y and z, in mm RAS; of pictures row and column.
        rank: 2 or 3.

    Returns:
        float64 [n, rank].

    Raises:
        ScanError: no such table, other columns, no rows, or what are no numbers.
    """
    return _points(_table(path), path, rank)


def write_points(path: str | Path, points: np.ndarray, source: str | Path) -> None:
    """The rows of another file at other points; empty where a point is nowhere.

    Args:
        path: of the CSV to write.
        points: [n, rank], mm; NaN where unknown.
        source: the file the points come from, whose other columns are kept.

    Raises:
        ScanError: see `read_points`.
        ValueError: another number of points than the source has.
    """
    table, rank = _table(source), points.shape[-1]
    if _points(table, source, rank).shape != points.shape:
        raise ValueError(f"{len(points)} points for the {len(table)} rows of {source}")
    for name, values in zip(COLUMNS[rank], points.T, strict=True):
        table[name] = values
    table.to_csv(path, index=False)


def _table(path: str | Path) -> pd.DataFrame:
    expected = "a CSV with columns x, y, z (mm RAS), or row, column of a picture"
    if not Path(path).is_file():
        raise ScanError(path, "does not exist", expected)
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise ScanError(path, "cannot be read as a table", expected) from error


def _points(table: pd.DataFrame, path: str | Path, rank: int) -> np.ndarray:
    names = COLUMNS[rank]
    unit = "mm" if rank == 3 else "pixels, or mm where the picture states a spacing"
    missing = [name for name in names if name not in table]
    if missing:
        raise ScanError(path, f"has no column {missing[0]}", f"columns {', '.join(names)}")
    if not len(table):
        raise ScanError(path, "holds no points", "a point a row")
    try:
        points = table[names].to_numpy().astype(np.float64)
    except ValueError as error:
        raise ScanError(path, "holds coordinates that are no numbers", unit) from error
    if not np.isfinite(points).all():
        raise ScanError(path, "holds coordinates that are not finite", unit)
    return points
