"""A page of a registration, and one of an evaluation of pairs."""

from __future__ import annotations

import json

import numpy as np

from ganatomy.report import write_report
from ganatomy.report.registration import checkerboard


def test_squares_are_of_two_images_by_turns_and_square_in_mm():
    board = checkerboard(np.zeros((16, 32)), np.ones((16, 32)), np.array([40.0, 80.0]))
    assert board[0, 0] == 0
    assert board[0, 4] == board[4, 0] == 1
    assert board[4, 4] == 0
    assert board.mean() == 0.5


def ends(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def test_an_evaluation_of_pairs_has_a_row_a_method(tmp_path):
    own = {"dice": {"value": 0.81, "low": 0.7, "high": 0.9}, "folds": ends(0, 0, 0)}
    own |= {"error_failures": ends(0.25, 0.0, 0.5), "error_median": ends(1.2, 0.9, 1.5)}
    other = {"dice": {"value": 0.55, "low": 0.5, "high": 0.6}}
    record = {"task": "register", "n_pairs": 4, "measures": own, "methods": {"identity": other}}
    record["differences"] = {
        "identity": {"dice": ends(0.26, 0.2, 0.3), "error_mm": ends(-1, -2, 1)}
    }
    (tmp_path / "measures.json").write_text(json.dumps({**record, "unit": "pixels"}))
    page = write_report(tmp_path, tmp_path / "r.html").read_text()
    assert "of the errors are above 5 pixels." in page
    assert "Median error, pixels" in page
    assert "mm" not in page[page.index("<main") : page.index("</main")]
    (tmp_path / "measures.json").write_text(json.dumps(record))
    page = write_report(tmp_path, tmp_path / "r.html").read_text()
    assert "Registration" in page
    assert "Anomaly" not in page
    said = "On 4 pairs labels overlap by a mean Dice of 0.81 (0.70–0.90), the median error is 1.20"
    assert said in page
    assert "25\u00a0% of the errors are above 5 mm." in page
    assert "Share above 5 mm" in page
    assert "<td>0.00</td>" in page  # an interval of no width says nothing
    for text in ("−1.00 (−2.00 to 1.00)", "0.55 (0.50–0.60)", "0.26 (0.20–0.30)", "identity"):
        assert text in page
