"""The report's page on several models that were measured side by side."""

import json
import re
import shutil

import pytest

from ganatomy.errors import WrongUse
from ganatomy.measures import Interval
from ganatomy.report import write_report
from ganatomy.report.comparison import Compared, comparison_section, comparison_verdict
from tests.ganatomy.report.folders import comparison_folder


def model(name, auroc, gap=None, pixels=None):
    record = {
        "n_healthy": 20,
        "n_abnormal": 1,
        "patients": True,
        "measures": {"auroc": Interval(*auroc).to_dict()},
    }
    if pixels is not None:
        record["pixels"] = pixels
    return Compared(name, record, {} if gap is None else {"auroc": Interval(*gap)})


def test_the_page_has_a_line_a_model_and_the_first_minus_each(pages):
    html = pages["comparison"].read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', html)
    assert [name for name, _ in rows] == ["first", "second", "third"]
    cells = [re.findall(r"<td>(.*?)</td>", row) for _, row in rows]
    assert all(re.fullmatch(r"0\.\d\d \(0\.\d\d–0\.\d\d\)", own) for own, _ in cells)
    assert cells[0][1] == "–"
    folder = pages["comparison"].parent / "comparison"
    for (_, gap), pair in zip(
        cells[1:], json.loads((folder / "comparison.json").read_text()), strict=True
    ):
        ends = pair["measures"]["auroc"]
        said = "{value:+.3f} ({low:+.3f} to {high:+.3f})".format(**ends)
        assert gap == said.replace("-", "−")
    assert "first minus this" in html
    assert "3 models measured on 120 healthy and 150 abnormal scans" in html
    assert "over resampled patients" in html


def test_the_verdict_names_what_is_shown_and_no_more():
    first = model("a", (0.9, 0.8, 0.95))
    level = model("b", (0.89, 0.8, 0.94), (0.01, -0.02, 0.03))
    worse = model("c", (0.7, 0.6, 0.8), (0.2, 0.1, 0.3))
    better = model("d", (0.97, 0.95, 0.99), (-0.07, -0.1, -0.03))
    begin = "models measured on 20 healthy and 1 abnormal scan. AUROC of a 0.90."
    assert comparison_verdict([first, level]) == f"2 {begin} No other is shown to differ from it."
    assert comparison_verdict([first, level, worse, better]) == (
        f"4 {begin} Shown to be higher: d. Shown to be lower: c."
    )


def test_maps_have_a_table_where_there_are_masks():
    def pixels(value):
        near = Interval(value, value - 0.1, value + 0.1).to_dict()
        return {"measures": {"dice": near}, "lesion_sensitivity": {"mean": near, "1": near}}

    first = model("a", (0.9, 0.8, 0.95), pixels=pixels(0.5))
    gap = Interval(0.2, 0.1, 0.3)
    other = Compared(
        "b", {**first.record, "pixels": pixels(0.3)}, {"dice": gap, "lesion_sensitivity": gap}
    )
    section = comparison_section([first, other])
    assert section is not None
    assert [table["title"] for table in section["tables"]] == ["Whole scans", "Maps"]
    maps = section["tables"][1]
    assert maps["head"] == [
        "Model", "Dice at the threshold", "a minus this",
        "Lesions found, mean over false positives", "a minus this",
    ]  # fmt: skip
    far = "+0.200 (+0.100 to +0.300)"
    assert maps["rows"] == [
        ["a", "0.50 (0.40–0.60)", "–", "0.50 (0.40–0.60)", "–"],
        ["b", "0.30 (0.20–0.40)", far, "0.30 (0.20–0.40)", far],
    ]
    sick = [Compared(m.name, {**m.record, "measures": {}}, m.differences) for m in (first, other)]
    section = comparison_section(sick)
    assert section is not None
    assert [table["title"] for table in section["tables"]] == ["Maps"]
    assert comparison_verdict(sick) == "2 models measured on 20 healthy and 1 abnormal scan."


def test_what_is_missing_or_foreign_is_named(tmp_path):
    folder, page = comparison_folder(tmp_path / "made", ("a", "<b>")), tmp_path / "page.html"
    assert "&lt;b&gt;" in write_report(folder, page).read_text(encoding="utf-8")
    file = folder / "comparison.json"
    [pair] = json.loads(file.read_text())
    for broken, said in (
        ([], "expected a list of differences"),
        ([{**pair, "minus": "../a"}], "name of a folder beside it"),
        ([{**pair, "minus": ".."}], "name of a folder beside it"),
        ([pair, {**pair, "of": "<b>"}], "expected differences of a and each other"),
    ):
        file.write_text(json.dumps(broken))
        with pytest.raises(WrongUse, match=rf"comparison\.json: cannot be read: .*{said}"):
            write_report(folder, page)
    file.write_text(json.dumps([pair]))
    (folder / "a" / "measures.json").write_text("{}")
    with pytest.raises(WrongUse, match="not the measures of an evaluation"):
        write_report(folder, page)
    shutil.rmtree(folder / "a")
    with pytest.raises(WrongUse, match="No such file"):
        write_report(folder, page)
