"""`fit`: killed and resumed, on replicas, on several workers; always the same training."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from ganatomy import registry
from ganatomy.artifacts import ArtifactError
from ganatomy.cache import content_hash, prepare_table
from ganatomy.callbacks import History, Means, StopAtNaN
from ganatomy.errors import WrongUse
from ganatomy.scans import Preprocessing, ScanError
from ganatomy.settings import check_settings
from ganatomy.tables import Table, TableError, read_labelled_table, read_table, split
from ganatomy.training import check_same_step, fit, identity_of, make_strategy, train
from tests.feeding import feed
from tests.ganatomy import training_worker
from tests.ganatomy.replicas_worker import CASES

ROOT = Path(__file__).parents[2]
# To trace a model takes longer than its steps, so that these run every time, which between them go
# through all that replicas share; the rest, built of the same parts, is slow.
ALWAYS = {
    "unpaired": "the image pool, labels, roles of no row, players that share a pass, rates by step",
    "airnet": "weights by step, a gradient penalty, a moving average",
    "anogan clipped": "clipping, updates of a critic alone, RMSprop, a stage on another's average",
    "vae": "batch normalisation before and after a code, Adam",
    "planted": "noise that is another sample",
}


def start(
    module: str, *arguments: object, stdin: Any = None, stderr: Any = subprocess.PIPE, **more: str
) -> subprocess.Popen:
    """A process of a module beside this one; `more` is for its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.ganatomy.{module}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **more},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def free_ports() -> list[int]:
    """Two of them."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("localhost", 0))
        return [free.getsockname()[1] for free in (one, other)]


def history(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


# Replicas ------------------------------------------------------------------------------------


def test_every_model_that_trains_is_tried_on_two_replicas():
    trained = {preset.model for preset in registry.presets().values() if preset.training.steps}
    assert trained <= {path for path, _ in CASES.values()}
    # Of every suite one runs every time.
    suites = {CASES[case][0].partition(".")[0] for case in ALWAYS}
    assert suites == {path.partition(".")[0] for path in trained}


@pytest.fixture(scope="module")
def replicas(tmp_path_factory) -> Iterator[Callable[[str], dict]]:
    """What the worker says of a case; one process for all of them, and another after a failure."""
    log = tmp_path_factory.mktemp("replicas") / "worker.log"
    running: list[subprocess.Popen] = []

    def ask(case: str) -> dict:
        if not running or running[-1].poll() is not None:
            with open(log, "w") as file:
                running.append(start("replicas_worker", stdin=subprocess.PIPE, stderr=file))
        process = running[-1]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{case}\n")
        process.stdin.flush()
        late = threading.Timer(1500, process.kill)  # a starved machine is no failure
        late.start()
        answer = next((line for line in process.stdout if line.startswith("{")), "")
        late.cancel()
        if not answer:
            process.wait()
        assert answer, log.read_text()[-3000:]
        return json.loads(answer)

    yield ask
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.distributed
@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[] if c in ALWAYS else pytest.mark.slow) for c in CASES],
)
def test_two_replicas_equal_one(case, replicas):
    found = replicas(case)
    assert found["replicas"] == 2
    assert found["mirrored"] == found["variables"]  # none lives on one replica alone
    assert found["terms"]
    assert found["moved"] > 1e-4
    # Sums in another order: float32's rounding, through a dozen updates.
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


def test_what_tests_track_lies_beside_their_store(unbroken, own_stores):
    from mlflow import MlflowClient

    out, _, _ = unbroken
    run_id = json.loads((out / "run.json").read_text())["run_id"]
    kept = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_run(run_id).info.artifact_uri
    assert kept is not None
    assert Path(kept.removeprefix("file://")).is_relative_to(own_stores)


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


def runs_in_the_store() -> int:
    """Of all experiments, where the workers write, whatever this process has turned to meanwhile.

    MLflow hands the experiment of the last run on to child processes.
    """
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    places = [experiment.experiment_id for experiment in client.search_experiments()]
    return len(client.search_runs(places, max_results=1000))


@pytest.mark.distributed
def test_two_workers_train_what_one_does_and_never_start_from_different_steps(
    unbroken, tmp_path, pictures
):
    out, _, state = unbroken
    before = runs_in_the_store()
    cluster = {"worker": [f"localhost:{port}" for port in free_ports()]}
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
        said, err = worker.communicate(timeout=1500)
        assert worker.returncode == 0, err[-4000:]
        assert "the workers stand at steps 0, 10: give all of them" in said
    check_same_step(make_strategy("none"), 3)
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
    assert runs_in_the_store() == before + 1


def test_a_run_in_bfloat16_ends_in_a_model_that_scores_the_same_when_loaded(tmp_path, pictures):
    from anogan import AnomalyScorer

    settings = [*training_worker.SETTINGS, "dtype=mixed_bfloat16"]
    short = ["training.steps={adversarial: 2, encoder: 2}"]
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    face = fit(
        registry.preset("fanogan").set([*settings, *short]), table, tmp_path / "model", fpr=0.1
    )
    assert keras.config.dtype_policy().name == "float32"
    loaded = AnomalyScorer.load(tmp_path / "model")
    layers = loaded.artifact_.model.network("generator").layers
    assert "bfloat16" in {layer.compute_dtype for layer in layers}
    assert keras.config.dtype_policy().name == "float32"
    scores = loaded.anomaly_score(table.first[:5])
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, face.anomaly_score(table.first[:5]))
    assert np.isfinite(loaded.threshold_)


# What a run refuses -----------------------------------------------------------------------------


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, pictures):
    (tmp_path / "notes.txt").write_text("mine")
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(ArtifactError, match="is not empty and holds no run"):
        fit(registry.preset("linear"), table, tmp_path, fpr=0.1)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_another_run_is_not_resumed(unbroken, pictures):
    out, _, _ = unbroken
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(ArtifactError, match="holds another run"):
        fit(registry.preset("linear"), table, out, resume=True, fpr=0.1)


def test_scans_labelled_abnormal_are_not_trained_on(tmp_path, pictures):
    healthy = sorted(Path(pictures.healthy).glob("*.png"))
    rows = [f"{file.resolve()},{number % 4 == 0:d}" for number, file in enumerate(healthy)]
    (tmp_path / "labelled.csv").write_text("\n".join(["scan,label", *rows]))
    table = read_table([str(tmp_path / "labelled.csv")], {"scan": "joined"})
    face = fit(registry.preset("linear"), table, tmp_path / "model", fpr=0.2)
    data = face.artifact_.facts["data"]
    assert data["scans"] + data["held_out"] == sum(row.endswith(",0") for row in rows)


def test_words_about_a_preset_do_not_make_another_run(pictures):
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    preset = registry.preset("linear")
    words = {"title": "Other", "cost": "less", "paper": "an older one", "labels": "none"}
    reworded = preset.model_copy(update=words)
    assert identity_of(reworded, table, 0) == identity_of(preset, table, 0)
    changed = preset.set(["components=3"])
    assert identity_of(changed, table, 0) != identity_of(preset, table, 0)


@pytest.mark.parametrize(
    ("name", "setting", "line"),
    [
        ("linear", "normalise=loud", r"linear: preprocessing\.normalise: "),
        ("linear", "size=[8]", r"linear: preprocessing: .*size needs 2 numbers"),
        ("linear", "preprocessing={rank: 3, size: [8, 8, 8]}", r"preprocessing\.rank is not"),
        ("fanogan", "top=2", r"fanogan: postprocessing\.top: .*less than or equal to 1"),
        ("fanogan", "postprocessing={blur: 1}", r"fanogan: postprocessing\.blur: Extra inputs"),
        ("fanogan", "augment={shfit: 0.1}", r"fanogan: training\.augment\.shfit: Extra inputs"),
        ("fanogan", "augment={shift: 3}", r"fanogan: training\.augment\.shift: .*less than"),
        ("fanogan", "augment={flip: [2]}", r"training\.augment\.flip: the axes are 0 to 1"),
        (
            "fanogan",
            "training.steps={adversarial: 2}",
            r"training\.steps are given for \['adversarial'\], the stages are \['adv",
        ),
        ("fanogan", "term_weights={crtic/penalty: 1}", r"names \['crtic/penalty'\]; the players"),
        ("fanogan", "term_weights={critic/penlty: 1}", r"names \['critic/penlty'\]; the terms of"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(tmp_path, pictures, name, setting, line):
    preset = registry.preset(name)
    if name == "fanogan":
        preset = preset.set(training_worker.SETTINGS)
    section, equals, value = setting.partition("=")
    if equals and section in ("preprocessing", "postprocessing"):  # as a file could hold it
        preset = preset.model_copy(update={section: yaml.safe_load(value)})
    else:
        preset = preset.set([setting])
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    with pytest.raises(WrongUse, match=line) as caught:
        fit(preset, table, tmp_path / "model", fpr=0.1)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model" / "history.csv").exists()
    if "penlty" not in setting:  # known once a stage is traced
        assert not (tmp_path / "model").exists()


def test_a_run_that_ended_before_it_trained_leaves_its_folder_free(tmp_path, pictures):
    out = tmp_path / "model"
    table = read_table([str(pictures.healthy)], {"scan": "joined"})
    good = registry.preset("fanogan").set(
        [*training_worker.SETTINGS, "training.steps={adversarial: 2, encoder: 2}"]
    )
    with pytest.raises(WrongUse, match="names"):
        fit(good.set(["term_weights={critic/penlty: 1}"]), table, out, fpr=0.1)
    assert {path.name for path in out.iterdir()} <= {"run.json", "preprocessing.npz"}
    fit(good, table, out, fpr=0.1)
    stored = json.loads((out / "run.json").read_text())
    assert stored["preset"] == good.recipe()
    with pytest.raises(ArtifactError, match="holds this run already"):
        fit(good, table, out, fpr=0.1)


def test_volumes_are_not_moved_and_a_batch_is_shared_evenly():
    preset = registry.preset("fanogan").set(["batch_size=10"])
    check_settings(preset, replicas=2)
    with pytest.raises(registry.PresetError, match=r"batch_size: 10 .* 4 replicas: .*size=12"):
        check_settings(preset, replicas=4)
    check_settings(registry.preset("linear"), replicas=4)  # has no batches
    volumes = {"rank": 3, "preprocessing": {"rank": 3, "size": [8, 8, 8]}}
    for augment, fits in (({"flip": [2]}, True), ({"rotate": 5}, False)):
        training = preset.training.model_copy(update={"augment": augment})
        changed = preset.model_copy(update={**volumes, "training": training})
        if fits:
            check_settings(changed)
        else:
            with pytest.raises(registry.PresetError, match="volumes take flip, gain, bias"):
                check_settings(changed)


def test_broken_scans_among_the_held_out_are_noticed_before_training(tmp_path, pictures):
    folder = tmp_path / "scans"
    shutil.copytree(pictures.healthy, folder)
    table = read_table([str(folder)], {"scan": "joined"})
    preset = registry.preset("fanogan").set(training_worker.SETTINGS)
    _, holdout = split(table, preset.training.holdout, 4)
    for path in holdout.first[5:]:
        path.write_bytes(b"no picture")
    with pytest.raises(WrongUse, match="5 healthy scans cannot set a threshold"):
        fit(preset, table, tmp_path / "model", seed=4, fpr=0.1)
    assert not (tmp_path / "model" / "history.csv").exists()


def test_scans_to_align_by_that_cannot_be_used_are_left_out_or_named(tmp_path, draw_chest):
    from PIL import Image

    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(14):
        Image.fromarray(draw_chest(seed)).save(folder / f"{seed:02}.png")
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    colour.save(folder / "colour.png")
    (folder / "torn.png").write_bytes(b"no picture")
    settings = ["size=[8,8]", "equalise=null", "align=true", "holdout=0.5", "components=1"]
    preset = registry.preset("linear").set(settings)

    def made(name):
        table = read_table([str(folder)], {"scan": "joined"})
        return fit(preset, table, tmp_path / name, fpr=0.3)

    unreadable = made("model").artifact_.facts["data"]["unreadable"]
    assert {Path(line.partition(":")[0]).name for line in unreadable} == {"colour.png", "torn.png"}
    for path in folder.iterdir():
        colour.save(path)
    with pytest.raises(ScanError, match=r"\.png: is in colour"):
        made("colour")
    for path in folder.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(TableError, match=r"none of \d+ scans could be read; the first: .*\.png"):
        made("torn")


# Several roles ------------------------------------------------------------------------------


PAIR = {"scan": "joined", "target": "joined", "other": "independent"}


@pytest.fixture
def flat(tmp_path):
    """Even pictures by role whose brightness is the row's number; `scan` 1 and `target` 3 broken,
    and so is one of the three that are of no row.
    """
    from PIL import Image

    for role, rows in {"scan": 6, "target": 6, "other": 3}.items():
        (tmp_path / role).mkdir()
        for row in range(rows):
            pixels = np.zeros((8, 8), np.uint8)
            pixels[0, : row + 1] = 255
            Image.fromarray(pixels).save(tmp_path / role / f"{row}.png")
    for broken in ("scan/1", "target/3", "other/2"):
        (tmp_path / f"{broken}.png").write_bytes(b"no picture")
    return tmp_path


def lit(samples):
    """The row's number of each sample."""
    return (np.asarray(samples.array)[:, 0, :, 0] > 0).sum(1) - 1


