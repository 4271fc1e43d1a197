"""Several models measured one after the other: folders, what is printed, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import name_of, trained_face
from ganatomy.exits import SOME_FAILED
from ganatomy.printing import numbered

# Where a model's measures hold those of the first minus its own.
GAPS = "first model minus this"

json_option = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write measures here.",
)


def measure_each(
    task: str,
    models: tuple[str, ...],
    sources: list[Path],
    json_file: Path | None,
    out: Path | None,
    measured: Callable[[Any, str, Path | None], dict[str, Any]],
) -> None:
    """What `ganatomy evaluate` does with models of a task; exits 1 where scans failed.

    Args:
        task: that all of them have.
        models: as they were named.
        sources: their folders.
        json_file: written where one is given.
        out: a folder for what is measured, of each model where there are several.
        measured: of a model's face, its name among the others and its folder, what measures.json
            holds; prints it. Where it gives GAPS, these reach comparison.json for the report.
    """
    from ganatomy.artifacts import refuse_full, write_whole

    names = numbered(map(name_of, models), "-{}")
    folders = [out if out is None or len(models) == 1 else out / name for name in names]
    for folder in folders:
        if folder is not None:
            refuse_full(folder, "measures.json")
    found = {}
    for model, source, folder, name in zip(models, sources, folders, names, strict=True):
        found[name] = measured(trained_face(model, task, "evaluate", source), name, folder)
    told = [
        {"of": names[0], "minus": name, "measures": found[name][GAPS]}
        for name in names
        if GAPS in found[name]
    ]
    if out is not None and told:
        write_whole(out / "comparison.json", json.dumps(told, indent=2))
    if json_file is not None:
        shown = found if len(models) > 1 else found[names[0]]
        json_file.write_text(json.dumps(shown, indent=2))
    say_failed(line for measures in found.values() for line in measures["failed"])


def say_failed(lines: Iterable[str]) -> None:
    """Say why scans failed, each reason once, and end with that exit code; nothing where none."""
    failed = dict.fromkeys(lines)
    for line in failed:
        click.echo(line, err=True)
    if failed:
        sys.exit(SOME_FAILED)
