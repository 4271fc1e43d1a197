"""fit: from a preset and a table to a trained model, on one device, several, or several machines.

One code path: the strategy decides where variables live; data, noise and logs do not depend on
it. A killed run goes on from its last checkpoint as if it had not been killed.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganatomy import registry
from ganatomy.artifacts import Artifact, ArtifactError, build_model, write_whole
from ganatomy.batches import Augment, batches
from ganatomy.cache import Samples, check_labels, content_hash, prepare_table
from ganatomy.callbacks import AsTheyCome, Checkpoint, History, Means, Progress, StopAtNaN
from ganatomy.errors import WrongUse
from ganatomy.game import AdversarialModel
from ganatomy.progress import counter
from ganatomy.registry import Preset
from ganatomy.run_folder import identity_of, open_folder
from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from ganatomy.settings import check_settings
from ganatomy.tables import Table, TableError, split
from ganatomy.tracking import LogToRun, Run

Strategy = Any


def make_strategy(name: str = "auto") -> Strategy:
    """Where to train: "none", "mirrored" (all devices of this machine), "multiworker", "auto".

    "auto" takes the workers that TF_CONFIG names, else all GPUs where there are several, else the
    one device there is. Several workers must be made before TensorFlow does anything else.
    """
    if name == "multiworker" or (name == "auto" and os.environ.get("TF_CONFIG")):
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name not in ("auto", "none"):
        raise WrongUse(f"--strategy {name}: expected auto, none, mirrored or multiworker")
    return tf.distribute.get_strategy()


def is_chief(strategy: Strategy) -> bool:
    """Whether this process is the one that logs, saves and reports."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    return (resolver.task_type or "worker", resolver.task_id or 0) in (
        ("chief", 0),
        *([] if "chief" in resolver.cluster_spec().jobs else [("worker", 0)]),
    )


