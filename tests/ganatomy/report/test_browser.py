"""The page as a reader meets it: in a browser, on a phone, at night, by keyboard."""

import numpy as np

from tests.ganatomy.report.browser import ask, dump, needs_chromium, screenshot

pytestmark = needs_chromium


def test_own_script_runs_under_the_page_s_policy(pages, tmp_path):
    # The script writes this attribute; the browser runs it only if its hash is right.
    assert 'aria-valuetext="60 %"' in dump(tmp_path, pages["evaluation"])


def test_light_and_dark_follow_the_reader_s_setting(pages, tmp_path):
    day, night = (screenshot(tmp_path, pages["evaluation"], dark) for dark in (False, True))
    assert tuple(day[2, 2]) == (0xFD, 0xFD, 0xFC)
    assert tuple(night[2, 2]) == (0x14, 0x17, 0x1A)
    # Words are dark on light and light on dark.
    assert day.min() < 60
    assert np.quantile(night, 0.999) > 180


def test_slider_moves_the_opacity_of_its_own_map(pages, tmp_path):
    script = """
      const maps = [...document.querySelectorAll('.map')];
      const slider = document.querySelectorAll('[data-opacity]')[1];
      const before = maps.map((m) => getComputedStyle(m).opacity);
      slider.value = 25; slider.dispatchEvent(new Event('input'));
      const after = maps.map((m) => getComputedStyle(m).opacity);
      return {before, after, said: slider.parentElement.querySelector('output').textContent};"""
    found = ask(tmp_path, pages["evaluation"], script)
    assert set(found["before"]) == {"0.6"}
    assert found["after"][1] == "0.25"
    assert set(found["after"][:1] + found["after"][2:]) == {"0.6"}
    assert found["said"] == "25 %"


def test_one_slider_moves_all_maps(pages, tmp_path):
    script = """
      const all = document.querySelector('[data-opacity-all]');
      all.value = 0; all.dispatchEvent(new Event('input'));
      return [[...document.querySelectorAll('.map')].map((m) => getComputedStyle(m).opacity),
              [...document.querySelectorAll('[data-opacity]')].map((s) => s.value)];"""
    opacity, values = ask(tmp_path, pages["evaluation"], script)
    assert len(opacity) == 12
    assert set(opacity) == {"0"}
    assert set(values) == {"0"}


def test_no_page_is_wider_than_a_phone(pages, tmp_path):
    script = """
      const wide = document.documentElement.scrollWidth;
      return [wide, innerWidth];"""
    for page in pages.values():
        wide, window = ask(tmp_path, page, script, width=360)
        assert window == 360
        assert wide <= window


def test_worklist_sorts_by_the_heading_s_button_and_back(pages, tmp_path):
    script = """
      const table = document.querySelector('table.sortable');
      const column = (k) => [...table.tBodies[0].rows].map((row) => row.cells[k].textContent);
      const heads = [...table.tHead.rows[0].cells];
      const score = heads.findIndex((head) => head.textContent === 'Score');
      const first = column(score), state = () => heads.map((h) => h.getAttribute('aria-sort'));
      const before = state();
      heads[score].querySelector('button').click();
      const turned = column(score), after = state();
      heads[0].querySelector('button').click();
      return {first, turned, names: column(0), before, after, last: state(), score};"""
    found = ask(tmp_path, pages["scores"], script)
    values = [float(text) for text in found["first"]]
    assert len(values) == 200
    assert values == sorted(values, reverse=True)
    assert [float(text) for text in found["turned"]] == sorted(values)
    assert found["names"] == sorted(found["names"])
    assert found["before"][found["score"]] == "descending"
    assert found["after"][found["score"]] == "ascending"
    assert found["last"][0] == "ascending"
    assert found["last"].count(None) == len(found["last"]) - 1


def test_every_control_can_be_reached_and_is_named(pages, tmp_path):
    script = """
      const all = [...document.querySelectorAll('a, button, input, summary, [tabindex="0"]')]
        .filter((e) => e.checkVisibility());
      const nameless = all.filter((e) => !(e.textContent.trim() || e.getAttribute('aria-label')
        || e.getAttribute('aria-labelledby') || (e.labels && e.labels.length)));
      const outlined = all.filter((e) => {
        e.focus({focusVisible: true});
        return document.activeElement === e && getComputedStyle(e).outlineStyle !== 'none';
      });
      return [all.length, nameless.map((e) => e.outerHTML), outlined.length];"""
    count, nameless, outlined = ask(tmp_path, pages["model"], script)
    assert count > 20
    assert nameless == []
    assert outlined == count


def test_every_picture_is_described_and_loaded(pages, tmp_path):
    script = """
      const pictures = [...document.querySelectorAll('img, svg')];
      const silent = pictures.filter((p) => !(p.getAttribute('alt') || p.ariaLabel));
      const broken = [...document.querySelectorAll('img')].filter((i) => !i.naturalWidth);
      return [pictures.length, silent.length, broken.length];"""
    count, silent, broken = ask(tmp_path, pages["model"], script)
    assert count > 50
    assert (silent, broken) == (0, 0)
