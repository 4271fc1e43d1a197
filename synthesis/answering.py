"""A translation as an endpoint answers it: a file's bytes in, a file's bytes out."""

from __future__ import annotations

import base64
import gzip
import io
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ganatomy.scans import Scan
from synthesis.writing import dicom_files, nifti, picture

if TYPE_CHECKING:
    from synthesis.translator import Translator


def answer(translator: Translator, scan: Scan) -> dict[str, Any]:
    """What `Translator.answers` names.

    The translation is the base64 of a file: DICOM for one DICOM slice, NIfTI (.nii.gz) for any
    volume, PNG for a picture and for a radiograph without a place; `kind` says which.
    """
    made, unseen = translator.translated(scan)
    kind, content = _file(translator, made, scan)
    return {
        "translation": base64.b64encode(content).decode("ascii"),
        "kind": kind,
        "units": made.units,
        "unseen": unseen,
    }


def _file(translator: Translator, made: Scan, scan: Scan) -> tuple[str, bytes]:
    stream = io.BytesIO()
    if made.affine is None and made.rank == 2:
        picture(made, translator.values_.high).save(stream, "PNG")
        return "picture", stream.getvalue()
    if scan.kind == "dicom" and len(scan.header) == 1 and 1 in (*made.shape[2:], made.rank - 1):
        settings = {"model": translator.preset.name, "version": version("ganatomy")}
        (file,) = dicom_files(made, scan, settings)
        file.save_as(stream, enforce_file_format=True)
        return "dicom", stream.getvalue()
    return "nifti", gzip.compress(nifti(made).to_bytes(), 1)
