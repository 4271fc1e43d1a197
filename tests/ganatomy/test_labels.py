"""Roles that are labels: with their scans in the table, the split, the cache and the batch."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf

from ganatomy import roles as kinds
from ganatomy.batches import Augment, batches
from ganatomy.cache import check_labels, prepare_table
from ganatomy.registry import preset
from ganatomy.scans import Preprocessing, ScanError
from ganatomy.tables import TableError, read_table, split
from ganatomy.training import fit

ROLES = {
    "fixed": "joined",
    "moving": "independent",
    "fixed_labels": "fixed",
    "moving_labels": "moving",
}
PAIRS = {**ROLES, "moving": "joined"}
PLAIN = Preprocessing(rank=3, size=(6, 7, 5), spacing=(1, 1, 1))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANATOMY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Six scans that say which they are, and labels that say so too."""
    draw = np.random.default_rng(0)
    for name in ("scans", "labels"):
        (tmp_path / name).mkdir()
    for n in range(6):
        shape = (4 + 2 * (n % 2), 7, 5)
        place = np.diag([-1.0, 1, 1, 1])
        scan = draw.normal(size=shape)
        labels = np.full(shape, n + 1, np.uint8)
        labels[:, 0] = 0
        nib.save(nib.Nifti1Image(scan, place), tmp_path / "scans" / f"{n}.nii")  # pyright: ignore
        nib.save(nib.Nifti1Image(labels, place), tmp_path / "labels" / f"{n}.nii")  # pyright: ignore
    return tmp_path


def globs(folder, **names):
    return [f"{role}={folder}/{name}/*.nii" for role, name in names.items()]


ALL = {"fixed": "scans", "moving": "scans", "fixed_labels": "labels", "moving_labels": "labels"}


def numbers(table, role):
    return [path.stem for path in table.paths[role]]


def test_what_roles_say():
    assert kinds.labels(ROLES) == {"fixed_labels": "fixed", "moving_labels": "moving"}
    assert kinds.streams(ROLES) == ["moving"]
    assert kinds.in_rows(ROLES) == ["fixed", "fixed_labels"]
    assert kinds.in_rows(PAIRS) == list(PAIRS)
    assert kinds.missing(ROLES, {"fixed"}) == ["moving"]


def test_labels_are_in_the_table_where_they_are_given(folder):
    table = read_table(globs(folder, **ALL), ROLES)
    assert list(table.paths) == list(ROLES)
    assert table.labels == {"fixed_labels": "fixed", "moving_labels": "moving"}
    assert table.joined == ["fixed", "fixed_labels"]
    assert table.streams() == {"moving": ["moving", "moving_labels"]}
    without = read_table(globs(folder, fixed="scans", moving="scans"), ROLES)
    assert list(without.paths) == ["fixed", "moving"]
    assert without.labels == {}


def test_rows_and_splits_keep_labels_with_their_scans(folder):
    table = read_table(globs(folder, **ALL), ROLES)
    picked = table.rows(np.array([4, 1]))
    assert numbers(picked, "fixed_labels") == numbers(picked, "fixed") == ["4", "1"]
    assert numbers(picked, "moving_labels") == numbers(picked, "moving") == list("012345")
    training, held = split(table, 0.34, seed=1)
    for part in (training, held):
        assert len(part) in (2, 4)
        for role in ("fixed", "moving"):
            assert numbers(part, role) == numbers(part, f"{role}_labels") == part.names
        assert part.labels == table.labels


def test_a_csv_has_labels_beside_their_scans(folder):
    lines = ["fixed,moving,fixed_labels,moving_labels"]
    lines += [f"scans/{n}.nii,scans/{n}.nii,labels/{n}.nii,labels/{n}.nii" for n in range(2)]
    lines += [",scans/2.nii,,labels/2.nii"]
    (folder / "t.csv").write_text("\n".join(lines))
    table = read_table([str(folder / "t.csv")], ROLES)
    assert len(table) == 2
    assert numbers(table, "moving_labels") == numbers(table, "moving") == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("roles", "row", "message"),
    [
        (ROLES, "a,b,,d", "row 2 has no scan in column 'fixed_labels'"),
        (ROLES, "a,b,c,", "row 2 has only one of columns 'moving' and 'moving_labels'"),
        (ROLES, "a,,c,d", "row 2 has only one of columns 'moving' and 'moving_labels'"),
        (PAIRS, "a,b,c,", "row 2 has no scan in column 'moving_labels'"),
    ],
)
def test_a_row_without_its_labels_is_refused(tmp_path, roles, row, message):
    (tmp_path / "t.csv").write_text(f"fixed,moving,fixed_labels,moving_labels\na,b,c,d\n{row}\n")
    with pytest.raises(TableError, match=message):
        read_table([str(tmp_path / "t.csv")], roles)


def test_labels_have_the_keys_of_their_own_scans(folder):
    (folder / "labels" / "5.nii").unlink()
    with pytest.raises(TableError, match="between moving and moving_labels, '5' for one"):
        read_table(globs(folder, fixed="scans", moving="scans", moving_labels="labels"), ROLES)


