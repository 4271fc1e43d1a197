"""An archive through Spark and through one process: same scores, memory, scans a second."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks import trained
from benchmarks.harness import Result, Row, row

QUESTION = "An archive: 10,000 scans through Spark and through one process"
MASTER = "local[2]"
ENGINES = {"process": "one process", "spark": f"Spark, {MASTER}"}


class Run(NamedTuple):
    """One call of `ganatomy score`: seconds, and peaks of memory in MiB.

    Attributes:
        seconds: of the whole command.
        own: peak of the command's process.
        tree: peak of the sum over it and all that it started.
    """

    seconds: float
    own: float
    tree: float


def measure(quick: bool) -> Result:
    sizes = (30, 300) if quick else (100, 1000, 10_000)
    model = trained.model_folder("fanogan-chest-xray", *trained.SHORT)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=trained.folder()) as place:
        runs: dict[tuple[str, int], Run] = {}
        for size in sizes:
            scans = repeated_scans(Path(place) / f"scans-{size}", size)
            for engine in ENGINES:
                out = Path(place) / f"{engine}-{size}"
                runs[engine, size] = scored(model, scans, out, engine)
        most = sizes[-1]
        differences = distances(Path(place) / f"process-{most}", Path(place) / f"spark-{most}")
    assert len(differences) == most, f"{len(differences)} scans of {most} have both scores"
    rows.append(row(f"greatest difference of two scores of {most:,} scans", "", [max(differences)],
                    "comparison"))  # fmt: skip
    for engine, called in ENGINES.items():
        own = [runs[engine, size] for size in sizes]
        for size, run in zip(sizes, own, strict=True):
            of = f"run of {size:,} scans"
            rows += [
                row(f"{called}: the whole command", "s", [run.seconds], of),
                row(f"{called}: peak memory of its process", "MiB", [run.own], of),
                row(f"{called}: peak memory with all it starts", "MiB", [run.tree], of),
            ]
        rate = (sizes[-1] - sizes[0]) / (own[-1].seconds - own[0].seconds)
        rows.append(row(f"{called}: throughput once started", "scans/s", [rate], "pair of runs"))
    return Result(
        rows,
        [
            f"The shipped radiographs under {most:,} names, scored by `ganatomy score --no-maps` "
            "and `ganatomy score --engine spark` with f-AnoGAN, 32×32, each run from nothing: it "
            "starts, reads, scores and writes.",
            "Throughput is the scans of the longest run less those of the shortest, by the "
            "difference of their times: what starting costs is in neither.",
            "Memory is what processes hold (resident, sampled four times a second). Spark's "
            "process is the driver; with all it starts come Java, whose heap grows to its own "
            "bound before it is swept, and a worker with TensorFlow a core.",
            "On one machine Spark starts later and holds more; it is for several machines.",
        ],
    )


def repeated_scans(folder: Path, count: int) -> Path:
    """A folder of `count` files: the shipped radiographs again and again, by other names."""
    folder.mkdir()
    files = sorted(trained.DATA.rglob("*.jpeg"))
    for number, file in enumerate(islice(cycle(files), count)):
        shutil.copyfile(file, folder / f"{number:06}{file.suffix}")
    return folder


def scored(model: Path, scans: Path, out: Path, engine: str) -> Run:
    """Score a folder in a process of its own, and watch it."""
    command = [sys.executable, "-m", "ganatomy.cli", "score", str(model), str(scans)]
    command += ["--out", str(out), "--engine", engine, "--no-maps"]
    environment = {**os.environ, "SPARK_MASTER": MASTER}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        watched = psutil.Process(process.pid)
        own = tree = 0
        while process.poll() is None:
            sizes = resident(watched)
            own, tree = max(own, sizes[0]), max(tree, sum(sizes))
            time.sleep(0.25)
        seconds = time.perf_counter() - began
        said.seek(0)
        assert process.returncode == 0, said.read()[-2000:]
    return Run(seconds, own / 2**20, tree / 2**20)


def resident(process: psutil.Process) -> list[int]:
    """Bytes of a process and of each that it started, as far as they are still there."""
    sizes = [0]
    try:
        sizes = [process.memory_info().rss]
        for child in process.children(recursive=True):
            sizes.append(child.memory_info().rss)
    except psutil.NoSuchProcess:
        pass
    return sizes


def distances(process: Path, spark: Path) -> list[float]:
    """How far apart the two scores of each scan are."""
    from ganatomy.archive import read_scores

    with open(process / "scores.csv", newline="") as stored:
        one = {r["scan"]: float(r["anomaly_score"]) for r in csv.DictReader(stored)}
    other = read_scores(spark, ["scan", "anomaly_score"])
    both = zip(other["scan"], other["anomaly_score"], strict=True)
    return [abs(score - one[name]) for name, score in both if name in one]
