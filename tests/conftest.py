"""Pictures made on the spot, a trained model that takes seconds, and stores of the tests' own."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


# Processes that decode scans begin as copies of one that has imported what they need; a user's
# import it each, which takes them a second or two (test_decoding.py has one that does).
multiprocessing.set_forkserver_preload(["ganatomy.decoding", "pytest"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start workers and replicas come first: nobody waits for them at the end."""
    long = {item.path for item in items if item.get_closest_marker("distributed")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A test that skips is one that fails where GANATOMY_REQUIRE_PROGRAMS is set, as in CI.

    What needs a GPU may skip all the same.
    """
    report = yield
    required = os.environ.get("GANATOMY_REQUIRE_PROGRAMS")
    expected = hasattr(report, "wasxfail") or item.get_closest_marker("gpu")
    if required and report.skipped and not expected:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"GANATOMY_REQUIRE_PROGRAMS is set, and this was skipped: {reason}"
    return report


@pytest.fixture(scope="session", autouse=True)
def own_stores(tmp_path_factory) -> Iterator[Path]:
    """No test reads or fills the user's cache or tracking store; subprocesses inherit it."""
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANATOMY_CACHE", str(folder / "cache"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        # Where a store of its own kind keeps artifacts; ./mlruns of the current folder otherwise.
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(folder / "mlruns"))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"))
        patch.delenv("TF_CONFIG", raising=False)
        yield folder


@pytest.fixture(scope="session")
def samples() -> Path:
    """Chest radiographs that come with the project: `train/`, and `test/` with labels."""
    return ROOT / "samples" / "chest-xray"


def chest(seed: int, *, abnormal: bool = False, side: int = 48) -> np.ndarray:
    """Something like a radiograph, uint8 [side, side]: two dark lungs; abnormal: an opacity."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / (side - 1) - 0.5
    y, x = y - draw.normal(0, 0.01), x - draw.normal(0, 0.01)
    wide, high = draw.normal([0.14, 0.3], 0.005)

    def blob(cy: float, cx: float, sy: float, sx: float) -> np.ndarray:
        return np.exp(-((((y - cy) / sy) ** 2 + ((x - cx) / sx) ** 2) ** 2))

    image = 150 + 20 * y - 90 * (blob(0, -0.22, high, wide) + blob(0, 0.22, high, wide))
    image += 40 * blob(0.15, 0.05, 0.15, 0.1) + draw.normal(0, 3, (side, side))
    if abnormal:
        image += 80 * blob(draw.uniform(-0.1, 0.1), draw.choice([-0.22, 0.22]), 0.1, 0.1)
    return np.uint8(np.clip(image, 0, 255))


@pytest.fixture(scope="session")
def draw_chest() -> Callable[..., np.ndarray]:
    """`chest(seed, abnormal=..., side=...)`."""
    return chest


class Pictures(NamedTuple):
    """Folders of made pictures: `healthy`, and `labelled` with `normal/` and `abnormal/`."""

    healthy: Path
    labelled: Path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Pictures:
    """Sixty healthy pictures, and fourteen of each kind to measure on."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    kinds = {
        "healthy": (range(60), False),
        "labelled/normal": (range(100, 114), False),
        "labelled/abnormal": (range(200, 214), True),
    }
    for name, (seeds, abnormal) in kinds.items():
        (root / name).mkdir(parents=True)
        for seed in seeds:
            Image.fromarray(chest(seed, abnormal=abnormal)).save(root / name / f"{seed}.png")
    return Pictures(root / "healthy", root / "labelled")


QUICK = [
    "size=[16,16]",
    "equalise=null",
    "training.holdout=0.4",
    "components=3",
]


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory, pictures: Pictures) -> Path:
    """The folder of a linear detector, fitted and measured on made pictures."""
    from ganatomy import registry
    from ganatomy.tables import read_labelled_table, read_table
    from ganatomy.training import fit

    preset = registry.preset("linear").set(QUICK)
    out = tmp_path_factory.mktemp("models") / "quick"
    fit(
        preset,
        read_table([str(pictures.healthy)], {"scan": "joined"}),
        out,
        validation=read_labelled_table([str(pictures.labelled)], {"scan": "joined"}),
    )
    return out


@pytest.fixture
def eager() -> Iterator[None]:
    """Steps run as they are written: of few, compiling takes longer than all."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def config_of() -> Callable[[Path], dict]:
    """config.json of a model folder."""
    return lambda folder: json.loads((folder / "config.json").read_text())
