"""Two folders of label maps: how far labels overlap, and whether their volumes agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ganatomy.errors import WrongUse
from ganatomy.image_pairs import check_pair, label_map, named_images, read_or_note
from ganatomy.measures import Measure
from ganatomy.measures.agreement import agreement_measures
from ganatomy.measures.paired import over_images
from ganatomy.measures.segmentation import segmentation_measures
from ganatomy.scans import Scan, ScanError

OVERLAPS = ("Dice", "Jaccard")  # what needs no mm
LOST = "where one map or both lack the label"


def compare_labels(a: Path, b: Path) -> dict[str, Any]:
    """Measures of label maps of one name, a label at a time; 0 is what has none.

    Args:
        a: a folder, or one label map.
        b: another, whose maps are the truth of those of the same name in `a`.

    Returns:
        `images` of both, `pairs`, and as lists of measures `paired`, means over pairs, and
        `agreement` of volumes, of labels with two pairs or more; and `failed`, a line a file.

    Raises:
        WrongUse: no two maps that can be compared.
    """
    paths = named_images(a, b)
    failed: dict[str, None] = {}
    each: list[list[Measure]] = []
    sizes: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for name in sorted({*paths[0]} & {*paths[1]}):
        found, truth = (read_or_note(own[name], failed, constant=True) for own in paths)
        if found is None or truth is None:
            continue
        try:
            check_pair(found, truth)
            each.append(_measured(found, truth, sizes))
        except (WrongUse, ScanError) as error:
            failed[str(error)] = None
    if not each:
        raise WrongUse(f"{a} and {b} have no two label maps to compare: {next(iter(failed), '')}")
    agreement = [
        measure._replace(name=f"{measure.name} of {label}")
        for (label, unit), both in sorted(sizes.items())
        if len(both) > 1
        for measure in agreement_measures([a for a, _ in both], [b for _, b in both], unit)
    ]
    return {
        "images": [len(own) for own in paths],
        "pairs": len(each),
        "paired": over_images(each, why=LOST),
        "agreement": agreement,
        "failed": list(failed),
    }


def _measured(
    found: Scan, truth: Scan, sizes: dict[tuple[int, str], list[tuple[float, float]]]
) -> list[Measure]:
    maps = label_map(found), label_map(truth)
    spacing = truth.spacing
    # A slice has no volume, and a picture no mm.
    unit, voxel = "pixels", 1.0
    if spacing is not None and truth.rank == 3:
        unit, voxel = "ml", float(np.prod(spacing)) / 1000
    measures = []
    for label in sorted({*np.unique(maps[0]), *np.unique(maps[1])} - {0}):
        mine, theirs = (own == label for own in maps)
        both = sizes.setdefault((int(label), unit), [])
        both.append((mine.sum() * voxel, theirs.sum() * voxel))
        measures += [
            one._replace(name=f"{one.name} of {label}")
            for one in segmentation_measures(mine, theirs, spacing or (1.0,) * truth.rank)
            if spacing is not None or one.name in OVERLAPS
        ]
    return measures
