"""An image on the planes of one series, computed from another, is a series that archives take."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.scans.derived_series import derived_series

DATA = Path(__file__).parents[2] / "data"
MADE_BY = {"model": "brain", "version": "1"}


@pytest.fixture
def scans() -> dict[str, Scan]:
    found = {name: read_scan(DATA / name) for name in ("brain-mr", "body-ct")}
    for header in found["body-ct"].header:
        header.PatientID = found["brain-mr"].header[0].PatientID
    return found


@pytest.mark.parametrize(("place", "source"), [("brain-mr", "body-ct"), ("body-ct", "brain-mr")])
def test_it_is_read_back_where_it_lies_with_its_own_values(scans, place, source, tmp_path):
    where, what = scans[place], scans[source]
    before = [str(header) for scan in scans.values() for header in scan.header]
    draw = np.random.default_rng(0)
    image = draw.uniform(what.pixels.min(), what.pixels.max(), where.shape).astype(np.float32)
    files = derived_series(where, what, image, "Moved", MADE_BY)
    assert [str(header) for scan in scans.values() for header in scan.header] == before
    for number, file in enumerate(files):
        file.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    back = read_scan(tmp_path)
    np.testing.assert_allclose(back.affine, where.affine, atol=1e-6)
    np.testing.assert_allclose(back.pixels[..., 0], image, atol=0.51)
    assert (back.modality, back.units) == (what.modality, what.units)
    first = back.header[0]
    assert first.StudyInstanceUID == where.header[0].StudyInstanceUID
    assert first.SeriesInstanceUID not in {s.header[0].SeriesInstanceUID for s in scans.values()}
    assert first.get("FrameOfReferenceUID")
    assert list(first.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    named = {item.ReferencedSOPInstanceUID for item in first.SourceImageSequence}
    assert named == {header.SOPInstanceUID for header in what.header}
    if place == "brain-mr":
        assert first.FrameOfReferenceUID == where.header[0].FrameOfReferenceUID


def test_small_values_have_a_rescale(scans, tmp_path):
    mr = scans["brain-mr"]
    image = np.random.default_rng(1).uniform(-0.5, 0.5, mr.shape).astype(np.float32)
    for number, file in enumerate(derived_series(mr, mr, image, "Moved", MADE_BY)):
        file.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    np.testing.assert_allclose(read_scan(tmp_path).pixels[..., 0], image, atol=1e-5)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize(("place", "source"), [("brain-mr", "body-ct"), ("body-ct", "brain-mr")])
def test_archives_find_no_error(scans, place, source, tmp_path):
    image = np.zeros(scans[place].shape, np.float32)
    image[0, 0, 0] = 300
    file = derived_series(scans[place], scans[source], image, "Moved", MADE_BY)[0]
    file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    found = subprocess.run(["dciodvfy", tmp_path / "a.dcm"], capture_output=True, text=True)
    assert "Error" not in found.stderr, found.stderr


def test_what_no_series_is_made_of_is_said(scans):
    mr, ct = scans.values()
    image = np.zeros(mr.shape, np.float32)
    with pytest.raises(ValueError, match="the image has shape"):
        derived_series(mr, ct, image[1:], "Moved", MADE_BY)
    with pytest.raises(ScanError, match="is no DICOM series"):
        derived_series(mr, Scan(ct.pixels, ct.affine, path="n", kind="nifti"), image, "M", MADE_BY)
    for header in ct.header:
        header.PatientID = "another"
    with pytest.raises(ScanError, match="is of another patient"):
        derived_series(mr, ct, image, "Moved", MADE_BY)
