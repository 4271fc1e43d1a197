"""What the command line says about measures and scores."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

# Of the calibration scans themselves one in a hundred is unlike the others.
FEW_UNLIKE = 0.05
# How the measures of translations begin that a terminal shows; files hold all.
PRINTED = ("mae", "rmse", "psnr_db", "ssim", "perceptual")


def unlike_of(scores: Path, names: set[str]) -> list[float]:
    """The column `unlike` of the scans of these names that have a score."""

    with open(scores, newline="") as stored:
        rows = [row for row in csv.DictReader(stored) if row["scan"] in names]
    return [float(row["unlike"]) for row in rows if row["unlike"]]


def warn_of_unlike(unlike: Iterable[float], what: str) -> None:
    """Say where more scans look unlike the calibration scans than chance would have it."""
    values = [value > 1 for value in unlike]
    if values and sum(values) > FEW_UNLIKE * len(values):
        click.echo(
            f"{sum(values)} of {len(values)} {what} do not look like the calibration scans: "
            "calibrate on healthy scans of this source, see column unlike",
            err=True,
        )


def with_interval(measured: dict[str, float], form: str = ".3f") -> str:
    """A measure as JSON has it with the ends of its interval, where that has a width."""
    from ganatomy.measures.bootstrap import Interval

    value, low, high = (format(measured[end], form) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})" if Interval.from_dict(measured).has_width else value


def print_measures(found: Iterable[tuple[str, dict]]) -> None:
    """Measures of models with their intervals, and the controls beside each."""
    for name, measures in found:
        own = {"register": print_pairs, "translate": print_translations}
        if measures.get("task") in own:
            own[measures["task"]](name, measures)
            continue
        counts = f"{measures['n_healthy']} healthy, {measures['n_abnormal']} abnormal"
        by = "patients" if measures["patients"] else "scans"
        click.echo(f"{name}: {counts} (95 % intervals over {by})")
        if not measures["measures"]:
            click.echo("  without healthy scans there are no measures of whole scans")
        for key, value in measures["measures"].items():
            click.echo(f"  {key.replace('_', ' '):<20} {with_interval(value)}")
        for control, values in {**measures["controls"], **measures.get("shortcuts", {})}.items():
            gain = values["auroc_difference"]
            click.echo(
                f"  {control:<26} AUROC {values['auroc']['value']:.3f}, the model "
                f"{with_interval(gain, '+.3f')}"
            )
        if "pixels" in measures:
            _print_pixels(measures["pixels"])


def print_pairs(name: str, measures: dict[str, Any]) -> None:
    """Measures of a model of pairs with their intervals, and what others make of the same."""
    by = "patients" if measures["patients"] else "pairs"
    known = measures["known_transforms"]
    what = f"{known} known transforms" if known else f"{measures['n_pairs']} pairs"
    click.echo(f"{name}: {what} (95 % intervals over {by})")
    unit = measures.get("unit", "mm")
    _print_methods(measures, lambda key: key.replace("_mm", f" {unit}").replace("_", " "))
    for key, what in (("auroc", "alignment score"), ("probability_auroc", "probability")):
        auroc = measures["score"].get(key)
        if auroc is not None:
            click.echo(
                f"  {what} tells errors above {measures['limit_mm']:g} {unit}: AUROC "
                f"{with_interval(auroc)}"
            )


def print_translations(name: str, measures: dict[str, Any]) -> None:
    """Measures of a translation model with their intervals, and those of the input as it is."""
    by = "patients" if measures["patients"] else "pairs"
    click.echo(f"{name}: {measures['n_pairs']} pairs (95 % intervals over {by})")
    shown = {
        **measures,
        "measures": printed(measures["measures"]),
        "methods": {method: printed(own) for method, own in measures["methods"].items()},
    }
    _print_methods(shown, str)  # by the names that the definitions have
    for key, words in printed(measures["definitions"]).items():
        click.echo(f"  {key}: {words}")
    others = [key for key in measures["measures"] if key not in shown["measures"]]
    if others:
        click.echo(f"  --json and --out also write {', '.join(others)}, and FID and KID of all")


def printed(by_name: dict[str, Any]) -> dict[str, Any]:
    """Of a translation model's measures, or what is said of them, those that a terminal shows."""
    return {key: value for key, value in by_name.items() if key.startswith(PRINTED)}


def _print_methods(measures: dict[str, Any], title: Callable[[str], str]) -> None:
    for method, own in {"": measures["measures"], **measures["methods"]}.items():
        if method:
            click.echo(f"  {method}")
        for key, value in own.items():
            click.echo(f"  {'  ' * bool(method)}{title(key):<24} {with_interval(value, '.4g')}")


