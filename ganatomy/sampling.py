"""The verb `sample`: a scan in, motions that it might have made out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import trained_face, trained_folder
from ganatomy.exits import plain_errors


@click.command()
@click.argument("model")
@click.option("-n", "count", type=click.IntRange(1, 9999), required=True, help="How many.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option(
    "--scan", type=click.Path(path_type=Path, exists=True), required=True, help="Whose motions."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@plain_errors
def sample(model: str, count: int, out: Path, scan: Path, seed: int) -> None:
    """Draw motions of --scan: a folder each with the moved scan and the displacement field.

    The same seed gives the same motions, and more of them begin with the same.
    """
    from ganatomy.artifacts import refuse_full

    folder = trained_folder(model, "register", "sample")
    face: Any = trained_face(model, "register", "sample", folder)
    refuse_full(out)
    drawn = face.sample(scan, count, seed)
    for number, motion in enumerate(drawn, 1):
        motion.save(out / f"{number:04d}", model=face.artifact_.preset.name)
    click.echo(f"motions: {out}")
