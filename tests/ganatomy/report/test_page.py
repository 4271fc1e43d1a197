"""What the page says of a folder, and that hostile names stay words."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ganatomy.errors import WrongUse
from ganatomy.report import write_report
from tests.ganatomy.report.folders import evaluation_folder, model_folder, scores_table

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}'


class Tags(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def words(page) -> str:
    text = re.sub(r"<(script|style).*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"<svg[^>]*aria-label=\"([^\"]*)\"[^>]*>", r"\1", text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def headings(page) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text(encoding="utf-8"))


def test_page_needs_nothing_from_elsewhere(pages):
    for page in pages.values():
        for tag, attributes in Tags(page.read_text(encoding="utf-8")).seen:
            assert tag not in ("iframe", "object", "embed", "base")
            for name in ("src", "href", "srcset", "xlink:href", "action"):
                target = attributes.get(name)
                assert target is None or target.startswith(("data:", "#")), (tag, target)
        assert "@import" not in page.read_text(encoding="utf-8")
        assert not re.search(r"url\((?!#)", page.read_text(encoding="utf-8"))


def test_each_kind_of_folder_has_its_sections(pages):
    evaluation = ["Measures", "Scores", "Scans", "Worklist", "Further measures"]
    assert headings(pages["evaluation"]) == evaluation
    assert headings(pages["model"]) == [*evaluation, "Training", "Model card", "Settings"]
    assert headings(pages["scores"]) == ["Scores", "Scans", "Worklist"]
    assert headings(pages["comparison"]) == ["Comparison"]


def test_verdict_is_said_in_plain_words(pages):
    said = words(pages["model"])
    assert re.search(
        r"AUROC 0\.95 \(95 % interval 0\.92–0\.97\) on 120 healthy and 150 abnormal scans; at the"
        r" threshold 8 % of the healthy are flagged and 81 % of the abnormal are found\.",
        said,
    )
    assert "For research only, not a medical device." in said
    assert "Intervals hold 95 % of the values over resampled patients." in said
    assert "The network beats the linear control" in said
    assert "1 scan has no score and is left out." in said


def test_scores_without_labels_promise_nothing(pages):
    said = words(pages["scores"])
    assert "131 of 270 scans score above the threshold." in said
    assert "nothing here says how often the model is right" in said
    assert "ROC" not in said
    assert "The 200 highest scores of 270 scans" in said
    assert "Above the threshold, highest scores first" in said


def test_labelled_scores_alone_are_measured_here(tmp_path):
    scores_table().to_csv(tmp_path / "scores.csv", index=False)
    said = words(write_report(tmp_path, tmp_path / "page.html"))
    assert "AUROC 0.95" in said
    assert "paper score" in said
    assert "ROC curve with its 95 % band" in said


@pytest.mark.parametrize(
    ("model", "linear", "difference", "sentence"),
    [
        (0.90, 0.95, None, "The network does not beat the linear control: AUROC 0.90 against 0.95"),
        (0.95, 0.94, None, "The network is not shown to beat the linear control"),
        (0.95, 0.94, (0.01, -0.01, 0.03), "The network is not shown to beat the linear control"),
        (0.95, 0.94, (0.01, 0.005, 0.02), "The network beats the linear control"),
        (0.95, 0.70, None, "The network beats the linear control"),
    ],
)
def test_linear_control_is_compared_plainly(tmp_path, model, linear, difference, sentence):
    def record(value, low, high):
        return {"value": value, "low": low, "high": high}

    control = {"auroc": record(linear, linear - 0.02, linear + 0.02)}
    if difference:
        control["auroc_difference"] = record(*difference)
    measures = {
        "preset": "p",
        "n_healthy": 9,
        "n_abnormal": 9,
        "measures": {"auroc": record(model, model - 0.02, model + 0.02)},
        "controls": {"linear control": control},
    }
    (tmp_path / "measures.json").write_text(json.dumps(measures))
    assert sentence in words(write_report(tmp_path, tmp_path / "page.html"))


def test_names_are_words_and_never_markup(tmp_path):
    folder = model_folder(tmp_path / "model")
    place = folder / "evaluation"
    table = pd.read_csv(place / "scores.csv")
    table["scan"] = table["scan"] + HOSTILE
    table.to_csv(place / "scores.csv", index=False)
    with np.load(place / "examples.npz") as stored:
        arrays = dict(stored)
    arrays["names"] = np.array([name + HOSTILE for name in arrays["names"]])
    np.savez(place / "examples.npz", **arrays)
    measures = json.loads((place / "measures.json").read_text())
    measures |= {"preset": HOSTILE, "model": HOSTILE, "failed": [HOSTILE]}
    measures["controls"] = {"linear " + HOSTILE: measures["measures"]}
    measures["extra"] = {HOSTILE: [{HOSTILE: HOSTILE}]}
    (place / "measures.json").write_text(json.dumps(measures))
    (folder / "config.json").write_text(json.dumps({HOSTILE: {HOSTILE: HOSTILE}}))
    (folder / "model_card.md").write_text(
        "\n\n".join(["# " + HOSTILE, HOSTILE, "- " + HOSTILE, f"[a](javascript:x) `{HOSTILE}`"])
        + f"\n\n| {HOSTILE} |\n|---|\n| {HOSTILE} |\n\n```\n{HOSTILE}\n```\n"
    )
    history = pd.read_csv(folder / "history.csv")
    history.rename(columns={"critic/penalty": f"{HOSTILE}/{HOSTILE}"}).to_csv(
        folder / "history.csv", index=False
    )
    page = write_report(folder, tmp_path / "page.html")
    tags = Tags(page.read_text(encoding="utf-8")).seen
    assert [tag for tag, _ in tags].count("script") == 1
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert all(a["src"].startswith("data:") for tag, a in tags if tag == "img")
    assert not [a for tag, a in tags if "javascript" in a.get("href", "")]
    assert "{{ 7 * 7 }}" in words(page)


def test_missing_pieces_leave_their_section_out(tmp_path):
    folder = model_folder(tmp_path / "model")
    for name in ("history.csv", "evaluation/examples.npz", "evaluation/scores.csv"):
        (folder / name).unlink()
    page = write_report(folder, tmp_path / "page.html")
    assert headings(page) == ["Measures", "Further measures", "Model card", "Settings"]
    (folder / "evaluation" / "measures.json").unlink()
    page = write_report(folder, tmp_path / "page.html")
    assert "Not evaluated yet" in words(page)


def test_scores_of_an_archive_are_shown_as_those_of_a_process(tmp_path):
    rows = pd.DataFrame(
        {
            "scan": ["low.dcm", "high.dcm", "torn.dcm"],
            "anomaly_score": [0.5, 2.5, None],
            "p_value": [0.4, 0.01, None],
            "threshold": 1.0,
            "abnormal": [False, True, None],
            "unlike": [0.3, 0.4, None],
            "error": [None, None, "torn.dcm: is empty"],
        }
    )
    (tmp_path / "scores.parquet").mkdir()
    for number, part in enumerate((rows[:1], rows[1:])):
        part.to_parquet(tmp_path / "scores.parquet" / f"part-{number}.parquet")
    said = words(write_report(tmp_path, tmp_path / "page.html"))
    assert "1 of 2 scans" in said
    assert "1 scan has no score" in said
    assert said.index("high.dcm") < said.index("low.dcm")


def test_folder_with_nothing_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"nothing to report, looked for config\.json, scores"):
        write_report(tmp_path, tmp_path / "page.html")
    with pytest.raises(ValueError, match="no such folder"):
        write_report(tmp_path / "absent", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("measures.json", "{", r"measures\.json: cannot be read"),
        ("measures.json", "[]", "expected a JSON object"),
        ("scores.csv", "scan,score\na,1\n", "no column anomaly_score"),
        ("scores.csv", "scan,anomaly_score\na,much\n", r"scores\.csv: cannot be read"),
        ("history.csv", "epoch,loss\n1,2\n", "no column step"),
        ("examples.npz", "no archive", r"examples\.npz: cannot be read"),
    ],
)
def test_broken_file_is_named(tmp_path, name, content, line):
    (tmp_path / name).write_text(content)
    with pytest.raises(WrongUse, match=line):
        write_report(tmp_path, tmp_path / "page.html")


def test_residual_of_the_wrong_sign_is_refused(tmp_path):
    folder = evaluation_folder(tmp_path)
    with np.load(folder / "examples.npz") as stored:
        arrays = dict(stored)
    arrays["residual"] = -arrays["residual"]
    np.savez(folder / "examples.npz", **arrays)
    with pytest.raises(ValueError, match="the residual has the wrong sign"):
        write_report(folder, tmp_path / "page.html")


def test_the_legend_says_what_a_residual_is(tmp_path):
    folder = evaluation_folder(tmp_path)
    assert "brighter than its reconstruction" in words(write_report(folder, tmp_path / "page.html"))
    with np.load(folder / "examples.npz") as stored:
        arrays = dict(stored)
    # In standard deviations; then of a method that names pixels and reconstructs nothing.
    named = np.abs(arrays["residual"])
    for changes, told in (
        ({"residual": 4 * arrays["residual"]}, "What the method says of each pixel"),
        ({"residual": named, "reconstruction": arrays["input"]}, "makes no reconstruction"),
    ):
        np.savez(folder / "examples.npz", **{**arrays, **changes})
        said = words(write_report(folder, tmp_path / "page.html"))
        assert "brighter than its reconstruction" not in said
        assert told in said


def test_what_the_model_saw_is_shown_where_it_differs_from_the_scan(tmp_path):
    page = write_report(evaluation_folder(tmp_path, seen=True), tmp_path / "page.html")
    said = words(page)
    assert said.count("As the model saw it") == said.count("Anomaly map over input") == 12


def test_scans_without_a_score_are_counted(tmp_path):
    table = scores_table(labels=False)
    table.loc[table.index[:3], "anomaly_score"] = np.nan
    table.to_csv(tmp_path / "scores.csv", index=False)
    said = words(write_report(tmp_path, tmp_path / "page.html"))
    assert "3 scans have no score and are left out." in said
    assert "of 267 scans" in said


def test_foreign_scans_are_warned_of(tmp_path):
    table = scores_table(labels=False)
    table["unlike"] = np.where(np.arange(len(table)) < 27, 1.5, 0.5)
    table.to_csv(tmp_path / "scores.csv", index=False)
    said = words(write_report(tmp_path, tmp_path / "page.html"))
    assert "10 % of these scans do not look like the healthy scans that set the threshold" in said


def test_threshold_that_is_infinite_is_no_threshold(tmp_path):
    table = scores_table(labels=False).assign(threshold=np.inf, abnormal=False)
    table.to_csv(tmp_path / "scores.csv", index=False)
    said = words(write_report(tmp_path, tmp_path / "page.html"))
    assert "0 of 270 scans score above the threshold" in said


def test_one_class_only_is_ranked_but_not_measured(tmp_path):
    table = scores_table()
    table[table["label"] == 0].to_csv(tmp_path / "scores.csv", index=False)
    page = write_report(tmp_path, tmp_path / "page.html")
    assert headings(page) == ["Scores", "Worklist"]


def test_page_stays_small_with_two_dozen_large_scans(tmp_path):
    page = write_report(evaluation_folder(tmp_path, count=32, size=256), tmp_path / "page.html")
    assert words(page).count("Anomaly map over input") == 24
    assert page.stat().st_size < 5e6


def test_same_folder_same_page(pages, tmp_path):
    again = write_report(pages["model"].parent / "model", tmp_path / "again.html")
    assert again.read_bytes() == pages["model"].read_bytes()


def _luminance(colour: str) -> float:
    channels = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_words_contrast_with_their_paper(pages):
    # WCAG 2.2, success criterion 1.4.3: 4.5 to 1.
    html = pages["model"].read_text(encoding="utf-8")
    schemes = re.findall(r":root \{(.*?)\}", html, re.S)
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        colours = {
            n: c + c[1:] * (len(c) == 4) for n, c in re.findall(r"--([\w-]+): (#\w+)", scheme)
        }
        for paper in ("paper", "panel", "warn-paper"):
            for ink in ("ink", "soft", "accent", "healthy", "abnormal"):
                pair = sorted((_luminance(colours[paper]), _luminance(colours[ink])))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (paper, ink)
