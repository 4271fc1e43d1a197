"""The command line. Nothing here imports TensorFlow, pandas or MLflow before a verb needs it."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import click

from ganatomy.arguments import rows_of, table_of, trained_face, trained_folder
from ganatomy.comparing import compare
from ganatomy.evaluating import evaluate
from ganatomy.exits import EXIT_CODES, SOME_FAILED, plain_errors, run_to_exit
from ganatomy.printing import (
    print_measures,
    read_measures,
    summarise_seeds,
    unlike_of,
    warn_of_unlike,
)
from ganatomy.quiet import import_tensorflow
from ganatomy.registering import register
from ganatomy.sampling import sample
from ganatomy.translating import translate


def main() -> None:
    """Entry point of the `ganatomy` command."""
    run_to_exit(cli)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="ganatomy")
def cli() -> None:
    """Adversarial networks for medical images. For research, not a medical device."""


cli.add_command(register)
cli.add_command(sample)
cli.add_command(translate)
cli.add_command(evaluate)
cli.add_command(compare)
model_argument = click.argument("model")
out_option = click.option("--out", type=click.Path(path_type=Path), required=True)


@cli.command()
@click.option("--task", help="Only models of this task.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plain_errors
def models(task: str | None, as_json: bool) -> None:
    """List models and presets."""
    from ganatomy.registry import presets

    found = {n: p for n, p in sorted(presets().items()) if task in (None, p.task)}
    if as_json:
        click.echo(json.dumps({n: p.model_dump() for n, p in found.items()}, indent=2))
        return
    if not found:
        raise click.ClickException(f"no model of the task {task!r}")
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "task", "what", "paper", "cost")
    for name, preset in found.items():
        table.add_row(name, preset.task, preset.title, preset.paper, preset.cost)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@cli.command()
@click.argument("name")
@click.option("--data", multiple=True, required=True, help="DIR, table.csv, or ROLE=GLOB (repeat).")
@click.option("--validation", multiple=True, help="Labelled scans to measure on.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--out", type=click.Path(path_type=Path), help="Model folder; runs/NAME by default.")
@click.option("--experiment", help="MLflow experiment.")
@click.option("--register", help="Register the model under this name.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Train with so many seeds.",
)
@click.option("--fpr", default=0.05, show_default=True, help="Healthy scans called abnormal.")
@click.option(
    "--strategy",
    type=click.Choice(["auto", "none", "mirrored", "multiworker"]),
    default="auto",
    show_default=True,
)
@click.option("--log-images", is_flag=True, help="Send pictures of DICOM scans to MLflow too.")
@plain_errors
def fit(
    name: str,
    data: tuple[str, ...],
    validation: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path | None,
    experiment: str | None,
    register: str | None,
    resume: bool,
    seed: int,
    repeat: int,
    fpr: float,
    strategy: str,
    log_images: bool,
) -> None:
    """Train the model or preset NAME and write its model folder."""
    from ganatomy import registry
    from ganatomy.tables import read_labelled_table, read_table

    recipe = registry.preset(name).set(settings)
    import_tensorflow()
    roles = registry.roles_of(recipe)
    table = rows_of(registry.face(recipe.task), read_table(data, roles))
    # What is measured on are rows: what belongs to none is for training alone.
    rows = {
        role: how for place, (role, how) in enumerate(roles.items()) if not place or how == "joined"
    }
    own = getattr(registry.face(recipe.task), "read_validation", None)
    held = None
    if validation:
        held = own(validation) if own else read_labelled_table(validation, rows)
    out = out or Path("runs") / name
    from ganatomy.run_folder import is_finished, seed_folder
    from ganatomy.training import fit as train

    measured = []
    for number in range(repeat):
        folder = out if repeat == 1 else seed_folder(out, seed + number)
        # Of several seeds some are finished before the one that was interrupted.
        if not (repeat > 1 and resume and is_finished(folder, recipe, table, seed + number)):
            face = train(
                recipe,
                table,
                folder,
                validation=held,
                seed=seed + number,
                strategy=strategy,
                resume=resume and folder.exists(),
                experiment=experiment,
                register=register,
                log_images=log_images,
                fpr=fpr,
            )
            if face is None:  # a worker that is not the chief
                return
        click.echo(f"model: {folder}")
        if held is not None:
            measures = read_measures(folder)
            print_measures([(folder.name, measures)])
            measured.append(measures)
            if held.label is None:
                continue
            healthy = set(held.rows(held.label == 0).names)
            unlike = unlike_of(folder / "evaluation" / "scores.csv", healthy)
            warn_of_unlike(unlike, "healthy scans of --validation")
    if len(measured) > 1:
        summarise_seeds(measured, out)


@cli.command()
@model_argument
@click.argument("scans", nargs=-1, required=True)
@out_option
@click.option("--maps/--no-maps", default=None, help="Write anomaly maps.  [default: maps]")
@click.option(
    "--engine",
    type=click.Choice(["process", "spark"]),
    default="process",
    show_default=True,
    help="spark: an archive, on Spark's own master; scores.parquet and no maps.",
)
@plain_errors
def score(model: str, scans: tuple[str, ...], out: Path, maps: bool | None, engine: str) -> None:
    """Score scans, folders of scans or tables; goes on where an interrupted run stopped."""
    if engine == "spark":
        if maps:
            raise click.UsageError("--engine spark writes no maps: leave out --maps or --engine")
        from ganatomy.archive import SCORES, read_scores, score_archive

        source, table = trained_folder(model, "detect", "score"), table_of(scans)
        failed = score_archive(source, table, out)
        written = out / SCORES
        found = read_scores(out, ["scan", "unlike"])
        names = set(table.names)
        unlike = [u for n, u in zip(*found.values(), strict=True) if u is not None and n in names]
    else:
        face, table = trained_face(model, "detect", "score"), table_of(scans)
        failed = face.score_to(table, out, maps=maps is not False)
        written = out / "scores.csv"
        unlike = unlike_of(written, set(table.names))
    click.echo(f"scores: {written}")
    warn_of_unlike(unlike, "scans")
    if failed:
        for line in failed:
            click.echo(line, err=True)
        click.echo(f"{len(failed)} of {len(table)} scans failed", err=True)
        sys.exit(SOME_FAILED)


@cli.command()
@model_argument
@click.option("--data", multiple=True, required=True, help="Healthy scans of this site.")
@click.option("--fpr", default=0.05, show_default=True, help="Healthy scans called abnormal.")
@click.option("--pixel-fpr", default=0.01, show_default=True, help="Of a healthy scan's pixels.")
@out_option
@plain_errors
def calibrate(model: str, data: tuple[str, ...], fpr: float, pixel_fpr: float, out: Path) -> None:
    """Set new thresholds for another site's scanner, without training."""
    from ganatomy.artifacts import refuse_full

    refuse_full(out)
    face = trained_face(model, "detect", "calibrate")
    table = rows_of(face, table_of(data))
    before = face.threshold_
    unreadable = face.calibrate(table, fpr, pixel_fpr)
    face.save(out)
    used = len(table) - len(unreadable)
    click.echo(f"threshold {before:.4g} -> {face.threshold_:.4g} from {used} healthy scans")
    click.echo(f"model: {out}")
    for line in unreadable:
        click.echo(line, err=True)
    if unreadable:
        sys.exit(SOME_FAILED)


