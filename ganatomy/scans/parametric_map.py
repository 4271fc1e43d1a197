"""A map as a DICOM parametric map beside the images it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes

from ganatomy.scans.errors import ScanError
from ganatomy.scans.plane_sequences import geometry
from ganatomy.scans.provenance import carry_over, complete, identity, made_by
from ganatomy.scans.safety import quiet
from ganatomy.scans.scan import Scan

SERIES_NUMBER = 9001


def parametric_map(
    scan: Scan, array: np.ndarray, title: str, settings: Mapping[str, Any]
) -> hd.pm.ParametricMap:
    """A float32 parametric map with the scan's geometry, references and patient.

    Frames may be stored in another order than the slices: read back by plane position.

    Args:
        scan: of kind 'dicom'.
        array: `[row, column(, slice)]`, NaN where nothing is known.
        title: becomes the series description.
        settings: 'model' and 'version' name the equipment; 'threshold' goes to the description.

    Raises:
        ScanError: the scan's header lacks what a derived object must refer to.
    """
    sources = [complete(header, scan.path) for header in scan.header]
    described = made_by(title, settings)[-1]
    frames = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    known = frames[np.isfinite(frames)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="MAP",
        lut_explanation=title[:64],
        unit=codes.UCUM.NoUnits,
        value_range=(low, high),
        slope=1.0,
        intercept=0.0,
    )
    with quiet():
        try:
            made = hd.pm.ParametricMap(
                sources,
                np.ascontiguousarray(frames, np.float32),
                contains_recognizable_visual_features=False,
                real_world_value_mappings=[mapping],
                window_center=(low + high) / 2,
                window_width=max(high - low, 1e-6),
                content_description=described[:64],
                content_label="ANOMALY_MAP",
                **identity(title, settings, SERIES_NUMBER),
                **geometry(scan, sources[0]),
            )
        except Exception as error:  # its messages quote values of the header
            problem = "has a header that no derived DICOM file can be made from"
            raise ScanError(scan.path, problem, "complete identifiers and geometry") from error
    # The default function is defined for widths of 1 or more; this one is what the numbers say.
    made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0].VOILUTFunction = "LINEAR_EXACT"
    carry_over(made, sources[0], described)
    return made
