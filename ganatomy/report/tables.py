"""The tables of the page: measures, worklist, further measures, settings, training terms."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ganatomy.report.figures import interval_mark, training_curve
from ganatomy.report.scored import Row, Scored
from ganatomy.report.words import (
    as_interval,
    count,
    decimal,
    interval,
    number,
    p_value,
    signed,
    title,
)

WORKLIST = 200
EXPLAINED = {
    "auroc": "AUROC is the chance that an abnormal scan scores higher than a healthy one; "
    "0.5 is guessing.",
    "average_precision": "Average precision would be {prevalence} for a guess on these scans.",
    "sensitivity": "Sensitivity is the share of abnormal scans found at the threshold, "
    "specificity the share of healthy scans passed.",
}


def measures_table(
    rows: Sequence[Row],
    n_healthy: int,
    n_abnormal: int,
    resampled: str,
    left_out: Mapping[str, int] | None = None,
) -> dict:
    """Every score with its measures, the model's first.

    Args:
        rows: the model and what it is compared with.
        n_healthy: how many healthy scans were measured.
        n_abnormal: how many abnormal ones.
        resampled: patients or scans.
        left_out: how many of the scans a control refused, by its name.
    """
    present = {name for row in rows for name in row.measures}
    first = ["auroc", "average_precision", "sensitivity", "specificity"]
    names = [n for n in first if n in present] + sorted(present - set(first))
    lowest = min(row.measures[names[0]].low for row in rows if names[0] in row.measures)
    low = min(0.5, float(np.floor(lowest * 10) / 10))
    columns = [title(name) for name in names]
    differences = any(row.difference is not None for row in rows)

    def cell(row: Row, name: str) -> dict | None:
        measured = row.measures.get(name)
        if measured is None:
            return None
        ends = f"{decimal(measured.low)}–{decimal(measured.high)}"
        mark = interval_mark(measured, low, 1.0) if name == names[0] else ""
        return {"value": decimal(measured.value), "ends": ends, "mark": mark}

    def gain(row: Row) -> dict | None:
        if row.difference is None:
            return None
        value, *ends = (signed(part) for part in row.difference)
        return {"value": value, "ends": " to ".join(ends), "mark": ""}

    explained = [text for name, text in EXPLAINED.items() if name in present]
    prevalence = decimal(n_abnormal / max(n_healthy + n_abnormal, 1))
    if differences:
        explained.append("The last column is this model's AUROC minus the row's.")
    if any(row.name.endswith(" alone") for row in rows):
        explained.append(
            "Rows that end in “alone” are shortcuts, which look at no anatomy: how far a scan’s "
            "brightness, frame, aspect or alignment is from that of the healthy scans that set "
            "the threshold."
        )
    for name, few in (left_out or {}).items():
        refused = f"{count(few, 'scan')} that its own preprocessing refuses"
        explained.append(f"The row “{name}” is without {refused}.")
    explained.append(f"Intervals hold 95 % of the values over resampled {resampled}.")
    return {
        "columns": columns + (["Model’s gain"] if differences else []),
        "rows": [
            {
                "name": row.name,
                "cells": [cell(row, n) for n in names] + ([gain(row)] if differences else []),
            }
            for row in rows
        ],
        "mark_low": f"{low:g}",
        "mark_high": "1",
        "explain": " ".join(explained).replace("{prevalence}", prevalence),
    }


def worklist_table(scored: Scored) -> dict[str, Any]:
    """The scans with the highest scores, most abnormal first."""
    table = {name: values[:WORKLIST] for name, values in scored.columns.items()}
    columns: list[dict[str, Any]] = [{"title": "Scan", "numeric": False, "sorted": ""}]
    texts = [
        [{"head": True, "text": scan or "(no name)", "sort": scan, "style": ""}]
        for scan in table["scan"]
    ]

    def add(name: str, cells: list[dict[str, Any]], numeric: bool, order: str = "") -> None:
        columns.append({"title": name, "numeric": numeric, "sorted": order})
        for row, cell in zip(texts, cells, strict=True):
            row.append({"head": False, "style": "", **cell})

    def numbers(name: str, write=number) -> list[dict[str, Any]]:
        cells = []
        for value in table[name].astype(float):
            known = np.isfinite(value)
            text, sort = (write(value), float(value)) if known else ("–", "")
            cells.append({"text": text, "sort": sort, "style": "numeric"})
        return cells

    def calls(values: np.ndarray) -> list[dict[str, Any]]:
        names = ["abnormal" if v else "healthy" for v in values[:WORKLIST]]
        return [{"text": n, "sort": n, "style": f"is-{n}"} for n in names]

    if scored.labels is not None:
        add("Known to be", calls(scored.labels), numeric=False)
    if scored.flagged is not None:
        add("Model says", calls(scored.flagged), numeric=False)

    def some(name: str) -> bool:
        return name in table and bool(np.isfinite(table[name].astype(float)).any())

    add("Score", numbers("anomaly_score"), numeric=True, order="descending")
    if some("p_value"):
        add("p", numbers("p_value", p_value), numeric=True)
    if some("unlike"):
        add("Unlike", numbers("unlike"), numeric=True)
    if some("lesions"):
        add("Lesions", numbers("lesions", "{:.0f}".format), numeric=True)
    if some("largest_ml"):
        add("Largest, ml", numbers("largest_ml"), numeric=True)
    if some("paper_score"):
        add("Paper’s score", numbers("paper_score"), numeric=True)
    n = len(scored)
    held = f"All {n:,} scans" if n <= WORKLIST else f"The {WORKLIST} highest scores of {n:,} scans"
    note = f"{held}, most abnormal first."
    if some("p_value"):
        note += " p is the share of held-out healthy scans that would score at least as high."
    if some("unlike"):
        note += " Unlike: above 1 a scan does not look like those that set the threshold."
    return {"columns": columns, "rows": texts, "note": note}


def extra_tables(extra: Any) -> list[dict[str, Any]]:
    """Whatever further measures a folder holds, as tables; what is no table, as text."""
    if not isinstance(extra, Mapping):
        return []
    tables: list[dict[str, Any]] = []
    loose = {}
    for name, content in extra.items():
        if isinstance(content, Mapping) and as_interval(content) is None and content:
            if all(isinstance(v, Mapping) and as_interval(v) is None for v in content.values()):
                records = [{"": key, **value} for key, value in content.items()]
                tables.append({"title": title(name), **_records(records)})
            else:
                rows = [[title(key), _cell(value)] for key, value in content.items()]
                tables.append({"title": title(name), "head": [], "rows": rows})
        elif isinstance(content, list) and content and all(isinstance(r, dict) for r in content):
            tables.append({"title": title(name), **_records(content)})
        else:
            loose[name] = content
    if loose:
        rows = [[title(name), _cell(content)] for name, content in loose.items()]
        tables.append({"title": "Single values", "head": [], "rows": rows})
    return tables


def settings_table(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, one entry a row, nested names joined by dots."""
    rows: list[list[str]] = []

    def walk(record: Mapping[str, Any], before: str) -> None:
        for name, value in record.items():
            if isinstance(value, Mapping) and value:
                walk(value, f"{before}{name}.")
            else:
                rows.append([f"{before}{name}", value if isinstance(value, str) else _json(value)])

    walk({name: value for name, value in config.items() if name != "measures"}, "")
    return {"head": ["Entry", "Value"], "rows": rows}


def training_curves(history: pd.DataFrame) -> list[dict[str, Any]]:
    """One small figure a term, in groups by player."""
    steps = history["step"].to_numpy(float)
    whole = np.isfinite(steps)
    players: dict[str, list[dict[str, Any]]] = {}
    for column in history.columns:
        values = history[column].to_numpy(float)[whole]
        if column == "step" or not np.isfinite(values).any():
            continue
        values = np.where(np.isfinite(values), values, np.nan)
        player, _, term = column.partition("/")
        name = term or player
        curve = {"name": title(name), "figure": training_curve(steps[whole], values, column)}
        players.setdefault(title(player if term else "all"), []).append(curve)
    return [{"name": name, "curves": curves} for name, curves in players.items()]


def _records(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for record in records for name in record))
    return {
        "head": [title(name) for name in names],
        "rows": [[_cell(record.get(name)) for name in names] for record in records],
    }


def _cell(value: Any) -> str:
    measured = as_interval(value)
    if measured is not None:
        return interval(measured)
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
