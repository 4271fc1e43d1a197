"""A model folder as an MLflow model, and the two servers it runs under, started for real."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import nibabel
import numpy as np
import pandas as pd
import pydicom.data
import pytest
from click.testing import CliRunner
from PIL import Image

from anogan.calibration import UnlikeScans
from ganatomy import artifacts, registry
from ganatomy.cli import cli
from ganatomy.served import CHUNK, Answers, Refused
from ganatomy.serving import example_scan, log_folder, signature, write_pyfunc

ROOT = Path(__file__).parents[2]
SECRET = "Doe^Jane"


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def picture(draw_chest) -> np.ndarray:
    return draw_chest(500, abnormal=True)


@pytest.fixture(scope="module")
def uploads(picture) -> dict[str, bytes]:
    """One file of each kind that hospitals and papers have."""
    volume = np.stack([picture] * 3, -1)
    return {
        "picture": png(picture),
        "dicom": Path(str(pydicom.data.get_testdata_file("CT_small.dcm"))).read_bytes(),
        "nifti": nibabel.Nifti1Image(volume, np.eye(4)).to_bytes(),
    }


@pytest.fixture(scope="module")
def face(quick_model):
    return registry.face("detect").load(quick_model)


# The folder -----------------------------------------------------------------------------------


def test_folder_names_no_place_of_the_machine_that_trained_it(quick_model):
    written = ("MLmodel", "model.py", "requirements.txt", "conda.yaml", "python_env.yaml")
    for name in written:
        text = (quick_model / name).read_text()
        assert not re.search(r"(?<![\w.])/\w", text), name
        assert "file:" not in text, name
    assert f"mlflow=={mlflow.__version__}" in (quick_model / "requirements.txt").read_text()


def test_moved_folder_answers_as_the_scorer_without_pickle(
    quick_model, face, uploads, tmp_path, monkeypatch
):
    moved = tmp_path / "elsewhere" / "m"
    shutil.copytree(quick_model, moved)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pyfunc.load_model("elsewhere/m")
    table = pd.DataFrame({"scan": list(uploads.values())})
    answers = model.predict(table)
    files = []
    for name, content in uploads.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(content)
    np.testing.assert_allclose(answers["anomaly_score"], face.anomaly_score(files), atol=1e-5)
    with pytest.warns(UnlikeScans):
        predicted = face.predict(files)
    assert answers["abnormal"].tolist() == (predicted == -1).tolist()
    assert (answers["unlike"] > 1).any()
    maps = model.predict(table, params={"map": True})["map"]
    expected = face.anomaly_map(files)
    for found, map in zip(maps, expected, strict=True):
        np.testing.assert_allclose(np.array(found, float), map, atol=1e-5)


def test_writing_again_overwrites(quick_model, tmp_path):
    again = shutil.copytree(quick_model, tmp_path / "m")
    before = sorted(file.name for file in again.iterdir())
    (again / "requirements.txt").write_text("stale")
    write_pyfunc(again)
    assert sorted(file.name for file in again.iterdir()) == before
    assert "stale" not in (again / "requirements.txt").read_text()


def test_input_example_is_drawn_and_answered(quick_model):
    model = mlflow.pyfunc.load_model(str(quick_model))
    assert np.isfinite(model.predict(model.input_example)["anomaly_score"]).all()


@pytest.mark.parametrize(("rank", "depth"), [(2, 1), (3, 2)])
def test_signature_and_example_follow_the_rank(rank, depth):
    from ganatomy.scans import read_scan

    config = {"preset": {"rank": rank, "task": "detect"}, "shape": [16] * rank + [1]}
    pixels = signature(config).inputs.to_dict()[1]
    assert json.dumps(pixels).count('"array"') == depth
    assert pixels["required"] is False
    assert read_scan(example_scan(config)).rank == rank


# Answers and refusals, without a server --------------------------------------------------------


@pytest.fixture(scope="module")
def answers(quick_model) -> Answers:
    return Answers(quick_model)


def test_pixels_equal_the_picture_they_come_from(answers, picture, uploads):
    whole = answers.predict(pd.DataFrame({"scan": [uploads["picture"]]}))
    rows = [np.array(row, float) for row in picture]
    from_spark = np.empty(len(rows), object)
    from_spark[:] = rows
    for pixels in (picture.tolist(), picture.astype(float), from_spark, picture[..., None]):
        nested = answers.predict(pd.DataFrame({"pixels": [pixels]}))
        np.testing.assert_allclose(nested["anomaly_score"], whole["anomaly_score"], atol=1e-5)


def test_rows_of_either_kind_keep_their_order_over_chunks(answers, picture, uploads):
    table = pd.DataFrame(
        [
            {"scan": uploads["picture"], "pixels": None}
            if n % 2
            else {"scan": None, "pixels": (picture // (1 + n % 3)).tolist()}
            for n in range(CHUNK + 3)
        ]
    )
    together = answers.predict(table)["anomaly_score"].to_numpy()
    alone = [answers.predict(table.iloc[[n]])["anomaly_score"].iloc[0] for n in (0, 4, 33, 34)]
    np.testing.assert_allclose(together[[0, 4, 33, 34]], alone, atol=1e-5)


REFUSALS: dict[str, Any] = {
    "no rows": {"scan": []},
    "misspelt": {"scna": [b"x"]},
    "neither": {"scan": [None]},
    "both": {"scan": [b"x"], "pixels": [[[0, 1], [1, 0]]]},
    "text": {"scan": [SECRET.encode() * 50]},
    "empty": {"scan": [b""]},
    "no bytes": {"scan": [SECRET]},
    "flat": {"pixels": [[1, 2, 3]]},
    "deep": {"pixels": [[[[[0, 1]]]]]},
    "ragged": {"pixels": [[[1, 2], [3]]]},
    "hollow": {"pixels": [[[], []]]},
    "words": {"pixels": [[[SECRET, "b"], ["c", "d"]]]},
    "booleans": {"pixels": [[[True, False], [False, True]]]},
    "nothing inside": {"pixels": [[[None, 1.0], [1.0, 2.0]]]},
    "not finite": {"pixels": [[[float("nan"), 1.0], [1.0, 2.0]]]},
    "beyond float": {"pixels": [[[1e300, 1.0], [1.0, 2.0]]]},
    "constant": {"pixels": [[[3, 3], [3, 3]]]},
}


@pytest.mark.parametrize("table", REFUSALS.values(), ids=REFUSALS)
def test_refusal_is_one_line_that_repeats_nothing(answers, table):
    with pytest.raises(Refused) as refused:
        answers.predict(pd.DataFrame(table))
    line = refused.value.message
    assert "\n" not in line
    assert SECRET not in line
    assert refused.value.get_http_status_code() == 400


def test_truncated_dicom_is_refused_by_its_row(answers, uploads):
    table = pd.DataFrame({"scan": [uploads["dicom"], uploads["dicom"][:3000]]})
    with pytest.raises(Refused, match=r"^row 1: .*expected"):
        answers.predict(table)


def test_oversized_rows_are_refused_before_they_are_read(answers, monkeypatch, picture, uploads):
    monkeypatch.setattr("ganatomy.served.MAX_SCAN_BYTES", 1000)
    with pytest.raises(Refused, match="too large"):
        answers.predict(pd.DataFrame({"scan": [uploads["dicom"]]}))
    monkeypatch.setattr("ganatomy.served.MAX_PIXELS", 1000)
    with pytest.raises(Refused, match="more than 1000"):
        answers.predict(pd.DataFrame({"pixels": [picture]}))


def test_message_of_a_refusal_cannot_be_overwritten():
    refused = Refused("short")
    refused.message = f"Failed to predict data '{SECRET}'"
    assert refused.message == "short"
    assert SECRET not in refused.serialize_as_json()


def test_fault_of_the_model_gets_out_neither_as_text_nor_as_another_exception(
    answers, monkeypatch, uploads, caplog
):
    def broken(*_, **__):
        raise RuntimeError(f"pixels of {SECRET}")

    monkeypatch.setattr(answers, "face", type("Face", (), {"answer": broken, "answers": {}})())
    with pytest.raises(Refused) as refused:
        answers.predict(pd.DataFrame({"scan": [uploads["picture"]]}))
    assert refused.value.get_http_status_code() == 500
    assert SECRET not in refused.value.message + caplog.text
    assert "RuntimeError" in caplog.text


# Logged and registered ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(quick_model, tmp_path_factory) -> Iterator[tuple[str, str, str]]:
    """A run that logged a folder twice, the second time registered: (run, URI, URI)."""
    folder = tmp_path_factory.mktemp("logged")
    copied = shutil.copytree(quick_model, folder / "m")
    (copied / "checkpoint.weights.h5").write_bytes(b"large")
    (copied / "preprocessing.npz").write_bytes(b"state")
    (copied / "evaluation" / "volumes.npz").write_bytes(b"slices")
    for file, *place in (("config.json", "data", "unreadable"), ("measures.json", "failed")):
        [path] = copied.rglob(file) if file != "config.json" else [copied / file]
        facts = json.loads(path.read_text())
        holder = facts[place[0]] if len(place) == 2 else facts
        holder[place[-1]] = [f"/clinic/{SECRET}.dcm: is empty; expected a scan"]
        path.write_text(json.dumps(facts))
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    name = "logged"
    experiment = mlflow.create_experiment(name, artifact_location=(folder / "store").as_uri())
    with mlflow.start_run(experiment_id=experiment) as run:
        measures = artifacts.read_config(copied)["measures"]
        mlflow.log_metrics({k: v["value"] for k, v in measures.items()}, step=700)
        first = log_folder(copied)
        second = log_folder(copied, register="chest")
    yield run.info.run_id, first, second
    mlflow.set_tracking_uri(before)


def test_logged_and_registered_models_load_by_every_uri(logged, face, uploads):
    run, first, second = logged
    assert (first, second) == (f"runs:/{run}/model", "models:/chest/1")
    mlflow.MlflowClient().set_registered_model_alias("chest", "production", "1")
    expected = face.answer([answers_scan(uploads["picture"])])[0]["anomaly_score"]
    for uri in (first, second, "models:/chest@production"):
        found = registry.face("detect").load(uri)
        assert (
            abs(found.answer([answers_scan(uploads["picture"])])[0]["anomaly_score"] - expected)
            < 1e-5
        )
        model = mlflow.pyfunc.load_model(uri)
        answer = model.predict(pd.DataFrame({"scan": [uploads["picture"]]}))
        assert abs(answer["anomaly_score"][0] - expected) < 1e-5


def answers_scan(content: bytes):
    from ganatomy.scans import read_scan

    return read_scan(content)


def test_the_models_page_shows_card_measures_and_version(logged):
    run, _, _ = logged
    experiment = mlflow.get_experiment_by_name("logged")
    found = mlflow.search_logged_models(
        experiment_ids=[experiment.experiment_id], output_format="list"
    )
    assert len(found) == 2
    for model in found:
        assert (model.name, model.model_type, model.source_run_id) == ("model", "detect", run)
        assert "auroc" in {metric.key for metric in model.metrics}
        assert model.tags["preset"] == "linear"
        assert model.tags["mlflow.note.content"].startswith("#")
    version = mlflow.MlflowClient().get_model_version("chest", "1")
    assert version.run_id == run
    assert version.description.startswith("#")


def test_what_is_logged_holds_no_checkpoint_picture_or_name_of_a_scan(logged, quick_model):
    folder = artifacts.local_folder(logged[1])
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"config.json", "arrays.npz", "model_card.md", "MLmodel", "model.py"} <= files
    assert any(name.startswith("weights/") for name in files)
    for name in files:
        assert not name.startswith(("checkpoint", "part-", "run.json", "preprocessing.npz")), name
        assert not name.endswith(("examples.npz", "volumes.npz")), name
        content = (folder / name).read_bytes()
        assert SECRET.encode() not in content, name
        assert b".png" not in content, name
    own = pd.read_csv(quick_model / "evaluation" / "scores.csv")
    sent = pd.read_csv(folder / "evaluation" / "scores.csv")
    assert sent["scan"].tolist() == [f"scan {n + 1}" for n in range(len(own))]
    np.testing.assert_allclose(sent["anomaly_score"], own["anomaly_score"])


def test_logging_outside_a_run_is_refused(quick_model):
    with pytest.raises(RuntimeError, match="inside an MLflow run"):
        log_folder(quick_model)


# Served ------------------------------------------------------------------------------------------


# Bytes of a request where a test wants few.
SMALL = 200_000


class Server(NamedTuple):
    url: str
    log: Path

    def post(self, body: Any, path: str = "/invocations", **headers: str) -> tuple[int, str]:
        data = (
            body
            if isinstance(body, bytes) or hasattr(body, "__next__")
            else json.dumps(body).encode()
        )
        return self.send(urllib.request.Request(self.url + path, data), **headers)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        return self.send(urllib.request.Request(self.url + path), **headers)

    def send(self, request: urllib.request.Request, **headers: str) -> tuple[int, str]:
        for name, value in {"Content-Type": "application/json", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(command: list[str], folder: Path, **settings: str) -> tuple[Server, subprocess.Popen]:
    port = free_port()
    # `mlflow models serve` starts whichever uvicorn and python come first.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    log = folder / "server.log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            [sys.executable, *command, "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "PATH": path, **settings},
            start_new_session=True,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Server(f"http://127.0.0.1:{port}", log), process


def ready(server: Server, process: subprocess.Popen) -> None:
    end = time.monotonic() + 900  # a starved machine is no failure
    while time.monotonic() < end:
        assert process.poll() is None, server.log.read_text()
        try:
            if server.get("/ping")[0] == 200:
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"not ready in a quarter of an hour: {server.log.read_text()}")


def stop(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(15)


@pytest.fixture(scope="module")
def servers(quick_model, tmp_path_factory) -> Iterator[dict[str, Server]]:
    """Both servers, started side by side: they take seconds to load TensorFlow.

    Both take small requests; ganatomy's has two workers and is known by another name too.
    """
    commands = {
        "ganatomy": ["-m", "ganatomy.cli", "serve", str(quick_model)],
        "mlflow": ["-m", "mlflow", "models", "serve", "-m", str(quick_model)],
    }
    commands["ganatomy"] += ["--max-bytes", str(SMALL), "--workers", "2"]
    commands["ganatomy"] += ["--allowed-host", "scans.example"]
    commands["mlflow"] += ["--env-manager", "local"]
    limits = {"ganatomy": {}, "mlflow": {"GANATOMY_MAX_BYTES": str(SMALL)}}
    started = {
        name: start(command, tmp_path_factory.mktemp(name), **limits[name])
        for name, command in commands.items()
    }
    try:
        for server, process in started.values():
            ready(server, process)
        yield {name: server for name, (server, _) in started.items()}
    finally:
        for _, process in started.values():
            stop(process)


@pytest.fixture(params=["ganatomy", "mlflow"])
def server(request, servers) -> Server:
    return servers[request.param]


def records(*rows: dict[str, Any], **rest: Any) -> dict[str, Any]:
    coded = [
        {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}
        for row in rows
    ]
    return {"dataframe_records": coded, **rest}


def test_served_equals_pyfunc_equals_in_memory(server, quick_model, face, uploads, picture):
    model = mlflow.pyfunc.load_model(str(quick_model))
    for content in uploads.values():
        status, body = server.post(records({"scan": content}))
        assert status == 200, body
        [served] = json.loads(body)["predictions"]
        loaded = model.predict(pd.DataFrame({"scan": [content]})).iloc[0]
        memory = face.answer([answers_scan(content)])[0]
        for other in (loaded, memory):
            assert abs(served["anomaly_score"] - other["anomaly_score"]) < 1e-5
            assert abs(served["p_value"] - other["p_value"]) < 1e-5
            assert served["abnormal"] == other["abnormal"]
    status, body = server.post(records({"pixels": picture.tolist()}))
    assert status == 200, body
    expected = face.answer([answers_scan(uploads["picture"])])[0]["anomaly_score"]
    assert abs(json.loads(body)["predictions"][0]["anomaly_score"] - expected) < 1e-5


def test_one_picture_as_dicom_nifti_and_png_has_one_score_however_it_is_asked_for(
    servers, quick_model, face, picture, tmp_path
):
    """In Python, on the command line and by both servers."""
    Image.fromarray(picture).save(tmp_path / "a.png")
    # Rows run to posterior and columns to the left, as an axial slice is looked at.
    affine = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.Nifti1Image(picture[..., None], affine).to_filename(tmp_path / "a.nii.gz")
    radiograph = pydicom.dcmread(str(pydicom.data.get_testdata_file("MR_small.dcm")))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID"):
        if keyword in radiograph:
            delattr(radiograph, keyword)
    radiograph.Rows, radiograph.Columns = picture.shape
    radiograph.set_pixel_data(picture, "MONOCHROME2", 8)
    radiograph.save_as(tmp_path / "a.dcm")
    paths = [tmp_path / name for name in ("a.png", "a.nii.gz", "a.dcm")]

    in_python = face.anomaly_score(paths)
    np.testing.assert_allclose(in_python, in_python[0], rtol=1e-5)
    out = tmp_path / "out"
    command = ["score", str(quick_model), *map(str, paths), "--out", str(out)]
    assert CliRunner().invoke(cli, command, catch_exceptions=False).exit_code == 0
    typed = pd.read_csv(out / "scores.csv")["anomaly_score"]
    np.testing.assert_allclose(typed, in_python, rtol=1e-12)
    request = records(*({"scan": path.read_bytes()} for path in paths))
    for server in servers.values():
        status, body = server.post(request)
        assert status == 200, body
        served = [answer["anomaly_score"] for answer in json.loads(body)["predictions"]]
        np.testing.assert_allclose(served, in_python, rtol=1e-5)


def test_map_is_asked_for(server, face, uploads):
    status, body = server.post(records({"scan": uploads["picture"]}, params={"map": True}))
    assert status == 200, body
    [answer] = json.loads(body)["predictions"]
    [map] = face.anomaly_map([answers_scan(uploads["picture"])])
    np.testing.assert_allclose(np.array(answer["map"], float), map, atol=1e-5)


def bad_requests(uploads: dict[str, bytes]) -> dict[str, Any]:
    return {
        "truncated": records({"scan": uploads["dicom"][:3000]}),
        "text": records({"scan": SECRET.encode() * 50}),
        "empty": records({"scan": b""}),
        "no rows": {"dataframe_records": []},
        "no rows of scan": {"dataframe_split": {"columns": ["scan"], "data": []}},
        "both": records({"scan": uploads["picture"], "pixels": [[0.5, 1.0], [1.0, 0.5]]}),
        "misspelt": records({"scna": SECRET}),
        "ragged": records({"pixels": [[1.0, 2.0], [3.0]]}),
        "words": records({"pixels": [[SECRET, SECRET]] * 2}),
    }


def test_bad_scans_are_answered_in_one_line_that_repeats_nothing(server, uploads):
    for name, body in bad_requests(uploads).items():
        status, text = server.post(body)
        assert status == 400, (name, text)
        message = json.loads(text)["message"]
        assert "\n" not in message, name
        assert len(text) < 400, name
        coded = base64.b64encode(SECRET.encode())[:8].decode()
        for leak in (SECRET, coded, "Traceback", "Failed to predict"):
            assert leak not in text, name


def test_every_request_that_mlflow_would_quote_is_answered_in_one_line(server, uploads):
    """What fails before the model is asked: MLflow's own server sends the input back."""
    requests = {
        "no json": f"{SECRET} not json".encode(),
        "no text": SECRET.encode() + b"\xff",
        "bent json": b"[" * 100_000,
        "list": [SECRET],
        "instances": {"instances": [SECRET]},
        "number for bytes": {"dataframe_records": [{"scan": 5}]},
        "no base64": {"dataframe_records": [{"scan": f"{SECRET}!!"}]},
        "pixels are text": records({"pixels": SECRET}),
        "wrong parameter": records({"scan": uploads["picture"]}, params={"map": SECRET}),
    }
    for name, body in requests.items():
        status, text = server.post(body)
        assert status == 400, (name, text)
        assert set(json.loads(text)) == {"error_code", "message"}
        assert "\n" not in json.loads(text)["message"]
        assert SECRET not in text, name
    assert SECRET not in server.log.read_text()


