"""A folder of scans to their translations, one at a time, as the kind of file that came in."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganatomy.report.translated import MOST, Translated, write_translations
from ganatomy.rows import append, resumed, rewrite, safe, whole_rows
from ganatomy.run_folder import claim
from ganatomy.scans import Scan, ScanError
from ganatomy.tables import Table, fingerprint
from synthesis.pictures import shown_of

if TYPE_CHECKING:
    from synthesis.translator import Translator

ROWS = "translations.csv"
COLUMNS = ("scan", "file", "kind", "units", "low", "high", "unseen", "seconds", "error", "input")
SUFFIXES = (".nii.gz", ".png", ".dcm")
LEVELS = 255  # of whole numbers, below which values are kept as they are


def translate_to(
    translator: Translator,
    table: Table,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Translate a table of scans into a folder.

    Writes images/ (a folder of DICOM for a DICOM series, one file for a slice or radiograph, NIfTI
    for NIfTI, PNG for a picture), translations.csv, a row a scan as soon as it is done, and
    pictures for the report. A scan whose row has no error is not translated again; one that failed
    is tried again, and its new row comes last.

    Args:
        translator: with its model.
        table: of scans.
        folder: made where it does not exist.
        progress: called with (scans done, scans in all).

    Returns:
        One line for every scan of the table that failed.

    Raises:
        ArtifactError: the folder holds another model's results, or the translation of another
            file that has the name of one of these.
    """
    folder.mkdir(parents=True, exist_ok=True)
    artifact = translator.artifact_
    data = artifact.facts.get("data", {}).get("fingerprint")
    claim(folder, preset=artifact.preset.name, data=data)
    inputs = {n: fingerprint([path]) for n, path in zip(table.names, table.first, strict=True)}
    done = _resume(folder, inputs)
    rest = [place for place, name in enumerate(table.names) if name not in done]
    (folder / "images").mkdir(exist_ok=True)
    shown: list[Translated] = []
    # `a` and `a.png` would become one file.
    for number, place in enumerate(rest):
        name = table.names[place]
        twin = any(name + suffix in inputs for suffix in SUFFIXES)
        stem = folder / "images" / safe(f"{name}#" if twin else name)
        row = _translated(translator, table.first[place], stem, name, shown)
        append(folder / ROWS, COLUMNS, [[name, *row, inputs[name]]])
        if progress is not None:
            progress(number + 1, len(rest))
    if shown:
        write_translations(folder, shown)
    rows = {row["scan"]: row for row in whole_rows(folder / ROWS, COLUMNS)}
    return [rows[name]["error"] for name in table.names if rows[name]["error"]]


def _translated(
    translator: Translator, path: Path, stem: Path, name: str, shown: list[Translated]
) -> list[Any]:
    """The row of one scan, between its name and its input; its files come first."""
    began = time.perf_counter()
    values = translator.values_
    try:
        scan = translator.read(path)
        made, unseen = translator.translated(scan)
        settings = {"model": translator.preset.name, "version": version("ganatomy")}
        written = write_translation(made, scan, stem, settings, values.high)
    except (ScanError, OSError) as error:
        return [*[""] * (len(COLUMNS) - 3), " ".join(str(error).split())]
    if len(shown) < MOST:
        shown.append(shown_of(name, scan, made))
    seconds = round(time.perf_counter() - began, 3)
    file = written.relative_to(stem.parents[1]).as_posix()
    return [file, made.kind, made.units, values.low, values.high, round(unseen, 4), seconds, ""]


def write_translation(
    made: Scan, scan: Scan, stem: Path, settings: dict[str, Any], high: float
) -> Path:
    """Write one translation as the kind of file that its scan is.

    Args:
        made: the translation.
        scan: what it was made of.
        stem: the path without suffix; its folder exists.
        settings: see `ganatomy.scans.write_map`.
        high: see `picture`.

    Returns:
        The file, or the folder of a series.

    Raises:
        ScanError: a DICOM header that nothing can be derived from, or an image that its kind of
            file cannot hold.
    """
    if scan.kind == "dicom":
        return _write_dicom(made, scan, stem, settings)
    if made.affine is not None:
        path = _named(stem, ".nii.gz")
        nifti(made).to_filename(path)
        return path
    if made.rank == 2:
        path = _named(stem, ".png")
        picture(made, high).save(path)
        return path
    raise ScanError(scan.path, "is a volume without a place", "NIfTI or DICOM with positions")


