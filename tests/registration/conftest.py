"""A pair of DICOM series of one patient."""

from pathlib import Path

import pytest

from ganatomy.scans import Scan, read_scan

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def fixed() -> Scan:
    """An MR series with its own frame of reference."""
    return read_scan(DATA / "brain-mr")


@pytest.fixture
def moving() -> Scan:
    """A CT series of another study and frame, made the same patient's."""
    scan = read_scan(DATA / "body-ct")
    for header in scan.header:
        header.PatientID = "brain-mr"
    return scan
