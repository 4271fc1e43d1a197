"""How close translations come to aligned targets, beside the scan itself as its translation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ganatomy.artifacts import write_whole
from ganatomy.measures.distribution import set_measures
from ganatomy.measures.histograms import histogram, histogram_measures
from ganatomy.measures.paired import paired_measures
from ganatomy.measures.registration import mean_interval
from ganatomy.measures.seen import feature_distance, network_features, of_sets
from ganatomy.report.translated import MOST, Translated, write_translations
from ganatomy.scans import Prepared, Preprocessing, Scan, ScanError, read_scan
from ganatomy.scans.intensity import resolve_channels
from ganatomy.scans.placed import on_grid
from ganatomy.tables import Table, TableError
from synthesis.pictures import shown_of

if TYPE_CHECKING:
    from synthesis.translator import Translator

OWN, INPUT = "this model", "the input as the output"
# How columns are called, where not by the measure in small letters.
COLUMNS = {"MSE": "rmse", "PSNR": "psnr_db", "SNR": "snr_db"}
NETWORK = "mednist"  # that perceptual distance, FID and KID see through
WHERE = (
    "on the scan's own grid, in the box that the model sees, black in both where it sees nothing; "
    "the range is the target's window, or of targets without one each target's own"
)


class Evaluation(NamedTuple):
    """measures.json and pairs.csv of an evaluation."""

    measures: dict[str, Any]
    scores: pd.DataFrame


class Compared(NamedTuple):
    """A scan's translation beside its target, on the scan's grid, in shares of the target's range.

    Attributes:
        scan: the input.
        made: what the model made, in [-1, 1], NaN where it saw nothing, [*grid, C'].
        target: in shares, NaN where nothing is known, [*grid, C'].
        images: by method, in the box that the model sees, 0 outside of what it sees.
        truth: the target there.
        seconds: that the model took.
    """

    scan: Scan
    made: np.ndarray
    target: np.ndarray
    images: dict[str, np.ndarray]
    truth: np.ndarray
    seconds: float


def compare(translator: Translator, first: Path, second: Path) -> Compared:
    """Translate a scan, and bring its target, and the scan itself as its translation, beside it.

    Args:
        translator: with its model.
        first: the scan.
        second: its aligned target.

    Raises:
        ScanError: one cannot be read, they do not belong together, or the model sees nothing.
    """
    scan = translator.read(first)
    real = read_scan(second, window=_settings(translator).voi)
    began = time.perf_counter()
    prepared = translator.preprocessing_.apply(scan)
    made = translator.made_of(prepared)
    seconds = time.perf_counter() - began
    target = target_shares(translator, scan, real)
    images = {OWN: (made + 1) / 2, INPUT: _own_shares(translator, scan, prepared, target)}
    seen: Any = np.isfinite(made).all(-1) & np.isfinite(target).all(-1)
    places = np.argwhere(seen)
    if not len(places):
        raise ScanError("the pair", "has nothing that the model sees", "another framing")
    box = tuple(slice(a, b + 1) for a, b in zip(places.min(0), places.max(0), strict=True))
    inside = seen[box][..., None]
    boxed = {name: np.where(inside, image[box], 0) for name, image in images.items()}
    return Compared(scan, made, target, boxed, np.where(inside, target[box], 0), seconds)


def evaluate(
    translator: Translator,
    table: Table,
    folder: Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """All measures of aligned pairs, with perceptual distance; FID, KID and histograms of all.

    Intervals are over patients. Intensities are shares of the target's range, 0 to 1; where that is
    a window in known units, MAE is given in these too. The plain baseline is the scan itself, in
    shares of its own range.

    Args:
        translator: with its model.
        table: scans and targets, a pair a row.
        folder: for pairs.csv, a row a pair and method, measures.json, and pictures for the report.
        progress: called with (pairs done, pairs in all).

    Raises:
        TableError: not one pair could be measured.
    """
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    definitions: dict[str, str] = {}
    shown: list[Translated] = []
    # By method, and of the targets: features of every slice, for what compares sets.
    seen: dict[str, list[np.ndarray]] = {}
    counts: dict[str, Any] = {}
    pairs = zip(table.names, table.whose, table.first, table.paths["target"], strict=True)
    for number, (name, patient, first, second) in enumerate(pairs):
        try:
            pair = compare(translator, first, second)
            for method, image in pair.images.items():
                measured = _measured(translator, image, pair.truth, definitions)
                spent = pair.seconds if method == OWN else np.nan
                row = {"pair": name, "patient": str(patient), "method": method}
                rows.append({**row, **measured, "seconds": spent})
            for method, image in {**pair.images, "targets": pair.truth}.items():
                seen.setdefault(method, []).append(network_features(image, 0, 1, NETWORK))
                counts[method] = counts.get(method, 0) + histogram([image], 0, 1)
            if folder is not None and len(shown) < MOST:
                shown.append(_shown(translator, name, pair))
        except ScanError as error:
            failures.append(str(error))
        if progress is not None:
            progress(number + 1, len(table))
    if not rows:
        raise TableError(
            f"not one of {len(table)} pairs could be measured; the first: {failures[0]}"
        )
    frame = pd.DataFrame(rows)
    measures = _summed(translator, frame, table.patient is not None, definitions, failures)
    measures["sets"] = _sets(seen, counts)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_csv(folder / "pairs.csv", index=False)
        write_translations(folder, shown)
        write_whole(folder / "measures.json", json.dumps(measures, indent=2))
    return Evaluation(measures, frame)


def _sets(
    seen: dict[str, list[np.ndarray]], counts: dict[str, np.ndarray]
) -> dict[str, list[dict[str, Any]]]:
    """By method its images beside the targets, as sets: FID first; none where there are too few."""
    features = {name: np.concatenate(parts) for name, parts in seen.items()}
    targets = features.pop("targets")
    return {
        name: [
            one.to_dict()
            for one in (
                *set_measures(own, targets, of_sets(NETWORK)),
                *histogram_measures(counts[name], counts["targets"], 0, 1),
            )
        ]
        for name, own in features.items()
        if min(len(own), len(targets)) > 1
    }


def target_shares(translator: Translator, scan: Scan, target: Scan) -> np.ndarray:
    """A target on its scan's grid, in shares of its range, [*grid, C'] clipped to 0 and 1.

    Raises:
        ScanError: it lies elsewhere, or does not suit the model.
    """
    settings = _settings(translator)
    placed = on_grid(target, scan)
    mask = translator.preprocessing_.mask_of(scan) if settings.mask == "place" else None
    return _shares(settings, placed, settings.apply(placed, mask))


def _settings(translator: Translator) -> Preprocessing:
    return Preprocessing(**translator.preset.preprocessing_of("target"))


def _shares(settings: Preprocessing, scan: Scan, prepared: Prepared) -> np.ndarray:
    if settings.equalise is not None or settings.bias_field or prepared.ends is None:
        # What the preprocessing did to the values is known on the model's grid alone.
        middle = prepared.whole.shape[-1]
        samples = (prepared.sample(n) for n in range(len(prepared)))
        own = settings.neighbours * middle
        return (prepared.assemble(one[..., own : own + middle] for one in samples) + 1) / 2
    low, high = prepared.ends
    pixels = resolve_channels(scan, settings.channels, settings.grey)
    return np.clip((pixels - low) / (high - low), 0, 1)


def _own_shares(
    translator: Translator, scan: Scan, prepared: Prepared, truth: np.ndarray
) -> np.ndarray:
    """The scan itself as a translation: in shares of its own range, of as many channels."""
    own = _shares(translator.preprocessing_, scan, prepared)
    if own.shape[-1] != truth.shape[-1]:
        own = np.repeat(own.mean(-1, keepdims=True), truth.shape[-1], -1)
    return own


def _measured(
    translator: Translator, image: np.ndarray, truth: np.ndarray, definitions: dict[str, str]
) -> dict[str, float]:
    measured = {}
    for one in paired_measures(image, truth, 1.0):
        name, root = COLUMNS.get(one.name, one.name.lower()), one.name == "MSE"
        value = float(np.asarray(one.value))
        measured[name] = float(np.sqrt(value)) if root else value
        definitions[name] = f"{'root of the ' * root}{one.definition}, {WHERE}"
    looks = feature_distance(image, truth, 0, 1, NETWORK)
    if looks is not None:
        measured["perceptual"] = looks.value
        definitions["perceptual"] = f"{looks.name}: {looks.definition}, {WHERE}"
    values = translator.values_
    if values.exact and values.units != "unknown":
        name = f"mae_{values.units.lower()}"
        measured[name] = measured["mae"] * (values.high - values.low)
        definitions[name] = f"mae times the window of {values.low:g} to {values.high:g}"
    return measured


def _shown(translator: Translator, name: str, pair: Compared) -> Translated:
    values, scan, made, truth = translator.values_, pair.scan, pair.made, pair.target
    pixels = values.of(np.nan_to_num(made, nan=-1.0))
    output = Scan(pixels, scan.affine, values.units, values.modality, scan.path, scan.kind)
    target = values.of(np.nan_to_num(truth) * 2 - 1)
    return shown_of(name, scan, output, np.where(np.isnan(made), values.low, target))


def _summed(
    translator: Translator,
    frame: pd.DataFrame,
    patients: bool,
    definitions: dict[str, str],
    failures: list[str],
) -> dict[str, Any]:
    own, other = (frame[frame["method"] == name] for name in (OWN, INPUT))
    return {
        "task": "translate",
        "model": translator.preset.model.partition(":")[2],
        "preset": translator.preset.name,
        "n_pairs": len(own),
        "patients": patients,
        "measures": measures_of(own),
        "methods": {INPUT: measures_of(other)},
        "differences": {INPUT: differences(own, other)},
        "definitions": definitions,
        "failed": failures,
    }


def measures_of(rows: Any) -> dict[str, dict[str, float]]:
    """Of one method's pairs each measure with its interval; the PSNR of equal images is left out.

    Args:
        rows: of pairs.csv.
    """
    found = {}
    for column in sorted(_names(rows)):
        some = rows[np.isfinite(rows[column].astype(float))]
        if len(some):
            groups = some["patient"].to_numpy(str)
            found[column] = mean_interval(some[column], groups=groups).to_dict()
    return found


def differences(first: Any, other: Any) -> dict[str, dict[str, float]]:
    """One method's measures minus another's on the pairs that both have, with intervals.

    Args:
        first: rows of pairs.csv, of one method.
        other: the same.
    """
    both = first.merge(other, on="pair", suffixes=("", "_other"))
    found = {}
    for column in sorted(_names(first) & _names(other)):
        gap = both[column].astype(float) - both[f"{column}_other"].astype(float)
        some = np.isfinite(gap)
        if some.any():
            groups = both.loc[some, "patient"].to_numpy(str)
            found[column] = mean_interval(gap[some], groups=groups).to_dict()
    return found


def _names(rows: Any) -> set[str]:
    return {name for name in rows if name not in ("pair", "patient", "method", "seconds")}