def test_guard_refuses_other_paths_methods_and_types(server):
    expected = [
        (server.get("/docs"), 404),
        (server.get("/openapi.json"), 404),
        (server.get("/invocations"), 405),
        (server.post(f"scan\n{SECRET}".encode(), Content_Type="text/csv"), 415),
        (server.post({}, Content_Type=SECRET), 415),
        (server.post({}, path="/Roe"), 404),
    ]
    for (status, body), wanted in expected:
        assert status == wanted, body
        assert "\n" not in json.loads(body)["message"]
        assert SECRET not in body
        assert "Roe" not in body
    assert server.get("/version") == (200, mlflow.__version__)
    assert server.get("/health", Host="localhost:99")[0] == 200


def test_ganatomys_server_answers_to_hosts_it_knows(servers):
    status, body = servers["ganatomy"].get("/ping", Host="evil.example")
    assert status == 400
    assert "evil" not in body
    assert servers["ganatomy"].get("/ping", Host="scans.example")[0] == 200


def test_one_worker_answers_as_several(servers, quick_model, uploads, monkeypatch, tmp_path):
    """As many as there are unless asked for, in a thread of this process."""
    import uvicorn

    from ganatomy.serving import serve

    started: list[uvicorn.Server] = []

    def run_until_told(app, **options):
        started.append(uvicorn.Server(uvicorn.Config(app, **options)))
        started[0].run()

    monkeypatch.setattr(uvicorn, "run", run_until_told)
    port = free_port()
    thread = threading.Thread(
        target=serve, args=(quick_model,), kwargs={"port": port, "max_bytes": SMALL}
    )
    thread.start()
    try:
        while not (started and started[0].started):
            assert thread.is_alive()
            time.sleep(0.05)
        one, request = Server(f"http://127.0.0.1:{port}", tmp_path), {"scan": uploads["picture"]}
        assert one.post(records(request)) == servers["ganatomy"].post(records(request))
        assert one.get("/ping", Host="scans.example")[0] == 400
        assert one.post(b"x" * 300_000)[0] == 413
    finally:
        for server in started:
            server.should_exit = True
        thread.join(60)


