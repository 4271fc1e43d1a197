"""A registration as an endpoint answers it: the transform and the moved scan as files."""

from __future__ import annotations

import base64
import gzip
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.scans import Scan
from registration.itk_files import write_affine
from registration.registration import Registration
from registration.slices import as_itk_has_it
from registration.storing import stored


def answer(found: Registration) -> dict[str, Any]:
    """What `Registrar.answers` names.

    Remarks are a sentence a line; there are none of a pair about which nothing is odd. `failure`
    and `failed` are null where the model was not calibrated.
    The transform is the text of a `.tfm` file; one that bends is the base64 of an `.h5` file. Of
    single slices it is in the coordinates that ITK takes from their headers.
    The moved scan is the base64 of a NIfTI file, `.nii.gz`; of a picture, of a float32 TIFF.
    """
    return {
        "alignment_score": found.alignment_score,
        "failure": found.failure,
        "failed": found.failed,
        "overlap": found.overlap,
        "folds": found.folds,
        "smallest_jacobian": float(found.jacobian.min()),
        "largest_jacobian": float(found.jacobian.max()),
        "remarks": "\n".join(found.remarks),
        "refinement": "none" if found.refinement is None else found.refinement.reach,
        "transform": _transform(found),
        "moved": base64.b64encode(_file(found.moved)).decode("ascii"),
    }


def _transform(found: Registration) -> str:
    from registration.itk_files import write_composite

    matrix, field, grid, _ = as_itk_has_it(stored(found), found.fixed, found.moving)
    with tempfile.TemporaryDirectory() as folder:
        if field is None or grid is None:
            path = Path(folder) / "t.tfm"
            write_affine(path, matrix)
            return path.read_text()
        path = Path(folder) / "t.h5"
        write_composite(path, matrix, field, grid)
        return base64.b64encode(path.read_bytes()).decode("ascii")


def _file(scan: Scan) -> bytes:
    if scan.rank == 2 and scan.affine is None:
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(scan.pixels.mean(-1).astype(np.float32)).save(stream, "TIFF")
        return stream.getvalue()
    import nibabel

    pixels = scan.pixels[..., 0] if scan.channels == 1 else scan.pixels
    return gzip.compress(nibabel.Nifti1Image(pixels, scan.affine).to_bytes(), 1)