@cli.command()
@click.argument("run_or_dir")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="An .html file.")
@plain_errors
def report(run_or_dir: str, out: Path) -> None:
    """Write one self-contained HTML page about a model, evaluations or scores."""
    from ganatomy.report import write_report

    folder = Path(run_or_dir)
    if not folder.is_dir():
        from ganatomy.artifacts import local_folder

        run = re.fullmatch(r"(?:runs:/)?([0-9a-f]{32})/?", run_or_dir)
        folder = local_folder(f"runs:/{run[1]}/model" if run else run_or_dir)
    click.echo(f"report: {write_report(folder, out)}")


@cli.command()
@model_argument
@click.option("--port", default=5001, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--allowed-host", multiple=True, help="A name that clients may call it by (repeat).")
@click.option("--workers", default=1, show_default=True, help="Processes; memory grows with them.")
@click.option("--max-bytes", default=256 << 20, show_default=True, help="Of one request.")
@plain_errors
def serve(
    model: str,
    port: int,
    host: str,
    allowed_host: tuple[str, ...],
    workers: int,
    max_bytes: int,
) -> None:
    """Serve a model: scans in, scores out. No authentication: keep it behind a proxy."""
    from ganatomy.serving import serve as run

    import_tensorflow()
    run(
        model,
        host=host,
        port=port,
        max_bytes=max_bytes,
        workers=workers,
        allowed_hosts=allowed_host,
    )


@cli.command()
@click.option("--port", default=5000, show_default=True)
@plain_errors
def ui(port: int) -> None:
    """Open MLflow's UI on the runs of this folder, or of MLFLOW_TRACKING_URI."""
    import subprocess

    store = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(port)]
    click.echo(f"http://127.0.0.1:{port}  ({store}); the first page may take half a minute")
    sys.exit(subprocess.call([*command, "--backend-store-uri", store]))


if __name__ == "__main__":
    main()
