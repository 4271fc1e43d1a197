"""The scores of a folder, with what is known about each scan."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ganatomy.errors import WrongUse
from ganatomy.measures import Interval, detection_measures, paired_difference
from ganatomy.report.folder import Findings
from ganatomy.report.words import as_interval


@dataclass(frozen=True)
class Scored:
    """Scans with a finite score, the highest first.

    `labels`, `patients` and `flagged` are None unless they are known for every scan;
    `threshold` is None unless it is one for all.
    """

    columns: dict[str, np.ndarray]
    failed: int
    labels: np.ndarray | None
    patients: np.ndarray | None
    threshold: float | None
    flagged: np.ndarray | None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def scores(self) -> np.ndarray:
        return self.columns["anomaly_score"]

    @property
    def both_classes(self) -> bool:
        return self.labels is not None and set(np.unique(self.labels)) == {0, 1}


def gather_scores(table: pd.DataFrame) -> Scored | None:
    """Take the scans apart that have a score; None where there is none."""
    everything = {str(name): table[name].to_numpy() for name in table.columns}
    finite = np.isfinite(everything["anomaly_score"].astype(float))
    if not finite.any():
        return None
    columns = {name: values[finite] for name, values in everything.items()}

    def known(name: str) -> np.ndarray | None:
        return columns[name] if name in columns and not pd.isna(columns[name]).any() else None

    given = known("threshold")
    one = given is not None and len(set(given)) == 1 and np.isfinite(given[0])
    threshold = float(given[0]) if given is not None and one else None
    flagged = known("abnormal")
    if flagged is None and threshold is not None:
        flagged = columns["anomaly_score"] > threshold
    labels = known("label")
    if labels is not None and not np.isin(labels, (0, 1)).all():
        raise WrongUse("scores.csv: labels other than 0 (healthy) and 1 (abnormal)")
    return Scored(
        columns,
        int((~finite).sum()),
        None if labels is None else labels.astype(int),
        known("patient"),
        threshold,
        None if flagged is None else flagged.astype(bool),
    )


@dataclass(frozen=True)
class Row:
    """One score of the table of measures; `difference` is the model's AUROC minus this one."""

    name: str
    measures: dict[str, Interval]
    difference: Interval | None = None


def measured_rows(findings: Findings, scored: Scored | None) -> list[Row]:
    """The model first, then controls and shortcuts; measured here where there are only scores."""
    record = findings.measures
    if record.get("task") in ("register", "translate"):  # tables of their own
        return []
    model = _intervals(record.get("measures"))
    if not model and scored is not None and scored.labels is not None and scored.both_classes:
        model = detection_measures(
            scored.labels, scored.scores, threshold=scored.threshold, groups=scored.patients
        )
    if not model:
        return []
    rows = [Row("This model", model)]
    rivals: dict[str, object] = {}
    for kind in ("controls", "shortcuts"):
        own = record.get(kind)
        rivals |= own if isinstance(own, dict) else {}
    for name, measures in rivals.items():
        held = _intervals(measures)
        difference = held.pop("auroc_difference", None)
        rows.append(Row(name, held, difference))
    if not any("paper" in row.name.lower() for row in rows) and scored is not None:
        rows += _paper_row(scored)
    return rows


def _paper_row(scored: Scored) -> list[Row]:
    """The score as its paper defines it, where it stands beside the map score."""
    if "paper_score" not in scored.columns or scored.labels is None or not scored.both_classes:
        return []
    paper = scored.columns["paper_score"]
    if not np.isfinite(paper).all() or np.array_equal(paper, scored.scores):
        return []
    labels, groups = scored.labels, scored.patients
    difference = paired_difference(labels, scored.scores, paper, groups=groups)
    return [Row("paper score", detection_measures(labels, paper, groups=groups), difference)]


def _intervals(record) -> dict[str, Interval]:
    if not isinstance(record, dict):
        return {}
    read = {name: as_interval(value) for name, value in record.items()}
    return {name: value for name, value in read.items() if value is not None}
