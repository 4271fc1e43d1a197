"""A folder of scans to scores, maps and lesions, one scan at a time."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from anogan.evaluation import columns
from anogan.examples import picture, write_examples
from anogan.extremes import Extremes
from anogan.face import Face
from anogan.lesions import Lesions, find_lesions
from anogan.result import Result
from anogan.score_rows import (
    COLUMNS,
    LESION_COLUMNS,
    SCORES,
    SLICE_COLUMNS,
    append,
    lesion_rows,
    resume,
    whole_rows,
    write_worklist,
)
from anogan.volume_pictures import slices_of_volume, write_volumes
from ganatomy.progress import counter
from ganatomy.rows import safe
from ganatomy.run_folder import claim
from ganatomy.scans import ScanError, write_map, write_mask
from ganatomy.tables import Table, fingerprint

# The report shows so many of the highest-scored scans.
SHOWN = 12
HOTTEST = 4.0

# What the report shows of a scan: the arrays of its picture, and of its slices if it is a volume.
Shown = tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]


def score_to(scorer: Face, table: Table, folder: Path, *, maps: bool = True) -> list[str]:
    """Score a table into a folder.

    Writes scores.csv (a row a scan, in the table's order, each as soon as it is known), slices.csv
    for scans of several samples (slices, tiles), worklist.csv (the most abnormal first), and for
    the report examples.npz and, of volumes, volumes.npz. With maps: maps/ (what came in decides the
    format: NIfTI, DICOM parametric map, picture with an overlay); and where the model has a
    threshold of pixels lesions/ (masks of what lies above it: NIfTI, DICOM segmentation, picture)
    and lesions.csv.

    A scan whose row has no error is not scored again; one that failed is tried again, and its new
    row comes last. A scan whose map cannot be written keeps its score and has the reason as its
    error.

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
    done = resume(folder, inputs)
    rest = [place for place, name in enumerate(table.names) if name not in done]
    progress = counter("scoring")
    results = scorer.results([table.first[place] for place in rest])
    shown = Extremes(SHOWN, _shown)
    for number, (place, result) in enumerate(zip(rest, results, strict=True)):
        name = table.names[place]
        _write_scan(scorer, folder, name, result, inputs[name], maps)
        if result.error is None:
            shown.offer(name, result.anomaly_score, result)
        progress(number + 1, len(rest))
    if not rest:
        append(folder / "scores.csv", COLUMNS, ())
    rows = {row["scan"]: row for row in whole_rows(folder / "scores.csv", COLUMNS)}
    write_worklist(folder / "worklist.csv", rows.values())
    finished = {name: rows[name] for name in inputs if name in rows}
    scored = {n: float(row["anomaly_score"]) for n, row in finished.items() if row["anomaly_score"]}
    _write_shown(scorer, table, folder, scored, shown.made)
    return [row["error"] for row in finished.values() if row["error"]]


def _write_scan(
    scorer: Face, folder: Path, name: str, result: Result, file: str, maps: bool
) -> None:
    """Everything about one scan; its row comes last: a scan that has one is done, maps and all."""
    error, values, counted = "", [""] * len(SCORES), ["", ""]
    if result.error is not None:
        error = str(result.error)
    else:
        values = [columns(result)[key] for key in SCORES]
        if maps:
            error, lesions = _write_map(scorer, folder, safe(name), result)
            if lesions is not None:
                largest = lesions.largest_ml
                counted = [len(lesions.found), "" if largest is None else largest]
                append(folder / "lesions.csv", LESION_COLUMNS, lesion_rows(name, lesions))
        if len(result.slice_scores) > 1:
            slices = ((name, *pair) for pair in enumerate(result.slice_scores))
            append(folder / "slices.csv", SLICE_COLUMNS, slices)
    row = [name, *values, *counted, error, file]
    append(folder / "scores.csv", COLUMNS, [row])


def _claim(folder: Path, scorer: Face) -> None:
    """Remember whose results these are."""
    artifact, threshold = scorer.artifact_, scorer.threshold_
    claim(
        folder,
        preset=artifact.preset.name,
        threshold=threshold if np.isfinite(threshold) else None,
        data=artifact.facts.get("data", {}).get("fingerprint"),
    )


def _write_map(scorer: Face, folder: Path, stem: str, result: Result) -> tuple[str, Lesions | None]:
    """Write the map and what of it is a lesion.

    Returns:
        Why that cannot be done, in one line, or nothing; and the lesions, None where the model
        has no threshold of pixels.
    """
    settings: dict[str, Any] = {
        "model": scorer.artifact_.preset.name,
        "version": version("ganatomy"),
        "threshold": scorer.threshold_,
    }
    if scorer.postprocessing_.healthy_map:
        # Pictures of one model share one scale: the hottest colour is so many times what healthy
        # scans show there.
        settings["high"] = HOTTEST
    array, scan = result.map, result.scan
    pixel = scorer.calibration_.pixel_threshold
    lesions = None
    if pixel is not None:
        ways = scorer.postprocessing_
        few = max(1, round(ways.smallest_share * array.size)) if scan.affine is None else 1
        lesions = find_lesions(
            array, pixel, scan.affine, smallest_ml=ways.smallest_ml, smallest_pixels=few
        )
    try:
        (folder / "maps").mkdir(parents=True, exist_ok=True)
        write_map(scan, array, folder / "maps" / stem, title="Anomaly map", settings=settings)
        if lesions is not None:
            (folder / "lesions").mkdir(parents=True, exist_ok=True)
            write_mask(
                scan,
                lesions.labels > 0,
                folder / "lesions" / stem,
                title="Lesions",
                settings={**settings, "threshold": pixel},
            )
    except (ScanError, OSError) as error:
        return " ".join(f"scored, but without a map: {error}".split()), lesions
    return "", lesions


def _shown(result: Result) -> Shown:
    return picture(result), slices_of_volume(result)


def _write_shown(
    scorer: Face, table: Table, folder: Path, scores: dict[str, float], made: dict[str, Shown]
) -> None:
    """Write examples.npz and volumes.npz of the highest-scored scans.

    Args:
        scorer: scores again those of them that an earlier run scored, and no others.
        table: with the scans.
        folder: of the results.
        scores: by name, in the table's order.
        made: by name, of the highest of this run.
    """
    chosen = sorted(scores, key=lambda name: -scores[name])[:SHOWN]
    before = [name for name in chosen if name not in made]
    file = folder / "examples.npz"
    if before == chosen and (not chosen or _names_in(file) == chosen):
        return
    place = {name: index for index, name in enumerate(table.names)}
    results = scorer.results([table.first[place[name]] for name in before])
    again = {
        # A scan may have gone since it was scored.
        name: _shown(result)
        for name, result in zip(before, results, strict=True)
        if result.error is None
    }
    known = {**again, **made}
    found = {name: known[name] for name in chosen if name in known}
    if not found:
        return
    # Before the examples, which say that both are there.
    write_volumes({n: own for n, (_, own) in found.items()}, {n: scores[n] for n in found}, folder)
    write_examples(
        file,
        [own for own, _ in found.values()],
        names=np.array(list(found), str),
        score=np.array([scores[name] for name in found]),
    )


def _names_in(file: Path) -> list[str]:
    """Whose pictures a folder has already."""
    if not file.exists():
        return []
    with np.load(file, allow_pickle=False) as stored:
        return stored["names"].tolist()