def train(
    model: AdversarialModel,
    data: Callable[[int, int, int, Mapping[str, Any]], tf.data.Dataset],
    steps: Mapping[str, int],
    *,
    every: int = 100,
    callbacks: Callable[[], list[keras.callbacks.Callback]] = list,
    jit_compile: bool = False,
    strategy: Strategy | None = None,
) -> None:
    """Play all stages of a game from the step it stands at.

    Args:
        model: assembled, in the scope of the strategy.
        data: `data(first_step, end_step, updates, noise)` gives the batches of these steps.
        steps: by stage.
        every: steps between two reports; a stage's steps are rounded up to whole reports.
        callbacks: made anew for every stage.

    Raises:
        WrongUse: `steps` does not name the stages.
    """
    check_stages(model, steps)
    where: Any = strategy or tf.distribute.get_strategy()
    begin = 0
    for stage in model.stage_list:
        epochs = -(-steps[stage.name] // every)
        end = begin + epochs * every
        first = int(model.step.numpy())
        if first < end:
            with where.scope():
                model.enter(stage, jit_compile=jit_compile)
            dataset = data(first, end, stage.updates, model.noise)
            play: Any = model.fit  # its signature says str where 0 is meant
            play(
                dataset,
                epochs=epochs,
                initial_epoch=(first - begin) // every,
                steps_per_epoch=every,
                callbacks=AsTheyCome(callbacks(), add_history=True, model=model),
                shuffle=False,  # the data are in order already
                verbose=0,
            )
        begin = end


def check_stages(model: AdversarialModel, steps: Mapping[str, int]) -> None:
    """Refuse steps that are not those of the model's stages.

    Raises:
        WrongUse: a stage has none, or what has some is no stage.
    """
    names = [stage.name for stage in model.stage_list]
    if set(steps) != set(names):
        raise WrongUse(f"training.steps are given for {sorted(steps)}, the stages are {names}")


def check_same_step(strategy: Strategy, step: int) -> None:
    """Refuse workers that would go on from different steps; all of them have to call it.

    Raises:
        ArtifactError: they stand at different steps.
    """
    if getattr(strategy, "cluster_resolver", None) is None:
        return
    own = strategy.run(lambda: tf.constant([step], tf.int64))
    steps = sorted(set(strategy.gather(own, axis=0).numpy().tolist()))
    if len(steps) > 1:
        raise ArtifactError(
            f"the workers stand at steps {', '.join(map(str, steps))}: give all of them --resume "
            "and one --out on a disk that they share"
        )


def fit(
    preset: Preset,
    table: Table,
    out: Path,
    *,
    validation: Table | None = None,
    seed: int = 0,
    strategy: str | Strategy = "auto",
    resume: bool = False,
    experiment: str | None = None,
    register: str | None = None,
    log_images: bool = False,
    fpr: float = 0.05,
    apart: Table | None = None,
) -> Any:
    """Train a preset and write the model folder.

    Args:
        preset: with its overrides; an ensemble's members are trained one after another.
        table: healthy scans, or the rows that the model's roles need.
        out: the model folder; must be empty, or hold this very run where `resume`.
        validation: labelled scans to measure on.
        seed: of weights, order, noise and the split.
        strategy: see `make_strategy`, or what it made.
        resume: go on from the checkpoint in `out`.
        experiment: of MLflow.
        register: name in MLflow's model registry.
        log_images: send pictures to the tracking server also where the scans are DICOM.
        fpr: share of healthy scans that the threshold lets be called abnormal.
        apart: the scans to calibrate on, for a member of an ensemble, which has no controls; a
            share of the table where None.

    Returns:
        The face of the task, e.g. an AnomalyScorer.

    Raises:
        ArtifactError: `out` holds something else, or nothing to resume.
        PresetError: a setting does not fit.
        TableError: too few scans, or none that can be read.
        ScanError: labels that the model does not learn.
    """
    where = make_strategy(strategy) if isinstance(strategy, str) else strategy
    face_of = registry.face(preset.task)
    table = face_of.trainable(table)
    if preset.members:
        from ganatomy.ensemble_training import fit_members

        return fit_members(
            preset,
            table,
            Path(out),
            validation=validation,
            seed=seed,
            strategy=where,
            resume=resume,
            experiment=experiment,
            register=register,
            log_images=log_images,
            fpr=fpr,
        )
    check_settings(preset, where.num_replicas_in_sync)
    chief = is_chief(where)
    training, holdout = (
        split(table, preset.training.holdout, seed) if apart is None else (table, apart)
    )
    # What can be wrong is said before scans are read, and then before hours of training.
    face_of.check(holdout, fpr, validation)
    grid = Preprocessing(**preset.preprocessing)
    with where.scope():
        model = build_model(preset, grid.shape, seed)
    check_stages(model, preset.training.steps)

    out = Path(out)
    identity = identity_of(preset, table, seed)
    state = open_folder(out, identity, resume=resume) if chief else {}
    checkpoint = out / "checkpoint.weights.h5"
    if resume and checkpoint.exists():
        model.load_weights(checkpoint)
    check_same_step(where, int(model.step.numpy()))

    preprocessing = _fitted_preprocessing(preset, training, out, chief)
    by_role = {role: Preprocessing(**preset.preprocessing_of(role)) for role in preset.by_role}

    def prepared(table: Table) -> tuple[Table, dict[str, Samples]]:
        table, found = prepare_table(
            table, preprocessing, by_role=by_role, grids=model.grids, progress=_preparing
        )
        check_labels(table, found, model.labels)
        return table, found

    training, samples = prepared(training)
    role = next(iter(samples))
    array = samples[role].array
    held: dict[str, Samples] = {}
    if len(holdout):
        holdout, held = prepared(holdout)
        face_of.check(holdout.rows(np.unique(held[role].owner)), fpr, validation)

    augment = Augment(**preset.training.augment)
    settings = preset.training

    def data(first: int, end: int, updates: int, noise: Mapping[str, Any]) -> tf.data.Dataset:
        return batches(
            {name: part.array for name, part in samples.items()},
            noise,
            roles=model.roles,
            batch_size=settings.batch_size,
            updates=updates,
            first_step=first,
            steps=end,
            seed=seed,
            augment=augment,
        )

    private = _has_dicom(table) and not log_images
    run = Run(f"{preset.name}-{seed}", experiment or "ganatomy", state.get("run_id"))

    def callbacks() -> list[keras.callbacks.Callback]:
        total = sum(-(-n // settings.every) * settings.every for n in settings.steps.values())
        if not chief:
            return [Means(), StopAtNaN()]
        pictures = None if private else (lambda: model.pictures(array[:8]))
        return [
            Means(),
            StopAtNaN(),
            Progress(total),
            History(out / "history.csv"),
            LogToRun(run, pictures),
            Checkpoint(checkpoint),
        ]

    def play() -> None:
        train(
            model,
            data,
            settings.steps,
            every=settings.every,
            callbacks=callbacks,
            jit_compile=settings.jit_compile,
            strategy=where,
        )
        model.solve(array)

    if not chief:
        play()
        return None
    facts: dict[str, Any] = {
        "seed": seed,
        "data": {
            "fingerprint": content_hash(samples),
            "scans": len(training),
            "samples": len(array),
            "held_out": len(holdout),
            "roles": {
                name: {
                    "scans": len(training.paths[name]),
                    "samples": len(part.array),
                    "held_out": len(holdout.paths[name]),
                }
                for name, part in samples.items()
            },
            "patients_known": table.patient is not None,
            "unreadable": [
                str(error)
                for part in (*samples.values(), *held.values())
                for error in part.failures
            ],
        },
    }
    with run:
        write_whole(out / "run.json", json.dumps({**identity, "run_id": run.run_id}))
        run.describe(
            preset,
            {
                "seed": seed,
                "strategy": type(where).__name__,
                "data_fingerprint": facts["data"]["fingerprint"],
            },
        )
        began = time.monotonic()
        play()
        facts["training_seconds"] = round(time.monotonic() - began, 1)
        artifact = Artifact(preset, model, array.shape[1:], {}, facts)
        face = face_of.from_training(
            artifact, preprocessing, training, holdout, fpr, controls=apart is None
        )
        if validation is not None:
            measure(face, validation, out, run, int(model.step.numpy()))
        face.save(out)
        run.model(out, register)
    checkpoint.unlink(missing_ok=True)
    return face


def measure(face: Any, validation: Table, out: Path, run: Run, step: int) -> None:
    """Measure a face on labelled scans, for its model folder, its facts and its run."""
    measures = face.evaluate(validation, out / "evaluation").measures
    face.artifact_.facts["measures"] = measures["measures"]
    run.metrics({name: value["value"] for name, value in measures["measures"].items()}, step)


# The mean image that scans are aligned to is as good from this many scans as from all.
ENOUGH = 400


def _fitted_preprocessing(preset: Preset, training: Table, out: Path, chief: bool) -> Preprocessing:
    """Fitted on training scans, or as an earlier run in `out` fitted it.

    Raises:
        TableError: not one of them can be read.
        ScanError: not one of them suits the model.
    """
    preprocessing = Preprocessing(**preset.preprocessing)
    stored = out / "preprocessing.npz"
    if stored.exists():
        with np.load(stored, allow_pickle=False) as arrays:
            return preprocessing.load_state(dict(arrays))
    if preprocessing.align:
        some = training.first[:: -(-len(training) // ENOUGH)]
        refused: list[ScanError] = []
        scans = _readable(some, preprocessing.voi, refused)
        first = next(scans, None)
        if first is None:
            raise TableError(f"none of {len(some)} scans could be read; the first: {refused[0]}")
        preprocessing.fit(itertools.chain([first], scans))
    if chief:
        aside = out / "part-preprocessing.npz"
        np.savez_compressed(aside, allow_pickle=False, **preprocessing.state())
        os.replace(aside, stored)
    return preprocessing


def _readable(paths: list[Path], voi: bool, refused: list[ScanError]) -> Iterator[Scan]:
    """The scans that can be read; why the others cannot goes to `refused`."""
    for path in paths:
        # Those are named where all are prepared.
        try:
            yield read_scan(path, window=voi)
        except ScanError as error:
            refused.append(error)


def _preparing(role: str) -> Callable[[int, int], None]:
    return counter(f"preparing {role.removesuffix('s').replace('_', ' ')}s")


def _has_dicom(table: Table) -> bool:
    """Whether pictures of this table could show patients of a clinic's archive."""
    pictures = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
    return not all(
        path.name.lower().endswith((*pictures, ".nii", ".nii.gz"))
        for paths in table.paths.values()
        for path in paths
    )
