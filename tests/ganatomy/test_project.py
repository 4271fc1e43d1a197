"""The folder mlflow/: the project runs, and what cannot run without Docker is at least whole."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "mlflow"


def test_commands_of_the_project_name_declared_parameters_and_real_options():
    from ganatomy.cli import cli

    entries = yaml.safe_load((FOLDER / "MLproject").read_text())["entry_points"]
    assert set(entries) == {"main", "score", "evaluate"}
    for entry in entries.values():
        named = set(re.findall(r"\{(\w+)\}", entry["command"]))
        assert named == set(entry["parameters"])
        call = entry["command"].partition("python -m ganatomy.cli ")[2]
        verb = cli.commands[call.split()[0]]
        options = {option for parameter in verb.params for option in parameter.opts}
        assert set(re.findall(r"--\w[\w-]*", entry["command"])) <= options


def test_compose_asks_for_every_secret_and_opens_no_port_to_the_network():
    text = (FOLDER / "compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    example = dict(
        line.split("=", 1)
        for line in (FOLDER / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    wanted = {name for name, _ in re.findall(r"\$\{(\w+)(:[-?][^}]*)?\}", text)}
    assert wanted == set(example)
    secrets = {name for name in example if re.search("PASSWORD|SECRET", name)}
    assert all(example[name] == "" for name in secrets)
    # A secret that is not set stops compose instead of starting with an empty password.
    assert secrets <= set(re.findall(r"\$\{(\w+):\?", text))
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert set(service.get("depends_on", {})) <= set(services)
        assert ":latest" not in service.get("image", "")
        if "build" in service:
            assert (FOLDER / service["build"] / "Dockerfile").is_file()


def test_images_run_as_somebody_else_than_root():
    for file in (FOLDER / "Dockerfile", FOLDER / "tracking" / "Dockerfile"):
        lines = file.read_text().splitlines()
        users = [n for n, line in enumerate(lines) if line.startswith("USER ")]
        starts = [n for n, line in enumerate(lines) if line.startswith(("CMD", "ENTRYPOINT"))]
        assert users, file
        assert "root" not in lines[users[-1]]
        assert users[-1] < starts[0]


def test_tracking_image_has_this_mlflow():
    pinned = re.search(r"mlflow\[auth\]==([\d.]+)", (FOLDER / "tracking/Dockerfile").read_text())
    assert pinned is not None
    assert pinned.group(1).split(".")[:2] == mlflow.__version__.split(".")[:2]


def run_project(folder: Path, entry: str, experiment: str, **parameters: Any) -> str:
    """`mlflow run` as a user calls it, from a folder of his own."""
    command = [sys.executable, "-m", "mlflow", "run", str(FOLDER), "--env-manager", "local"]
    command += ["--entry-point", entry, "--experiment-name", experiment]
    for name, value in parameters.items():
        command += ["--param-list", f"{name}={value}"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert found.returncode == 0, f"{shlex.join(command)}\n{found.stdout}\n{found.stderr}"
    return found.stdout


@pytest.mark.slow
def test_project_fits_registers_scores_and_evaluates(pictures, tmp_path):
    for name, target in {"healthy": pictures.healthy, "labelled": pictures.labelled}.items():
        (tmp_path / name).symlink_to(target)
    run_project(
        tmp_path,
        "main",
        "project-fit",
        preset="linear",
        data="healthy",
        validation="labelled",
        set="size=[16,16] equalise=null training.holdout=0.4 components=3",
        seed=5,
        register="project-chest",
    )
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    try:
        [run] = mlflow.search_runs(experiment_names=["project-fit"], output_format="list")
        version = mlflow.MlflowClient().get_model_version("project-chest", "1")
    finally:
        mlflow.set_tracking_uri(before)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "5"
    assert run.data.params["hyperparameters.components"] == "3"
    assert "auroc" in run.data.metrics
    assert version.run_id == run.info.run_id

    scores, evaluation = tmp_path / "scores", tmp_path / "evaluation"
    model = "models:/project-chest/1"
    run_project(tmp_path, "score", "project-score", model=model, scans="labelled", out=scores)
    assert len((scores / "scores.csv").read_text().splitlines()) == 29
    run_project(tmp_path, "evaluate", "project-eval", model=model, data="labelled", out=evaluation)
    assert (evaluation / "measures.json").is_file()
