"""The harness's arithmetic; nothing here is timed."""

import json

import numpy as np
import pytest

from benchmarks import harness
from benchmarks.harness import Result, Row


def test_rivals_run_in_turns_after_a_warm_up_of_each():
    calls = []

    def rival(name, own):
        def work():
            calls.append(name)
            return own

        return work

    times = harness.in_turns({"a": rival("a", 3.0), "b": rival("b", 2.0)}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert times == {"a": [3.0, 3.0], "b": [2.0, 2.0]}


def test_the_clock_counts_where_work_returns_nothing(monkeypatch):
    clock = iter([10.0, 10.5, 20.0, 23.0])
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock))
    assert harness.repeated(lambda: None, repeats=2, warmup=3) == [0.5, 3.0]


def test_ratios_are_pair_by_pair():
    # A machine twice as slow in the second pair changes no ratio, and their median is not a
    # ratio of medians.
    assert harness.ratios([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == [2.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        harness.ratios([1.0, 2.0], [1.0])


def test_rates_are_amounts_a_second():
    assert harness.rates(64, [2.0, 0.5]) == [32.0, 128.0]


def test_a_row_of_an_array_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    values = np.array([1.0, 3.0, 2.0], np.float32)
    file = harness.write("x", "?", Result([harness.row("it", "s", values)]), {}, False)
    assert json.loads(file.read_text())["rows"][0]["high"] == 3.0


def test_a_row_has_median_and_extremes():
    assert harness.row("x", "s", [5.0, 1.0, 2.0]) == Row("x", "s", 2.0, 1.0, 5.0, "3 repeats")
    assert harness.row("x", "s", [1.0, 2.0], "blocks").value == 1.5


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)]
)
def test_percentiles_are_nearest_ranks(share, expected):
    assert harness.percentile(list(range(100, 0, -1)), share) == expected


def test_numbers_have_three_digits():
    assert [harness.number(v) for v in (0.01234, 1.0, 20.04, 123.4, 4321.6, -0.5)] == [
        "0.0123",
        "1.00",
        "20.0",
        "123",
        "4,322",
        "-0.500",
    ]


def test_a_result_reaches_the_docs_whole_and_a_quick_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(harness, "PAGE", tmp_path / "docs" / "benchmarks.md")
    on = {**harness.machine(), "load_per_core": 0.0}
    result = Result([harness.row("ours", "images/s", [12.0, 13.0, 15.0])], ["A note."])
    harness.write("quickly", "Quick?", result, on, quick=True)
    file = harness.write("one", "How fast?", result, {**on, "load_per_core": 2.0}, quick=False)
    harness.render(["quickly", "missing", "one"])
    text = harness.PAGE.read_text()
    assert "Quick?" not in text
    assert "## How fast?" in text
    assert "- A note." in text
    assert "| ours | 13.0 | images/s | 12.0 | 15.0 | 3 repeats |" in text
    assert "shared with other work" in text
    assert json.loads(file.read_text())["rows"][0]["value"] == 13.0


def test_the_machine_is_described():
    on = harness.machine()
    assert on["cores"] >= 1
    assert on["memory_gib"] > 0
    assert on["libraries"]["numpy"] in harness.describe(on)
    assert "shared" not in harness.describe({**on, "load_per_core": 0.1})


def test_many_subjects_of_the_same_questions_stand_below_each_other():
    rows = [vars(harness.row("all", "s", [1.0]))]
    for i in range(harness.MANY):
        rows += [
            vars(harness.row(f"model {i}: speed", "1/s", [float(i + 1)])),
            vars(harness.row(f"model {i}: share", "%", [50.0])),
        ]
    lines = harness.tables(rows).splitlines()
    assert "| | speed, 1/s | share, % |" in lines
    assert "| model 2 | 3.00 | 50.0 |" in lines
    assert harness.tables(rows[:5]) == harness.table(rows[:5])
