"""The tables of a folder of scores: written a row at a time, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from anogan.lesions import Lesions
from ganatomy.rows import append, resumed, rewrite, whole_rows

__all__ = ["append", "lesion_rows", "resume", "whole_rows", "write_worklist"]

SCORES = ("anomaly_score", "p_value", "threshold", "abnormal", "paper_score", "unlike")
COLUMNS = ("scan", *SCORES, "lesions", "largest_ml", "error", "input")
WORKLIST = ("scan", "anomaly_score", "p_value", "abnormal", "lesions", "largest_ml")
SLICE_COLUMNS = ("scan", "slice", "anomaly_score")
LESION_COLUMNS = (
    *("scan", "lesion", "volume_ml", "pixels", "peak", "mean"),
    # indices on the scan's grid, then mm to the right, anterior and superior
    *("centroid_i", "centroid_j", "centroid_k", "peak_i", "peak_j", "peak_k"),
    *("centroid_r", "centroid_a", "centroid_s", "peak_r", "peak_a", "peak_s"),
)
# Tables that have several rows of a scan, or none.
BESIDE = {"slices.csv": SLICE_COLUMNS, "lesions.csv": LESION_COLUMNS}


def lesion_rows(name: str, lesions: Lesions) -> Iterator[list[Any]]:
    """The rows of lesions.csv of one scan; empty where a picture has neither k nor mm."""
    for number, lesion in enumerate(lesions.found, start=1):
        flat = [""] * (3 - len(lesion.peak_at))  # of a picture there is no k
        ml = "" if lesion.volume_ml is None else lesion.volume_ml
        places = [*lesion.centroid, *flat, *lesion.peak_at, *flat]
        mm = [*(lesion.centroid_mm or [""] * 3), *(lesion.peak_mm or [""] * 3)]
        yield [name, number, ml, lesion.pixels, lesion.peak, lesion.mean, *places, *mm]


def write_worklist(file: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write the scans that have a score, the most abnormal first, with their rank.

    Args:
        file: worklist.csv.
        rows: of scores.csv.
    """
    scored = [row for row in rows if row["anomaly_score"]]
    # Of equal scores the one with the larger lesion comes first.
    scored.sort(key=lambda row: (-float(row["anomaly_score"]), -float(row["largest_ml"] or 0)))
    ranked = [
        {"rank": str(rank), **{name: row[name] for name in WORKLIST}}
        for rank, row in enumerate(scored, start=1)
    ]
    rewrite(file, ("rank", *WORKLIST), ranked)


def resume(folder: Path, inputs: dict[str, str]) -> set[str]:
    """The names that are done; rows of scans to be scored again are dropped from every table.

    Args:
        folder: of the results.
        inputs: the fingerprint of each scan's file by name.
    """
    file = folder / "scores.csv"
    rows = whole_rows(file, COLUMNS)
    done, again = resumed(folder, rows, inputs, lambda row: bool(row["anomaly_score"]), "score")
    kept = [row for row in rows if row["scan"] not in again]
    if again:
        rewrite(file, COLUMNS, kept)
    # A kill between the slices of a scan and its row leaves slices that will be written again.
    whole = {row["scan"] for row in kept}
    for name, header in BESIDE.items():
        beside = whole_rows(folder / name, header)
        if any(row["scan"] not in whole for row in beside):
            rewrite(folder / name, header, [row for row in beside if row["scan"] in whole])
    return done
