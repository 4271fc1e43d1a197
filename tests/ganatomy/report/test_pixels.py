"""The report's section on lesions, shortcuts and what controls left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ganatomy.measures import (
    froc_band,
    froc_differences,
    froc_measures,
    lesion_marks,
    pixel_counts,
    pixel_differences,
    pixel_measures,
)
from ganatomy.report import write_report
from ganatomy.report.figures import froc
from ganatomy.report.pixels import pixel_section
from ganatomy.report.words import decimal
from tests.ganatomy.report.folders import evaluation_folder


def written(measures):
    return {name: one.to_dict() for name, one in measures.items()}


@pytest.fixture(scope="module")
def pixels() -> dict:
    draw = np.random.default_rng(0)
    counts, marks = [], []
    for lift in (3.0, 1.5):
        draw = np.random.default_rng(0)
        own = []
        for number in range(12):
            truth = np.zeros((24, 24), bool)
            if number % 2:
                truth[5:10, 8:14] = True
            own.append((np.abs(draw.normal(size=(24, 24))) + lift * truth, truth))
        counts.append([pixel_counts(*pair, 2.0) for pair in own])
        marks.append([lesion_marks(*pair) for pair in own])
    band = froc_band(marks[0])
    gain = pixel_differences(*counts)
    return {
        "n_scans": 12,
        "n_with_lesions": 6,
        "n_lesions": 6,
        "unmasked": 1,
        "refused": ["masks/<b>.png: has 9 × 9 pixels; expected the 24 × 24 of a.png"],
        "threshold": 2.0,
        "measures": written(pixel_measures(counts[0])),
        "lesion_sensitivity": written(froc_measures(marks[0])),
        "froc": {key: values.tolist() for key, values in band._asdict().items()},
        "controls": {
            "linear control": {
                "measures": written(pixel_measures(counts[1])),
                "lesion_sensitivity": written(froc_measures(marks[1])),
                "differences": written(
                    {"dice": gain["dice"], "lesion_sensitivity": froc_differences(*marks)["mean"]}
                ),
            }
        },
    }


def test_every_measure_stands_beside_the_control_s(pixels):
    section = pixel_section(pixels, "patients", 0.01)
    assert section["table"]["head"] == [
        "Measure",
        "This model",
        "linear control",
        "Gain over linear control",
    ]
    rows = {row[0]: row[1:] for row in section["table"]["rows"]}
    assert next(iter(rows)) == "Pixel AUROC"
    assert list(rows)[-1] == "Best Dice (oracle)"
    dice = rows["Dice at the threshold"]
    assert dice[0].startswith(decimal(pixels["measures"]["dice"]["value"]))
    assert dice[2].startswith("+")
    assert rows["Pixel AUROC"][2] == "–"
    lesions = {row[0]: row[1:] for row in section["lesions"]["rows"]}
    assert set(lesions) == {"Mean of all below", "0.125", "0.25", "0.5", "1", "2", "4", "8"}
    assert lesions["Mean of all below"][2].startswith("+")
    assert "1\N{NO-BREAK SPACE}% of the pixels" in section["explain"]
    assert "1 abnormal scan without a mask left out" in section["said"]


def test_without_a_threshold_it_says_how_to_get_one(pixels):
    bare = {**pixels, "threshold": None}
    assert "calibrate sets one" in pixel_section(bare, "scans", None)["explain"]
    assert pixel_section(None, "scans", None) is None


def test_the_curve_rises_from_left_to_right(pixels):
    from ganatomy.measures import FrocBand

    band = FrocBand(*(np.array(pixels["froc"][part]) for part in FrocBand._fields))
    svg = str(froc(band))
    points = svg.split('class="curve" points="')[1].split('"')[0].split()
    places = np.array([point.split(",") for point in points], float)
    assert (np.diff(places[:, 0]) > 0).all()
    assert (np.diff(places[:, 1]) <= 0).all()
    assert "false positives a scan" in svg


def test_the_page_has_them_and_shortcuts_and_what_was_left_out(pixels, tmp_path):
    folder = evaluation_folder(tmp_path / "evaluation")
    record = json.loads((folder / "measures.json").read_text())
    linear = record["controls"]["linear control"]
    record["shortcuts"] = {"outer frame alone": linear}
    record["controls_left_out"] = {"linear control": 3}
    record["pixels"], record["pixel_fpr"] = pixels, 0.01
    (folder / "measures.json").write_text(json.dumps(record))
    html = write_report(folder, tmp_path / "page.html").read_text()
    assert '<a href="#pixels">Lesions</a>' in html
    assert "Gain over linear control" in html
    assert "1 of the masks could not be used" in html
    assert "masks/&lt;b&gt;.png" in html
    assert "outer frame alone" in html
    assert "shortcuts, which look at no anatomy" in html
    assert "without 3 scans that its own preprocessing refuses" in html
