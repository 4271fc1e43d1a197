"""A model folder as an MLflow model: written flat, logged to a run, registered, served."""

from __future__ import annotations

import base64
import io
import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ganatomy import registry
from ganatomy.artifacts import read_config, write_whole
from ganatomy.server import serve

__all__ = ["log_folder", "serve", "write_pyfunc"]

# MLflow runs this file where it loads the folder; ganatomy's own verbs do not.
CODE = '''"""Tells MLflow which class answers for this folder."""

from mlflow.models import set_model

from ganatomy.served import ServedModel

set_model(ServedModel())
'''
LIBRARIES = (
    "ganatomy",
    "tensorflow",
    "keras",
    "mlflow",
    "numpy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "pydicom",
    "nibabel",
    "pillow",
)
# What training leaves in a folder for itself, and pictures of scans.
NOT_LOGGED = ("checkpoint*", "part-*", "run.json", "preprocessing.npz")
NOT_LOGGED += ("examples.npz", "volumes.npz", "__pycache__")


def write_pyfunc(folder: Path) -> None:
    """Write the files that make a model folder an MLflow model; overwrites earlier ones.

    Raises:
        ganatomy.artifacts.ArtifactError: the folder holds no trained model.
    """
    _write(Path(folder), None)


def log_folder(folder: Path, register: str | None = None) -> str:
    """Log a model folder as the model of the active MLflow run.

    Checkpoints, the state of the run and pictures of scans stay behind.

    Args:
        folder: of the model.
        register: name in the model registry; a new version of it.

    Returns:
        `models:/NAME/VERSION` where registered, else `runs:/RUN/model`.

    Raises:
        ganatomy.artifacts.ArtifactError: the folder holds no trained model.
    """
    import mlflow
    from mlflow.models import Model

    folder = Path(folder)
    config = read_config(folder)
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("log_folder is called inside an MLflow run")
    client = mlflow.MlflowClient()
    card = folder / "model_card.md"
    note = card.read_text() if card.is_file() else config["preset"]["title"]
    logged = Model.log(
        None,
        _Flavor(folder),
        name="model",
        model_type=config["preset"]["task"],
        flavor_name="mlflow.pyfunc",
        tags={"preset": config["preset"]["name"], "mlflow.note.content": note[:8000]},
        # The measures of this step are shown beside the model.
        step=_measured_step(client, run.info.run_id, config),
        registered_model_name=register,
        validate_serving_input=False,  # would load a second copy of the model beside the first
    )
    if register is None:
        return f"runs:/{run.info.run_id}/model"
    number = str(logged.registered_model_version)
    client.update_model_version(register, number, description=note)
    return f"models:/{register}/{number}"


class _Flavor:
    """What `Model.log` asks to write a model: a copy of a folder with the ids of its run."""

    def __init__(self, folder: Path):
        self.folder = folder

    def save_model(self, path: str, mlflow_model: Any, **_: Any) -> None:
        shutil.copytree(self.folder, path, ignore=shutil.ignore_patterns(*NOT_LOGGED))
        _without_names(Path(path))
        mlflow_model.artifact_path = "model"  # not the absolute path of this store
        _write(Path(path), mlflow_model)


