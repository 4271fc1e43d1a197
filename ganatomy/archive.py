"""An archive of scans scored on Spark: Parquet out, resumed batch by batch."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganatomy.archived import VARIABLE, contents
from ganatomy.artifacts import ArtifactError, local_folder, read_config
from ganatomy.errors import WrongUse
from ganatomy.progress import counter
from ganatomy.run_folder import claim
from ganatomy.served import CHUNK
from ganatomy.tables import Table, fingerprint

SCORES = "scores.parquet"
# Scans a core scores in one Spark job; a run that is killed loses the job it was in.
SCANS_A_CORE = 512


def score_archive(model: str | Path, table: Table, folder: Path) -> list[str]:
    """Score a table's scans with a model on Spark, through `mlflow.pyfunc.spark_udf`.

    Workers see the scans and `folder` under the same paths and have this package installed. They
    read files as bytes; the slices of a DICOM series are one row.

    Writes `folder`/scores.parquet: `scan`, what the model's task answers, `threshold` where the
    model has one, `error` (null where there is none) and `input`. Rows appear a batch at a time. A
    scan that has a row without an error is not scored again; one that failed is tried again.

    Args:
        model: a model folder or any MLflow URI.
        table: of the scans, as the first role.
        folder: of the results.

    Returns:
        One line for every scan of the table that failed.

    Raises:
        ArtifactError: the folder holds another model's results, or a score of another file that
            has the name of one of these.
        WrongUse: pyspark or Java is missing.
    """
    source = local_folder(model)
    config = read_config(source)
    inputs = {n: fingerprint([p]) for n, p in zip(table.names, table.first, strict=True)}
    # Spark comes first: what cannot start leaves no folder behind.
    with spark_session() as spark:
        folder.mkdir(parents=True, exist_ok=True)
        claim(
            folder,
            preset=config["preset"]["name"],
            threshold=config.get("calibration", {}).get("threshold"),
            data=config.get("data", {}).get("fingerprint"),
        )
        done = _resume(folder, inputs)
        rest = [
            (name, str(path.absolute()), inputs[name])
            for name, path in zip(table.names, table.first, strict=True)
            if name not in done
        ]
        if rest:
            scored = _Scored(spark, source, config)
            batch = SCANS_A_CORE * spark.sparkContext.defaultParallelism
            progress = counter("scoring")
            for begin in range(0, len(rest), batch):
                rows = rest[begin : begin + batch]
                scored(rows).write.mode("append").parquet(f"file:{(folder / SCORES).absolute()}")
                progress(begin + len(rows), len(rest))
    rows = read_scores(folder, ["scan", "error"])
    return [error for name, error in zip(*rows.values(), strict=True) if error and name in inputs]


def read_scores(folder: Path, columns: list[str]) -> dict[str, list[Any]]:
    """Columns of the rows that were written so far."""
    from pyarrow import dataset

    # Not one dataset of the folder: what a killed job left there is not its own.
    files = sorted((folder / SCORES).glob("[!._]*.parquet"))
    if not files:
        return {name: [] for name in columns}
    return dataset.dataset(files, format="parquet").to_table(columns=columns).to_pydict()


@contextmanager
def spark_session() -> Iterator[Any]:
    """A Spark session on the master of Spark's own configuration, of this machine without one.

    That is what spark-defaults.conf or PYSPARK_SUBMIT_ARGS say, or the variable SPARK_MASTER, which
    goes before them; `local[*]` where nobody says anything. A session that runs already is used as
    it is, and left running.

    Raises:
        WrongUse: pyspark or Java is missing.
    """
    # Workers run what this process runs, unless somebody says otherwise.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with warnings.catch_warnings():
        # Said of each function; what is used here works.
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
        try:
            from pyspark import SparkConf, SparkContext  # pyright: ignore
            from pyspark.errors import PySparkException  # pyright: ignore
            from pyspark.sql import SparkSession  # pyright: ignore
        except ImportError as error:
            raise WrongUse("--engine spark needs pyspark: pip install 'ganatomy[spark]'") from error
        running = SparkSession.getActiveSession()
        if running is not None:
            yield running
            return
        try:
            # Java starts here, and brings spark-defaults.conf along.
            SparkContext._ensure_initialized()
        except PySparkException as error:
            raise WrongUse("Spark did not start; it needs Java 17 or newer") from error
        spark = SparkSession.builder.config(conf=_configured(SparkConf())).getOrCreate()
        try:
            yield spark
        finally:
            spark.stop()


def _configured(conf: Any) -> Any:
    """Spark's configuration with what it does not say itself."""
    if master := os.environ.get("SPARK_MASTER"):
        conf.set("spark.master", master)
    conf.setIfMissing("spark.master", "local[*]")
    conf.setIfMissing("spark.app.name", "ganatomy score")
    conf.setIfMissing("spark.log.level", "ERROR")
    # A bar of its own beside ours.
    conf.set("spark.ui.showConsoleProgress", "false")
    if str(conf.get("spark.master")).startswith("local"):
        # Nobody else on the network has a part in it.
        for name in ("spark.driver.bindAddress", "spark.driver.host"):
            conf.setIfMissing(name, "127.0.0.1")
        conf.setIfMissing("spark.ui.enabled", "false")
    conf.setIfMissing("spark.sql.execution.arrow.maxRecordsPerBatch", str(CHUNK))
    return conf


