"""`fit`: killed and resumed, on replicas, on several workers; always the same training."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ganatomy import registry
from ganatomy.artifacts import ArtifactError
from ganatomy.callbacks import History, Means, StopAtNaN
from ganatomy.tables import read_table
from ganatomy.training import fit, make_strategy
from tests.ganatomy import training_worker
from tests.ganatomy.replicas_worker import CASES

ROOT = Path(__file__).parents[2]
# What runs every time reaches every model and both kinds of network; the rest is slow.
ALWAYS = ("anogan", "anogan clipped", "fanogan")


def start(module: str, *arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.ganatomy.{module}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def history(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


# Replicas ------------------------------------------------------------------------------------


def test_every_model_that_trains_is_tried_on_two_replicas():
    trained = {preset.model for preset in registry.presets().values() if preset.training.steps}
    assert trained <= {path for path, _ in CASES.values()}
    assert {CASES[case][0] for case in ALWAYS} == {path for path, _ in CASES.values()}


@pytest.mark.distributed
@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[] if c in ALWAYS else pytest.mark.slow) for c in CASES],
)
def test_two_replicas_equal_one(case):
    process = start("replicas_worker", case)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    found = json.loads(out.splitlines()[-1])
    assert found["replicas"] == 2
    assert found["mirrored"] == found["variables"]  # none lives on one replica alone
    assert found["terms"]
    assert found["moved"] > 1e-4
    # Sums in another order: float32's rounding, through a dozen updates of Adam.
    assert found["loss"] < 1e-5
    assert found["weight"] < 1e-5
    assert found["copies"] == 0.0


def test_strategies_have_names():
    assert make_strategy("none").num_replicas_in_sync == 1
    with pytest.raises(ValueError, match="--strategy cloud: expected auto, none"):
        make_strategy("cloud")


# One run, however it came about ---------------------------------------------------------------


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, pictures):
    """Folder, scorer and final state of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("unbroken") / "model"
    face, model = training_worker.run(out, pictures.healthy, "none")
    return out, face, training_worker.state(model)


def assert_same(state: dict, file: Path, **tolerance: float) -> None:
    with np.load(file) as stored:
        assert set(stored.files) == set(state)
        for name, expected in state.items():
            np.testing.assert_allclose(stored[name], expected, err_msg=name, **tolerance)


def test_a_run_writes_a_line_a_report_and_removes_its_checkpoint(unbroken):
    out, _, _ = unbroken
    rows = history(out)
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8, 10, 12, 14]
    assert all(row["critic/adversarial"] and not row["encoder/image"] for row in rows[:4])
    assert all(row["encoder/image"] and not row["critic/adversarial"] for row in rows[4:])
    assert not list(out.glob("*checkpoint*"))
    assert not list(out.rglob("part-*"))
    assert json.loads((out / "config.json").read_text())["seed"] == 4


def test_a_killed_run_resumes_to_the_unbroken_one(unbroken, tmp_path, pictures):
    out, face, state = unbroken
    process = start("training_worker", tmp_path / "model", pictures.healthy, "none")
    deadline = time.monotonic() + 240
    while not (tmp_path / "model" / "history.csv").exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(history(tmp_path / "model"))
    assert done < len(history(out)), "the run ended before it was killed"

    with pytest.raises(ArtifactError, match="holds this run already: go on with --resume"):
        training_worker.run(tmp_path / "model", pictures.healthy, "none")
    again, model = training_worker.run(tmp_path / "model", pictures.healthy, "none", resume=True)
    for name, value in training_worker.state(model).items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert history(tmp_path / "model") == history(out)
    assert again.threshold_ == face.threshold_


@pytest.mark.distributed
def test_two_workers_train_what_one_does(unbroken, tmp_path, pictures):
    from mlflow import search_runs

    out, _, state = unbroken
    before = len(search_runs(experiment_names=["ganatomy"]))
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    folder = tmp_path / "model"
    workers = [
        start(
            "training_worker",
            folder,
            pictures.healthy,
            "multiworker",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]
    for worker in workers:
        _, err = worker.communicate(timeout=400)
        assert worker.returncode == 0, err[-4000:]
    with np.load(tmp_path / "weights-0.npz") as first, np.load(tmp_path / "weights-1.npz") as last:
        for name in first.files:
            np.testing.assert_array_equal(first[name], last[name], err_msg=name)
    assert_same(state, tmp_path / "weights-0.npz", rtol=1e-3, atol=1e-5)
    # One history, one model, one run in the store: the chief's.
    assert [row["step"] for row in history(folder)] == [row["step"] for row in history(out)]
    for one, other in zip(history(folder), history(out), strict=True):
        for term, value in other.items():
            if value:
                assert float(one[term]) == pytest.approx(float(value), rel=1e-3, abs=1e-5)
    assert not list(folder.rglob("part-*"))
    assert len(search_runs(experiment_names=["ganatomy"])) == before + 1


# What a run refuses -----------------------------------------------------------------------------


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, pictures):
    (tmp_path / "notes.txt").write_text("mine")
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(ArtifactError, match="is not empty and holds no run"):
        fit(registry.preset("linear"), table, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_another_run_is_not_resumed(unbroken, pictures):
    out, _, _ = unbroken
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(ArtifactError, match="holds another run"):
        fit(registry.preset("linear"), table, out, resume=True)


def test_a_wrong_preprocessing_is_named(tmp_path, pictures):
    preset = registry.preset("linear").set(["normalise=loud"])
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(registry.PresetError, match=r"linear: preprocessing\.normalise: "):
        fit(preset, table, tmp_path / "model")


# Reports ------------------------------------------------------------------------------------


class At:
    """Of a model, what these callbacks look at: the step, as a variable has it."""

    def __init__(self, step: int):
        self.now = step

    @property
    def step(self) -> At:
        return self

    def numpy(self) -> int:
        return self.now


def test_a_report_is_the_mean_over_its_steps_and_not_the_last():
    means = Means()
    for start_at in (1.0, 5.0):
        means.on_epoch_begin(0)
        for value in (start_at, start_at + 1, start_at + 2):
            means.on_train_batch_end(0, {"a/b": np.array([value])})
        logs = {"a/b": start_at + 2}
        means.on_epoch_end(0, logs)
        assert logs == {"a/b": start_at + 1}


def test_a_loss_that_is_no_number_ends_the_run_and_says_what_to_try():
    stop = StopAtNaN()
    stop.set_model(At(7))
    stop.on_epoch_end(0, {"critic/penalty": 1.0})
    with pytest.raises(FloatingPointError, match=r"at step 7: lower .* optimizers\.critic\."):
        stop.on_epoch_end(0, {"critic/penalty": float("nan")})


def test_history_drops_what_lies_beyond_the_checkpoint(tmp_path):
    def report(first, steps):
        keeper = History(tmp_path / "history.csv")
        model = At(first)
        keeper.set_model(model)
        keeper.on_train_begin()
        for step in steps:
            model.now = step
            keeper.on_epoch_end(0, {"a/b": float(step)})

    report(0, [2, 4, 6])
    report(4, [6, 8])  # killed after the line of 6 and before its checkpoint
    assert [row["step"] for row in history(tmp_path)] == ["2", "4", "6", "8"]
