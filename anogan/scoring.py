"""A folder of scans to scores.csv and maps, one row at a time, so that a killed run goes on."""

from __future__ import annotations

import csv
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from anogan.evaluation import columns, picture
from anogan.result import Result
from anogan.scorer import AnomalyScorer
from ganatomy.artifacts import ArtifactError, write_whole
from ganatomy.progress import counter
from ganatomy.scans import write_map
from ganatomy.tables import Table

COLUMNS = (
    "scan", "anomaly_score", "p_value", "threshold", "abnormal", "paper_score", "unlike", "error"
)  # fmt: skip
# The report shows so many of the highest-scored scans.
SHOWN = 12
HOTTEST = 4.0


def score_to(scorer: AnomalyScorer, table: Table, folder: Path, *, maps: bool = True) -> list[str]:
    """Score a table into a folder.

    Writes scores.csv (a row a scan, in the table's order, each as soon as it is known), slices.csv
    for volumes under a 2D model, maps/ (what came in decides the format: NIfTI, DICOM parametric
    map, picture with an overlay), and examples.npz for the report. Scans that have a row already
    are not scored again.

    Returns:
        One line for every scan that failed, now or before.

    Raises:
        ArtifactError: the folder holds another model's results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, scorer)
    done = _finished(folder / "scores.csv")
    rest = [place for place, name in enumerate(table.names) if name not in done]
    progress = counter("scoring")
    with (
        open(folder / "scores.csv", "a", newline="") as scores,
        open(folder / "slices.csv", "a", newline="") as slices,
    ):
        write, write_slice = csv.writer(scores), csv.writer(slices)
        if not done:
            write.writerow(COLUMNS)
        results = scorer.results([table.first[place] for place in rest])
        for number, (place, result) in enumerate(zip(rest, results, strict=True)):
            name = table.names[place]
            if result.error is None:
                if maps:
                    _write_map(scorer, folder / "maps" / safe(name), result)
                if len(result.slice_scores) > 1:
                    for index, value in enumerate(result.slice_scores):
                        write_slice.writerow([name, index, value])
                    slices.flush()
                row = [columns(result)[key] for key in COLUMNS[1:-1]]
                write.writerow([name, *row, ""])
            else:
                write.writerow([name, *[""] * (len(COLUMNS) - 2), str(result.error)])
            # The row comes last: a scan that has one is done, maps and all.
            scores.flush()
            progress(number + 1, len(rest))
    if (folder / "slices.csv").stat().st_size == 0:
        (folder / "slices.csv").unlink()
    finished = _finished(folder / "scores.csv")
    _write_examples(scorer, table, folder, finished)
    return [row["error"] for name, row in finished.items() if row["error"]]


def safe(name: str) -> str:
    """A scan's name as a file name that stays inside its folder."""
    return re.sub(r"[^\w.\-#]+", "_", name).strip(".") or "scan"


def _claim(folder: Path, scorer: AnomalyScorer) -> None:
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


def _finished(file: Path) -> dict[str, dict[str, str]]:
    """The rows that an earlier run wrote whole; a last line cut short is removed."""
    if not file.exists():
        return {}
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        file.write_bytes(whole)
    with open(file, newline="") as stored:
        return {row["scan"]: row for row in csv.DictReader(stored)}


def _write_map(scorer: AnomalyScorer, stem: Path, result: Result) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
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
    write_map(result.scan, result.map, stem, title="Anomaly map", settings=settings)


def _write_examples(
    scorer: AnomalyScorer, table: Table, folder: Path, rows: dict[str, dict[str, str]]
) -> None:
    scored = [name for name in table.names if rows.get(name, {}).get("anomaly_score")]
    chosen = sorted(scored, key=lambda name: -float(rows[name]["anomaly_score"]))[:SHOWN]
    if not chosen:
        return
    place = {name: index for index, name in enumerate(table.names)}
    results = scorer.results([table.first[place[name]] for name in chosen])
    pictures = [picture(result) for result in results]
    np.savez_compressed(
        folder / "examples.npz",
        allow_pickle=False,
        names=np.array(chosen, str),
        score=np.array([float(rows[name]["anomaly_score"]) for name in chosen]),
        **{key: np.stack([p[key] for p in pictures]) for key in pictures[0]},
    )
