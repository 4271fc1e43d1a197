"""The radiographs that come with the project: whole, small, and no patient in two tables."""

from __future__ import annotations

import hashlib
import re

import pandas as pd
import pytest

PARTS = ("train", "validation", "test")
SIZE = 12e6


@pytest.fixture
def tables(samples) -> dict[str, pd.DataFrame]:
    return {part: pd.read_csv(samples / f"{part}.csv", dtype={"patient": str}) for part in PARTS}


def test_no_patient_and_no_picture_is_in_two_tables(tables, samples):
    every = pd.concat([table.assign(part=part) for part, table in tables.items()])
    assert every["patient"].notna().all()
    assert every.groupby("patient")["part"].nunique().max() == 1
    assert every["scan"].is_unique
    # The same picture under another patient's name would tell as much.
    contents = [hashlib.sha256((samples / scan).read_bytes()).digest() for scan in every["scan"]]
    assert every.assign(content=contents).groupby("content")["part"].nunique().max() == 1


def test_a_patient_is_who_the_files_name_says(tables):
    """NORMAL2-IM-0381-0001-0002.jpeg is a picture of NORMAL2-IM-0381."""
    for table in tables.values():
        for scan, patient in zip(table["scan"], table["patient"], strict=True):
            stem = re.sub(r"\.jpeg$", "", scan.rpartition("/")[2])
            assert re.match(rf"{re.escape(patient)}[-_]", stem), scan


def test_every_file_is_in_one_table_and_every_row_has_its_file(tables, samples):
    listed = {scan for table in tables.values() for scan in table["scan"]}
    there = {str(file.relative_to(samples)) for file in samples.rglob("*.jpeg")}
    assert listed == there
    assert {file.suffix for file in samples.rglob("*") if file.is_file()} == {".csv", ".jpeg"}


def test_training_sees_healthy_patients_alone_and_the_others_both_kinds(tables):
    assert set(tables["train"]["label"]) == {0}
    for part in ("validation", "test"):
        assert set(tables[part]["label"]) == {0, 1}
    for table in tables.values():
        assert ((table["kind"] == "normal") == (table["label"] == 0)).all()


def test_the_samples_are_small(samples):
    assert sum(file.stat().st_size for file in samples.rglob("*") if file.is_file()) <= SIZE