@pytest.fixture
def plain():
    return Preprocessing(size=[8, 8], normalise="range")


def test_a_row_with_one_broken_scan_is_dropped_in_all_joined_roles_and_named(flat, plain):
    table = read_table([f"{role}={flat}/{role}/*.png" for role in PAIR], PAIR)
    rest, samples = prepare_table(table, plain)
    assert rest.names == ["0", "2", "4", "5"]
    for role in ("scan", "target"):
        assert lit(samples[role]).tolist() == [0, 2, 4, 5]
        assert samples[role].owner.tolist() == [0, 1, 2, 3]
    assert lit(samples["other"]).tolist() == [0, 1]
    named = {role: [Path(f.path).name for f in part.failures] for role, part in samples.items()}
    assert named == {"scan": ["1.png", "3.png"], "target": ["3.png", "1.png"], "other": ["2.png"]}
    partner = str(samples["target"].failures[1])
    assert "target/1.png: is left out: samples by role are scan 0, target 1" in partner


def test_one_role_keeps_its_rows_and_one_without_scans_is_left_out(flat, plain):
    roles = {"scan": "joined", "other": "independent"}
    table = read_table([f"{role}={flat}/{role}/*.png" for role in roles], roles)
    same, samples = prepare_table(table, plain)
    assert same is table
    assert samples["scan"].owner.tolist() == [0, 2, 3, 4, 5]
    empty = Table({"scan": table.first, "other": []}, table.names, independent={"other": []})
    assert list(prepare_table(empty, plain)[1]) == ["scan"]


