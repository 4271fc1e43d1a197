"""Folders as collections of pairs come, from the files to what a model sees of them.

No collection of these kinds is at hand: each test writes a small one, with the real names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from ganatomy.cache import prepare_table
from ganatomy.registry import preset
from ganatomy.scans import Preprocessing, ScanError, read_scan
from ganatomy.tables import TableError, read_table
from synthesis.pix2pix import Pix2Pix
from synthesis.series_pairs import write_series_pairs
from tests.ganatomy.scans.conftest import ct_slice
from tests.ganatomy.scans.test_dose import rt_dose

CLASSES = {"CT": "1.2.840.10008.5.1.4.1.1.2", "PT": "1.2.840.10008.5.1.4.1.1.128"}
DOSE = {
    "scan": {"SeriesDescription": "low dose images"},
    "target": {"SeriesDescription": "full dose images"},
}


def series(
    folder: Path, modality: str, spacing: float, side: int, patient: float, **elements: Any
) -> None:
    """Slices 2 mm apart whose values are mm towards the feet of the image's rows, plus a number.

    Middles of the first voxels lie at (0, 0, 0) for all, so that grids differ by spacing alone.
    """
    folder.mkdir(parents=True)
    uid = generate_uid()
    for number in range(4):
        rows = np.indices((side, side))[0] * spacing
        dataset = ct_slice((rows + 100 * number + patient).astype(np.int16), number)
        dataset.Modality = modality
        dataset.SOPClassUID = CLASSES[modality]
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.SeriesInstanceUID = uid
        dataset.Rows = dataset.Columns = side
        dataset.PixelSpacing = [spacing, spacing]
        dataset.ImagePositionPatient = [0, 0, 2 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SliceThickness = 2
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        for name, value in elements.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def test_a_pet_is_prepared_on_the_grid_of_its_ct(tmp_path):
    for patient in (1, 2):
        series(tmp_path / f"P{patient}" / "CT", "CT", 1.0, 24, patient)
        series(tmp_path / f"P{patient}" / "PET", "PT", 2.0, 12, patient)
    table = read_table([f"scan={tmp_path}/*/CT", f"target={tmp_path}/*/PET"], Pix2Pix.roles)
    assert table.names == ["P1", "P2"]
    settings = Preprocessing(size=(16, 16), spacing=(1.0, 1.0), normalise="window", window=(0, 500))
    _, samples = prepare_table(table, settings, grids=Pix2Pix.grids)
    scans, targets = (samples[role].array for role in ("scan", "target"))
    assert scans.shape == targets.shape == (8, 16, 16, 1)
    # Both show one linear ramp in mm: what stands in one place is of one place.
    np.testing.assert_allclose(targets, scans, atol=2 / 250)
    assert np.abs(np.diff(scans[..., 0], axis=1)).min() > 1 / 300


# Low and full dose CT ---------------------------------------------------------------------------


@pytest.fixture
def ldct(tmp_path):
    """As TCIA's downloader writes LDCT-and-Projection-data: names that pair nothing."""
    root = tmp_path / "LDCT-and-Projection-data"
    for number, name in enumerate(["C002", "L014"], 1):
        kinds = ["Full dose images", "Low Dose Images", "Full dose projections"]
        study = {"StudyInstanceUID": generate_uid(), "PatientID": name}
        for place, kind in enumerate(kinds):
            folder = f"{place + 1}.000000-{kind}-{10000 * number + 317 * place}"
            elements = {**study, "SeriesDescription": kind}
            noise = 30 * (kind == kinds[1])
            series(root / name / "08-30-2018-1" / folder, "CT", 1.0, 24, number + noise, **elements)
    (root / "LICENSE").write_text("CC BY 4.0")
    return root


def test_low_and_full_dose_are_told_apart_by_their_descriptions(ldct, tmp_path):
    assert write_series_pairs(ldct, tmp_path / "dose.csv", DOSE) == 2
    table = read_table([str(tmp_path / "dose.csv")], Pix2Pix.roles)
    assert table.patient is not None
    assert table.patient.tolist() == ["patient 001", "patient 002"]
    for scan, target, name in zip(*table.paths.values(), ["C002", "L014"], strict=True):
        assert "-Low Dose Images-" in scan.name
        assert "-Full dose images-" in target.name
        assert scan.parent == target.parent == ldct / name / "08-30-2018-1"
    settings = Preprocessing(size=(24, 24), spacing=(1, 1), normalise="window", window=(0, 500))
    _, samples = prepare_table(table, settings, grids=Pix2Pix.grids)
    low, full = (250 * (samples[role].array + 1) for role in ("scan", "target"))
    np.testing.assert_allclose(low - full, np.full((8, 24, 24, 1), 30), atol=0.1)


