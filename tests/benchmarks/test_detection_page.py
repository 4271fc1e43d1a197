"""What the page of detectors says of rows made by hand."""

import subprocess

import pytest

from benchmarks import detection, detection_page, harness
from benchmarks.detection_page import cell, section


def measure(value, margin=0.02):
    return {"value": value, "low": value - margin, "high": value + margin}


def row(auroc=0.9, **more):
    whole = {"auroc": measure(auroc), "sensitivity": measure(0.76), "specificity": measure(0.95)}
    speed = {"minutes": 1.0, "images_per_second": 1000.0}
    return {"measures": whole, "paper": None, "control": None, "pixels": None, **speed, **more}


def lines(text, first):
    """Rows of the table with such a heading, by their first cell."""
    table = text[text.index(f"| {first} |") :].partition("\n\n")[0]
    head, _, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")
    )
    return {own[0]: dict(zip(head, own, strict=True)) for own in rows}


def entry(rows):
    return {"title": "Scans", "says": "Of somebody.", "rows": rows}


def test_one_seed_has_its_interval_and_several_their_spread_beside_it():
    rows = [{"own": measure(value)} for value in (0.80, 0.90)]
    assert cell(rows[:1], lambda r: r["own"], ".2f") == "0.80 (0.78–0.82)"
    assert cell(rows, lambda r: r["own"], ".2f") == "0.85 ± 0.07 (0.78–0.82)"
    assert cell(rows, lambda r: r["own"], "+.2f") == "+0.85 ± 0.07 (+0.78 to +0.82)"
    assert cell([{}, *rows], lambda r: r.get("own"), ".2f") == "0.85 ± 0.07"
    assert cell([{}], lambda r: r.get("own")) == ""


def test_kinds_and_maps_have_tables_where_rows_have_them():
    kinds = {"bacteria": measure(0.95), "virus": measure(0.85)}
    maps = {"pixel_auroc": measure(0.7), "best_dice_oracle": measure(0.4), "lesions": measure(0.3)}
    rows = {"linear/0": row(kinds=kinds, pixels=maps), "vae-chest-xray/0": row(0.95)}
    text = section("chest-xray", entry(rows))
    assert list(lines(text, "detector | AUROC")) == ["`vae-chest-xray`", "`linear`"]
    assert lines(text, "detector | AUROC")["`linear`"]["sensitivity"] == "0.76 (0.74–0.78)"
    assert lines(text, "detector | bacteria | virus") == {
        "`linear`": {
            "detector": "`linear`", "bacteria": "0.950 (0.930–0.970)",
            "virus": "0.850 (0.830–0.870)",
        }
    }  # fmt: skip
    own = lines(text, "detector | pixel AUROC")["`linear`"]
    assert own["pixel AUROC"] == "0.70 (0.68–0.72)"
    assert own["best Dice (oracle)"] == "0.40 (0.38–0.42)"
    assert own["pixel AP"] == "", "a row made before the column was"
    plain = section("chest-xray", entry({"linear/0": row()}))
    assert "kind of" not in plain
    assert "oracle" not in plain


def test_seeds_are_one_line_with_the_means_of_all_that_they_have():
    rows = {
        f"linear/{seed}": row(auroc, paper=measure(auroc - 0.1), control=measure(auroc - 0.9))
        for seed, auroc in enumerate((0.9, 0.8, 0.7))
    }
    text = section("mednist", entry(rows))
    [own] = lines(text, "detector | AUROC").values()
    assert own["detector"] == "`linear`, 3 seeds"
    assert own["AUROC"] == "0.800 ± 0.100 (0.880–0.920)"
    assert own["paper's own"] == "0.700 ± 0.100 (0.780–0.820)"
    assert own["against the control"] == "-0.100 ± 0.100 (-0.020 to +0.020)"
    assert "standard deviation over seeds" in text


def test_labels_of_radiographs_are_claimed_of_radiographs_alone():
    rows = {"linear/0": row()}
    assert "444 labelled radiographs" in section("chest-xray", entry(rows))
    for task in ("mednist", "mednist-hard", "planted-mr", "planted-ct", "lesion-mr"):
        said = section(task, entry(rows)).partition("Chosen in sight of labels: ")[2]
        first = "the 12 mm that the brain mask" if "-mr" in task else "none of this comparison"
        assert said.startswith(first)
        assert "444" not in said


def test_a_stale_row_is_seen():
    new = {"trained": "bbb", "measured": "bbb"}
    rows = {"linear/0": row(commit=new), "vae-chest-xray/0": row(commit=new)}
    assert "Commit of all rows: bbb." in section("chest-xray", entry(rows))
    rows["vae-chest-xray/0"] = row(commit={"trained": "aaa", "measured": "bbb"})
    rows["aae-chest-xray/0"] = row()
    said = section("chest-xray", entry(rows)).partition("second measured): ")[2]
    assert sorted(said.rstrip(".").split("; ")) == [
        "aaa, bbb: `vae-chest-xray`", "bbb: `linear`", "not recorded: `aae-chest-xray`",
    ]  # fmt: skip


def test_the_tables_go_between_the_marks(tmp_path, monkeypatch):
    page = tmp_path / "detection.md"
    monkeypatch.setattr(detection_page, "PAGE", page)
    begin, end = detection_page.BEGIN, detection_page.END
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    detection_page.write_page({"chest-xray": entry({"linear/0": row()})})
    assert page.read_text().startswith(f"before\n{begin}\n\n### Scans\n")
    assert page.read_text().endswith(f"{end}\nafter\n")
    assert "old" not in page.read_text()
    page.write_text(f"before\n{begin}\n")
    with pytest.raises(SystemExit, match="no place for the tables"):
        detection_page.write_page({})


def test_the_commit_says_where_what_decides_a_figure_was_changed(tmp_path, monkeypatch):
    def git(*words):
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    monkeypatch.setattr(harness, "ROOT", tmp_path)
    files = [tmp_path / name for name in ("anogan/vae.yaml", "ganatomy/game.py", "docs/page.md")]
    for file in files:
        file.parent.mkdir()
        file.write_text("old")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    files[2].write_text("new")
    head = detection.commit()
    assert len(head) == 10
    for file in files[:2]:
        file.write_text("new")
        assert detection.commit() == f"{head}-changed"
        file.write_text("old")
