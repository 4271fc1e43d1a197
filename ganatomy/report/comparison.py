"""Several models measured on the same scans: what `evaluate` left beside their folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganatomy.measures import Interval
from ganatomy.report.translated_runs import runs_section
from ganatomy.report.words import as_interval, count, decimal, interval, signed, title

FILE = "comparison.json"
# Where measures.json of a model keeps what the difference to the first is told of.
PIXELS = ("pixel_auroc", "pixel_average_precision", "dice", "lesion_sensitivity")
TITLES = {
    "pixel_average_precision": "Pixel average precision",
    "lesion_sensitivity": "Lesions found, mean over false positives",
}


@dataclass(frozen=True)
class Compared:
    """One model: measures.json of its folder, and the first one's measures minus its own."""

    name: str
    record: Mapping[str, Any]
    differences: Mapping[str, Interval]

    def measure(self, name: str) -> Interval | None:
        """A measure of whole scans or of pixels, or None where it has none."""
        pixels = self.record.get("pixels") or {}
        if name == "lesion_sensitivity":
            return as_interval(pixels.get(name, {}).get("mean"))
        return as_interval({**self.record["measures"], **pixels.get("measures", {})}.get(name))


def read_comparison(path: Path) -> list[Compared]:
    """The models that a comparison.json tells of, the first of them first.

    Args:
        path: of the file; the models' folders lie beside it.

    Raises:
        ValueError, KeyError, OSError: it, or what a folder holds, is not what `evaluate` wrote.
    """
    pairs = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(pairs, list) or not pairs or not all(isinstance(p, dict) for p in pairs):
        raise ValueError("expected a list of differences")
    found = []
    for pair in ({"minus": pairs[0]["of"], "of": pairs[0]["of"], "measures": {}}, *pairs):
        name, gaps = pair["minus"], pair["measures"]
        if not isinstance(name, str) or Path(name).name != name or name == "..":
            raise ValueError(f"expected the name of a folder beside it, not {name!r}")
        if pair["of"] != pairs[0]["of"] or not isinstance(gaps, dict):
            raise ValueError(f"expected differences of {pairs[0]['of']} and each other model")
        record = _record(path.parent / name / "measures.json")
        read = {key: as_interval(value) for key, value in gaps.items()}
        found.append(Compared(name, record, {key: gap for key, gap in read.items() if gap}))
    return found


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as cause:
        raise ValueError(f"{path}: {cause}") from cause
    wanted = {"measures", "n_healthy", "n_abnormal"}
    if isinstance(record, dict) and record.get("task") == "translate":
        wanted = {"measures", "methods", "n_pairs"}
    if not isinstance(record, dict) or not wanted <= set(record):
        raise ValueError(f"{path}: not the measures of an evaluation")
    return record


def comparison_section(models: list[Compared]) -> dict[str, Any] | None:
    """Tables of the models: of whole scans, and of maps where there are masks; None without any.

    Args:
        models: the first of them is what the others are compared with.
    """
    if not models:
        return None
    if models[0].record.get("task") == "translate":
        return runs_section(models)
    tables = [
        {"title": name, **table}
        for name, table in (
            ("Whole scans", _table(models, ("auroc",))),
            ("Maps", _table(models, PIXELS)),
        )
        if table["rows"]
    ]
    over = "patients" if models[0].record.get("patients") else "scans"
    return {
        "tables": tables,
        "planes": [],
        "explain": (
            f"A difference is the measure of {models[0].name} minus that of the row, on the scans "
            "that both could read and on the same resamples. Intervals hold 95 % of the values "
            f"over resampled {over}; where that of a difference holds 0, neither is shown to be "
            "better."
        ),
    }


def comparison_verdict(models: list[Compared]) -> str:
    """How the models stand to each other, in one or two sentences."""
    first, *others = models
    record = first.record
    if record.get("task") == "translate":
        pairs = count(int(record["n_pairs"]), "pair")
        return f"{count(len(models), 'model')} measured on {pairs} of scans."
    said = (
        f"{count(len(models), 'model')} measured on {int(record['n_healthy']):,} healthy and "
        f"{count(int(record['n_abnormal']), 'abnormal scan')}."
    )
    own = first.measure("auroc")
    gaps = [other.differences.get("auroc") for other in others]
    if own is None or any(gap is None for gap in gaps):
        return said
    better = [o.name for o, gap in zip(others, gaps, strict=True) if gap and gap.high < 0]
    worse = [o.name for o, gap in zip(others, gaps, strict=True) if gap and gap.low > 0]
    said += f" AUROC of {first.name} {decimal(own.value)}."
    if better:
        said += f" Shown to be higher: {', '.join(better)}."
    if worse:
        said += f" Shown to be lower: {', '.join(worse)}."
    return said if better or worse else f"{said} No other is shown to differ from it."


def _table(models: list[Compared], names: tuple[str, ...]) -> dict[str, Any]:
    held = [name for name in names if any(model.measure(name) for model in models)]
    head = ["Model"]
    for name in held:
        head += [TITLES.get(name, title(name)), f"{models[0].name} minus this"]
    return {"head": head, "rows": [[m.name, *_cells(m, held)] for m in models] if held else []}


def _cells(model: Compared, names: list[str]) -> Iterator[str]:
    for name in names:
        own, gap = model.measure(name), model.differences.get(name)
        yield "–" if own is None else interval(own)
        value, low, high = ("", "", "") if gap is None else map(signed, gap)
        yield f"{value} ({low} to {high})" if value else "–"
