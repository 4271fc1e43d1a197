"""Translations on a page: pictures, the curtain between them, difference, line profile."""

from __future__ import annotations

import numpy as np
import pytest

from ganatomy.errors import WrongUse
from ganatomy.report import write_report
from tests.ganatomy.report.browser import ask, needs_chromium


def write(folder, *, target=True, slices=3):
    """One volume whose output is brighter than its target by 20 shades of 10 HU."""
    draw = np.random.default_rng(0)
    images = {"input": draw.integers(0, 200, (slices, 20, 30), dtype=np.uint8)}
    images["output"] = images["input"] + np.uint8(40)
    if target:
        images["target"] = images["output"] - np.uint8(20)
    arrays = {f"0/{kind}": image for kind, image in images.items()}
    arrays |= {"names": np.array(["brain <1>"]), "0/numbers": np.arange(slices) + 4}
    arrays |= {"0/count": np.array(12), "0/size": np.array([40.0, 60.0])}
    arrays |= {"0/values": np.array([-1000.0, 1550.0]), "0/units": np.array("HU")}
    np.savez(folder / "translations.npz", **arrays)


def test_a_page_shows_what_was_made_beside_its_target(tmp_path):
    write(tmp_path)
    html = write_report(tmp_path, tmp_path / "a.html").read_text()
    assert "Output minus target" in html
    assert "200 HU" in html  # the end of the difference's scale
    assert "brain &lt;1&gt;" in html
    assert "Line profile: output from" in html
    assert "computed and not acquired" in html
    write(tmp_path, target=False, slices=1)
    alone = write_report(tmp_path, tmp_path / "b.html").read_text()
    assert "Output minus target" not in alone
    assert "draws the output over the input" in alone
    assert "data-slice " not in alone


def test_a_file_that_is_too_large_for_a_page_is_refused(tmp_path):
    write(tmp_path, slices=25)
    with pytest.raises(WrongUse, match="at most 24 slices"):
        write_report(tmp_path, tmp_path / "a.html")


@needs_chromium
def test_the_sliders_draw_the_curtain_and_turn_the_slices(tmp_path):
    write(tmp_path)
    page = write_report(tmp_path, tmp_path / "a.html")
    moved = """
    const move = (name, value) => {
      const slider = document.querySelector(name);
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    };
    move("[data-draws]", 20);
    move("[data-slice]", 2);
    const strips = [...document.querySelectorAll("[data-strip]")];
    const output = document.querySelector("output[for='translated-slice-0']");
    return [document.querySelector("[data-curtain]").getAttribute("width"),
            strips.map((strip) => strip.getAttribute("y")), output.textContent,
            document.documentElement.scrollWidth <= innerWidth];
    """
    width, places, said, fits = ask(tmp_path, page, moved)
    assert float(width) == 12
    assert {float(place) for place in places} == {-80}
    assert len(places) == 4
    assert said == "slice 7 of 12"
    assert fits
