"""How well a score tells abnormal scans from healthy ones, and how sure that is."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ganatomy.measures.bootstrap import Interval, percentile_interval, resample_weights

Measure = Callable[[np.ndarray], np.ndarray]


class RocBand(NamedTuple):
    """A receiver operating characteristic with its pointwise 95 % band, each [points]."""

    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray


class SeedSummary(NamedTuple):
    """One measure over training runs that differ by their seed alone."""

    mean: float
    spread: float
    n: int


def detection_measures(
    labels, scores, *, threshold: float | None = None, groups=None, resamples=2000, seed=0
) -> dict[str, Interval]:
    """AUROC, average precision and, at a threshold, sensitivity and specificity.

    Args:
        labels: 0 healthy, 1 abnormal, [scans].
        scores: higher is more abnormal, [scans].
        threshold: a scan is called abnormal when its score is greater.
        groups: the patient of each scan, [scans]; patients are resampled where given.
        resamples: how many resamples the 95 % percentile interval rests on.
        seed: of the resampling.

    Returns:
        `auroc`, `average_precision`, and `sensitivity` and `specificity` with a threshold.

    Raises:
        ValueError: for scores that are not finite, one class only, or lengths that differ.

    Reference: Hanley and McNeil 1982 (AUROC as a rank statistic, ties count half).
    """
    labels, scores = _checked(labels, scores)
    measures: dict[str, Measure] = {
        "auroc": _auroc(labels, scores),
        "average_precision": _average_precision(labels, scores),
    }
    if threshold is not None:
        if not np.isfinite(threshold):
            raise ValueError(f"the threshold is {threshold}, expected a finite number")
        above = scores > threshold
        measures["sensitivity"] = _share(above, labels == 1)
        measures["specificity"] = _share(~above, labels == 0)
    return _bootstrap(measures, labels, groups, resamples, seed)


def paired_difference(
    labels, scores_a, scores_b, *, groups=None, resamples=2000, seed=0
) -> Interval:
    """The AUROC of a minus the AUROC of b, both measured on the same resamples.

    Args:
        labels: 0 healthy, 1 abnormal, [scans].
        scores_a: one score of these scans, [scans].
        scores_b: another score of the same scans in the same order, [scans].
        groups: the patient of each scan, [scans].
        resamples: how many resamples.
        seed: of the resampling.

    Raises:
        ValueError: as `detection_measures`.
    """
    labels, scores_a = _checked(labels, scores_a)
    _, scores_b = _checked(labels, scores_b)
    a, b = _auroc(labels, scores_a), _auroc(labels, scores_b)
    measures: dict[str, Measure] = {"difference": lambda weights: a(weights) - b(weights)}
    return _bootstrap(measures, labels, groups, resamples, seed)["difference"]


def roc_band(labels, scores, *, groups=None, resamples=1000, points=201, seed=0) -> RocBand:
    """The ROC curve at evenly spaced false positive rates, with its pointwise 95 % band.

    Args:
        labels: 0 healthy, 1 abnormal, [scans].
        scores: higher is more abnormal, [scans].
        groups: the patient of each scan, [scans].
        resamples: how many resamples.
        points: how many false positive rates from 0 to 1.
        seed: of the resampling.

    Raises:
        ValueError: as `detection_measures`.
    """
    labels, scores = _checked(labels, scores)
    grid = np.linspace(0, 1, points)
    counts = _class_counts(labels, scores)

    def curves(weights: np.ndarray) -> np.ndarray:
        healthy, abnormal = counts(weights)
        rates = []
        for negative, positive in zip(healthy[:, ::-1], abnormal[:, ::-1], strict=True):
            fpr = np.concatenate([[0.0], np.cumsum(negative) / negative.sum()])
            tpr = np.concatenate([[0.0], np.cumsum(positive) / positive.sum()])
            rates.append(np.interp(grid, fpr, tpr))
        return np.stack(rates)

    blocks = resample_weights(labels, groups, resamples, seed)
    resampled = np.concatenate([curves(weights) for weights in blocks])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return RocBand(grid, curves(np.ones((1, len(labels))))[0], low, high)


def summarise_seeds(runs: Sequence[Mapping[str, Interval | float]]) -> dict[str, SeedSummary]:
    """Mean and standard deviation of each measure over training runs.

    Args:
        runs: the measures of each run, as `detection_measures` returns them, or plain numbers.

    Returns:
        For each measure its mean, its sample standard deviation (NaN for a single run) and
        the number of runs.

    Raises:
        ValueError: without runs, or where runs hold different measures.
    """
    if not runs:
        raise ValueError("no runs to summarise")
    names = list(runs[0])
    for run in runs[1:]:
        if set(run) != set(names):
            odd = sorted(set(run) ^ set(names))
            raise ValueError(f"the runs hold different measures: {', '.join(odd)} not in all")
    summary = {}
    for name in names:
        measured = (run[name] for run in runs)
        values = np.array([m.value if isinstance(m, Interval) else float(m) for m in measured])
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        summary[name] = SeedSummary(float(values.mean()), spread, len(values))
    return summary


def _checked(labels, scores) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = np.asarray(labels, float), np.asarray(scores, float)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(
            f"labels have shape {labels.shape} and scores {scores.shape}, "
            "expected one label and one score a scan"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite numbers")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels other than 0 (healthy) and 1 (abnormal)")
    for value, name in ((0, "healthy"), (1, "abnormal")):
        if not (labels == value).any():
            raise ValueError(f"no {name} scan: both classes are needed to measure detection")
    return labels.astype(int), scores


def _bootstrap(
    measures: Mapping[str, Measure], labels: np.ndarray, groups, resamples: int, seed: int
) -> dict[str, Interval]:
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for weights in resample_weights(labels, groups, resamples, seed):
        for name, measure in measures.items():
            resampled[name].append(measure(weights))
    once = np.ones((1, len(labels)), np.float32)
    return {
        name: percentile_interval(measure(once)[0], np.concatenate(resampled[name]))
        for name, measure in measures.items()
    }


def _class_counts(labels: np.ndarray, scores: np.ndarray):
    """Healthy and abnormal weight at each distinct score, from the lowest up."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # ties share one place

    def counts(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[:, order].astype(float)
        abnormal = np.add.reduceat(ordered * labels[order], starts, axis=1)
        return np.add.reduceat(ordered, starts, axis=1) - abnormal, abnormal

    return counts


def _auroc(labels: np.ndarray, scores: np.ndarray) -> Measure:
    counts = _class_counts(labels, scores)

    def measure(weights: np.ndarray) -> np.ndarray:
        healthy, abnormal = counts(weights)
        below = np.cumsum(healthy, axis=1) - healthy / 2  # a tie counts half
        return (abnormal * below).sum(1) / (abnormal.sum(1) * healthy.sum(1))

    return measure


def _average_precision(labels: np.ndarray, scores: np.ndarray) -> Measure:
    counts = _class_counts(labels, scores)

    def measure(weights: np.ndarray) -> np.ndarray:
        healthy, abnormal = (c[:, ::-1] for c in counts(weights))
        found = np.cumsum(abnormal, axis=1)
        called = found + np.cumsum(healthy, axis=1)
        # Nothing called means nothing found: those places add zero whatever divides them.
        return (abnormal * found / np.maximum(called, 1)).sum(1) / found[:, -1]

    return measure


def _share(hit: np.ndarray, among: np.ndarray) -> Measure:
    return lambda weights: (weights @ (hit & among).astype(float)) / (weights @ among.astype(float))
