"""What a detector says about one scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from anogan.detector import Findings
from ganatomy.scans import Prepared, Scan, ScanError

R = TypeVar("R", bound="Result")
# None where there is an error, which every reader of results looks at first.
ABSENT: Any = None


@dataclass
class Result:
    """What is said about one scan.

    Attributes:
        path: where it came from, or its place in the input.
        error: why there is no score; all else is then None.
        anomaly_score: higher is more abnormal.
        p_value: share of healthy calibration scans that score as high (conformal).
        threshold: above it `abnormal` is true.
        unlike: above 1 the scan does not look like the calibration scans.
        paper_score: the score of the method's paper.
        slice_scores: [n], one a sample: of a slice of a volume under a 2D model, of a tile.
        scan: the scan.
        prepared: what the model saw.
        findings: what the model said, sample by sample.
        maps: anomaly maps of the samples, [n, *size].
        rivals: other scores of the same scan, by name: of each member of an ensemble.
    """

    path: str
    error: ScanError | None = None
    anomaly_score: float = ABSENT
    p_value: float | None = None
    threshold: float | None = None
    abnormal: bool | None = None
    unlike: float | None = None
    paper_score: float = ABSENT
    slice_scores: np.ndarray = ABSENT
    scan: Scan = ABSENT
    prepared: Prepared = ABSENT
    findings: Findings = ABSENT
    maps: np.ndarray = ABSENT
    rivals: dict[str, float] = field(default_factory=dict)

    @property
    def map(self) -> np.ndarray:
        """The anomaly map on the grid of the scan that came in; NaN where it was not seen."""
        return self.prepared.back(self.maps)


def in_groups(results: Iterable[R], size: int) -> Iterator[list[R]]:
    """Results a few at a time: so many samples, and what else the last of these scans has."""
    group, samples = [], 0
    for result in results:
        group.append(result)
        samples += 1 if result.error is not None else len(result.prepared)
        if samples >= size:
            yield group
            group, samples = [], 0
    if group:
        yield group
