"""MLflow: every fit is a run; parameters, losses, measures, pictures and the model."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ganatomy.registry import Preset

EXPERIMENT = "ganatomy"
# Seconds between two requests with losses, and between two sets of pictures.
EVERY, EVERY_PICTURE = 1.0, 30.0

_chosen: str | None = None


def use_default_store() -> None:
    """sqlite in the current folder, unless the caller or the environment names another store."""
    global _chosen
    import mlflow

    if os.environ.get("MLFLOW_TRACKING_URI"):
        return
    if mlflow.is_tracking_uri_set() and mlflow.get_tracking_uri() != _chosen:
        return
    _chosen = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
    if mlflow.get_tracking_uri() != _chosen:
        mlflow.set_tracking_uri(_chosen)


class Run:
    """One MLflow run, entered for as long as a fit takes; `resume` goes on with an earlier one.

    A run that `mlflow run` has made is taken over; inside a run of the caller's it is a child.

    Args:
        name: of the run.
        experiment: made where it does not exist; MLflow's own variables may name another
            default.
        run_id: of the run to go on with.
    """

    def __init__(self, name: str, experiment: str = EXPERIMENT, run_id: str | None = None):
        self.name, self.experiment = name, experiment
        self.run_id: Any = run_id
        self._buffer: list = []
        self._sent = time.monotonic()

    def __enter__(self) -> Run:
        import mlflow

        use_default_store()
        # A project's run is for one fit: a second one, of another seed, is a run of its own.
        given = os.environ.pop("MLFLOW_RUN_ID", None)
        earlier = _living(self.run_id) or _living(given)
        if earlier is not None:
            mlflow.set_experiment(experiment_id=earlier.info.experiment_id)
        elif self.experiment != EXPERIMENT or not _experiment_is_given():
            mlflow.set_experiment(self.experiment)
        run = mlflow.start_run(
            run_id=earlier.info.run_id if earlier is not None else None,
            run_name=self.name,
            nested=mlflow.active_run() is not None,
            # psutil's figures of processor and memory; a GPU's where its library is installed.
            log_system_metrics=True,
        )
        self.run_id = run.info.run_id
        return self

    def __exit__(self, kind, error, trace) -> None:
        import mlflow

        try:
            self.flush()
        finally:
            mlflow.end_run(
                "FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED"
            )

    def describe(self, preset: Preset, facts: Mapping[str, Any]) -> None:
        """Parameters and tags; those of a resumed run stay as they were."""
        import mlflow

        tree = preset.model_dump(exclude={"name", "title", "paper", "cost", "roles"})
        flat = flatten(tree)
        known = mlflow.get_run(self.run_id).data.params
        new = {k: v for k, v in {**flat, **facts}.items() if k not in known}
        mlflow.log_params(new)
        commit = git_commit()
        tags = {"preset": preset.name, "task": preset.task, "git_commit": commit}
        if len(commit) == 40:
            tags["mlflow.source.git.commit"] = commit  # the one that the UI shows
        mlflow.set_tags(tags)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers of a step; sent once a second: a request a step would cost more than the step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._buffer += [Metric(_key(k), float(v), now, step) for k, v in values.items()]
        if time.monotonic() - self._sent >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        from mlflow import MlflowClient

        if self._buffer:
            MlflowClient().log_batch(self.run_id, metrics=self._buffer)
            self._buffer = []
        self._sent = time.monotonic()

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A grey picture [H, W] in [-1, 1], under a name and step."""
        import mlflow

        grey = np.clip((np.asarray(image, np.float32) + 1) * 127.5, 0, 255).astype(np.uint8)
        mlflow.log_image(grey[..., None], key=name, step=step)

    def model(self, folder: Path, register: str | None) -> str:
        """Log a model folder as the run's model; register it where a name is given.

        Returns:
            Its URI.
        """
        from ganatomy.serving import log_folder

        return log_folder(folder, register)


class LogToRun(keras.callbacks.Callback):
    """Sends the means of every reporting interval, and the pictures of a model, to a run.

    Args:
        run: that is entered.
        pictures: gives pictures [H, W] in [-1, 1] by name; they go twice a minute and at the end
            of a stage.
    """

    def __init__(self, run: Run, pictures: Any = None):
        super().__init__()
        self.run, self.pictures = run, pictures
        self._drawn: float | None = None
        self._step = -1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = self._at()
        self.run.metrics({k: float(np.mean(v)) for k, v in (logs or {}).items()}, step)
        if self._drawn is None or time.monotonic() - self._drawn >= EVERY_PICTURE:
            self._draw(step)

    def on_train_end(self, logs: Any = None) -> None:
        self.run.flush()
        self._draw(self._at())

    def _at(self) -> int:
        model: Any = self.model
        return int(model.step.numpy())

    def _draw(self, step: int) -> None:
        if self.pictures is None or step == self._step:
            return
        for name, image in self.pictures().items():
            self.run.picture(name, image, step)
        self._drawn, self._step = time.monotonic(), step


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def git_commit() -> str:
    """The commit of the code in use, `-changed` where files differ from it; else the release."""
    from importlib.metadata import version

    here = Path(__file__).parent
    # Installed into an environment that lies inside somebody's repository, the code is none of
    # that repository's: only tracked files have its commit.
    if _git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return f"release {version('ganatomy')}"
    commit = _git(here, "rev-parse", "HEAD") or f"release {version('ganatomy')}"
    changed = _git(here, "status", "--porcelain", "--untracked-files=no", ":/")
    return f"{commit}-changed" if changed else commit


def _git(folder: Path, *words: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _living(run_id: str | None) -> Any:
    """The run of an id; None where this store has none, or a deleted one."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = mlflow.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise  # a server that does not answer: not a reason to start another run
    return run if run.info.lifecycle_stage == "active" else None


def _experiment_is_given() -> bool:
    return bool(os.environ.get("MLFLOW_EXPERIMENT_NAME") or os.environ.get("MLFLOW_EXPERIMENT_ID"))


def _key(name: str) -> str:
    """A name that MLflow accepts for a metric."""
    return name.replace("[", "").replace("]", "")
