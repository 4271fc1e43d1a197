"""fit of an ensemble: each member by itself into a folder of its own, then all of them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ganatomy import registry
from ganatomy.artifacts import build_model, write_whole
from ganatomy.registry import Member, Preset
from ganatomy.run_folder import identity_of, is_finished, open_folder
from ganatomy.scans import Preprocessing
from ganatomy.settings import check_settings
from ganatomy.tables import Table, split
from ganatomy.tracking import Run
from ganatomy.training import Strategy, check_stages, fit, is_chief, measure

# Seeds of one member's repetitions do not meet those of an ensemble's.
APART = 1000


def fit_members(
    preset: Preset,
    table: Table,
    out: Path,
    *,
    validation: Table | None,
    seed: int,
    strategy: Strategy,
    resume: bool,
    experiment: str | None,
    register: str | None,
    log_images: bool,
    fpr: float,
) -> Any:
    """Train the members of an ensemble into `out/members/NAME` and write its model folder.

    The same scans are held out for all. Members that differ in postprocessing alone are trained
    once. Each is an MLflow run inside the ensemble's. Arguments and errors are those of `fit`.

    Returns:
        The face of the task, e.g. an `anogan.ensemble.Ensemble`.
    """
    presets = registry.members(preset)
    face_of = registry.face(preset.task)
    # What is wrong with the last member is said before the first is trained.
    for own in presets.values():
        face_of.check_member(own)
        check_settings(own, strategy.num_replicas_in_sync)
        grid = Preprocessing(**own.preprocessing)
        check_stages(build_model(own, grid.shape), own.training.steps)
    training, holdout = split(table, preset.training.holdout, seed)
    face_of.check(holdout, fpr, validation)
    identity = identity_of(preset, table, seed)
    chief = is_chief(strategy)
    state = open_folder(out, identity, resume=resume) if chief else {}
    run = Run(f"{preset.name}-{seed}", experiment or "ganatomy", state.get("run_id"))

    trained: dict[str, Any] = {}
    twins: dict[str, Any] = {}

    def train_all() -> None:
        for member in preset.members:
            own, folder = presets[member.name], out / "members" / member.name
            key = _networks_of(own, member)
            if key in twins:
                face = twins[key] and twins[key].behind(own, training, holdout, fpr)
                if chief:
                    face.save(folder)
            elif is_finished(folder, own, training, _seed(seed, member)):
                face = face_of.load(folder)
            else:
                face = fit(
                    own,
                    training,
                    folder,
                    seed=_seed(seed, member),
                    strategy=strategy,
                    resume=resume,
                    experiment=experiment,
                    log_images=log_images,
                    fpr=fpr,
                    apart=holdout,
                )
            trained[member.name] = face
            twins.setdefault(key, face)

    if not chief:
        train_all()
        return None
    with run:
        write_whole(out / "run.json", json.dumps({**identity, "run_id": run.run_id}))
        run.describe(preset, {"seed": seed, "strategy": type(strategy).__name__})
        train_all()
        facts = [face.artifact_.facts for face in twins.values()]
        face = face_of.from_members(
            preset,
            trained,
            training,
            holdout,
            fpr,
            {
                "seed": seed,
                "data": facts[0]["data"],
                "training_seconds": sum(own["training_seconds"] for own in facts),
            },
        )
        if validation is not None:
            measure(face, validation, out, run, 0)
        face.save(out)
        run.model(out, register)
    return face


def _seed(seed: int, member: Member) -> int:
    return (seed + APART * member.seed) % 2**32


def _networks_of(preset: Preset, member: Member) -> str:
    """What decides the trained networks: members that share it share them."""
    sections = {"model", "rank", "preprocessing", "hyperparameters", "training"}
    return json.dumps([member.seed, preset.model_dump(mode="json", include=sections)])