def test_roles_without_a_whole_row_are_an_error(flat, plain):
    table = read_table([f"{role}={flat}/{role}/*.png" for role in PAIR], PAIR)
    with pytest.raises(TableError, match="no row has all its joined scans: scan, target"):
        prepare_table(table.rows(np.array([1, 3])), plain)


def test_an_independent_role_goes_through_the_whole_of_fit(tmp_path, pictures, config_of):
    roles = {"scan": "joined", "abnormal": "independent"}
    sick = pictures.labelled / "abnormal"
    table = read_table([f"scan={pictures.healthy}/*.png", f"abnormal={sick}/*.png"], roles)
    preset = registry.preset("vagan-chest-xray").set(
        [
            *("size=[8,8]", "equalise=null", "width=2", "optimizers={}", "batch_size=8", "every=2"),
            *("training.steps={critic: 2, adversarial: 4}", "training.holdout=0.4"),
        ]
    )
    out = tmp_path / "model"
    validation = read_labelled_table([str(pictures.labelled)], {"scan": "joined"})
    face = fit(preset, table, out, validation=validation, fpr=0.1)
    assert {"critic/penalty", "map/size"} <= set(history(out)[-1])
    data = config_of(out)["data"]
    assert data["roles"] == {
        "scan": {"scans": 36, "samples": 36, "held_out": 24},
        "abnormal": {"scans": 8, "samples": 8, "held_out": 6},
    }
    # Healthy scans alone set the threshold; the card and the fingerprint know of the others.
    assert len(face.calibration_.scores) == 24
    assert "- abnormal: 8 scans (8 samples), 6 held out" in (out / "model_card.md").read_text()
    assert "image labels" in (out / "model_card.md").read_text()
    samples = prepare_table(split(table, 0.4, 0)[0], face.preprocessing_)[1]
    assert data["fingerprint"] == content_hash(samples)
    assert data["fingerprint"] != content_hash({"scan": samples["scan"]})
    assert list(face.controls_["linear"].artifact_.preset.roles) == ["scan"]
    other = read_table([f"scan={pictures.healthy}/*.png", f"abnormal={sick}/20*.png"], roles)
    assert identity_of(preset, other, 0) != identity_of(preset, table, 0)
    moved = Table(
        {"scan": table.first[:-1], "abnormal": [table.first[-1], *table.paths["abnormal"]]},
        table.names[:-1],
    )
    assert identity_of(preset, moved, 0) != identity_of(preset, table, 0)


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
        for step in range(3):
            means.on_train_batch_end(step, {"a/b": np.array([start_at + step])})
        logs = {"a/b": start_at + 2}
        means.on_epoch_end(0, logs)
        assert logs == {"a/b": start_at + 1}


def test_a_step_does_not_wait_for_what_it_logs():
    from anogan.vae import VAE

    class Seen(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.steps, self.report = [], {}

        def on_train_batch_end(self, batch, logs=None):
            self.steps.append(logs or {})

        def on_epoch_end(self, epoch, logs=None):
            self.report = dict(logs or {})

    model, seen = VAE((8, 8, 1), latent=2, width=2), Seen()
    array = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8, 1)).astype(np.float32)

    data = feed(model, 4, scan=array)
    train(model, data, {"variational": 3}, every=3, callbacks=lambda: [Means(), seen])
    assert len(seen.steps) == 3
    for name, mean in seen.report.items():
        # A tensor may still be on its way from the device; a number has arrived.
        assert all(keras.ops.is_tensor(own[name]) for own in seen.steps)
        assert mean == pytest.approx(np.mean([float(own[name][0]) for own in seen.steps]))


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
