"""Timing, summaries, the machine, and the table in the docs: the same for every benchmark.

Rivals are timed in turns (A B A B …) and compared pair by pair: what else runs on the machine
slows neighbours in time alike, and a ratio of neighbours says more than a ratio of means.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
LIBRARIES = ("ganatomy", "tensorflow", "keras", "numpy", "mlflow", "torch")

MANY = 10  # subjects of the same questions, from which they get a table of their own

Work = Callable[[], float | None]


@dataclass(frozen=True)
class Row:
    """One line of a result.

    Attributes:
        what: was measured.
        unit: of the values.
        value: the median, or the point estimate.
        low: the smallest of the repeats, or the lower end of a 95 % interval.
        high: the largest, or the upper end.
        of: what low and high are taken over.
    """

    what: str
    unit: str
    value: float
    low: float
    high: float
    of: str


@dataclass
class Result:
    """What a benchmark found.

    Attributes:
        rows: of its table.
        notes: what a reader has to know, a sentence or two each.
    """

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def seconds(work: Work) -> float:
    """How long `work` takes; a number that it returns is taken in place of the clock's."""
    began = time.perf_counter()
    own = work()
    return time.perf_counter() - began if own is None else own


def repeated(work: Work, repeats: int, warmup: int = 1) -> list[float]:
    """Seconds of each of `repeats` calls, after `warmup` calls that do not count."""
    for _ in range(warmup):
        work()
    return [seconds(work) for _ in range(repeats)]


def in_turns(rivals: Mapping[str, Work], repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds by rival, timed in turns: A B A B …, after a warm-up of each."""
    for _ in range(warmup):
        for work in rivals.values():
            work()
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, work in rivals.items():
            times[name].append(seconds(work))
    return times


def rates(amount: float, times: Sequence[float]) -> list[float]:
    """`amount` a second, for every time."""
    return [amount / each for each in times]


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Pair by pair.

    Raises:
        ValueError: lengths differ.
    """
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def row(what: str, unit: str, values: Sequence[float], of: str = "repeats") -> Row:
    """Median, smallest and largest of some values."""
    plain = [float(value) for value in values]  # NumPy's own numbers are none to JSON
    return Row(what, unit, statistics.median(plain), min(plain), max(plain), f"{len(plain)} {of}")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * share)) - 1]


def machine() -> dict[str, Any]:
    """What this was measured on."""
    with open("/proc/cpuinfo") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        # Above 1, somebody else wanted the processors too.
        "load_per_core": round(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 2),
    }


def write(name: str, question: str, result: Result, on: dict[str, Any], quick: bool) -> Path:
    """A result as JSON; a quick one lies apart and does not reach the docs."""
    folder = RESULTS / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    content = {
        "name": name,
        "question": question,
        "date": time.strftime("%Y-%m-%d"),
        "machine": on,
        **asdict(result),
    }
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    return file


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as Markdown tables.

    Where many subjects were asked the same ("subject: what"), they stand below each other in a
    table of its own, one column a question, without ranges (those are in the JSON).
    """
    asked: dict[str, dict[str, Mapping[str, Any]]] = {}
    for each in rows:
        subject, colon, what = each["what"].partition(": ")
        if colon:
            asked.setdefault(subject, {})[what] = each
    columns = next(iter(asked.values()), {})
    if len(asked) < MANY or any(found.keys() != columns.keys() for found in asked.values()):
        return table(rows)
    names = [f"{what}, {row['unit']}".removesuffix(", ") for what, row in columns.items()]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    lines += [
        f"| {subject} | {' | '.join(number(each['value']) for each in found.values())} |"
        for subject, found in asked.items()
    ]
    rest = [each for each in rows if ": " not in each["what"]]
    return "\n".join([table(rest), "", *lines])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table."""
    lines = ["| what | value | unit | from | to | over |", "|---|--:|---|--:|--:|---|"]
    for each in rows:
        value, low, high = (number(each[key]) for key in ("value", "low", "high"))
        lines.append(
            f"| {each['what']} | {value} | {each['unit']} | {low} | {high} | {each['of']} |"
        )
    return "\n".join(lines)


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


HEAD = """# Benchmarks

Speed of this project beside what a user would pick instead; and, last, what a threshold is worth at
another site. `make bench` repeats all of it and writes this page from `benchmarks/results/*.json`;
`python -m benchmarks NAME --quick` takes a fast look at one question. Rivals run in turns, and
ratios are taken pair by pair. A value is the median, with the smallest and the largest beside it,
unless the last column says otherwise.
"""


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The docs' page of some results."""
    parts = [HEAD]
    for each in results:
        notes = "\n".join(f"- {note}" for note in each["notes"])
        made = f"`python -m benchmarks {each['name']}`, {each['date']}"
        parts.append(
            f"## {each['question']}\n\n{tables(each['rows'])}\n\n{notes}\n\n"
            f"*{made}: {describe(each['machine'])}*\n"
        )
    return "\n".join(parts)


def describe(on: Mapping[str, Any]) -> str:
    """A machine in one line."""
    libraries = ", ".join(f"{name} {v}" for name, v in on["libraries"].items() if v)
    load = on["load_per_core"]
    shared = f" Load when it began: {load:g} a core."
    if load > 0.5:
        shared += " The machine was shared with other work: trust ratios, not times."
    return (
        f"{on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['system']}, Python "
        f"{on['python']}, {libraries}.{shared}"
    )


def render(order: Sequence[str]) -> None:
    """Write the docs' page of all results there are."""
    files = [RESULTS / f"{name}.json" for name in order]
    results = [json.loads(file.read_text()) for file in files if file.exists()]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(results))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
