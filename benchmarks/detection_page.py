"""The tables of docs/detection.md, from the rows that benchmarks.detection made.

A row may be older than a column of these tables: a cell whose figures it lacks stays empty.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks import harness
from benchmarks.detection_data import LABELS

PAGE = harness.ROOT / "docs" / "detection.md"
BEGIN, END = "<!-- written by benchmarks.detection -->", "<!-- end -->"
# Columns of the table of maps: their headings, and where a row keeps them.
PIXELS = {
    "pixel AUROC": "pixel_auroc",
    "pixel AP": "pixel_average_precision",
    "Dice at 1 %": "dice",
    "best Dice (oracle)": "best_dice_oracle",
    "FROC": "lesions",
}
ORACLE = (
    "Maps against masks. *Best Dice* is an oracle's: its threshold was chosen on these very masks, "
    "and nobody has it beforehand."
)

Row = Mapping[str, Any]
Find = Callable[[Row], Any]


def write_page(found: Mapping[str, Any]) -> None:
    """Put the tables between the marks of docs/detection.md."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE}: no place for the tables between {BEGIN!r} and {END!r}")
    made = "\n\n".join(section(task, entry) for task, entry in found.items())
    PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n\n{END}{tail}")


def section(task: str, entry: Mapping[str, Any]) -> str:
    """One comparison: a heading, what was compared, and tables of scans, of kinds and of maps."""
    seeds: dict[str, list[Row]] = {}
    for name, row in entry["rows"].items():
        seeds.setdefault(name.partition("/")[0], []).append(row)
    rows = dict(sorted(seeds.items(), key=lambda item: -mean(map(_auroc, item[1]))))
    parts = [f"### {entry['title']}", entry["says"], of_scans(rows)]
    kinds = dict.fromkeys(k for own in seeds.values() for row in own for k in row.get("kinds", {}))
    if kinds:
        columns = {kind: _kind(kind) for kind in kinds}
        parts += [
            "AUROC of one kind of abnormal scans against all healthy ones.",
            _of(rows, columns),
        ]
    if any(row.get("pixels") for own in rows.values() for row in own):
        columns = {title: _pixel(name) for title, name in PIXELS.items()}
        parts += [ORACLE, _of(rows, columns, digits=2)]
    if any(len(own) > 1 for own in rows.values()):
        parts.append(
            "± is the standard deviation over seeds, after their mean; the interval after it is "
            "that of the first seed alone."
        )
    parts += [chosen_by_labels(task, rows), made_at(rows)]
    return "\n\n".join(parts)


def of_scans(rows: Mapping[str, Sequence[Row]]) -> str:
    """How well whole scans are told apart, and what that costs."""
    head = ["detector", "AUROC", "paper's own", "against the control", "sensitivity", "specificity"]
    lines = []
    for name, own in rows.items():
        minutes = mean(row["minutes"] for row in own)
        lines.append(
            [
                named(name, own),
                cell(own, lambda row: row["measures"].get("auroc")),
                cell(own, lambda row: row["paper"]),
                cell(own, lambda row: row["control"], "+.3f"),
                cell(own, lambda row: row["measures"].get("sensitivity"), ".2f"),
                cell(own, lambda row: row["measures"].get("specificity"), ".2f"),
                f"{minutes:.1f}",
                f"{max(row['images_per_second'] for row in own):,.0f}",
            ]
        )
    return table([*head, "minutes", "images/s"], lines)


def _of(rows: Mapping[str, Sequence[Row]], columns: Mapping[str, Find], digits: int = 3) -> str:
    """A table of some measures of the detectors that have any of them."""
    lines = [
        [named(name, own), *(cell(own, find, f".{digits}f") for find in columns.values())]
        for name, own in rows.items()
    ]
    return table(["detector", *columns], [line for line in lines if any(line[1:])])


def cell(rows: Sequence[Row], find: Find, form: str = ".3f") -> str:
    """A measure with its interval; of several seeds mean ± spread, and the first one's interval.

    Args:
        rows: of one detector, a seed each.
        find: the measure in a row, with `value`, `low` and `high`; None where it has none.
        form: of the numbers.
    """
    found = [measure for measure in map(find, rows) if measure]
    if not found:
        return ""
    values = [measure["value"] for measure in found]
    spread = f" ± {statistics.stdev(values):{form.lstrip('+')}}" if len(values) > 1 else ""
    to = " to " if form.startswith("+") else "–"  # beside signs a dash reads as one of them
    first = find(rows[0])
    ends = f" ({first['low']:{form}}{to}{first['high']:{form}})" if first else ""
    return f"{mean(values):{form}}{spread}{ends}"


def chosen_by_labels(task: str, names: Iterable[str]) -> str:
    """Which settings were chosen with labels in sight: the task's own, or those of the presets."""
    from ganatomy import registry

    if task in LABELS:
        return f"Chosen in sight of labels: {LABELS[task]}"
    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(registry.preset(name).labels, []).append(f"`{name}`")
    told = "; ".join(f"{', '.join(own)}: {what}" for what, own in alike.items())
    return f"Chosen in sight of labels: {told}."


def made_at(rows: Mapping[str, Sequence[Row]]) -> str:
    """The commits that rows were trained and measured at, so that a stale row is seen."""
    made: dict[str, list[str]] = {}
    for name, own in rows.items():
        for row in own:
            commit = row.get("commit") or {}
            at = [commit.get(what) or "not recorded" for what in ("trained", "measured")]
            names = made.setdefault(at[0] if at[0] == at[1] else f"{at[0]}, {at[1]}", [])
            if f"`{name}`" not in names:
                names.append(f"`{name}`")
    if len(made) == 1:
        return f"Commit of all rows: {next(iter(made))}."
    told = "; ".join(f"{at}: {', '.join(names)}" for at, names in made.items())
    return f"Commits of the rows (of two the first trained, the second measured): {told}."


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "---|" * len(head)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(x)} |" for x in lines)])


def named(name: str, rows: Sequence[Row]) -> str:
    return f"`{name}`" + (f", {len(rows)} seeds" if len(rows) > 1 else "")


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _auroc(row: Row) -> float:
    return row["measures"]["auroc"]["value"]


def _kind(kind: str) -> Find:
    return lambda row: row.get("kinds", {}).get(kind)


def _pixel(name: str) -> Find:
    return lambda row: (row.get("pixels") or {}).get(name)
