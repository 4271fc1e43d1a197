"""A synthetic image as a DICOM series: marked, in its place, without the source's acquisition."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.scans.synthetic_series import synthetic_series

MADE_BY = {"model": "t1-to-t2", "version": "1"}


@pytest.fixture(scope="module")
def scans():
    named = {"ct": "CT_small.dcm", "mr": "MR_small.dcm"}
    return {kind: read_scan(get_testdata_file(name)) for kind, name in named.items()}


@pytest.fixture(params=["ct", "mr"])
def scan(request, scans):
    return scans[request.param]


@pytest.fixture(params=["CT", "MR", "PT"])
def written(request, scan, tmp_path):
    """A file of a made image: its path, the modality, and the image."""
    low, high = {"CT": (-1000, 1000), "MR": (0, 3000), "PT": (0, 7.5)}[request.param]
    image = np.linspace(low, high, scan.pixels.size).reshape(scan.shape)
    (made,) = synthetic_series(scan, image, request.param, "T2", MADE_BY)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    return tmp_path / "a.dcm", request.param, image


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
def test_a_validator_finds_no_error(written):
    said = subprocess.run(["dciodvfy", written[0]], capture_output=True, text=True)
    assert not [line for line in said.stderr.splitlines() if line.startswith("Error")]


def test_what_is_written_says_what_it_is(scan, written):
    path, modality, image = written
    low, high = image.min(), image.max()
    back, source = read_scan(path), scan.header[0]
    assert back.modality == modality
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)
    step = 0.51 if high - low >= 255 else (high - low) / 60000
    np.testing.assert_allclose(back.pixels[..., 0], image, atol=step)
    stored = pydicom.dcmread(path)
    assert stored.BitsStored == 16
    assert stored.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert stored.SeriesDescription == "Synthetic T2"
    assert "synthetic" in stored.DerivationDescription.lower()
    assert stored.StudyInstanceUID == source.StudyInstanceUID
    assert stored.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert stored.SeriesInstanceUID != source.SeriesInstanceUID
    assert stored.SOPInstanceUID != source.SOPInstanceUID
    reference = stored.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.SpatialLocationsPreserved == "YES"
    # What only a scanner can know is empty, or not there.
    known = {"KVP", "EchoTime", "RepetitionTime", "XRayTubeCurrent", "FlipAngle", "ProtocolName"}
    assert not [name for name in known if stored.get(name)]


def test_what_has_no_place_is_refused(scans):
    image = np.zeros(scans["mr"].shape)
    with pytest.raises(ScanError, match="is no DICOM series"):
        synthetic_series(Scan(scans["mr"].pixels, np.eye(4)), image, "MR", "T2", MADE_BY)
    with pytest.raises(ValueError, match="has shape"):
        synthetic_series(scans["mr"], image[1:], "MR", "T2", MADE_BY)


def test_a_made_dose_is_no_dose_to_a_planning_system(scans):
    image = np.linspace(0, 60, scans["ct"].pixels.size).reshape(scans["ct"].shape)
    (made,) = synthetic_series(scans["ct"], image, "RTDOSE", "dose", MADE_BY)
    assert made.Modality == "OT"
    assert "DoseGridScaling" not in made
