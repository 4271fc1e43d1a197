"""VA-GAN is measured on patients that it did not see."""

import numpy as np

from benchmarks.vagan import half, write_table
from ganatomy.tables import Table, read_labelled_table


def test_half_of_the_sick_patients_are_trained_on_whole():
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 0])
    patients = np.array(["h1", "h2", "s1", "s1", "s2", "s3", "b", "b"])
    halves = [half(labels, patients, seed) for seed in range(8)]
    for taught in halves:
        assert set(patients[taught]) < {"s1", "s2", "s3"}
        assert not set(patients[taught]) & set(patients[~taught])
        assert len(set(patients[taught])) == 1
    assert len({tuple(taught) for taught in halves}) > 1
    np.testing.assert_array_equal(half(labels, patients, 0), halves[0])


def test_sick_scans_stand_in_a_column_of_their_own(tmp_path):
    healthy = tmp_path / "train.csv"
    healthy.write_text("scan,label,patient,kind\na.png,0,h1,normal\nb.png,0,h2,normal\n")
    sick = [tmp_path / "c.png", tmp_path / "d.png"]
    test = Table({"scan": sick}, ["c", "d"], np.array([1, 1]), np.array(["s1", "s2"]))
    write_table(healthy, test, np.array([False, True]), tmp_path / "vagan.csv")
    roles = {"scan": "joined", "abnormal": "independent"}
    table = read_labelled_table([str(tmp_path / "vagan.csv")], roles)
    assert [path.name for path in table.first] == ["a.png", "b.png"]
    assert [path.name for path in table.paths["abnormal"]] == ["d.png"]
    assert table.label is not None
    assert table.label.tolist() == [0, 0]
    assert list(table.independent["abnormal"]) == ["s2"]
