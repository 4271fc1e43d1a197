"""MLflow: every fit is a run; parameters, losses, measures, pictures and the model."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ganatomy.registry import Preset

EXPERIMENT = "ganatomy"


def use_default_store() -> None:
    """sqlite in the current folder, unless a server or another store is configured."""
    import mlflow

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        uri = f"sqlite:///{Path.cwd() / 'mlflow.db'}"
        if mlflow.get_tracking_uri() != uri:
            mlflow.set_tracking_uri(uri)


class Run:
    """One MLflow run, entered for as long as a fit takes; `resume` goes on with an earlier one.

    Args:
        name: of the run.
        experiment: made where it does not exist.
        run_id: of the run to go on with.
    """

    def __init__(self, name: str, experiment: str = EXPERIMENT, run_id: str | None = None):
        self.name, self.experiment, self.run_id = name, experiment, run_id

    def __enter__(self) -> Run:
        import mlflow

        use_default_store()
        mlflow.set_experiment(self.experiment)
        if self.run_id is not None:
            try:
                mlflow.get_run(self.run_id)
            except mlflow.exceptions.MlflowException:
                self.run_id = None  # another store than the first time: a run of its own
        # psutil's figures of processor and memory; a GPU's where its library is installed.
        run = mlflow.start_run(run_id=self.run_id, run_name=self.name, log_system_metrics=True)
        self.run_id = run.info.run_id
        self._buffer: list = []
        return self

    def __exit__(self, kind, error, trace) -> None:
        import mlflow

        self.flush()
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
        mlflow.set_tags({"preset": preset.name, "task": preset.task, "git_commit": git_commit()})

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Buffered: a request a step would cost more than the step."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._buffer += [Metric(_key(k), float(v), now, step) for k, v in values.items()]
        if len(self._buffer) >= 500:
            self.flush()

    def flush(self) -> None:
        from mlflow import MlflowClient

        if self._buffer:
            MlflowClient().log_batch(self.run_id, metrics=self._buffer)
            self._buffer = []

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """A grey picture [H, W] in [-1, 1], under a name and step."""
        import mlflow

        grey = np.uint8(np.clip((np.asarray(image, np.float32) + 1) * 127.5, 0, 255))
        mlflow.log_image(grey[..., None], key=name, step=step)

    def model(self, folder: Path, register: str | None) -> str:
        """Log a model folder as the run's model; register it where a name is given.

        Returns:
            Its URI.
        """
        from ganatomy.serving import log_folder

        return log_folder(folder, register)


class LogToRun(keras.callbacks.Callback):
    """Sends the means of every reporting interval, and the pictures of a model, to a run."""

    def __init__(self, run: Run, pictures: Any = None):
        super().__init__()
        self.run, self.pictures = run, pictures

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        step = int(self.model.step.numpy())
        self.run.metrics({k: float(np.mean(v)) for k, v in (logs or {}).items()}, step)
        if self.pictures is not None:
            for name, image in self.pictures().items():
                self.run.picture(name, image, step)


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
    """The commit of the code in use, or of the release where it is not a checkout."""
    from importlib.metadata import version

    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        found = None
    if found is not None and found.returncode == 0:
        return found.stdout.strip()
    return f"release {version('ganatomy')}"


def _key(name: str) -> str:
    """A name that MLflow accepts for a metric."""
    return name.replace("[", "").replace("]", "")
