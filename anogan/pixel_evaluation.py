"""Maps against masks: how well a model and its controls say where a scan is abnormal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anogan.result import Result
from ganatomy.measures import (
    Interval,
    Marks,
    PixelCounts,
    froc_band,
    froc_differences,
    froc_measures,
    lesion_marks,
    pixel_counts,
    pixel_differences,
    pixel_measures,
)
from ganatomy.scans import Scan, ScanError, read_scan
from ganatomy.tables import Table, TableError

# What the difference to a control is told of.
COMPARED = ("pixel_auroc", "pixel_average_precision", "dice")


class Masked:
    """Counts and marks of one score of maps, by the name of the scan."""

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self.counts: dict[str, PixelCounts] = {}
        self.marks: dict[str, Marks] = {}

    def add(self, name: str, array: np.ndarray, truth: np.ndarray) -> None:
        """Count a scan: its map and its mask, on one grid."""
        self.counts[name] = pixel_counts(array, truth, self.threshold)
        self.marks[name] = lesion_marks(array, truth)

    def __len__(self) -> int:
        return len(self.counts)


class PixelEvaluation:
    """Gathers what masks say of maps, scan by scan; the maps themselves are not kept.

    Args:
        table: labelled, with masks.
        thresholds: by name, above which a pixel of a map is abnormal: of the model, whose name is
            empty, and of its controls. None where one was never set.
    """

    def __init__(self, table: Table, thresholds: Mapping[str, float | None]):
        assert table.mask is not None
        assert table.label is not None
        self.table, self._mask, self._label = table, table.mask, table.label
        self.found = {name: Masked(threshold) for name, threshold in thresholds.items()}
        self.patients: dict[str, str] = {}
        self.unmasked = 0
        self.refused: list[str] = []

    def add(self, place: int, results: Mapping[str, Result]) -> None:
        """Add a scan that could be read.

        Args:
            place: its row in the table.
            results: of the model and of its controls, by their names in `thresholds`.

        Raises:
            ScanError: its mask cannot be read or does not fit it.
        """
        truth = self._truth(place, results[""].scan)
        if truth is None:
            self.unmasked += 1
            return
        name = self.table.names[place]
        self.patients[name] = name if self.table.patient is None else self.table.patient[place]
        for whose, result in results.items():
            if result.error is None:
                self.found[whose].add(name, result.map, truth)

    def _truth(self, place: int, scan: Scan) -> np.ndarray | None:
        """The mask of a row; no lesion where a healthy scan has none, None where nobody knows."""
        path, healthy = self._mask[place], self._label[place] == 0
        if path is None:
            return np.zeros(scan.shape, bool) if healthy else None
        mask = read_mask(path, scan)
        if healthy and mask.any():
            raise ScanError(path, "outlines something in a scan labelled healthy", "an empty mask")
        return mask

    def measures(self, patients: bool, titles: Mapping[str, str]) -> dict[str, Any]:
        """`pixels` of measures.json.

        Args:
            patients: whether the table knows them, and they are what is resampled.
            titles: what measures.json calls the controls.

        Raises:
            TableError: no scan with a lesion has a mask that fits.
        """
        own = self.found[""]
        if not any(marks.lesions for marks in own.marks.values()):
            why = self.refused[0] if self.refused else "those that fit are empty"
            raise TableError(f"not one mask outlines a lesion of a scan: {why}")
        names = list(own.counts)
        groups = [self.patients[name] for name in names] if patients else None
        counts, marks = list(own.counts.values()), list(own.marks.values())
        band = froc_band(marks, groups)
        sick = sum(one.lesions > 0 for one in marks)
        return {
            "n_scans": len(names),
            "n_with_lesions": sick,
            "n_lesions": sum(one.lesions for one in marks),
            "unmasked": self.unmasked,
            "refused": self.refused,
            "threshold": own.threshold,
            "measures": _written(pixel_measures(counts, groups)),
            "lesion_sensitivity": _written(froc_measures(marks, groups)),
            "froc": {key: values.tolist() for key, values in band._asdict().items()},
            "controls": {
                titles.get(name, name): self._control(name, patients)
                for name, control in self.found.items()
                if name and any(one.lesions for one in control.marks.values())
            },
        }

    def minus(self, other: PixelEvaluation) -> dict[str, Interval]:
        """The measures of this model minus those of another, as `differences` has them."""
        known = self.table.patient is not None
        return differences(self.found[""], other.found[""], self.patients, known)

    def _control(self, name: str, patients: bool) -> dict[str, Any]:
        control = self.found[name]
        groups = [self.patients[scan] for scan in control.counts] if patients else None
        return {
            "measures": _written(pixel_measures(list(control.counts.values()), groups)),
            "lesion_sensitivity": _written(froc_measures(list(control.marks.values()), groups)),
            "differences": _written(differences(self.found[""], control, self.patients, patients)),
        }


def differences(
    one: Masked, other: Masked, patients: Mapping[str, str], known: bool
) -> dict[str, Interval]:
    """Measures of one minus those of another, on the scans of both and the same resamples.

    Args:
        one: maps against masks.
        other: other maps against the same masks.
        patients: whose each scan is.
        known: whether patients are resampled, else scans.

    Returns:
        Of `COMPARED` what both have, and `lesion_sensitivity`, the mean over its rates; nothing
        where the scans of both have no lesion.
    """
    both = [name for name in one.counts if name in other.counts]
    if not any(one.marks[name].lesions for name in both):
        return {}
    groups = [patients[name] for name in both] if known else None
    pixels = pixel_differences(
        [one.counts[n] for n in both], [other.counts[n] for n in both], groups
    )
    lesions = froc_differences([one.marks[n] for n in both], [other.marks[n] for n in both], groups)
    kept = {name: pixels[name] for name in COMPARED if name in pixels}
    return {**kept, "lesion_sensitivity": lesions["mean"]}


def read_mask(path: Path, scan: Scan) -> np.ndarray:
    """Which pixels of a scan a mask outlines: those where it is above 0 in any channel.

    In a JPEG those above half of white, as its edges ring.

    Raises:
        ScanError: it cannot be read, or lies on another grid than the scan.
    """
    mask = read_scan(path, constant=True)
    if mask.shape != scan.shape:
        theirs, own = (" × ".join(map(str, one.shape)) for one in (mask, scan))
        raise ScanError(path, f"has {theirs} pixels", f"the {own} of {scan.path}")
    if mask.affine is not None and scan.affine is not None:
        corner = np.append(np.array(scan.shape) - 1, [0] * (3 - scan.rank))
        apart = mask.affine - scan.affine
        shift = max(np.linalg.norm((apart @ np.append(at, 1))[:3]) for at in (0 * corner, corner))
        if shift > min(scan.spacing or (1.0,)) / 2:
            raise ScanError(path, "lies elsewhere in the patient", f"the place of {scan.path}")
    level = 127 if path.suffix.lower() in (".jpg", ".jpeg") else 0
    return np.any(mask.pixels > level, axis=-1)


def _written(measures: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in measures.items()}
