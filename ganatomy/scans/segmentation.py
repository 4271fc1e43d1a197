"""Lesions as a DICOM segmentation beside the images they were found on."""

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

SERIES_NUMBER = 9002
# Vermilion, which stands apart from grey for readers with any colour vision.
COLOUR = (213, 94, 0)


def segmentation(
    scan: Scan, mask: np.ndarray, title: str, settings: Mapping[str, Any]
) -> hd.seg.Segmentation:
    """A binary segmentation of one segment with the scan's geometry, references and patient.

    Every slice has a frame, empty ones too: some readers take the gaps of others for the spacing.
    Frames may be stored in another order than the slices: read back by plane position.

    Args:
        scan: of kind 'dicom', with an affine.
        mask: bool `[row, column(, slice)]`.
        title: becomes the series description and the segment's label.
        settings: 'model' and 'version' name the algorithm; 'threshold' goes to the description.

    Raises:
        ScanError: the scan's header lacks what a derived object must refer to.
    """
    sources = [complete(header, scan.path) for header in scan.header]
    model, software, described = made_by(title, settings)
    frames = mask[None] if mask.ndim == 2 else np.moveaxis(mask, 2, 0)
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=title[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=software[0],
        ),
        display_color=hd.color.CIELabColor.from_rgb(*COLOUR),
    )
    with quiet():
        try:
            made = hd.seg.Segmentation(
                sources,
                np.ascontiguousarray(frames, np.uint8),
                hd.seg.SegmentationTypeValues.BINARY,
                [segment],
                omit_empty_frames=False,
                content_description=described[:64],
                content_label="LESIONS",
                **identity(title, settings, SERIES_NUMBER),
                **geometry(scan, sources[0]),
            )
        except Exception as error:  # its messages quote values of the header
            problem = "has a header that no DICOM segmentation can be made from"
            raise ScanError(scan.path, problem, "complete identifiers and geometry") from error
    carry_over(made, sources[0], described)
    if "Laterality" in made:  # in a segmentation it belongs to the segment
        del made.Laterality
    return made
