"""The verb `translate`: scans in, the scans that another modality would have made of them out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import table_of, trained_face
from ganatomy.exits import SOME_FAILED, plain_errors
from ganatomy.measuring import GAPS, measure_each
from ganatomy.printing import print_translations, printed, with_interval


@click.command()
@click.argument("model")
@click.argument("scans", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@plain_errors
def translate(model: str, scans: tuple[str, ...], out: Path) -> None:
    """Translate scans, folders of scans or tables; goes on where an interrupted run stopped.

    A DICOM series comes out as a DICOM series that is marked as synthetic, NIfTI as NIfTI, a
    picture as PNG, each on the grid of its scan.
    """
    face, table = trained_face(model, "translate", "translate"), table_of(scans)
    failed = face.translate_to(table, out)
    click.echo(f"translations: {out / 'images'}")
    for line in failed:
        click.echo(line, err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(table)} scans failed", err=True)
        sys.exit(SOME_FAILED)


def evaluate_translations(
    models: tuple[str, ...],
    sources: list[Path],
    data: tuple[str, ...],
    json_file: Path | None,
    out: Path | None,
) -> None:
    """What `ganatomy evaluate` does with models that translate.

    Args:
        models: as they were named.
        sources: their folders.
        data: aligned pairs: scan=GLOB and target=GLOB, or a CSV with these columns.
        json_file: written where one is given.
        out: a folder for pairs.csv and measures.json, of each model where there are several.
    """
    if not data:
        raise click.UsageError("give --data scan=GLOB --data target=GLOB, or a CSV with these")
    first: list[tuple[str, Any]] = []

    def measured(face: Any, name: str, folder: Path | None) -> dict[str, Any]:
        done = face.evaluate(face.read_validation(data), folder)
        print_translations(name, done.measures)
        if not first:
            first.append((name, done.scores))
            return done.measures
        ((other, scores),) = first
        gaps = face.differences(scores, done.scores)
        for key, gap in printed(gaps).items():
            click.echo(f"{key} of {other} minus {name}: {with_interval(gap, '+.4g')}")
        return {**done.measures, GAPS: gaps}

    measure_each("translate", models, sources, json_file, out, measured)