def test_example_requests_are_answered(servers):
    for request in sorted((ROOT / "mlflow" / "requests").glob("*.json")):
        status, body = servers["ganatomy"].post(request.read_bytes())
        assert status == 200, (request.name, body)
        assert ("map" in json.loads(body)["predictions"][0]) == ("map" in request.name)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the example scripts use curl")
def test_example_scripts_work(servers, uploads, tmp_path):
    scripts, url = ROOT / "mlflow" / "requests", servers["ganatomy"].url
    (tmp_path / "a scan.dcm").write_bytes(uploads["dicom"])
    one = subprocess.run(
        [scripts / "scan.sh", tmp_path / "a scan.dcm", url],
        capture_output=True,
        text=True,
        env={**os.environ, "MAP": "true", "no_proxy": "127.0.0.1"},
    )
    assert set(json.loads(one.stdout)["predictions"][0]) >= {"anomaly_score", "map"}, one.stderr
    every = subprocess.run(
        [scripts / "examples.sh", url],
        capture_output=True,
        text=True,
        env={**os.environ, "no_proxy": "127.0.0.1"},
    )
    assert every.stdout.count("predictions") == len(list(scripts.glob("*.json"))), every.stderr


def test_many_clients_at_once_get_their_own_answers(servers, draw_chest, face):
    server = servers["ganatomy"]
    images = [draw_chest(seed, abnormal=seed % 2 == 0) for seed in range(600, 608)]
    expected = face.anomaly_score([answers_scan(png(image)) for image in images])
    found: dict[int, float] = {}

    def ask(number: int) -> None:
        body = server.post(records({"scan": png(images[number])}))[1]
        found[number] = json.loads(body)["predictions"][0]["anomaly_score"]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    np.testing.assert_allclose([found[n] for n in range(len(images))], expected, atol=1e-5)


