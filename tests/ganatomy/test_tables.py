"""Tables: what the command line names, and how it is split."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ganatomy.tables import (
    Table,
    TableError,
    fingerprint,
    read_labelled_table,
    read_table,
    split,
    with_masks,
)

SCAN = {"scan": "joined"}
PAIR = {"scan": "joined", "target": "joined"}
UNPAIRED = {"scan": "independent", "target": "independent"}
SICK = {"scan": "joined", "mask": "joined", "sick": "independent"}


@pytest.fixture
def make(tmp_path):
    """Write one small picture for every name given."""

    def write(*names: str):
        for number, name in enumerate(names):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) + number
            Image.fromarray(pixels).save(file)
        return tmp_path

    return write


def test_a_folder_is_every_scan_below_it(make):
    root = make("a.png", "deep/b.png", "deep/deeper/c.png")
    table = read_table([str(root)], SCAN)
    assert table.names == ["a.png", "deep/b.png", "deep/deeper/c.png"]
    assert [path.is_file() for path in table.first] == [True] * 3
    assert table.label is None
    assert table.patient is None


def test_two_folders_with_equal_names_give_unique_names(make):
    root = make("one/a.png", "two/a.png")
    table = read_table([str(root / "one"), str(root / "two")], SCAN)
    assert table.names == ["a.png", "a.png#2"]
    assert table.first[0] != table.first[1]


def test_globs_pair_by_what_the_stars_matched(make):
    # The order of the files differs between the roles; the keys do not.
    root = make("p1/t1.png", "p2/t1.png", "x-p2.png", "x-p1.png")
    table = read_table([f"scan={root}/*/t1.png", f"target={root}/x-*.png"], PAIR)
    assert table.names == ["p1", "p2"]
    assert [p.parent.name for p in table.paths["scan"]] == ["p1", "p2"]
    assert [p.name for p in table.paths["target"]] == ["x-p1.png", "x-p2.png"]


def test_scans_named_in_full_are_a_pair_whatever_they_are_called(make):
    root = make("p1/t1.png", "p1/t2.png", "p2/t1.png")
    table = read_table([f"scan={root}/p1/t1.png", f"target={root}/p1/t2.png"], PAIR)
    assert table.names == ["t1.png"]
    assert [p.name for p in table.paths["target"]] == ["t2.png"]
    with pytest.raises(TableError, match="no partner between scan and target"):
        read_table([f"scan={root}/*/t1.png", f"target={root}/p1/t2.png"], PAIR)
    # What stars matched are names, also where each matched once: of two patients they are no pair.
    with pytest.raises(TableError, match="no partner between scan and target"):
        read_table([f"scan={root}/p2/*.png", f"target={root}/*/t2.png"], PAIR)


def test_independent_roles_may_differ_in_length(make):
    root = make("a/1.png", "a/2.png", "a/3.png", "b/9.png")
    table = read_table([f"scan={root}/a/*.png", f"target={root}/b/*.png"], UNPAIRED)
    assert [len(paths) for paths in table.paths.values()] == [3, 1]
    assert len(table) == 3


def test_a_csv_lists_an_independent_role_beside_the_rows(make):
    root = make("a.png", "b.png", "c.png")
    (root / "t.csv").write_text(
        "scan,mask,sick,patient,site,label\n"
        "a.png,am.png,x.png,p1,one,0\n"
        "b.png,bm.png,,p2,two,0\n"
        ",,y.png,p3,three,\n"
        ",,z.png,,,\n"
    )
    table = read_table([str(root / "t.csv")], SICK)
    found = {role: [path.name for path in paths] for role, paths in table.paths.items()}
    assert found == {
        "scan": ["a.png", "b.png"],
        "mask": ["am.png", "bm.png"],
        "sick": ["x.png", "y.png", "z.png"],
    }
    assert table.joined == ["scan", "mask"]
    assert table.names == ["a.png", "b.png"]
    assert table.label.tolist() == [0, 0]
    assert table.patient.tolist() == ["p1", "p2"]
    assert table.groups["site"].tolist() == ["one", "two"]
    assert table.independent["sick"].tolist() == ["p1", "p3", "z.png"]
    # A longer first role, which needs no other.
    (root / "u.csv").write_text("scan,target\na.png,x.png\nb.png,\n")
    table = read_table([str(root / "u.csv")], UNPAIRED)
    assert [len(paths) for paths in table.paths.values()] == [2, 1]
    assert table.independent["target"].tolist() == ["x.png"]


def test_rows_leave_an_independent_role_whole(make):
    root = make("a/1.png", "a/2.png", "a/3.png", "b/8.png", "b/9.png")
    table = read_table([f"scan={root}/a/*.png", f"target={root}/b/*.png"], UNPAIRED)
    part = table.rows(np.array([2]))
    assert [path.name for path in part.paths["scan"]] == ["3.png"]
    assert [path.name for path in part.paths["target"]] == ["8.png", "9.png"]
    assert part.independent["target"].tolist() == ["8", "9"]
    assert [len(paths) for paths in table.paths.values()] == [3, 2]


def test_the_roles_of_a_table_come_in_the_models_order(make):
    root = make("a/1.png", "b/1.png")
    table = read_table([f"target={root}/b/*.png", f"scan={root}/a/*.png"], PAIR)
    assert list(table.paths) == ["scan", "target"]


def test_a_csv_gives_roles_labels_patients_and_groups(make):
    root = make("a.png", "b.png")
    (root / "table.csv").write_text(
        "scan,label,patient,scanner\na.png,0,007,one\nb.png,1,012,two\n"
    )
    table = read_table([str(root / "table.csv")], SCAN)
    assert table.label.tolist() == [0, 1]
    assert table.patient.tolist() == ["007", "012"]  # a name, not a number
    assert table.groups["scanner"].tolist() == ["one", "two"]
    assert table.first == [root / "a.png", root / "b.png"]


def test_scans_without_a_patient_are_not_one_patient(make):
    root = make("a.png", "b.png", "c.png")
    (root / "t.csv").write_text("scan,patient\na.png,\nb.png,x\nc.png, \n")
    table = read_table([str(root / "t.csv")], SCAN)
    assert table.patient.tolist() == ["a.png", "x", "c.png"]


@pytest.mark.parametrize(
    "content",
    [b"", b"scan\n\xff\xfe.png\n", b'scan\n"a.png\nb.png\n', b"scan\na,b,c\nd,e\nf\n,,,,"],
)
def test_a_table_that_is_none_is_said_to_be_one_in_one_line(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=r"t\.csv: cannot be read as a table in UTF-8: ") as caught:
        read_table([str(tmp_path / "t.csv")], SCAN)
    assert "\n" not in str(caught.value)


def test_rows_keep_everything_together(make):
    root = make("a.png", "b.png", "c.png")
    (root / "t.csv").write_text("scan,label,patient,site\na.png,0,x,1\nb.png,1,y,2\nc.png,1,z,3\n")
    part = read_table([str(root / "t.csv")], SCAN).rows(np.array([False, True, True]))
    assert part.names == ["b.png", "c.png"]
    assert part.label.tolist() == [1, 1]
    assert part.patient.tolist() == ["y", "z"]
    assert part.groups["site"].tolist() == ["2", "3"]
    assert [p.name for p in part.first] == ["b.png", "c.png"]


def test_a_labelled_folder(make):
    root = make("normal/a.png", "pneumonia/b.png", "effusion/c.png")
    table = read_labelled_table([str(root)], SCAN)
    by_name = dict(zip(table.names, table.label, strict=True))
    assert by_name == {"normal/a.png": 0, "pneumonia/b.png": 1, "effusion/c.png": 1}
    assert set(table.groups["folder"]) == {"normal", "pneumonia", "effusion"}


@pytest.mark.parametrize(
    ("specs", "roles", "message"),
    [
        (["{root}/none"], SCAN, "none: no such file or folder"),
        (["{root}/empty"], SCAN, "empty: no scans below it"),
        (["{root}/none.csv"], SCAN, "none.csv: no such table"),
        (["{root}/wrong.csv"], SCAN, "no column 'scan'; the model's roles are scan"),
        (["{root}/rows.csv"], SCAN, "rows.csv: no rows"),
        (["{root}/label.csv"], SCAN, "'label' holds something other than 0 and 1"),
        (["{root}/torn.csv"], SICK, "torn.csv: row 2 has no scan in column 'mask'"),
        (["{root}/hole.csv"], SICK, "hole.csv: row 2 has no scan in column 'scan'"),
        (["{root}/well.csv"], SICK, "well.csv: column 'sick' holds no scan"),
        (["{root}/cell.csv"], SCAN, "cell.csv: row 2 has no scan in column 'scan'"),
        (["mask={root}/*.png"], SCAN, "no role 'mask'; the model's roles are scan"),
        (["scan={root}/a/*.png"], PAIR, "no --data target=GLOB; the roles are scan, target"),
        (["scan={root}/zzz*.png"], SCAN, "zzz*.png: nothing matches"),
        (["{root}/a"], PAIR, "the model needs the roles scan, target"),
        (
            ["scan={root}/a/*.png", "target={root}/b/*.png"],
            PAIR,
            "1 keys have no partner between scan and target, '2' for one",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(make, specs, roles, message):
    root = make("a/1.png", "a/2.png", "b/1.png")
    (root / "empty").mkdir()
    (root / "wrong.csv").write_text("image\na.png\n")
    (root / "rows.csv").write_text("scan\n")
    (root / "label.csv").write_text("scan,label\na/1.png,yes\n")
    (root / "torn.csv").write_text("scan,mask,sick\na,b,c\na,,c\n")
    (root / "hole.csv").write_text("scan,mask,sick\na,b,c\n, ,\n")
    (root / "well.csv").write_text("scan,mask,sick\na,b,\n")
    (root / "cell.csv").write_text("scan,label\na,0\n,0\n")
    with pytest.raises(TableError) as caught:
        read_table([spec.format(root=root) for spec in specs], roles)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def people(count: int, scans: int = 3) -> Table:
    names = [f"p{p}/{s}.png" for p in range(count) for s in range(scans)]
    patient = np.array([f"p{p}" for p in range(count) for _ in range(scans)])
    return Table({"scan": [None] * len(names)}, names, None, patient)


def test_a_split_is_disjoint_by_patient_and_of_the_asked_size():
    training, held = split(people(40), 0.25, seed=1)
    assert not set(training.patient) & set(held.patient)
    assert len(set(held.patient)) == 10
    assert sorted(training.names + held.names) == sorted(people(40).names)


def test_a_split_is_a_function_of_the_seed():
    first, again, other = (split(people(40), 0.25, seed)[1].names for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_scan_more_of_a_known_patient_moves_no_other():
    before = split(people(40), 0.25, seed=1)
    after = split(people(40, scans=4), 0.25, seed=1)
    assert set(before[1].patient) == set(after[1].patient)


def with_stream(table: Table, whose: list[str]) -> Table:
    paths = {**table.paths, "sick": [Path(f"{n}-{p}.png") for n, p in enumerate(whose)]}
    return Table(paths, table.names, None, table.patient, independent={"sick": np.array(whose)})


def test_an_independent_role_is_split_by_itself_and_moves_no_row():
    whose = [f"s{n // 2}" for n in range(60)]
    alone = split(people(40), 0.25, seed=1)
    both = split(with_stream(people(40), whose), 0.25, seed=1)
    assert [part.names for part in both] == [part.names for part in alone]
    training, held = (part.independent["sick"].tolist() for part in both)
    assert len(held) == 2 * round(0.25 * 30)
    assert not set(training) & set(held)
    for part in both:
        names = [str(path).partition("-")[2] for path in part.paths["sick"]]
        assert names == [f"{name}.png" for name in part.independent["sick"]]
    # Rows and stream are of different lengths; nothing is lost.
    assert sorted(training + held) == sorted(whose)


def test_no_patient_is_on_both_sides_in_two_roles():
    whose = [f"p{n}" for n in range(20, 60)]
    training, held = split(with_stream(people(40), whose), 0.25, seed=1)
    known = {f"p{n}" for n in range(40)}
    assert not set(training.patient) & set(held.independent["sick"])
    assert not set(held.patient) & set(training.independent["sick"])
    assert len(set(held.independent["sick"]) - known) == 5


def test_a_role_with_nothing_left_to_train_on_is_an_error():
    with pytest.raises(TableError, match="all scans of sick are held out"):
        split(with_stream(people(4), ["s"]), 0.6, seed=0)


def test_a_patient_more_moves_hardly_anyone():
    # Which scans are held out must not be drawn anew when a folder grows.
    before, after = (set(split(people(n, 1), 0.25, seed=1)[1].patient) for n in (100, 101))
    assert len(before ^ after) <= 2


def test_a_fingerprint_knows_content_settings_and_order(make):
    root = make("a.png", "b.png")
    paths = [root / "a.png", root / "b.png"]
    first = fingerprint(paths, "settings")
    assert fingerprint(paths, "settings") == first
    assert fingerprint(paths, "others") != first
    assert fingerprint(paths[::-1], "settings") != first
    assert fingerprint(paths[:1], "settings") != first
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(root / "b.png")
    assert fingerprint(paths, "settings") != first


def test_the_fingerprint_of_a_series_knows_its_slices(make):
    root = make("series/1.png", "series/2.png")
    before = fingerprint([root / "series"])
    (root / "series" / "2.png").unlink()
    assert fingerprint([root / "series"]) != before


def test_a_table_of_one_row_and_a_missing_file_is_still_a_table(tmp_path):
    # That a file is missing is said where it is read, with the others read all the same.
    pd.DataFrame({"scan": ["gone.png"]}).to_csv(tmp_path / "t.csv", index=False)
    assert read_table([str(tmp_path / "t.csv")], SCAN).first == [tmp_path / "gone.png"]


def test_a_mask_is_called_as_its_scan_whatever_its_suffix(make):
    root = make("scans/normal/1.png", "scans/odd/1.png", "scans/odd/2.v1.png")
    make("masks/odd/1.tif", "masks/2.v1.jpg", "masks/other.png")
    table = with_masks(read_table([str(root / "scans")], SCAN), root / "masks")
    assert table.mask == [None, root / "masks/odd/1.tif", root / "masks/2.v1.jpg"]
    assert table.rows(np.array([2, 0])).mask == [table.mask[2], None]


def test_a_file_name_alone_is_not_enough_where_two_scans_have_it(make):
    root = make("scans/normal/1.png", "scans/odd/1.png", "scans/odd/2.png")
    make("masks/1.png", "masks/2.png")
    table = with_masks(read_table([str(root / "scans")], SCAN), root / "masks")
    assert table.mask == [None, None, root / "masks/2.png"]


def test_masks_that_cannot_be_paired_are_refused(make):
    root = make("scans/a.png", "masks/b.png", "two/a.png", "two/a.jpg")
    table = read_table([str(root / "scans")], SCAN)
    with pytest.raises(TableError, match="no such folder of masks"):
        with_masks(table, root / "nowhere")
    with pytest.raises(TableError, match="no mask has the name of a scan, 'a"):
        with_masks(table, root / "masks")
    with pytest.raises(TableError, match="masks of one name"):
        with_masks(table, root / "two")


def test_a_column_of_masks_is_no_group_and_lies_beside_the_table(make):
    root = make("a.png", "b.png", "masks/b.png")
    (root / "t.csv").write_text("scan,label,mask,view\na.png,0,,PA\nb.png,1,masks/b.png,PA\n")
    table = read_table([str(root / "t.csv")], SCAN)
    assert table.mask == [None, root / "masks/b.png"]
    assert list(table.groups) == ["view"]
    assert read_table([str(root)], SCAN).mask is None
    # Where a model has such a role, the column is its.
    (root / "r.csv").write_text("scan,mask\nb.png,masks/b.png\n")
    own = read_table([str(root / "r.csv")], {"scan": "joined", "mask": "joined"})
    assert own.mask is None
    assert own.paths["mask"] == [root / "masks/b.png"]