def test_series_that_go_with_none_or_two_are_named(ldct, tmp_path):
    (alone,) = ldct.glob("L014/*/*Full dose images*")
    for file in alone.iterdir():
        file.unlink()
    alone.rmdir()
    with pytest.raises(TableError, match=r"L014.*Low Dose Images.* has no target"):
        write_series_pairs(ldct, tmp_path / "dose.csv", DOSE)
    assert write_series_pairs(ldct, tmp_path / "one.csv", DOSE, leave_out=True) == 1
    with pytest.raises(TableError, match=r"one\.csv is there already"):
        write_series_pairs(ldct, tmp_path / "one.csv", DOSE)
    both = {**DOSE, "target": {"SeriesDescription": "full dose*"}}
    with pytest.raises(TableError, match=r"Full dose projections.* are both target"):
        write_series_pairs(ldct, tmp_path / "dose.csv", both)
    with pytest.raises(TableError, match="may be scan and target"):
        write_series_pairs(ldct, tmp_path / "dose.csv", {**DOSE, "target": {"Modality": "CT"}})
    with pytest.raises(TableError, match="no series that go together"):
        write_series_pairs(ldct, tmp_path / "dose.csv", {**DOSE, "target": {"Modality": "MR"}})
    (file, *_) = ldct.glob("C002/*/*Low*/0.dcm")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ScanError, match=r"0\.dcm"):
        write_series_pairs(ldct, tmp_path / "dose.csv", DOSE, leave_out=True)


# Planned dose -------------------------------------------------------------------------------------


def test_a_planned_dose_is_prepared_in_gray_on_the_grid_of_its_ct(tmp_path):
    root = tmp_path / "plans"
    for number in (1, 2):
        place = {"FrameOfReferenceUID": generate_uid(), "StudyInstanceUID": generate_uid()}
        series(root / f"HN-{number}" / "0.000000-NA-82046", "CT", 1.0, 24, number, **place)
        # 2 mm and 4 mm voxels of a ramp of 0.1 Gy a mm to the feet of the rows and of the slices.
        rows, slices = np.indices((12, 12))[0] * 2, np.arange(2)[:, None, None] * 4
        dose = rt_dose(np.rint((rows + slices + number) / 10 / 5e-5).astype("<u4"))
        dose.FrameOfReferenceUID, dose.SeriesInstanceUID = place["FrameOfReferenceUID"], "1.2.3"
        dose.StudyInstanceUID = generate_uid()  # planned on another day
        dose.PixelSpacing, dose.ImagePositionPatient = [2, 2], [0, 0, 0]
        dose.GridFrameOffsetVector = [0, 4]
        (root / f"HN-{number}" / "1.000000-NA-68175").mkdir()
        dose.save_as(
            root / f"HN-{number}" / "1.000000-NA-68175" / "1-1.dcm", enforce_file_format=True
        )
    wanted = {
        "scan": {"Modality": "CT"},
        "target": {"Modality": "RTDOSE", "DoseSummationType": "PLAN"},
    }
    assert write_series_pairs(root, tmp_path / "t.csv", wanted, of="FrameOfReferenceUID") == 2
    table = read_table([str(tmp_path / "t.csv")], Pix2Pix.roles)
    assert [read_scan(path).units for path in table.paths["target"]] == ["Gy", "Gy"]
    ct = {"size": (20, 20), "spacing": (1, 1), "slices": (0, 0.75), "normalise": "window"}
    _, samples = prepare_table(
        table,
        Preprocessing(**ct, window=(0, 500)),
        by_role={"target": Preprocessing(**ct, window=(0, 8))},
        grids=Pix2Pix.grids,
    )
    hounsfield = 250 * (samples["scan"].array + 1)
    gray = 4 * (samples["target"].array + 1)
    for number in range(2):
        for slice_ in range(3):  # of the CT, 2 mm apart, each 100 HU above the last
            image = hounsfield[3 * number + slice_] - 100 * slice_
            expected = (image + 2 * slice_) / 10
            np.testing.assert_allclose(gray[3 * number + slice_], expected, atol=0.02)


# Tracked ultrasound -------------------------------------------------------------------------------

