"""A folder of scans to scores.csv and maps, one row at a time, so that a killed run goes on."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from anogan.evaluation import columns, picture, write_examples
from anogan.face import Face
from anogan.result import Result
from ganatomy.artifacts import ArtifactError, write_whole
from ganatomy.progress import counter
from ganatomy.scans import ScanError, write_map
from ganatomy.tables import Table, fingerprint

SCORES = ("anomaly_score", "p_value", "threshold", "abnormal", "paper_score", "unlike")
COLUMNS = ("scan", *SCORES, "error", "input")
SLICE_COLUMNS = ("scan", "slice", "anomaly_score")
# The report shows so many of the highest-scored scans.
SHOWN = 12
# Bytes of a map's name; a file name may have 255, and a suffix follows.
LONGEST = 190
HOTTEST = 4.0


def score_to(scorer: Face, table: Table, folder: Path, *, maps: bool = True) -> list[str]:
    """Score a table into a folder.

    Writes scores.csv (a row a scan, in the table's order, each as soon as it is known), slices.csv
    for volumes under a 2D model, maps/ (what came in decides the format: NIfTI, DICOM parametric
    map, picture with an overlay), and examples.npz for the report. A scan whose row has no error
    is not scored again; one that failed is tried again, and its new row comes last. A scan whose
    map cannot be written keeps its score and has the reason as its error.

    Returns:
        One line for every scan of the table that failed.

    Raises:
        ArtifactError: the folder holds another model's results, or a score of another file that
            has the name of one of these.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, scorer)
    # Taken before anything is read: a file that changes under way is not taken for done later.
    inputs = {
        name: fingerprint([path]) for name, path in zip(table.names, table.first, strict=True)
    }
    done = _resume(folder, inputs)
    rest = [place for place, name in enumerate(table.names) if name not in done]
    progress = counter("scoring")
    with (
        open(folder / "scores.csv", "a", newline="") as scores,
        open(folder / "slices.csv", "a", newline="") as slices,
    ):
        write, write_slice = csv.writer(scores), csv.writer(slices)
        if scores.tell() == 0:
            write.writerow(COLUMNS)
        results = scorer.results([table.first[place] for place in rest])
        for number, (place, result) in enumerate(zip(rest, results, strict=True)):
            name = table.names[place]
            error, values = "", [""] * len(SCORES)
            if result.error is not None:
                error = str(result.error)
            else:
                values = [columns(result)[key] for key in SCORES]
                error = _write_map(scorer, folder / "maps" / safe(name), result) if maps else ""
                if len(result.slice_scores) > 1:
                    if slices.tell() == 0:
                        write_slice.writerow(SLICE_COLUMNS)
                    write_slice.writerows((name, *pair) for pair in enumerate(result.slice_scores))
                    slices.flush()
            # The row comes last: a scan that has one is done, maps and all.
            write.writerow([name, *values, error, inputs[name]])
            scores.flush()
            progress(number + 1, len(rest))
    if (folder / "slices.csv").stat().st_size == 0:
        (folder / "slices.csv").unlink()
    finished = _whole_rows(folder / "scores.csv", COLUMNS)
    finished = {row["scan"]: row for row in finished if row["scan"] in inputs}
    _write_examples(scorer, table, folder, finished)
    return [row["error"] for row in finished.values() if row["error"]]


def safe(name: str) -> str:
    """A scan's name as a file name that stays inside its folder, and is another for every name."""
    cleaned = re.sub(r"[^\w.\-#]+", "_", name).strip(".").encode()[:LONGEST]
    text = cleaned.decode(errors="ignore") or "scan"
    if text == name:
        return name
    return f"{text}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _claim(folder: Path, scorer: Face) -> None:
    """Remember whose results these are."""
    artifact = scorer.artifact_
    own = {
        "preset": artifact.preset.name,
        "threshold": scorer.threshold_ if np.isfinite(scorer.threshold_) else None,
        "data": artifact.facts.get("data", {}).get("fingerprint"),
    }
    file = folder / "model.json"
    if file.exists():
        if json.loads(file.read_text()) != own:
            raise ArtifactError(f"{folder} holds another model's results: choose another --out")
    elif any(folder.iterdir()):
        raise ArtifactError(f"{folder} is not empty and holds no scores: choose another --out")
    else:
        write_whole(file, json.dumps(own))


def _resume(folder: Path, inputs: dict[str, str]) -> set[str]:
    """The names that are done; rows and slices of scans to be scored again are dropped.

    Args:
        folder: of the results.
        inputs: the fingerprint of each scan's file by name.
    """
    file = folder / "scores.csv"
    rows = _whole_rows(file, COLUMNS)
    done, again = set(), set()
    for row in rows:
        name = row["scan"]
        if name not in inputs:
            continue
        same = row["input"] == inputs[name]
        if row["anomaly_score"] and not same:
            raise ArtifactError(
                f"{folder} holds the score of another file named {name}: choose another --out"
            )
        (done if same and not row["error"] else again).add(name)
    kept = [row for row in rows if row["scan"] not in again]
    if again:
        _rewrite(file, COLUMNS, kept)
    # A kill between the slices of a scan and its row leaves slices that will be written again.
    file, whole = folder / "slices.csv", {row["scan"] for row in kept}
    slices = _whole_rows(file, SLICE_COLUMNS)
    if any(row["scan"] not in whole for row in slices):
        _rewrite(file, SLICE_COLUMNS, [row for row in slices if row["scan"] in whole])
    return done


def _whole_rows(file: Path, header: tuple[str, ...]) -> list[dict[str, str]]:
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


def _rewrite(file: Path, header: tuple[str, ...], rows: Iterable[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    write = csv.DictWriter(text, header)
    write.writeheader()
    write.writerows(rows)
    write_whole(file, text.getvalue())


def _write_map(scorer: Face, stem: Path, result: Result) -> str:
    """Write the map beside the others; why that cannot be done, in one line, or nothing."""
    preset = scorer.artifact_.preset
    settings: dict[str, Any] = {
        "model": preset.name,
        "version": version("ganatomy"),
        "threshold": scorer.threshold_,
    }
    if scorer.postprocessing_.healthy_map:
        # Pictures of one model share one scale: the hottest colour is so many times what healthy
        # scans show there.
        settings["high"] = HOTTEST
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_map(result.scan, result.map, stem, title="Anomaly map", settings=settings)
    except (ScanError, OSError) as error:
        return " ".join(f"scored, but without a map: {error}".split())
    return ""


def _write_examples(
    scorer: Face, table: Table, folder: Path, rows: dict[str, dict[str, str]]
) -> None:
    scored = [name for name in table.names if rows.get(name, {}).get("anomaly_score")]
    chosen = sorted(scored, key=lambda name: -float(rows[name]["anomaly_score"]))[:SHOWN]
    if not chosen:
        return
    place = {name: index for index, name in enumerate(table.names)}
    results = scorer.results([table.first[place[name]] for name in chosen])
    pictures = {
        # A scan may have gone since it was scored.
        name: picture(result)
        for name, result in zip(chosen, results, strict=True)
        if result.error is None
    }
    if not pictures:
        return
    write_examples(
        folder / "examples.npz",
        list(pictures.values()),
        names=np.array(list(pictures), str),
        score=np.array([float(rows[name]["anomaly_score"]) for name in pictures]),
    )
