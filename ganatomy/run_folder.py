"""Whose a folder is: run.json tells a model's run, model.json the model of scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ganatomy.artifacts import ArtifactError, write_whole
from ganatomy.registry import Preset
from ganatomy.tables import Table, fingerprint

# What a run writes before its first step.
UNTRAINED = {"run.json", "preprocessing.npz"}
_SEED = "seed-"


def identity_of(preset: Preset, table: Table, seed: int) -> dict[str, Any]:
    """What makes a run this run: run.json holds it, and nothing else is resumed."""
    return {
        "preset": preset.recipe(),
        "seed": seed,
        "files": fingerprint(
            (path for paths in table.paths.values() for path in paths),
            # A file that changes its role makes another run.
            *(f"{role} {len(paths)}" for role, paths in list(table.paths.items())[1:]),
        ),
    }


def seed_folder(out: Path, seed: int) -> Path:
    """Where one of several seeds of a run lies."""
    return out / f"{_SEED}{seed}"


def seed_folders(out: Path) -> list[Path]:
    """The models of several seeds below a folder, by number of their seed."""
    found = [one.parent for one in out.glob(f"{_SEED}*/config.json")]
    return sorted(found, key=lambda one: (len(one.name), one.name))  # 10 after 9


def is_finished(out: Path, preset: Preset, table: Table, seed: int) -> bool:
    """Whether a folder holds the finished model of this very run."""
    file = out / "run.json"
    own = identity_of(preset, table, seed)
    stored = json.loads(file.read_text()) if file.exists() else {}
    return {key: stored.get(key) for key in own} == own and _has_model(out)


def _has_model(out: Path) -> bool:
    return (out / "config.json").exists() and not (out / "checkpoint.weights.h5").exists()


def open_folder(out: Path, identity: dict[str, Any], *, resume: bool) -> dict[str, Any]:
    """Make `out` this run's folder, and give what an earlier start of the run left in run.json.

    A run that ended before its first checkpoint (a setting that shows its fault once a stage is
    traced) has left nothing to go on with: any run may begin there.

    Raises:
        ArtifactError: it holds something else, another run, or this one and not `resume`.
    """
    file = out / "run.json"
    # An ensemble's members have folders of their own in it.
    names = {path.name for path in out.rglob("*") if path.is_file()}
    stored = json.loads(file.read_text()) if file.exists() else None
    if stored is None and names:
        raise ArtifactError(
            f"{out} is not empty and holds no run of ganatomy: choose another --out"
        )
    same = stored is not None and {k: stored.get(k) for k in identity} == identity
    if names <= UNTRAINED:
        if not same:
            # What is in a folder before the folder itself.
            for path in sorted(out.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            stored = None
    elif not same:
        raise ArtifactError(f"{out} holds another run: choose another --out")
    elif not resume:
        raise ArtifactError(
            f"{out} holds this run already: go on with --resume, or choose another --out"
        )
    if _has_model(out):
        raise ArtifactError(f"{out} is finished: nothing to resume; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    if stored is None:
        write_whole(file, json.dumps(identity))
    return stored or {}


def claim(folder: Path, **own: Any) -> None:
    """Make `folder` one of scores of the model that `own` tells from others.

    Raises:
        ArtifactError: it holds another model's, or something else.
    """
    file = folder / "model.json"
    if file.exists():
        if json.loads(file.read_text()) != own:
            raise ArtifactError(f"{folder} holds another model's results: choose another --out")
    elif any(folder.iterdir()):
        raise ArtifactError(f"{folder} is not empty and holds no scores: choose another --out")
    else:
        write_whole(file, json.dumps(own))