CALIBRATION = np.array([[0.1, 0, 0, -3], [0, 0.2, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def text_of(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.10g}" for value in matrix.ravel())


def pose(number: int) -> np.ndarray:
    """Where the probe is: turned about x, and moved."""
    angle = 0.2 * number
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, 3] = [100 + number, -50, 300 + 2 * number]
    return turned


def sequence(path: Path, frames: np.ndarray, fields: dict[str, str]) -> None:
    """A sequence file as PLUS writes it: MetaImage with fields of every frame."""
    count, rows, columns = frames.shape
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "DimSize": f"{columns} {rows} {count}",
        "ElementSpacing": "1 1 1",
        "ElementType": "MET_UCHAR",
        "Kinds": "domain domain list",
        "Offset": "0 0 0",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "UltrasoundImageOrientation": "MFA",
        "UltrasoundImageType": "BRIGHTNESS",
        **fields,
        "ElementDataFile": "LOCAL",
    }
    lines = "".join(f"{name} = {value}\n" for name, value in header.items())
    path.write_bytes(lines.encode() + frames.astype(np.uint8).tobytes())


def tracked(count: int) -> dict[str, str]:
    fields = {}
    for number in range(count):
        start = f"Seq_Frame{number:04d}_"
        fields[f"{start}ProbeToTrackerTransform"] = text_of(pose(number))
        fields[f"{start}ProbeToTrackerTransformStatus"] = "OK"
        fields[f"{start}Timestamp"] = f"{number / 30:.4f}"
        fields[f"{start}ImageStatus"] = "OK"
    return fields


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (5, 12, 16)).astype(np.uint8)


def test_a_tracked_sweep_becomes_positions_beside_their_frames(frames, tmp_path):
    from synthesis.tracked_ultrasound import write_sweeps

    lost = {"Seq_Frame0003_ProbeToTrackerTransformStatus": "INVALID"}
    sequence(tmp_path / "sweep.mha", frames, {**tracked(5), **lost})
    out = write_sweeps([tmp_path / "sweep.mha"], tmp_path / "pairs", calibration=CALIBRATION)
    table = read_table([str(out)], Pix2Pix.roles)
    assert [path.name for path in table.paths["target"]] == [
        f"sweep-{number:04d}.nii.gz" for number in (0, 1, 2, 4)
    ]
    # As the preset of positions reads it, with the scales of this scanner.
    recipe = preset("position-to-ct").set(
        ["size=[12, 16]", "preprocessing.window=[-10, 10]", "by_role.target.window=[0, 255]"]
    )
    own = {"target": Preprocessing(**recipe.preprocessing_of("target"))}
    settings = Preprocessing(**recipe.preprocessing)
    _, samples = prepare_table(table, settings, by_role=own, grids=Pix2Pix.grids)
    seen = 127.5 * (samples["target"].array[..., 0] + 1)
    np.testing.assert_allclose(seen, frames[[0, 1, 2, 4]], atol=0.01)
    middle = pd.read_csv(tmp_path / "pairs" / "middle.csv").to_numpy()[0]
    for place, number in zip(samples["scan"].array, (0, 1, 2, 4), strict=True):
        row, column = 7, 13
        mm = pose(number) @ CALIBRATION @ [column, row, 0, 1]
        np.testing.assert_allclose(10 * place[row, column] + middle, mm[:3], atol=1e-3)


def test_frames_are_turned_shrunk_and_placed_by_the_marker_on_the_patient(frames, tmp_path):
    from synthesis.tracked_ultrasound import read_sweep, write_sweeps

    reference = pose(9)
    fields = tracked(5)
    for number in range(5):
        fields[f"Seq_Frame{number:04d}_ReferenceToTrackerTransform"] = text_of(reference)
    fields |= {"ImageToProbeTransform": text_of(CALIBRATION), "UltrasoundImageOrientation": "UNA"}
    sequence(tmp_path / "sweep.mha", frames, fields)
    sweep = read_sweep(tmp_path / "sweep.mha", to="Reference")
    np.testing.assert_array_equal(sweep.frames, frames[:, ::-1, ::-1])
    place = np.linalg.inv(reference) @ pose(2) @ CALIBRATION
    np.testing.assert_allclose(sweep.pixels(2)[7, 13], (place @ [13, 7, 0, 1])[:3], atol=1e-6)
    options = {"to": "Reference", "shrink": 4, "middle": (0, 0, 0)}
    out = write_sweeps([tmp_path / "sweep.mha"], tmp_path / "pairs", **options)
    table = read_table([str(out)], Pix2Pix.roles)
    scan, target = (read_scan(table.paths[role][2]) for role in ("scan", "target"))
    expected = sweep.frames[2].reshape(3, 4, 4, 4).mean((1, 3))
    np.testing.assert_allclose(target.pixels[:, :, 0, 0], expected)
    mm = (place @ [4 * 3 + 1.5, 4 * 1 + 1.5, 0, 1])[:3]
    np.testing.assert_allclose(scan.pixels[1, 3, 0], mm, atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"ImageToProbeTransform": ""}, "ImageToProbeTransform is broken"),
        ({"Seq_Frame0001_ProbeToTrackerTransform": "1 0 0"}, "Transform is broken"),
        ({"Seq_Frame0001_ProbeToTrackerTransform": "nan " * 16}, "Transform is broken"),
        ({"UltrasoundImageOrientation": "XXX"}, "has an unknown UltrasoundImageOrientation"),
        ({"DimSize": "16 12 50"}, "is damaged or cut short"),
        ({"ElementType": "MET_DOUBLE"}, "has pixels of 64-bit float"),
        ({"ObjectType": "Nothing", "NDims": "x"}, "is no sequence that can be read"),
    ],
)
def test_a_broken_sweep_is_refused_in_one_line(frames, tmp_path, changed, problem):
    from synthesis.tracked_ultrasound import write_sweeps

    calibrated = {"ImageToProbeTransform": text_of(CALIBRATION)}
    sequence(tmp_path / "sweep.mha", frames, {**tracked(5), **calibrated, **changed})
    with pytest.raises(ScanError) as caught:
        write_sweeps([tmp_path / "sweep.mha"], tmp_path / "pairs")
    assert problem in str(caught.value)
    assert "sweep.mha" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pairs").exists()