def test_oversized_requests_are_refused_whether_or_not_they_say_so(server, uploads):
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 10_000

    for body in (b"x" * 300_000, chunks()):
        status, text = server.post(body)
        assert status == 413
        assert f"at most {SMALL} bytes" in json.loads(text)["message"]
    assert server.post(records({"scan": uploads["picture"]}))[0] == 200


def test_a_request_that_claims_to_be_huge_is_refused_before_it_arrives(server):
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = f"POST /invocations HTTP/1.1\r\nHost: {host}\r\nContent-Length: {2 * 10**9}\r\n"
    with socket.create_connection((host, int(port)), 30) as line:
        line.sendall(f"{head}Content-Type: application/json\r\n\r\nx".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("limit", ["", "0", "-1", "1e6", "many"])
def test_a_limit_that_is_no_size_is_refused(limit, quick_model, monkeypatch):
    from mlflow.pyfunc import scoring_server

    from ganatomy.errors import WrongUse

    monkeypatch.setenv(scoring_server._SERVER_MODEL_PATH, str(quick_model))
    monkeypatch.setenv("GANATOMY_MAX_BYTES", limit)
    with pytest.raises(WrongUse, match="expected a number of bytes"):
        mlflow.pyfunc.load_model(str(quick_model))


def test_serving_what_is_no_model_is_refused_before_anything_listens(tmp_path):
    from ganatomy.serving import serve

    with pytest.raises(artifacts.ArtifactError, match=r"no config\.json"):
        serve(tmp_path)
