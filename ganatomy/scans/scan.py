"""An image with its place in the patient."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Kind = Literal["dicom", "nifti", "picture", "array"]


@dataclass(eq=False)
class Scan:
    """One scan: pixels, their place in mm, and what a derived file needs.

    Args:
        pixels: float32 `[i, j, c]` or `[i, j, k, c]` along the affine's columns. A picture is
            `[row, column, c]`; so is a DICOM slice, and a DICOM series is
            `[row, column, slice, c]`; NIfTI keeps its own order. A volume of kind 'array'
            without an affine is `[i, j, k, c]` to the right, anterior and superior.
        affine: 4×4, voxel index to mm RAS+; None where the file gives no place.
        units: what a pixel measures: 'HU', 'Gy', 'counts' or 'unknown'.
        modality: DICOM's code ('CT', 'MR', 'DX'…), or 'unknown'.
        path: where it came from.
        kind: the family of file: 'dicom', 'nifti', 'picture' or 'array'.
        header: DICOM: the data sets without pixels, in slice order (one for a multi-frame
            file); NIfTI: its header; pictures: None.
        notes: what was mended or is unusual, in sentences without values of the patient.
    """

    pixels: np.ndarray
    affine: np.ndarray | None = None
    units: Literal["HU", "Gy", "counts", "unknown"] = "unknown"
    modality: str = "unknown"
    path: str = "array"
    kind: Kind = "array"
    header: Any = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.pixels = np.ascontiguousarray(self.pixels, dtype=np.float32)
        if self.pixels.ndim not in (3, 4):
            raise ValueError("pixels must be [i, j, c] or [i, j, k, c]")
        if self.affine is not None:
            self.affine = np.asarray(self.affine, dtype=np.float64)
            if self.affine.shape != (4, 4):
                raise ValueError("affine must be 4×4")

    @property
    def rank(self) -> int:
        """2 for a picture or a single slice, 3 for a volume."""
        return self.pixels.ndim - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The grid, without channels."""
        return self.pixels.shape[:-1]

    @property
    def channels(self) -> int:
        return self.pixels.shape[-1]

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """mm between neighbours along each axis of the grid; None without an affine."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(self.affine[:3, : self.rank], axis=0)
        return tuple(float(v) for v in lengths)

    def __repr__(self) -> str:
        return f"Scan({self.kind}, {self.modality}, shape={self.pixels.shape}, {self.path})"
