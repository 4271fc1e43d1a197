"""The tables of docs/systems.md, from the rows that benchmarks.translation made."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.detection_page import made_at, table
from benchmarks.translation_measures import INPUT, OWN, TARGET
from benchmarks.translation_rows import RELATIONS, SYSTEMS, VARIANTS, Relation, System
from benchmarks.translation_tasks import PRESETS

PAGE = harness.ROOT / "docs" / "systems.md"
BEGIN, END = "<!-- written by benchmarks.translation -->", "<!-- end -->"
# Columns in their order; those that no row has are left out.
COLUMNS = (
    *("PSNR", "SSIM", "MAE", "VIF", "MI", "NMI", "perceptual", "sharpness", "Dice"),
    *("FID", "KID", "JS", "Wasserstein", "NMI with the scan"),
)
# Of a system its main figures: of pairs, and of sets.
MAIN = (("Dice", "PSNR", "SSIM", "perceptual", "FID"), ("FID", "KID", "NMI with the scan"))
L2 = "L2 only"

Row = Mapping[str, Any]
Found = Mapping[str, Any]


def write_page(found: Found) -> None:
    """Put the tables between the marks of docs/systems.md."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE}: no place for the tables between {BEGIN!r} and {END!r}")
    parts = [*systems(found), *relations(found), *(section(entry) for entry in found.values())]
    PAGE.write_text(f"{head}{BEGIN}\n\n{chr(10).join(p + chr(10) for p in parts)}\n{END}{tail}")


# Tables of the review --------------------------------------------------------------------------


def systems(found: Found) -> list[str]:
    """A table for each of the review's, one row for each of theirs."""
    head = ["system", "preset", "data", "the input itself", L2, "the preset"]
    titles = {5: "Cross-modality synthesis (table 5)", 6: "Other conditional synthesis (table 6)"}
    parts = []
    for number, title in titles.items():
        own = [one for one in SYSTEMS if one.table == number]
        parts += [f"## {title}", table(head, [_system(found, one) for one in own])]
        less = [f"- *{one.method}*: {one.differs}." for one in own if one.differs]
        if less:
            parts.append("\n".join(["What a row leaves out of its system:", "", *less]))
    return parts


def _system(found: Found, system: System) -> list[str]:
    told = f"{system.method}: {system.what}"
    if not system.preset:
        return [told, "none yet", "", "", "", "not measured"]
    task = PRESETS.get(system.preset, "")
    entry = found.get(task, {"rows": {}})
    rows, plain = (of_run(entry, name) for name in (system.preset, f"{system.preset}, {L2}"))
    name = f"`{system.preset}`"
    if not rows:
        return [told, name, entry.get("title", ""), "", "", "not measured"]
    names = next(names for names in MAIN if any(_value(rows[0], OWN, n) for n in names[:2]))
    if plain:
        without = _figures(plain, OWN, names)
    else:
        without = "not measured" if entry.get("taught") else "no pairs to learn from"
    own, of_input = _figures(rows, OWN, names), _figures(rows[:1], INPUT, names)
    return [told, name, _data(entry, rows[0]), of_input, without, own]


def _data(entry: Found, row: Row) -> str:
    where = entry["title"][0].lower() + entry["title"][1:]
    where = entry["title"] if entry["title"][:2].isupper() else where
    return f"{where}; n = {row['n']}{_whose(row)}"


def _whose(row: Row) -> str:
    if row["patients"] == 1:
        return f" {row['over']} of 1 patient"
    if row["patients"] == row["n"] and row["over"] != "patients":
        return ", patients unknown"
    return f", {row['patients']} patients"


def _figures(rows: Sequence[Row], method: str, names: Sequence[str]) -> str:
    cells = {name: cell(rows, method, name) for name in names}
    return "<br>".join(f"{name} {told}" for name, told in cells.items() if told)


# Order relations -------------------------------------------------------------------------------


def relations(found: Found) -> list[str]:
    """What the review states of two systems, and what was found."""
    head = ["first against second", "measure", "first minus second", "stated", "found"]
    lines = [line for one in RELATIONS for line in _relation(found, one)]
    words = "\n".join(f"- *{one.title}*: {one.says}" for one in RELATIONS)
    explained = (
        "A difference is of the same images, its interval over what the task's intervals are "
        "over: patients where there are three or more, else images of which many are of one "
        "patient, so that it is narrower than it should be. Of one training each unless a row "
        "says otherwise: another seed may turn it round where it is small."
    )
    return ["## Order relations", explained, table(head, lines), words]


def _relation(found: Found, one: Relation) -> list[list[str]]:
    entry = found.get(one.task, {"rows": {}})
    first, second = of_run(entry, one.first), of_run(entry, one.second)
    if not (first and second):
        return [[one.title, ", ".join(one.states), "", "", "not measured"]]
    lines = []
    for name, sign in one.states.items():
        gap = difference(first, second, name)
        stated = {1: "more", -1: "less", 0: "about equal"}[sign]
        seeds = (
            f", {len(first)} and {len(second)} seeds" if max(len(first), len(second)) > 1 else ""
        )
        title = f"{one.title}{seeds}" if not lines else ""
        if gap is None:
            lines.append([title, name, "", stated, "not measured"])
            continue
        told = f"{gap[0]:+.3f} ({gap[1]:+.3f} to {gap[2]:+.3f})"
        lines.append([title, name, told, stated, verdict(gap, sign)])
    return lines


