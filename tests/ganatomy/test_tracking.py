"""What a fit leaves in MLflow, in a real store."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pytest

from ganatomy import registry, tracking
from ganatomy.tables import read_labelled_table, read_table
from ganatomy.tracking import LogToRun, Run, flatten, git_commit, use_default_store
from ganatomy.training import fit

ROLES = {"scan": "joined"}
TINY = [
    "size=[16,16]",
    "latent=4",
    "width=4",
    "network=dcgan",
    "adversary=least_squares",
    "critic_updates=1",
    "training.holdout=0.5",
    "training.batch_size=4",
    "training.every=2",
    "training.steps={adversarial: 4, encoder: 2}",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Artifacts of a sqlite store lie in the current folder: not in the project's."""
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(autouse=True)
def store(place, monkeypatch) -> Iterator[mlflow.MlflowClient]:
    """The tests' store, and MLflow's global state as it was."""
    before = mlflow.get_tracking_uri()
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.chdir(place)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    yield mlflow.MlflowClient()
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def only_run(client: mlflow.MlflowClient, experiment: str) -> Any:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    [run] = client.search_runs([found.experiment_id])
    return run


class Quick:
    """What `LogToRun` needs of a model: the step it stands at."""

    def __init__(self, step: int):
        self.step = keras.Variable(step, dtype="int64")


def preset(name: str, *settings: str) -> registry.Preset:
    return registry.preset(name).set(list(settings))


# A fit --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(pictures, place) -> tuple[Path, str]:
    """A tiny f-AnoGAN whose fit was interrupted after a report and resumed: (folder, run)."""
    from ganatomy import callbacks

    table = read_table([str(pictures.healthy)], ROLES)
    labelled = read_labelled_table([str(pictures.labelled)], ROLES)
    folder, recipe = place / "model", preset("fanogan", *TINY)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(tracking, "EVERY_PICTURE", 0.0)
        # Sampled every ten seconds by default: a tiny fit may be over before.
        patch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
        with patch.context() as once:
            once.setattr(callbacks, "save_checkpoint", _then_interrupt(callbacks.save_checkpoint))
            with pytest.raises(KeyboardInterrupt):
                fit(recipe, table, folder, validation=labelled, seed=3, experiment="resumed")
        first = only_run(client, "resumed")
        assert first.info.status == "KILLED"
        # Another experiment named at the second call does not make a second run.
        again = {"validation": labelled, "seed": 3, "experiment": "other", "resume": True}
        fit(recipe, table, folder, **again)
    return folder, first.info.run_id


def test_resumed_fit_goes_on_in_the_same_run(store, interrupted):
    folder, first = interrupted
    run = only_run(store, "resumed")
    assert run.info.run_id == first
    assert run.info.status == "FINISHED"
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    names = [name for name in rows[0] if name != "step"]
    assert names
    for name in names:
        expected = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        found = [(m.step, m.value) for m in store.get_metric_history(first, name)]
        assert [step for step, _ in found] == [step for step, _ in expected], name
        np.testing.assert_allclose([v for _, v in found], [v for _, v in expected], rtol=1e-4)


def test_run_of_a_fit_tells_what_was_done_with_what(store, interrupted):
    _, run_id = interrupted
    run = store.get_run(run_id)
    parameters = run.data.params
    assert parameters["seed"] == "3"
    assert parameters["training.batch_size"] == "4"
    assert parameters["preprocessing.size"] == "[16, 16]"
    assert len(parameters["data_fingerprint"]) >= 16
    assert re.fullmatch(r"[0-9a-f]{40}(-changed)?|release .+", run.data.tags["git_commit"])
    assert run.data.tags["preset"] == "fanogan"
    assert {"auroc", "sensitivity", "specificity"} <= set(run.data.metrics)
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert len(run.outputs.model_outputs) == 1


def test_run_of_a_fit_shows_pictures_of_every_report(store, interrupted):
    _, run_id = interrupted
    images = [f.path for f in store.list_artifacts(run_id, "images") if f.path.endswith(".png")]
    for step in (2, 4, 6):
        assert any(f"+{step}+" in image for image in images), images


def _then_interrupt(save: Any) -> Any:
    def once(model: Any, file: Path) -> None:
        save(model, file)
        raise KeyboardInterrupt

    return once


# A run --------------------------------------------------------------------------------------------


def test_losses_are_visible_while_the_run_goes_on(store, monkeypatch):
    monkeypatch.setattr(tracking, "EVERY", 0.0)
    with Run("live", "live") as run:
        run.metrics({"critic/adversarial": 0.5}, 100)
        found = store.get_metric_history(run.run_id, "critic/adversarial")
        assert [(m.step, m.value) for m in found] == [(100, 0.5)]


