"""What the words of the command line stand for: a trained model, a table of scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ganatomy.quiet import import_tensorflow


def trained_face(model: str, task: str, verb: str, folder: Path | None = None) -> Any:
    """The face of a trained model, refused where its task does not have the verb.

    Args:
        folder: where the model lies, should that be known already.
    """
    from ganatomy.registry import face

    folder = trained_folder(model, task, verb, folder)
    import_tensorflow()
    return face(task).load(folder)


def trained_folder(model: str, task: str, verb: str, folder: Path | None = None) -> Path:
    """The folder of a trained model, refused where its task does not have the verb."""
    from ganatomy.artifacts import local_folder, read_config

    folder = folder or local_folder(model)
    own = read_config(folder)["preset"]["task"]
    if own != task:
        raise click.UsageError(f"{model} does {own}; {verb} is for models that {task}")
    return folder


def table_of(scans: tuple[str, ...]) -> Any:
    """The table that scans, folders of scans or a CSV name."""
    from ganatomy.tables import read_table

    return read_table(scans, {"scan": "joined"})


def rows_of(face: Any, table: Any) -> Any:
    """The rows of a table that a face trains and calibrates on; what it leaves out is said."""
    rows = face.trainable(table)
    if len(rows) < len(table):
        click.echo(f"{len(table) - len(rows)} scans labelled abnormal are left out", err=True)
    return rows


def name_of(model: str) -> str:
    """What a model's folder of results is called."""
    path = Path(model)
    return (path.resolve() if path.is_dir() else path).name or "model"
