"""Volumes on the page: slice by slice, from the highest on, small, and by slider."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ganatomy.errors import WrongUse
from ganatomy.report import write_report
from tests.ganatomy.report.browser import ask, needs_chromium
from tests.ganatomy.report.folders import evaluation_folder

HOSTILE = "'><script>alert(1)</script>{{ 7 * 7 }}"


def volumes(count=2, slices=6, height=32, width=24, seed=0) -> dict[str, np.ndarray]:
    """Volumes whose slice k is k shades lighter; the highest of volume n is slice n + 1."""
    rng = np.random.default_rng(seed)
    shade = 40 * np.arange(slices)[:, None, None] + np.zeros((count, slices, height, width))
    anomaly = rng.random(shade.shape).astype(np.float16)
    for n in range(count):
        anomaly[n, n + 1, 4, 4] = 9
    anomaly[:, :, :, :3] = np.nan
    return {
        "names": np.array([f"brain/{n}" for n in range(count)]),
        "score": 3.0 - np.arange(count),
        "slices": np.full(count, 2 * slices),
        "numbers": np.tile(2 * np.arange(slices), (count, 1)),
        "input": shade.clip(0, 255).astype(np.uint8),
        "map": anomaly,
    }


def scores_folder(folder: Path, **arrays) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    held = {**volumes(), **arrays}
    pd.DataFrame(
        {
            "scan": held["names"],
            "anomaly_score": held["score"],
            "p_value": 0.02,
            "threshold": 2.5,
            "abnormal": held["score"] > 2.5,
            "lesions": np.arange(len(held["names"])),
            "largest_ml": np.linspace(0, 4.25, len(held["names"])),
        }
    ).to_csv(folder / "scores.csv", index=False)
    np.savez_compressed(folder / "volumes.npz", **held)
    return folder


@pytest.fixture
def page(tmp_path) -> Path:
    return write_report(scores_folder(tmp_path / "scores"), tmp_path / "page.html")


def test_each_begins_at_its_highest_slice_and_says_which(page):
    html = page.read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", html) == ["Scores", "Volumes", "Worklist"]
    assert '<a href="#volumes">Volumes</a>' in html
    said = [json.loads(unescape(text)) for text in re.findall(r"data-said='(.*?)'", html)]
    assert [len(one) for one in said] == [6, 6]
    assert said[0][1] == "slice 3 of 12, highest value 9.00"
    assert re.findall(r'<output for="slice-\d">(.*?)</output>', html) == [said[0][1], said[1][2]]
    assert re.findall(r'id="strip-\d" [^>]*y="(-?\d+)"', html) == ["-32", "-64"]
    assert "Grey stripes" in html
    assert re.findall(r"model says</dt><dd>(\w+)", html) == ["abnormal", "healthy"]


def test_the_worklist_counts_lesions(page):
    html = page.read_text(encoding="utf-8")
    heads = re.findall(r'<button type="button">(.*?)<span', html)
    assert "Lesions" in heads
    assert "Largest, ml" in heads
    rows = re.findall(r"<tr>(<th scope=\"row\" data-sort.*?)</tr>", html, re.S)
    cells = [re.findall(r">([^<]*)</t[dh]>", row) for row in rows]
    assert [row[0] for row in cells] == ["brain/0", "brain/1"]
    assert cells[1][heads.index("Lesions")] == "1"
    assert cells[1][heads.index("Largest, ml")] == "4.25"


def test_an_evaluation_shows_them_too(tmp_path):
    folder = evaluation_folder(tmp_path / "evaluation")
    np.savez_compressed(folder / "volumes.npz", **volumes())
    html = write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'id="volumes-h"' in html


def test_the_largest_file_allowed_stays_small_and_a_larger_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    noise = volumes(4, 24, 160, 160)
    noise["input"] = rng.integers(0, 255, noise["input"].shape).astype(np.uint8)
    page = write_report(scores_folder(tmp_path / "a", **noise), tmp_path / "page.html")
    assert page.stat().st_size < 8e6  # noise; scans take a quarter of it
    for wrong in (volumes(5), volumes(1, 25), volumes(1, 2, 161)):
        folder = scores_folder(tmp_path / "b", **wrong)
        with pytest.raises(WrongUse, match=r"volumes\.npz: cannot be read: at most 4 volumes"):
            write_report(folder, tmp_path / "page.html")
    folder = scores_folder(tmp_path / "c", map=np.zeros((2, 6, 3, 3), np.float16))
    with pytest.raises(WrongUse, match="slices of shape"):
        write_report(folder, tmp_path / "page.html")


def test_a_name_stays_words(tmp_path):
    names = np.array([HOSTILE, "b"])
    page = write_report(scores_folder(tmp_path / "s", names=names), tmp_path / "page.html")
    html = page.read_text(encoding="utf-8")
    assert html.count("<script") == 1
    assert "{{ 7 * 7 }}" in unescape(html)


@needs_chromium
def test_the_slider_moves_its_own_volume_and_the_opacity_its_own_map(page, tmp_path):
    script = """
      const cards = [...document.querySelectorAll('#volumes .card')];
      const strips = () => cards.map((c) => [...c.querySelectorAll('[data-strip]')]
        .map((s) => +s.getAttribute('y')));
      const before = strips();
      const slider = cards[1].querySelector('[data-slice]');
      slider.stepUp(2); slider.dispatchEvent(new Event('input'));
      const clear = cards[0].querySelector('[data-opacity]');
      clear.value = 0; clear.dispatchEvent(new Event('input'));
      return {before, after: strips(),
        said: slider.parentElement.querySelector('output').textContent,
        aria: slider.getAttribute('aria-valuetext'), type: slider.type,
        maps: cards.map((c) => getComputedStyle(c.querySelector('.map')).opacity),
        boxes: cards.map((c) => c.querySelector('svg').getBoundingClientRect().width > 100)};"""
    found = ask(tmp_path, page, script)
    assert found["before"] == [[-32, -32], [-64, -64]]
    assert found["after"] == [[-32, -32], [-128, -128]]
    assert found["said"] == found["aria"]
    assert found["said"].startswith("slice 9 of 12, highest value")
    assert found["type"] == "range"  # which browsers move by arrow keys, Home and End
    assert found["maps"] == ["0", "0.6"]
    assert found["boxes"] == [True, True]


@needs_chromium
def test_a_phone_shows_them_without_scrolling_sideways(page, tmp_path):
    wide, window = ask(
        tmp_path, page, "return [document.documentElement.scrollWidth, innerWidth];", width=360
    )
    assert wide <= window == 360
