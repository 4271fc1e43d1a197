"""The verb `register`: two scans in, a folder of what brings one onto the other out."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import trained_face, trained_folder
from ganatomy.exits import SOME_FAILED, plain_errors
from ganatomy.measuring import measure_each
from ganatomy.printing import print_pairs

scan_path = click.Path(path_type=Path, exists=True)


@click.command()
@click.argument("model")
@click.option("--fixed", type=scan_path, required=True, help="The scan that stays.")
@click.option("--moving", type=scan_path, required=True, help="The scan that is brought onto it.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--labels", type=scan_path, help="Labels of the moving scan, to be carried along.")
@click.option(
    "--points",
    type=scan_path,
    help="Its landmarks: a CSV with x, y, z in mm RAS; of a picture row, column in pixels.",
)
@plain_errors
def register(
    model: str, fixed: Path, moving: Path, out: Path, labels: Path | None, points: Path | None
) -> None:
    """Align --moving to --fixed: the moved scan, the transform as ITK and DICOM, a report.

    Labels and landmarks of the moving scan come to lie on the fixed one. Exits 1 where the model
    says that it is likely to have failed; all files are written all the same.
    """
    from ganatomy.report import write_report
    from ganatomy.run_folder import claim
    from ganatomy.tables import fingerprint

    folder = trained_folder(model, "register", "register")
    face: Any = trained_face(model, "register", "register", folder)
    scans = [face.read(path) for path in (fixed, moving)]
    face.check_pair(*scans)
    out.mkdir(parents=True, exist_ok=True)
    preset = face.artifact_.preset.name
    data = face.artifact_.facts.get("data", {}).get("fingerprint")
    claim(out, preset=preset, data=data, pair=fingerprint([fixed, moving]))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = face.register(*scans, labels=labels, points=points)
    summary = found.save(out, model=preset, points=points)
    write_report(out, out / "report.html")
    for remark in summary["remarks"]:
        click.echo(remark, err=True)
    click.echo(
        f"alignment score {found.alignment_score:.4g}, overlap {found.overlap:.0%}, "
        f"folds {found.folds:.2%}"
    )
    if summary["translate"] is not None:
        click.echo(f"aligned by what {summary['translate']} makes of the moving scan")
    if summary["refinement"] != "none":
        click.echo(
            f"refined ({summary['refinement']}) by {summary['refined_by_mm']:.3g} "
            f"{summary['unit']}, mutual information {summary['information_before']:.3g} to "
            f"{summary['information']:.3g}"
        )
    click.echo(f"registration: {out}")
    if found.failed is None:
        click.echo("the model was not calibrated: look at the report", err=True)
    elif found.failed:
        click.echo(
            f"likely to have failed: probability {found.failure:.0%} of an error above "
            f"{summary['limit_mm']:g} {summary['unit']}",
            err=True,
        )
        sys.exit(SOME_FAILED)


def evaluate_pairs(
    models: tuple[str, ...],
    sources: list[Path],
    data: tuple[str, ...],
    known: int,
    json_file: Path | None,
    out: Path | None,
) -> None:
    """What `ganatomy evaluate` does with models of pairs.

    Args:
        models: as they were named.
        sources: their folders.
        data: pairs; with `known` scans too.
        known: how many transforms are made and found again.
        json_file: written where one is given.
        out: a folder for pairs.csv and measures.json, of each model where there are several.
    """
    if not data:
        raise click.UsageError("give --data: pairs as a CSV with columns fixed and moving")

    def measured(face: Any, name: str, folder: Path | None) -> dict[str, Any]:
        measures = face.evaluate_pairs(data, known, folder).measures
        print_pairs(name, measures)
        return measures

    measure_each("register", models, sources, json_file, out, measured)