class _Scored:
    """Batches to Spark tables of their answers.

    Args:
        spark: the session.
        source: the model's folder.
        config: of the model.
    """

    def __init__(self, spark: Any, source: Path, config: dict[str, Any]):
        from mlflow.models import Model
        from mlflow.pyfunc import spark_udf

        # Its recommendation of conda is for models of other code than what is installed.
        logging.getLogger("mlflow.pyfunc").setLevel(logging.ERROR)
        outputs: Any = Model.load(str(source)).signature.outputs
        self.spark = spark
        self.answers = {
            column.name: column.type.to_spark().simpleString()
            for column in outputs.inputs
            if column.name != "map"
        }
        # None where the model's task knows no threshold.
        self.threshold = config.get("calibration", {"threshold": None})["threshold"]
        kinds = {**self.answers, "error": "string"}
        self.model = spark_udf(
            spark,
            str(source.resolve()),
            result_type=", ".join(f"{name} {kind}" for name, kind in kinds.items()),
            env_manager="local",
            # A core each: Spark already runs as many workers as there are cores.
            extra_env={VARIABLE: "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
        )

    def __call__(self, rows: list[tuple[str, str, str]]) -> Any:
        """A row a scan (name, path, fingerprint): its answers, or why there are none."""
        from pyspark.sql import functions as f  # pyright: ignore

        columns = "scan string, path string, input string"
        # Not Spark's own source of binary files: it passes over names that begin with an
        # underscore, and gives files twice beside a name with a star or a colon.
        given = self.spark.createDataFrame(rows, columns)
        read = given.mapInArrow(contents, f"{columns}, content binary, refused string")
        answered = read.withColumn("answer", self.model(f.struct(read["content"].alias("scan"))))
        error = f.when(f.col("refused") != "", f.col("refused")).when(
            f.col("answer.error") != "", f.concat("path", "answer.error")
        )
        answers = [f.when(error.isNull(), f.col(f"answer.{n}")).alias(n) for n in self.answers]
        threshold = f.lit(self.threshold).cast("double").alias("threshold")
        return answered.select("scan", *answers, threshold, error.alias("error"), "input")


def _resume(folder: Path, inputs: dict[str, str]) -> set[str]:
    """The names that are done; rows of scans to be tried again are dropped.

    Args:
        folder: of the results.
        inputs: the fingerprint of each scan's file by name.
    """
    # Of a job that was killed; the next would take its finished tasks for its own.
    shutil.rmtree(folder / SCORES / "_temporary", ignore_errors=True)
    done, again = set(), set()
    rows = read_scores(folder, ["scan", "error", "input"])
    for name, error, input in zip(*rows.values(), strict=True):
        if name not in inputs:
            continue
        if error is None and input != inputs[name]:
            raise ArtifactError(
                f"{folder} holds the score of another file named {name}: choose another --out"
            )
        (done if error is None else again).add(name)
    if again:
        _drop(folder, again)
    return done


def _drop(folder: Path, names: set[str]) -> None:
    from pyarrow import dataset, parquet

    others = ~dataset.field("scan").isin(list(names))

    for file in (folder / SCORES).glob("[!._]*.parquet"):
        table = parquet.read_table(file)
        kept = table.filter(others)
        if len(kept) < len(table):
            aside = file.with_name(f".{file.name}.part")
            parquet.write_table(kept, aside)
            os.replace(aside, file)
            # Spark's checksum of what the file held before.
            file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
