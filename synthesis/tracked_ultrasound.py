"""Tracked freehand ultrasound: where every pixel of a frame lies in mm, beside the frame."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ganatomy.artifacts import refuse_full
from ganatomy.errors import WrongUse
from ganatomy.rows import rewrite
from ganatomy.scans import ScanError
from ganatomy.scans.safety import check_path, check_sizes

Frame = Literal["Tracker", "Reference"]
ORIENTATION = "UltrasoundImageOrientation"


@dataclass(frozen=True)
class Sweep:
    """The frames of a sequence whose place is known.

    Attributes:
        path: the file.
        frames: [n, rows, columns], as stored; columns grow towards the marked side of the probe
            and rows away from it.
        places: [n, 4, 4], from (column, row, 0, 1) to mm.
        numbers: of these frames in the file.
        left_out: how many frames were not tracked.
    """

    path: Path
    frames: np.ndarray
    places: np.ndarray
    numbers: list[int]
    left_out: int

    def pixels(self, number: int, shrink: int = 1) -> np.ndarray:
        """Where the pixels of a frame lie, float64 [rows, columns, 3] in mm.

        Args:
            number: among the frames that are here.
            shrink: pixels a side of the squares whose middles are meant.
        """
        rows, columns = (side // shrink for side in self.frames.shape[1:])
        middle = (shrink - 1) / 2
        down, across = (np.arange(side) * shrink + middle for side in (rows, columns))
        place = self.places[number]
        return (
            place[:3, 3] + across[None, :, None] * place[:3, 0] + down[:, None, None] * place[:3, 1]
        )


def read_sweep(
    path: str | Path, calibration: np.ndarray | None = None, to: Frame = "Tracker"
) -> Sweep:
    """A sequence file of PLUS or 3D Slicer (.mha, .mhd) with the poses of its probe.

    Of each frame the file has `ProbeToTrackerTransform` and its status; frames that were not
    tracked are left out.

    Args:
        path: the sequence.
        calibration: ImageToProbe, [4, 4], from a pixel's column and row to mm at the probe, of
            images in the orientation MF; the file's own `ImageToProbeTransform` where None.
        to: in which mm frame places are: the tracker's, or that of the marker on the patient,
            of which the file then has `ReferenceToTrackerTransform`.

    Raises:
        ScanError: no sequence, no transforms or broken ones, no calibration, no tracked frame.

    Reference: Lasso et al. 2014, PLUS, IEEE TBME; the toolkit's pages on sequence files and
    coordinate systems.
    """
    path = Path(path)
    stored, fields = _read(path)
    if calibration is not None:
        calibration = np.asarray(calibration, float)
        if calibration.shape != (4, 4) or not np.isfinite(calibration).all():
            raise WrongUse("calibration is a matrix [4, 4] of finite numbers, ImageToProbe")
    places, numbers = [], []
    for number in range(len(stored)):
        place = _place(path, fields, number, calibration, to)
        if place is not None:
            places.append(place)
            numbers.append(number)
    if not places:
        raise ScanError(path, "has no frame that was tracked", "a transform with the status OK")
    frames = _upright(path, stored, fields.get(ORIENTATION, "MFA"))[numbers]
    return Sweep(path, frames, np.array(places), numbers, len(stored) - len(numbers))


def write_sweeps(
    paths: Sequence[str | Path],
    folder: Path,
    *,
    calibration: np.ndarray | None = None,
    to: Frame = "Tracker",
    shrink: int = 1,
    middle: Sequence[float] | None = None,
) -> Path:
    """Write sequences as pairs that a model of positions is trained on, `pairs.csv` among them.

    Columns: `scan`, three channels along NIfTI's fifth dimension, where every pixel lies in mm from
    `middle`; `target`, the frame; `patient`, the sequence. A position may be made into an image
    later if it is from the same middle: middle.csv keeps it.

    Args:
        paths: sequences, of one patient or phantom where a model is to learn what lies where.
        folder: made where it does not exist; has to be empty.
        calibration: see `read_sweep`.
        to: see `read_sweep`.
        shrink: frames are means over squares of so many pixels a side.
        middle: mm; that of all frames where None.

    Returns:
        pairs.csv.

    Raises:
        ScanError: see `read_sweep`; frames smaller than a square.
        WrongUse: two sequences of one name, or a `shrink` below 1.
        ArtifactError: the folder holds something.
    """
    import nibabel as nib

    names = [Path(path).stem for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    if twice or not names:
        raise WrongUse(f"two sequences are called {min(twice)}" if twice else "no sequences")
    if shrink < 1:
        raise WrongUse(f"shrink is a number of pixels, 1 or more, not {shrink}")
    refuse_full(folder)
    middles: list[np.ndarray] = []
    for path in paths:  # all are read before anything is written, and again: one is held at a time
        sweep = read_sweep(path, calibration, to)
        if min(sweep.frames.shape[1:]) < 2 * shrink:
            raise ScanError(sweep.path, f"is too small to shrink {shrink} times", "larger frames")
        middles += [sweep.pixels(n, shrink).mean((0, 1)) for n in range(len(sweep.frames))]
    centre = np.mean(middles, axis=0) if middle is None else np.asarray(middle, float)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []

    def save(pixels: np.ndarray, file: str) -> str:
        nib.Nifti1Image(pixels, np.eye(4)).to_filename(folder / file)
        return file

    for name, path in zip(names, paths, strict=True):
        sweep = read_sweep(path, calibration, to)
        for number, frame in enumerate(sweep.frames):
            stem = f"{name}-{sweep.numbers[number]:04d}"
            place = (sweep.pixels(number, shrink) - centre).astype(np.float32)
            scan = save(place[:, :, None, None], f"{stem}-place.nii.gz")
            target = save(_shrunk(frame, shrink)[:, :, None], f"{stem}.nii.gz")
            rows.append({"scan": scan, "target": target, "patient": name})
    xyz = ("x", "y", "z")
    rewrite(folder / "middle.csv", xyz, [dict(zip(xyz, map(str, centre.tolist()), strict=True))])
    rewrite(folder / "pairs.csv", ("scan", "target", "patient"), rows)
    return folder / "pairs.csv"


def _read(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """Frames [n, rows, columns] as stored, and the fields of the header."""
    import SimpleITK as sitk

    check_path(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, kind = reader.GetSize(), sitk.GetPixelIDValueAsString(reader.GetPixelID())
        fields = {key: reader.GetMetaData(key).strip() for key in reader.GetMetaDataKeys()}
    except RuntimeError as error:
        raise ScanError(
            path, "is no sequence that can be read", "a MetaImage, .mha or .mhd"
        ) from error
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        problem = f"has {len(size)} dimensions of {reader.GetNumberOfComponents()} value(s)"
        raise ScanError(path, problem, "frames of grey, columns × rows × time")
    if "8-bit" not in kind and "16-bit" not in kind:
        raise ScanError(path, f"has pixels of {kind}", "8 or 16 bits")
    check_sizes(str(path), size[:2], size[2] * (1 if "8-bit" in kind else 2))
    try:
        return sitk.GetArrayFromImage(reader.Execute()), fields
    except RuntimeError as error:
        raise ScanError(path, "is damaged or cut short", "all frames of its header") from error


def _place(
    path: Path, fields: dict[str, str], number: int, calibration: np.ndarray | None, to: Frame
) -> np.ndarray | None:
    """From pixels of a frame to mm; None where it was not tracked."""

    def of_frame(name: str) -> str:
        return f"Seq_Frame{number:04d}_{name}"

    needed = ["ProbeToTracker"] + ["ReferenceToTracker"] * (to == "Reference")
    statuses = [fields.get(of_frame(f"{name}TransformStatus"), "OK") for name in needed]
    statuses.append(fields.get(of_frame("ImageStatus"), "OK"))
    if any(status != "OK" for status in statuses):
        return None
    probe, *reference = (_matrix(path, fields, of_frame(f"{name}Transform")) for name in needed)
    if calibration is None:
        name = "ImageToProbeTransform"
        own = of_frame(name) if of_frame(name) in fields else name
        if own not in fields:
            raise ScanError(path, f"has no {name}", "one, or the argument calibration")
        calibration = _matrix(path, fields, own)
    found = probe @ calibration
    if not reference:
        return found
    if abs(np.linalg.det(reference[0])) < 1e-6:
        problem = f"{of_frame('ReferenceToTrackerTransform')} is singular"
        raise ScanError(path, problem, "a transform that has an inverse")
    return np.linalg.inv(reference[0]) @ found


def _matrix(path: Path, fields: dict[str, str], name: str) -> np.ndarray:
    """A transform of 16 numbers, row by row."""
    expected = "16 finite numbers that end in 0 0 0 1"
    if name not in fields:
        raise ScanError(path, f"has no {name}", expected)
    values: list[float] = []
    with contextlib.suppress(ValueError):
        values = [float(word) for word in fields[name].split()]
    if len(values) != 16 or not all(map(math.isfinite, values)) or values[12:] != [0, 0, 0, 1]:
        raise ScanError(path, f"{name} is broken", expected)
    return np.reshape(values, (4, 4))


def _upright(path: Path, frames: np.ndarray, orientation: str) -> np.ndarray:
    """Frames in the orientation MF, in which calibrations are, from M or U, then F or N."""
    if orientation[:1] not in ("M", "U") or orientation[1:2] not in ("F", "N"):
        raise ScanError(path, f"has an unknown {ORIENTATION}", "MF, MN, UF or UN, then A or D")
    frames = frames[:, :, ::-1] if orientation[0] == "U" else frames
    return frames[:, ::-1] if orientation[1] == "N" else frames


def _shrunk(frame: np.ndarray, times: int) -> np.ndarray:
    """Means over squares; rows and columns left over at the ends are cut."""
    if times == 1:
        return frame
    rows, columns = (side // times for side in frame.shape)
    cut = frame[: rows * times, : columns * times].astype(np.float32)
    return cut.reshape(rows, times, columns, times).mean((1, 3))