def _named(stem: Path, suffix: str) -> Path:
    """A file called as its scan, which may have the suffix already."""
    return stem.with_name(stem.name.removesuffix(suffix) + suffix)


def nifti(made: Scan, kind: Any = None) -> Any:
    """A translation as NIfTI: 16-bit whole numbers where its range has them, else float32.

    Args:
        made: the translation.
        kind: of the numbers, where the range does not decide: of labels.
    """
    import nibabel

    pixels = made.pixels[..., 0]
    if made.channels > 1:  # colours are NIfTI's fifth dimension
        pixels = made.pixels.reshape(*made.shape, *[1] * (4 - made.rank), made.channels)
    low, high = float(pixels.min()), float(pixels.max())
    if kind is not None:
        pixels = pixels.astype(kind)
    elif high - low >= LEVELS and low >= -32768 and high <= 65535:
        kind = np.int16 if high <= 32767 else np.uint16 if low >= 0 else np.int32
        pixels = np.rint(pixels).astype(kind)
    header = made.header.copy() if made.kind == "nifti" and made.header is not None else None
    if header is not None:
        header.extensions.clear()  # they describe the scan's own making
    two = isinstance(header, nibabel.Nifti2Header)
    image = (nibabel.Nifti2Image if two else nibabel.Nifti1Image)(pixels, made.affine, header)
    image.header.set_data_dtype(pixels.dtype)
    image.header.set_slope_inter(1, 0)
    image.header.set_xyzt_units("mm")
    image.header["cal_min"] = image.header["cal_max"] = 0
    image.header["descrip"] = b"Synthetic image by ganatomy; research use only"
    return image


def picture(made: Scan, high: float) -> Any:
    """A translation as a Pillow image: 16 bits of grey where the targets' range needs them.

    Args:
        made: the translation.
        high: the highest value that the targets had, whatever this one reaches, so that all of a
            model's pictures are of one kind; up to 1 they are shares of white.

    Raises:
        ScanError: other channels than a picture has, or colours of 16 bits.
    """
    from PIL import Image

    if made.channels not in (1, 3):
        raise ScanError(made.path, f"has {made.channels} channels", "1 or 3 in a picture")
    if high > 255 and made.channels == 3:
        raise ScanError(made.path, "is 16-bit colour", "colours up to 255 in a picture")
    deep = high > 255
    pixels = made.pixels * 255 if high <= 1 else made.pixels
    pixels = np.clip(np.rint(pixels), 0, 65535 if deep else 255)
    pixels = pixels.astype(np.uint16 if deep else np.uint8)
    return Image.fromarray(pixels[..., 0] if made.channels == 1 else pixels)


def _write_dicom(made: Scan, scan: Scan, stem: Path, settings: dict[str, Any]) -> Path:
    if made.channels != 1:
        raise ScanError(scan.path, f"is translated to {made.channels} channels", "one, in DICOM")
    from ganatomy.scans.derived_series import write_series

    path = _named(stem, ".dcm")
    if made.affine is None:  # a radiograph, which has no place in the patient
        from ganatomy.scans.derived_image import derived_image

        file = derived_image(made, made.pixels[..., 0], "Synthetic image", settings)
        file.save_as(path, enforce_file_format=True)
        return path
    files = dicom_files(made, scan, settings)
    if len(files) == 1:
        files[0].save_as(path, enforce_file_format=True)
        return path
    return write_series(files, stem)


def dicom_files(made: Scan, scan: Scan, settings: dict[str, Any]) -> list[Any]:
    """The files of a synthetic series; where nobody knows its modality, the source's.

    Raises:
        ScanError: see `synthetic_series`.
    """
    from ganatomy.scans.synthetic_series import synthetic_series

    kinds = ("CT" if made.units == "HU" else made.modality, scan.modality)
    modality = next((kind for kind in kinds if kind != "unknown"), "unknown")
    return synthetic_series(scan, made.pixels[..., 0], modality, settings["model"], settings)


def _resume(folder: Path, inputs: dict[str, str]) -> set[str]:
    """The names that are done; rows of scans to be translated again are dropped."""
    rows = whole_rows(folder / ROWS, COLUMNS)
    done, again = resumed(folder, rows, inputs, lambda row: not row["error"], "translation")
    if again:
        rewrite(folder / ROWS, COLUMNS, [row for row in rows if row["scan"] not in again])
    return done
