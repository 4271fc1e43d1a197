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


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("kind", ["ct", "mr"])
def test_what_is_written_has_no_error_and_says_what_it_is(scans, tmp_path, kind, modality):
    scan = scans[kind]
    low, high = {"CT": (-1000, 1000), "MR": (0, 3000), "PT": (0, 7.5)}[modality]
    image = np.linspace(low, high, scan.pixels.size).reshape(scan.shape)
    (made,) = synthetic_series(scan, image, modality, "T2", MADE_BY)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    said = subprocess.run(["dciodvfy", tmp_path / "a.dcm"], capture_output=True, text=True)
    assert not [line for line in said.stderr.splitlines() if line.startswith("Error")]

    back, source = read_scan(tmp_path / "a.dcm"), scan.header[0]
    assert back.modality == modality
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)
    step = 0.51 if high - low >= 255 else (high - low) / 60000
    np.testing.assert_allclose(back.pixels[..., 0], image, atol=step)
    stored = pydicom.dcmread(tmp_path / "a.dcm")
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