def _without_names(folder: Path) -> None:
    """Number scans and patients: paths may tell who was trained and measured on."""
    import pandas as pd

    for file in folder.rglob("scores.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in {"scan", "patient"} & set(table.columns):
            numbers, _ = pd.factorize(table[column])
            table[column] = [f"{column} {number + 1}" for number in numbers]
        table.to_csv(file, index=False)
    for file in (*folder.rglob("config.json"), *folder.rglob("measures.json")):
        facts = json.loads(file.read_text())
        for holder, name in ((facts.get("data", {}), "unreadable"), (facts, "failed")):
            if holder.get(name):
                holder[name] = [f"scan {n + 1}" for n in range(len(holder[name]))]
        write_whole(file, json.dumps(facts, indent=2))


def _measured_step(client: Any, run_id: str, config: dict[str, Any]) -> int:
    for name in config.get("measures", {}):
        history = client.get_metric_history(run_id, name)
        if history:
            return history[-1].step
    return 0


def _write(folder: Path, model: Any) -> None:
    import mlflow
    from mlflow.models import Model

    config = read_config(folder)
    model = model or Model()
    model.signature = signature(config)
    model.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "serving_input_path": "serving_input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
    }
    mlflow.pyfunc.add_to_model(
        model,
        loader_module="mlflow.pyfunc.loaders.code_model",
        model_code_path="model.py",
        conda_env="conda.yaml",
        python_env="python_env.yaml",
        artifacts={"model": {"path": ".", "uri": "."}},
        streamable=False,
    )
    inputs = list(getattr(registry.face(config["preset"]["task"]), "inputs", ["scan"]))
    drawn = base64.b64encode(example_scan(config)).decode()
    example = {"columns": inputs, "data": [[drawn] * len(inputs)]}
    requirements = [f"{name}=={found}" for name in LIBRARIES if (found := _installed(name))]
    python = platform.python_version()
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    environment = {"python": python, "dependencies": ["-r requirements.txt"]}
    write_whole(folder / "model.py", CODE)
    write_whole(folder / "requirements.txt", "\n".join(requirements) + "\n")
    write_whole(folder / "conda.yaml", yaml.safe_dump(conda, sort_keys=False))
    write_whole(folder / "python_env.yaml", yaml.safe_dump(environment, sort_keys=False))
    write_whole(folder / "input_example.json", json.dumps(example))
    write_whole(folder / "serving_input_example.json", json.dumps({"dataframe_split": example}))
    model.model_size_bytes = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    aside = folder / "part-MLmodel"
    model.save(aside)
    os.replace(aside, folder / "MLmodel")


def signature(config: dict[str, Any]) -> Any:
    """The MLflow signature of a model: a scan or its pixels in, answers and perhaps a map out.

    A task that takes several scans a row has a column of bytes for each, and no map.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    rank = config["preset"]["rank"]
    face = registry.face(config["preset"]["task"])
    outputs: Any = [ColSpec(DataType[kind], name) for name, kind in face.answers.items()]
    if hasattr(face, "inputs"):
        several: Any = [ColSpec(DataType.binary, name) for name in face.inputs]
        return ModelSignature(inputs=Schema(several), outputs=Schema(outputs))
    scan = ColSpec(DataType.binary, "scan", required=False)
    # An array of doubles would refuse a row that JSON writes in whole numbers, [0, 0, 1], and any
    # value is checked by itself: the innermost rows are checked where they become numbers.
    pixels = ColSpec(_nested(AnyType(), rank - 1, Array), "pixels", required=False)
    map = ColSpec(_nested(DataType.double, rank, Array), "map", required=False)
    return ModelSignature(
        inputs=Schema([scan, pixels]),
        outputs=Schema([*outputs, map]),
        params=ParamSchema([ParamSpec("map", DataType.boolean, False)]),
    )


def example_scan(config: dict[str, Any]) -> bytes:
    """A drawn picture (PNG), or volume (NIfTI) where the model is 3D: nobody's scan."""
    rank, channels = config["preset"]["rank"], config["shape"][-1]
    axes = np.meshgrid(*[np.linspace(-1, 1, 64 if rank == 2 else 24)] * rank, indexing="ij")
    radius = np.sqrt(sum((axis * (1 + 0.3 * n)) ** 2 for n, axis in enumerate(axes)))
    grey = np.uint8(200 * np.clip(1.2 - radius, 0, 1) + 25 * (axes[0] + 1))
    file = io.BytesIO()
    if rank == 2:
        from PIL import Image

        Image.fromarray(np.stack([grey] * 3, -1) if channels == 3 else grey).save(file, "PNG")
        return file.getvalue()
    import nibabel

    volume = grey if channels == 1 else np.stack([grey] * channels, -1)
    return nibabel.Nifti1Image(volume, np.diag([4.0, 4.0, 4.0, 1.0])).to_bytes()


def _nested(kind: Any, depth: int, array: Any) -> Any:
    return array(kind if depth == 1 else _nested(kind, depth - 1, array))


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