def test_labels_are_prepared_on_their_scans_grid_and_keep_their_numbers(folder):
    table, samples = prepare_table(read_table(globs(folder, **ALL), ROLES), PLAIN)
    for role in ("fixed", "moving"):
        labels = samples[f"{role}_labels"].array
        assert labels.shape == samples[role].array.shape == (6, 6, 7, 5, 1)
        for n, one in enumerate(labels):
            # A scan of four voxels does not fill a grid of six.
            assert set(one[-1, 1:].ravel()) == ({0} if n % 2 == 0 else {n + 1})
            assert set(one[1:-1, 1:].ravel()) == {n + 1}
            assert not one[:, 0].any()
    assert table.names == [f"{n}" for n in range(6)]


def test_labels_that_a_model_does_not_learn_are_refused_before_it_trains(folder, tmp_path):
    table = read_table(globs(folder, **ALL), ROLES)
    settings = ["labels=5", "size=[16,16,16]", "levels=1", "width=2", "segmentor=2", "holdout=0"]
    model = preset("hippocampus-deformable-labels").set(settings)
    expected = r"labels/5.nii: holds fixed labels that the model does not learn; expected 0 to 5,"
    with pytest.raises(ScanError, match=expected):
        fit(model, table, tmp_path / "out")
    rows, samples = prepare_table(table, PLAIN)
    for most in (0, 6):  # any, or as many as there are
        check_labels(rows, samples, most)


def test_a_scan_goes_with_labels_that_cannot_be_used(folder):
    spoilt = nib.Nifti1Image(np.eye(4)[..., None] / 2, np.eye(4))  # pyright: ignore
    nib.save(spoilt, folder / "labels" / "2.nii")
    (folder / "scans" / "4.nii").write_bytes(b"nothing")
    table, samples = prepare_table(read_table(globs(folder, **ALL), ROLES), PLAIN)
    assert numbers(table, "fixed") == numbers(table, "moving_labels") == ["0", "1", "3", "5"]
    assert all(len(part.array) == 4 for part in samples.values())
    for role in ("fixed", "moving"):
        assert [e.path[-5] for e in samples[role].failures] == ["4", "2"]
        problems = {e.path[-12:]: e.problem for e in samples[f"{role}_labels"].failures}
        assert problems["labels/2.nii"] == "does not hold labels"
        assert problems["labels/4.nii"].startswith("goes with")


def test_a_partner_is_prepared_on_the_grid_in_mm(folder):
    """Cut into two places of the same scan, a pair shows the same voxel at the same index."""
    whole = np.random.default_rng(1).normal(size=(12, 9, 7))
    nib.save(nib.Nifti1Image(whole[:8], np.eye(4)), folder / "scans" / "a.nii")  # pyright: ignore
    place = np.eye(4)
    place[0, 3] = 3
    (folder / "others").mkdir()
    nib.save(nib.Nifti1Image(whole[3:], place), folder / "others" / "a.nii")  # pyright: ignore
    (folder / "t.csv").write_text("fixed,moving\nscans/a.nii,others/a.nii\n")
    table = read_table([str(folder / "t.csv")], PAIRS)
    settings = Preprocessing(
        rank=3, size=(8, 9, 7), spacing=(1, 1, 1), window=(-9, 9), normalise="window"
    )
    _, placed = prepare_table(table, settings, grids={"moving": "fixed"})
    fixed, moving = (placed[role].array[0] for role in ("fixed", "moving"))
    np.testing.assert_allclose(moving[3:], fixed[3:], atol=1e-6)
    _, alone = prepare_table(table, settings)
    assert not np.allclose(alone["moving"].array[0][3:], fixed[3:], atol=0.1)


def test_a_batch_has_the_labels_of_its_scans():
    own = np.arange(9, dtype="float32").reshape(9, 1, 1, 1) * np.ones((1, 4, 4, 1), "float32")
    arrays = {"fixed": own, "moving": own, "fixed_labels": own, "moving_labels": own}
    # Labels keep their numbers, whatever happens to the intensities.
    changes = Augment(flip=(0,), gain=0.5, bias=0.5, rotate=30, scale=0.2)
    for augment in (None, changes):
        data = batches(
            arrays,
            {},
            roles=ROLES,
            batch_size=4,
            updates=1,
            first_step=0,
            steps=5,
            seed=1,
            augment=augment,
        )
        unlike = 0
        for batch in data:
            for role in ("fixed", "moving"):
                labels = batch[f"{role}_labels"]
                assert set(np.ravel(labels)) <= set(range(9))
                if augment is None:
                    np.testing.assert_array_equal(labels, batch[role])
            unlike += int(tf.reduce_any(batch["fixed_labels"] != batch["moving_labels"]))
        assert unlike


def test_labels_are_moved_as_their_scans_are_and_not_blended():
    squares = np.zeros((20, 16, 16, 1), "float32")
    squares[:, 4:9, 6:12] = 3
    moved = Augment(shift=0.1, rotate=20)(
        {"fixed": tf.constant(squares / 3), "fixed_labels": tf.constant(squares)},
        tf.constant([1, 2], tf.int64),
        ["fixed_labels"],
    )
    assert set(np.unique(moved["fixed_labels"])) == {0, 3}
    inside, shown = np.array(moved["fixed_labels"]) == 3, np.array(moved["fixed"])
    assert shown[inside].min() >= 0.25
    assert shown[~inside].max() <= 0.75