def test_no_number_is_lost_when_a_run_fails(store):
    run = Run("fails", "fails")

    def fail() -> None:
        with run:
            for step in range(1500):
                run.metrics({"a": step}, step)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.get_run(run.run_id).info.status == "FAILED"
    history = store.get_metric_history(run.run_id, "a")
    assert sorted(m.step for m in history) == list(range(1500))


def test_pictures_come_at_first_and_at_the_end_not_at_every_report(store):
    sent: list[int] = []

    class Recorded(Run):
        def picture(self, name, image, step):
            sent.append(step)

    with Recorded("pictures", "pictures") as run:
        callback = LogToRun(run, lambda: {"seen": np.zeros((4, 4))})
        for step in (10, 20, 30):
            callback.set_model(Quick(step))
            callback.on_epoch_end(0, {"a": np.ones(1)})
        callback.on_train_end()
    assert sent == [10, 30]


def test_grey_values_of_a_picture_survive(store):
    from PIL import Image

    image = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    with Run("grey", "grey") as run:
        run.picture("ramp", image, 7)
    [file] = [f.path for f in store.list_artifacts(run.run_id, "images") if f.path.endswith(".png")]
    stored = np.array(Image.open(store.download_artifacts(run.run_id, file)).convert("L"), float)
    np.testing.assert_allclose(stored / 127.5 - 1, image, atol=0.02)


def test_deleted_or_foreign_run_is_replaced_by_a_new_one(store):
    with Run("a", "a") as run:
        pass
    store.delete_run(run.run_id)
    for gone in (run.run_id, "0" * 32):
        with Run("b", "b", gone) as other:
            assert other.run_id != gone


def test_run_of_a_project_is_taken_over_once(store, monkeypatch):
    given = store.create_run(store.create_experiment("project"))
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", given.info.experiment_id)
    with Run("first") as first:
        assert first.run_id == given.info.run_id
    with Run("second") as second:
        assert second.run_id != given.info.run_id
        assert store.get_run(second.run_id).info.experiment_id == given.info.experiment_id


def test_inside_a_run_of_the_caller_a_fit_is_a_child(store):
    mlflow.set_experiment("outer")
    with mlflow.start_run() as outer:
        with Run("inner", "inner") as inner:
            tags = store.get_run(inner.run_id).data.tags
            assert tags["mlflow.parentRunId"] == outer.info.run_id
        assert mlflow.active_run().info.run_id == outer.info.run_id


def test_parameters_of_a_resumed_run_stay(store):
    small = preset("linear")
    with Run("p", "p") as run:
        run.describe(small, {"seed": 1, **{f"many.{n}": n for n in range(120)}})
    with Run("p", "p", run.run_id) as run:
        run.describe(small, {"seed": 2, "new": "x"})
    parameters = store.get_run(run.run_id).data.params
    assert (parameters["seed"], parameters["new"]) == ("1", "x")
    assert parameters["many.119"] == "119"


# Stores and names ---------------------------------------------------------------------------------


def test_default_store_is_here_and_a_chosen_one_is_kept(tmp_path, monkeypatch):
    """In a process of its own: MLflow remembers for good that a store was set."""
    code = (
        "import os, mlflow\n"
        "from ganatomy.tracking import use_default_store as use\n"
        "use(), print(mlflow.get_tracking_uri())\n"
        "os.chdir('b'), use(), print(mlflow.get_tracking_uri())\n"
        "mlflow.set_tracking_uri('http://tracking.example'), use()\n"
        "print(mlflow.get_tracking_uri())"
    )
    (tmp_path / "b").mkdir()
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert found.stdout.split() == [
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        f"sqlite:///{tmp_path / 'b' / 'mlflow.db'}",
        "http://tracking.example",
    ], found.stderr


def test_environment_names_the_store(store, monkeypatch, tmp_path):
    use_default_store()
    assert mlflow.get_tracking_uri() == os.environ["MLFLOW_TRACKING_URI"]


def test_commit_is_only_claimed_for_tracked_code(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *names, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.delenv("GIT_DIR", raising=False)
    git("init", "--quiet")
    (tmp_path / "tracking.py").write_text("1")
    monkeypatch.setattr(tracking, "__file__", str(tmp_path / "tracking.py"))
    (tmp_path / "other").write_text("x")
    git("add", "other")
    git("commit", "--quiet", "--message", "other")
    assert git_commit().startswith("release ")
    git("add", "tracking.py")
    git("commit", "--quiet", "--message", "code")
    assert git_commit() == git("rev-parse", "HEAD")
    (tmp_path / "tracking.py").write_text("2")
    assert git_commit() == git("rev-parse", "HEAD") + "-changed"


def test_nested_settings_become_dotted_names():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}
