"""Words, colours, curves and the model card."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganatomy.measures import Interval, roc_band
from ganatomy.report.card import render_card
from ganatomy.report.cards import _groups
from ganatomy.report.figures import distribution, roc, tick_texts, ticks, training_curve
from ganatomy.report.folder import Examples
from ganatomy.report.pictures import map_picture, picture, residual_picture, scale_limit
from ganatomy.report.tables import extra_tables, settings_table, training_curves
from ganatomy.report.words import decimal, number, p_value, percent


def pixels(uri: str, mode: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert(mode)).astype(int)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.123456, "0.123"),
        (-1.5, "−1.50"),
        (12.345, "12.3"),
        (99.96, "100"),
        (1234.6, "1,235"),
        (3e-7, "3.0e−07"),
        (2.5e8, "2.5e+08"),
        (np.nan, "–"),
        (np.inf, "–"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_shares_never_round_to_all_or_nothing():
    assert [decimal(v) for v in (0.934, 0.998, 1.0, 0.002)] == ["0.93", "0.998", "1.00", "0.002"]
    assert [percent(v) for v in (0.04, 0.996, 1.0, 0.003)] == [
        "4\u00a0%",
        "99.6\u00a0%",
        "100\u00a0%",
        "0.3\u00a0%",
    ]
    assert [p_value(v) for v in (0.0004, 0.0498, 1.0)] == ["under 0.001", "0.050", "1.000"]


def test_ticks_are_round_and_inside():
    np.testing.assert_allclose(ticks(0.43, 6.8), [2, 4, 6])
    np.testing.assert_allclose(ticks(-1.1, 1.1), [-1, -0.5, 0, 0.5, 1])
    assert tick_texts(ticks(-1.1, 1.1)) == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
    assert tick_texts(ticks(0, 50000)) == ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]


def test_picture_runs_from_black_to_white():
    ramp = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
    np.testing.assert_array_equal(pixels(picture(ramp), "L").ravel(), np.arange(256))
    colour = np.stack([ramp, -ramp, ramp], -1)
    np.testing.assert_array_equal(
        pixels(picture(colour), "RGB")[..., 1].ravel(), np.arange(256)[::-1]
    )


def test_residual_is_orange_where_brighter_and_blue_where_darker():
    shown = pixels(residual_picture(np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]]), 1.0), "RGB")[0]
    assert tuple(shown[0]) == tuple(shown[1])  # beyond the scale is its end
    assert shown[1][2] > shown[1][0] + 60
    assert shown[3][0] > shown[3][2] + 60
    assert shown[2].min() > 235


def test_residual_s_colours_differ_in_every_kind_of_colour_vision():
    # Blue against orange stays apart without red (protan) or green (deutan) cones because
    # blue - yellow does: compare the third channel with the mean of the first two.
    low, high = pixels(residual_picture(np.array([[-0.6, 0.6]]), 1.0), "RGB")[0]
    yellow = [c[:2].mean() - c[2] for c in (low, high)]
    assert yellow[1] - yellow[0] > 80


def test_map_is_clear_where_nothing_is_unusual_and_hatched_where_unseen():
    anomaly = np.zeros((12, 12))
    anomaly[0, 0], anomaly[0, 1], anomaly[0, 2], anomaly[6:] = 0.2, 0.75, 1.0, np.nan
    shown = pixels(map_picture(anomaly, 1.0), "RGBA")
    assert shown[1, 5, 3] == 0
    assert shown[0, 0, 3] < shown[0, 1, 3] == shown[0, 2, 3] == 255
    lightness = shown[0, :3, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 20).all()  # order survives without colour
    hatch = shown[6:]
    assert set(np.unique(hatch[..., 3])) == {0, 150}
    assert len(np.unique(hatch[..., :3])) == 1


def test_scale_ends_at_what_was_seen():
    assert scale_limit(np.array([np.nan, -3.0, -3.0])) == 3.0
    assert scale_limit(np.zeros(4)) == 1.0
    assert scale_limit(np.full(3, np.nan)) == 1.0


def test_bars_hold_every_scan_and_extremes_do_not_stretch_the_axis():
    scores = np.concatenate([np.linspace(0, 1, 200), [1e6]])
    figure = str(distribution(scores, None, 0.5))
    assert "1 score beyond an edge, counted in its bar" in figure
    tallest = [float(h) for h in re.findall(r'height="([\d.]+)"', figure)]
    assert len(tallest) > 20  # not all in one bar
    assert "201 scans, 50\u00a0% above the threshold" in figure


@pytest.mark.parametrize("labels", [None, np.array([0, 0, 1, 1]), np.zeros(4, int)])
def test_equal_scores_make_a_figure(labels):
    figure = str(distribution(np.full(4, 2.0), labels, 2.0))
    assert "nan" not in figure
    assert "inf" not in figure


def test_healthy_stand_above_and_abnormal_below_the_axis():
    labels, scores = np.repeat([0, 1], 50), np.linspace(0, 1, 100)
    figure = str(distribution(scores, labels, None))

    def tops(kind):
        bars = re.findall(rf'class="bar {kind}" x="[\d.]+" y="([\d.]+)"', figure)
        return [float(y) for y in bars]

    assert max(tops("healthy")) < min(tops("abnormal"))


def test_roc_marks_the_operating_point():
    labels, scores = np.repeat([0, 1], 20), np.arange(40.0)
    band = roc_band(labels, scores, resamples=20)
    figure = str(roc(band, Interval(1.0, 1.0, 1.0), (0.25, 0.75)))
    assert "25\u00a0% of the healthy are flagged and 75\u00a0% of the abnormal found" in figure
    assert 'class="point"' in figure
    assert 'class="point"' not in str(roc(band, Interval(1.0, 1.0, 1.0), None))


def test_long_history_is_thinned_and_gaps_stay_gaps():
    steps = np.arange(10_000.0)
    values = np.where(steps < 4000, 1.0, np.where(steps < 8000, np.nan, 2.0))
    figure = str(training_curve(steps, values, "critic/penalty"))
    assert figure.count("<polyline") == 2
    assert figure.count(",") < 400
    single = str(training_curve(np.array([5.0]), np.array([0.0]), "x"))
    assert "<circle" in single
    assert "nan" not in single


def test_terms_are_grouped_by_player():
    history = pd.DataFrame(
        {"step": [1, 2], "critic/real": [0.1, 0.2], "critic/fake": [1.0, np.nan], "speed": [3, 4]}
    ).assign(**{"encoder/image": np.nan})
    groups = training_curves(history)
    assert [(g["name"], [c["name"] for c in g["curves"]]) for g in groups] == [
        ("Critic", ["Real", "Fake"]),
        ("All", ["Speed"]),
    ]


def test_further_measures_become_tables():
    ends = {"value": 0.9, "low": 0.8, "high": 0.95}
    tables = extra_tables(
        {
            "by_age": {"young": {"auroc": ends}, "old": {"auroc": 0.5, "scans": 12}},
            "sites": [{"site": "A", "known": True}],
            "framing": {"matched": ends},
            "seeds": 3,
        }
    )
    assert [t["title"] for t in tables] == ["By age", "Sites", "Framing", "Single values"]
    assert tables[0]["rows"] == [["young", "0.90 (0.80–0.95)", "–"], ["old", "0.500", "12"]]
    assert tables[1]["rows"] == [["A", "yes"]]
    assert tables[3]["rows"] == [["Seeds", "3"]]


def test_settings_are_flat():
    table = settings_table({"a": {"b": {"c": [1, 2]}, "d": "x"}, "measures": {"auroc": 1}})
    assert table["rows"] == [["a.b.c", "[1, 2]"], ["a.d", "x"]]


def test_card_s_markdown_is_rendered():
    html = str(
        render_card(
            "---\nlicense: x\n---\n# Title\ntwo\nlines **bold** *soft* `a*b*c`\n\n- one\n  more\n"
            "- two\n\n| a | b |\n|--|:-:|\n| 1 | 2 |\n\n```\n<x>\n```\nsnake_case 2 * 3 * 4 `odd"
        )
    )
    for part in (
        "<pre>license: x</pre>",
        "<h3>Title</h3>",
        "<p>two lines <strong>bold</strong> <em>soft</em> <code>a*b*c</code></p>",
        "<ul><li>one more</li><li>two</li></ul>",
        "<th>a</th><th>b</th>",
        "<td>1</td><td>2</td>",
        "<pre>&lt;x&gt;</pre>",
        "<p>snake_case 2 * 3 * 4 `odd</p>",
    ):
        assert part in html


def test_worst_errors_keep_their_place_among_the_cards():
    score = np.arange(60.0)
    label = (np.arange(60) >= 30).astype(float)
    label[[5, 50]] = 1 - label[[5, 50]]  # one missed, one flagged for nothing
    blank = np.zeros((60, 2, 2), np.float32)
    examples = Examples(["x"] * 60, score, label, blank, blank, None, blank, blank)
    groups = _groups(examples, 29.5)
    assert [(title.split(",")[0], len(members)) for title, members in groups] == [
        ("Abnormal and found", 11),
        ("Abnormal but missed", 1),
        ("Healthy but flagged", 1),
        ("Healthy and passed", 11),
    ]
    assert groups[0][1][0] == 59
    assert groups[3][1][0] == 0