def difference(
    first: Sequence[Row], second: Sequence[Row], name: str
) -> tuple[float, float, float] | None:
    """One run's measure minus another's on the images that both have, with its 95 % interval.

    Args:
        first: its rows, a seed each; of an image the mean of the seeds.
        second: those of the other.
        name: of the measure.
    """
    from ganatomy.measures.registration import mean_interval

    own, other = _by_image(first, name), _by_image(second, name)
    both = [image for image in own if image in other]
    if not both:
        return None
    row = first[0]
    patients = dict(zip(row["images"], row["whose"], strict=True))
    groups = [patients[image] for image in both] if row["over"] == "patients" else None
    gap = mean_interval([own[image] - other[image] for image in both], groups=groups)
    return gap.value, gap.low, gap.high


def verdict(gap: tuple[float, float, float], sign: int) -> str:
    """Whether a difference is what was stated of its sign."""
    _, low, high = gap
    if low <= 0 <= high:
        return "as stated: no difference is shown" if sign == 0 else "no difference is shown"
    if sign == 0:
        return f"a difference: {'more' if low > 0 else 'less'}"
    return "as stated" if (low > 0) == (sign > 0) else "the reverse"


def _by_image(rows: Sequence[Row], name: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for image, value in zip(row["images"], row["each"].get(name, []), strict=False):
            if value is not None:
                found.setdefault(image, []).append(value)
    return {image: float(np.mean(values)) for image, values in found.items()}


# One task --------------------------------------------------------------------------------------


def section(entry: Found) -> str:
    """One task: what was compared, a table of its runs and baselines, definitions and commits."""
    runs: dict[str, list[Row]] = {}
    for name, row in entry["rows"].items():
        runs.setdefault(name.rpartition("/")[0], []).append(row)
    if not runs:
        return f"## {entry['title']}\n\n{entry['says']}\n\nNot measured."
    every = [row for rows in runs.values() for row in rows]
    held = [
        n for n in COLUMNS if any(_value(row, OWN, n) or _value(row, INPUT, n) for row in every)
    ]
    lines = []
    for name, rows in runs.items():
        told = _named(name) + (f", {len(rows)} seeds" if len(rows) > 1 else "")
        minutes = f"{statistics.fmean(row['minutes'] for row in rows):.1f}"
        lines.append([told, *(cell(rows, OWN, n) for n in held), minutes])
    first = every[0]
    ends = [["the scan itself", *(cell([first], INPUT, n) for n in held), ""]]
    if first.get(TARGET):
        ends.append(["the real target", *(cell([first], TARGET, n) for n in held), ""])
    definitions = {k: v for row in every for k, v in row["definitions"].items()}
    parts = [
        f"## {entry['title']}",
        entry["says"],
        table(["", *held, "minutes"], [*ends, *lines]),
        f"n = {first['n']}{_whose(first)}; 95 % intervals over {first['over']}. "
        + "± is the standard deviation over seeds. " * any(len(rows) > 1 for rows in runs.values())
        + "Minutes are those of all trainings of a row together, by the clock.",
        "\n".join(f"- *{name}*: {definitions[name]}" for name in held if name in definitions),
    ]
    varied = [v for v in VARIANTS if v.name in runs]
    if varied:
        parts.append("\n".join(f"- `{v.name}`: `{'`, `'.join(v.settings)}`" for v in varied))
    return "\n\n".join([*parts, made_at(runs)])


def cell(rows: Sequence[Row], method: str, name: str) -> str:
    """A measure with its interval; of several seeds mean ± spread, and the first one's interval."""
    found = [value for value in (_value(row, method, name) for row in rows) if value]
    if not found:
        return ""
    values = [value["value"] for value in found]
    form = _form(values)
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    first = found[0]
    ends = f" ({first['low']:{form}}–{first['high']:{form}})" if "low" in first else ""
    return f"{statistics.fmean(values):{form}}{spread}{ends}"


def of_run(entry: Found, name: str) -> list[Row]:
    """The rows of a run, a seed each."""
    return [row for key, row in entry["rows"].items() if key.rpartition("/")[0] == name]


def _value(row: Row, method: str, name: str) -> Mapping[str, float] | None:
    value = row.get(method, {}).get(name)
    return value if value and value.get("value") is not None else None


def _form(values: Iterable[float]) -> str:
    """Three significant digits."""
    largest = max(abs(value) for value in values) or 1.0
    return f".{max(0, 2 - int(np.floor(np.log10(largest))))}f"


def _named(name: str) -> str:
    preset, comma, rest = name.partition(", ")
    return f"`{preset}`{comma}{rest}"
