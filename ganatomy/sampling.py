"""The verb `sample`: motions that a scan might make, or masks and their images out of nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import trained_face
from ganatomy.exits import plain_errors

TASKS = ("register", "translate")


@click.command()
@click.argument("model")
@click.option("-n", "--count", type=click.IntRange(1, 9999), required=True, help="How many.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option(
    "--scan",
    type=click.Path(path_type=Path, exists=True),
    help="Whose motions, of a model that registers.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@plain_errors
def sample(model: str, count: int, out: Path, scan: Path | None, seed: int) -> None:
    """Draw from a model: motions of --scan, or pairs of a mask and its image.

    Of a model that registers, a folder for each motion, with the moved scan and the displacement
    field. Of one that translates and generates its masks, images/, masks/ and pairs.csv, which a
    segmentation takes as --data: scan is the image, target the mask.

    The same seed gives the same, and more of them begin with the same.
    """
    from ganatomy.artifacts import local_folder, read_config, refuse_full

    folder = local_folder(model)
    task = read_config(folder)["preset"]["task"]
    if task not in TASKS:
        raise click.UsageError(f"{model} does {task}; sample is for models that register or draw")
    if (task == "register") != (scan is not None):
        needs = "--scan, whose motions are drawn" if scan is None else "no --scan"
        raise click.UsageError(f"{model} does {task}: sample takes {needs}")
    face: Any = trained_face(model, task, "sample", folder)
    refuse_full(out)
    if task == "translate":
        click.echo(f"pairs: {face.draw_to(out, count, seed)}")
        return
    for number, motion in enumerate(face.sample(scan, count, seed), 1):
        motion.save(out / f"{number:04d}", model=face.artifact_.preset.name)
    click.echo(f"motions: {out}")