def _print_pixels(pixels: dict[str, Any]) -> None:
    click.echo(
        f"  masks: {pixels['n_lesions']} lesions in {pixels['n_with_lesions']} of "
        f"{pixels['n_scans']} scans"
        + (f"; {pixels['unmasked']} abnormal without a mask left out" * bool(pixels["unmasked"]))
    )
    lesions = {
        f"lesions found, {rate} fp/scan" if rate != "mean" else "lesions found, mean": value
        for rate, value in pixels["lesion_sensitivity"].items()
        if rate in ("mean", "1")
    }
    for key, value in {**pixels["measures"], **lesions}.items():
        click.echo(f"  {key.replace('_', ' '):<26} {with_interval(value)}")


def measure_differences(found: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    """The first model against each other, on the scans that both could read.

    Returns:
        A record for every other model: `of` and `minus`, the names of the two; `scans`, how many
        both could read; and `measures`, those of the first minus those of the other, with their
        intervals. Whole scans have none where all are abnormal, pixels none without masks.
    """
    from ganatomy.measures.detection import paired_difference

    (first, one), *others = found
    records = []
    for name, other in others:
        both = one.scores.merge(other.scores, on="scan", suffixes=("", "_other"))
        gaps = {}
        if both["label"].nunique() == 2:
            gaps["auroc"] = paired_difference(
                both["label"].to_numpy(),
                both["anomaly_score"].to_numpy(),
                both["anomaly_score_other"].to_numpy(),
                groups=both["patient"].to_numpy(str) if one.measures["patients"] else None,
            )
        if one.pixels is not None and other.pixels is not None:
            gaps |= one.pixels.minus(other.pixels)
        measures = {measure: gap.to_dict() for measure, gap in gaps.items()}
        records.append({"of": first, "minus": name, "scans": len(both), "measures": measures})
    return records


def print_differences(records: Iterable[dict[str, Any]]) -> None:
    """What `measure_differences` found, a line a measure."""
    for record in records:
        for measure, gap in record["measures"].items():
            title = "AUROC" if measure == "auroc" else measure.replace("_", " ")
            click.echo(
                f"{title} of {record['of']} minus {record['minus']}: {with_interval(gap, '+.3f')}"
            )


def summarise_seeds(measured: list[dict[str, Any]], out: Path | None) -> dict[str, Any]:
    """Print mean and spread of each measure over seeds, and write them to a folder's seeds.json.

    Args:
        measured: measures.json of each seed, as it is in Python.
        out: nothing is written without.

    Returns:
        What seeds.json holds: by measure its mean, spread (standard deviation) and n.
    """
    from ganatomy.artifacts import write_whole
    from ganatomy.measures.detection import summarise_seeds

    every = [_values(measures) for measures in measured]
    common = [name for name in every[0] if all(name in values for values in every)]
    summary = summarise_seeds([{name: values[name] for name in common} for values in every])
    click.echo(f"over {len(measured)} seeds (mean ± standard deviation)")
    for key, value in summary.items():
        click.echo(f"  {key.replace('_', ' '):<26} {value.mean:.3f} ± {value.spread:.3f}")
    shown = {key: {"mean": v.mean, "spread": v.spread, "n": v.n} for key, v in summary.items()}
    if out is not None:
        write_whole(out / "seeds.json", json.dumps(shown, indent=2))
    return shown


def _values(measures: dict[str, Any]) -> dict[str, float]:
    """Each measure of whole scans and, where there are masks, of pixels."""
    pixels = measures.get("pixels", {}).get("measures", {})
    return {name: value["value"] for name, value in {**measures["measures"], **pixels}.items()}


def numbered(names: Iterable[str], mark: str) -> list[str]:
    """Names made unique by a number."""
    unique: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in unique:
            number += 1
            candidate = name + mark.format(number)
        unique.append(candidate)
    return unique


def read_failures(measures: dict[str, Any]) -> list[str]:
    """Why scans have no score, and why masks could not be used, a line each."""
    return [*measures["failed"], *measures.get("pixels", {}).get("refused", [])]


def read_measures(folder: Path) -> dict[str, Any]:
    """measures.json of a model folder, as `fit --validation` left it."""
    from ganatomy.artifacts import ArtifactError

    file = folder / "evaluation" / "measures.json"
    if not file.exists():
        raise ArtifactError(f"{folder} was finished without --validation: measure it by evaluate")
    return json.loads(file.read_text())