def test_a_sweep_without_tracking_or_calibration_is_refused(frames, tmp_path):
    from synthesis.tracked_ultrasound import read_sweep

    sequence(tmp_path / "plain.mha", frames, {})
    with pytest.raises(ScanError, match="has no Seq_Frame0000_ProbeToTrackerTransform"):
        read_sweep(tmp_path / "plain.mha", CALIBRATION)
    sequence(tmp_path / "sweep.mha", frames, tracked(5))
    with pytest.raises(ScanError, match="has no ImageToProbeTransform"):
        read_sweep(tmp_path / "sweep.mha")
    lost = {name: "INVALID" for name in tracked(5) if name.endswith("TransformStatus")}
    sequence(tmp_path / "lost.mha", frames, {**tracked(5), **lost})
    with pytest.raises(ScanError, match="has no frame that was tracked"):
        read_sweep(tmp_path / "lost.mha", CALIBRATION)


# Pictures -----------------------------------------------------------------------------------------


def test_depth_of_16_bits_lies_in_a_folder_beside_the_frames(tmp_path):
    for number in range(3):
        frame = np.random.default_rng(number).integers(0, 256, (12, 16, 3)).astype(np.uint8)
        depth = (np.indices((12, 16))[0] * 1000 + 5000 * number).astype(np.uint16)
        for kind, pixels in {"color": frame, "depth": depth}.items():
            (tmp_path / "cecum_t1" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "cecum_t1" / kind / f"{number:04d}.png")
    specs = [f"scan={tmp_path}/*/color/*.png", f"target={tmp_path}/*/depth/*.png"]
    table = read_table(specs, Pix2Pix.roles)
    assert table.names == [f"cecum_t1/{number:04d}" for number in range(3)]
    mm = Preprocessing(size=(12, 16), normalise="window", window=(0, 65535))
    colour = Preprocessing(size=(12, 16), channels=3)
    _, samples = prepare_table(table, colour, by_role={"target": mm}, grids=Pix2Pix.grids)
    assert samples["scan"].array.shape == (3, 12, 16, 3)
    depth = (samples["target"].array + 1) * 65535 / 2
    np.testing.assert_allclose(depth[2, :, 5, 0], 10000 + 1000 * np.arange(12), atol=0.1)


def test_two_scanners_of_one_slide_pair_by_what_their_names_share(tmp_path):
    # MITOS-ATYPIA 14: A03/frames/x20/A03_00A.tiff of one scanner, H03/… of the other.
    for scanner, shade in {"A": 200, "H": 100}.items():
        for slide in ("03", "04"):
            folder = tmp_path / f"{scanner}{slide}" / "frames" / "x20"
            folder.mkdir(parents=True)
            for tile in ("00A", "00B"):
                pixels = np.random.default_rng(0).integers(shade, shade + 50, (8, 8, 3))
                name = f"{scanner}{slide}_{tile}.tiff"
                Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    specs = [
        f"{role}={tmp_path}/{s}*/frames/x20/{s}*.tiff"
        for role, s in zip(Pix2Pix.roles, "AH", strict=True)
    ]
    table = read_table(specs, Pix2Pix.roles)
    assert table.names == ["03/03_00A", "03/03_00B", "04/04_00A", "04/04_00B"]
    settings = Preprocessing(size=(8, 8), channels=3, normalise="window", window=(0, 255))
    _, samples = prepare_table(table, settings, grids=Pix2Pix.grids)
    gap = 127.5 * (samples["scan"].array - samples["target"].array)
    np.testing.assert_allclose(gap, np.full((4, 8, 8, 3), 100), atol=0.01)
