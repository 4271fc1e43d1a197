"""Several translation models on the same pairs: their measures, and what sharpness cost in error.

The perception–distortion plane has how far images are from their own targets from left to right,
and from below up how far they look from targets. Nobody can be best in both: below some distortion
a better look costs error.

Reference: Blau and Michaeli 2018, The perception-distortion tradeoff, theorem 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganatomy.measures import Interval
from ganatomy.report.figures import plane
from ganatomy.report.words import FIDELITY, as_interval, number

if TYPE_CHECKING:
    from ganatomy.report.comparison import Compared

TITLES = {
    "psnr_db": "PSNR, dB",
    "ssim": "SSIM",
    "mae": "MAE",
    "rmse": "RMSE",
    "perceptual": "Perceptual distance",
    **FIDELITY,
}
DISTORTION = "rmse"
INPUT = "input"


def runs_section(models: Sequence[Compared]) -> dict[str, Any]:
    """A table of the models and the input itself, and their planes.

    Args:
        models: the first of them is what the others are compared with.
    """
    first = models[0]
    (_, plain), *_ = first.record["methods"].items()
    names = {f"{place} {model.name}": model.record for place, model in enumerate(models, 1)}
    runs = {name: record["measures"] for name, record in names.items()} | {INPUT: plain}
    sets = {name: _set_value(record, 0) for name, record in names.items()}
    sets[INPUT] = _set_value(first.record, 1)
    held = [name for name in TITLES if any(name in run for run in runs.values())]
    held += sorted({name for run in runs.values() for name in run} - set(held))
    known = [name for name, value in sets.items() if value is not None]
    set_name = _set_name(first.record)
    head = ["Model", *(TITLES.get(name, name) for name in held), *([set_name] if known else [])]
    rows = [
        [name, *(_cell(run.get(key)) for key in held), *([_plain(sets[name])] if known else [])]
        for name, run in runs.items()
    ]
    tables = [{"title": "Measures on the pairs", "head": head, "rows": rows}]
    gaps = [[model.name, *_gaps(model, held)] for model in models[1:]]
    tables.append(
        {
            "title": f"{first.name} minus each other",
            "head": ["Model", *(TITLES.get(name, name) for name in held)],
            "rows": gaps,
        }
    )
    words = first.record.get("definitions", {})
    definitions = [[TITLES.get(n, n), words[n]] for n in held if n in words]
    definitions += [[name, told] for name, told in _set_definitions(first.record)]
    tables.append({"title": "Definitions", "head": ["Measure", "What it is"], "rows": definitions})
    over = "patients" if first.record.get("patients") else "pairs"
    return {
        "tables": tables,
        "planes": list(_planes(runs, sets, set_name)),
        "explain": (
            "In a plane a point is a model by its number, with 95 % intervals over resampled "
            f"{over}; of sets there is none. Further left is nearer to its own target, further "
            "down looks more like targets. A perceptual distance is of each pair; FID and KID "
            "compare all outputs with all targets."
        ),
    }


def _planes(
    runs: Mapping[str, Mapping[str, Any]], sets: Mapping[str, float | None], set_name: str
) -> Iterator[Any]:
    alone = {name: _interval(value) for name, value in sets.items()}
    looks = {name: as_interval(run.get("perceptual")) for name, run in runs.items()}
    for up, of in ((TITLES["perceptual"], looks), (set_name, alone)):
        points = {}
        for name, run in runs.items():
            across, level = as_interval(run.get(DISTORTION)), of[name]
            if across is not None and level is not None:
                points[name.partition(" ")[0]] = (across, level)
        if len(points) > 1:
            told = "; ".join(
                f"{name}: {number(a.value)} and {number(b.value)}"
                for name, (a, b) in points.items()
            )
            title = f"Perception–distortion plane of {TITLES[DISTORTION]} and {up}: {told}."
            yield plane(points, TITLES[DISTORTION], up, title)


def _set_value(record: Mapping[str, Any], method: int) -> float | None:
    """FID of a method's images, the model's or the input's; None where it was not measured."""
    sets = list(record.get("sets", {}).values())
    return float(sets[method][0]["value"]) if len(sets) > method else None


def _set_name(record: Mapping[str, Any]) -> str:
    sets = list(record.get("sets", {}).values())
    return str(sets[0][0]["name"]) if sets else "FID"


def _set_definitions(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    sets = list(record.get("sets", {}).values())
    return [(one["name"], one["definition"]) for one in sets[0][:1]] if sets else []


def _interval(value: float | None) -> Interval | None:
    return None if value is None else Interval(value, value, value)


def _cell(record: Any) -> str:
    found = as_interval(record)
    if found is None:
        return "–"
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def _plain(value: float | None) -> str:
    return "–" if value is None else number(value)


def _gaps(model: Compared, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield _cell(model.differences.get(name))
