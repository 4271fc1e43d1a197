"""An archive on Spark: the scores of one process, errors beside them, and what is done stays done.

What needs neither Spark nor Java is tried without; the sessions run on one core of this machine.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image
from pyarrow import RecordBatch

from ganatomy.archive import SCORES, read_scores, spark_session
from ganatomy.archived import ArchivedAnswers, contents
from ganatomy.cli import cli

COLUMNS = ["scan", "anomaly_score", "p_value", "threshold", "abnormal", "unlike", "error", "input"]
BROKEN = {"cut.png", "flat.png", "link.png", "torn"}


def run(*arguments: object):
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def series(folder: Path, count: int) -> None:
    """A folder of CT slices, 5 mm apart, as scanners store them."""
    folder.mkdir()
    for number in range(count):
        slice_ = pydicom.dcmread(str(pydicom.data.get_testdata_file("CT_small.dcm")))
        x, y, z = map(float, slice_.ImagePositionPatient)
        slice_.ImagePositionPatient = [x, y, z + 5 * number]
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        slice_.PixelData = np.roll(slice_.pixel_array, 7 * number, 0).tobytes()
        slice_.save_as(folder / f"{9 - number}")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, draw_chest) -> Path:
    """Pictures, one by a name that Spark's own file source would pass over, series, and wrecks."""
    root = tmp_path_factory.mktemp("archive")
    for name, seed in {"0": 0, "1": 1, "_2": 2, "a [1]:*": 3, "sick": 50}.items():
        picture = Image.fromarray(draw_chest(seed, abnormal=name == "sick"))
        picture.save(root / f"{name}.png")
    shutil.copyfile(str(pydicom.data.get_testdata_file("CT_small.dcm")), root / "slice.dcm")
    (root / "cut.png").write_bytes((root / "0.png").read_bytes()[:200])
    Image.fromarray(np.full((32, 32), 7, np.uint8)).save(root / "flat.png")
    (root / "link.png").symlink_to(root / "0.png")
    series(root / "series", 4)
    series(root / "torn", 3)
    (root / "torn" / "x.bin").write_bytes(b"junk" * 200)
    return root


def batch(*paths: Path) -> list[RecordBatch]:
    return [RecordBatch.from_pylist([{"path": str(path)} for path in paths])]


def test_rows_hold_what_one_process_says_and_errors_stand_beside_scores(quick_model, archive):
    from ganatomy import registry
    from ganatomy.scans import find_scans

    face = registry.face("detect").load(quick_model)
    paths = find_scans(archive)
    read = [row for one in contents(batch(*paths)) for row in one.to_pylist()]
    answers = ArchivedAnswers(quick_model).predict(
        pd.DataFrame({"scan": [row["content"] for row in read]})
    )
    for result, row, answer in zip(
        face.results(paths), read, answers.to_dict("records"), strict=True
    ):
        if result.error is None:
            assert not row["refused"]
            assert not answer["error"]
            assert answer["anomaly_score"] == pytest.approx(result.anomaly_score, abs=1e-5)
            assert answer["unlike"] == pytest.approx(result.unlike, abs=1e-5)
        else:
            assert (row["refused"] or row["path"] + answer["error"]) == str(result.error)


def test_a_scan_that_does_not_suit_the_model_leaves_the_others_their_scores(quick_model, archive):
    colour = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), np.uint8)
    frames = archive.parent / "frames.tif"
    Image.fromarray(colour[0]).save(
        frames, save_all=True, append_images=[Image.fromarray(c) for c in colour[1:]]
    )
    good = (archive / "0.png").read_bytes()
    answers = ArchivedAnswers(quick_model).predict(
        pd.DataFrame({"scan": [good, frames.read_bytes(), b"", good]})
    )
    errors = answers["error"].tolist()
    assert errors[0] == errors[3] == ""
    assert errors[2].startswith(": is empty")
    assert errors[1].startswith(": ")
    assert answers["anomaly_score"].notna().tolist() == [True, False, False, True]


def test_one_line_says_that_pyspark_is_missing(quick_model, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    result = run("score", quick_model, archive, "--out", tmp_path / "out", "--engine", "spark")
    assert result.exit_code == 2
    assert "pip install 'ganatomy[spark]'" in result.stderr
    assert not (tmp_path / "out").exists()


needs_spark = pytest.mark.skipif(
    find_spec("pyspark") is None or shutil.which("java") is None,
    reason="pyspark or java is not installed",
)


@needs_spark
def test_spark_scores_as_one_process_and_goes_on(
    quick_model, archive, tmp_path, monkeypatch, draw_chest, request
):
    monkeypatch.setenv("SPARK_MASTER", "local[1]")
    # In half a minute Java would spend more on compiling than compiled code gives back.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    # Two runs in one session, whose workers load TensorFlow once; the last starts its own.
    session = ExitStack()
    request.addfinalizer(session.close)
    session.enter_context(spark_session())
    scans, out = tmp_path / "scans", tmp_path / "out"
    shutil.copytree(archive, scans, symlinks=True)
    command = ["score", quick_model, scans, "--out", out, "--engine", "spark"]

    first = run(*command)
    assert first.exit_code == 1
    assert "4 of 11 scans failed" in first.stderr
    found = pd.DataFrame(read_scores(out, COLUMNS)).set_index("scan")
    run("score", quick_model, scans, "--out", tmp_path / "process", "--no-maps")
    with open(tmp_path / "process" / "scores.csv", newline="") as stored:
        expected = {row["scan"]: row for row in csv.DictReader(stored)}
    assert set(found.index) == set(expected)
    assert found.index.is_unique
    assert set(found.index[found["error"].notna()]) == BROKEN
    for name, row in expected.items():
        own = found.loc[name]
        if name in BROKEN:
            assert name in first.stderr
            assert name in own["error"]
            assert pd.isna(own["anomaly_score"])
            assert own["abnormal"] is None
            continue
        for column in ("anomaly_score", "p_value", "threshold", "unlike"):
            assert own[column] == pytest.approx(float(row[column]), abs=1e-4)
        assert str(bool(own["abnormal"])) == str(row["abnormal"] in ("True", "1"))

    # As a kill leaves it: a finished task of a job that did not end, whose scans will come again.
    task = out / SCORES / "_temporary" / "0" / "task_0"
    task.mkdir(parents=True)
    [part] = (out / SCORES).glob("part-*.parquet")
    shutil.copyfile(part, task / "part-killed.parquet")
    Image.fromarray(draw_chest(60)).save(scans / "new.png")
    Image.fromarray(draw_chest(61)).save(scans / "flat.png")
    before = pd.DataFrame(read_scores(out, COLUMNS)).set_index("scan")
    second = run(*command)
    assert "3 of 12 scans failed" in second.stderr
    after = pd.DataFrame(read_scores(out, COLUMNS)).set_index("scan")
    assert after.index.is_unique
    assert set(after.index) == set(before.index) | {"new.png"}
    assert after.loc["flat.png", "anomaly_score"] > 0
    whole = before.index[before["error"].isna()]
    pd.testing.assert_frame_equal(after.loc[whole], before.loc[whole])
    newest = max((out / SCORES).glob("part-*.parquet"), key=os.path.getmtime)
    assert set(pd.read_parquet(newest)["scan"]) == BROKEN | {"new.png"}

    # Another file of the name of one that is done is not given its score.
    session.close()
    Image.fromarray(draw_chest(62)).save(scans / "0.png")
    refused = run(*command)
    assert refused.exit_code == 2
    assert "holds the score of another file named 0.png" in refused.stderr
