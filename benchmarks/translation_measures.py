"""What is measured of a translation model, image by image, and of all its images together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.translation_data import Task

if TYPE_CHECKING:
    from ganatomy.measures import Measure
    from synthesis.translator import Translator

FORMAT = 1  # another number where rows hold other measures than the version before
NETWORK = "mednist"
OWN, INPUT, TARGET = "own", "input", "target"
# Of what fidelity measures, what rows keep.
KEPT = ("MAE", "PSNR", "SSIM")
GROUPS = 3  # patients from which on intervals are over them
DIGITS = 5  # that rows keep of a figure


class Images:
    """The images that a row's models made, measured as they come; pixels are not kept.

    Args:
        task: what they are.
    """

    def __init__(self, task: Task):
        self.task = task
        self.names: list[str] = []
        self.patients: list[str] = []
        self.each: dict[str, dict[str, list[float]]] = {OWN: {}, INPUT: {}, TARGET: {}}
        self.definitions: dict[str, str] = {}
        self.features: dict[str, list[np.ndarray]] = {OWN: [], INPUT: [], TARGET: []}
        self.counts: dict[str, Any] = {}

    def add(self, model: Path, test: Path, fold: str, judge: Path | None = None) -> float:
        """Measure a trained model on a table; the minutes that it was trained for.

        Args:
            model: its folder.
            test: the CSV.
            fold: a name for what it was trained on.
            judge: the folder of the model whose segmentor of targets looks for labels.
        """
        from synthesis.translator import Translator

        translator = Translator.load(model)
        if judge is not None:
            self._add_shapes(translator, test, Translator.load(judge))
        if self.task.images == "hole":
            self._add_holes(translator, test)
        elif self.task.paired:
            self._add_pairs(translator, test, fold)
        else:
            self._add_sets(translator, test)
        return translator.artifact_.facts["training_seconds"] / 60

    def row(self) -> dict[str, Any]:
        """What a row holds of them."""
        # A scan whose patient is not known is called by its own name.
        several = len(set(self.patients)) >= GROUPS and self.patients != self.names
        groups = self.patients if several else None
        return {
            "n": len(self.names),
            "patients": len(set(self.patients)),
            "over": "patients" if several else f"{self.task.images}s",
            OWN: self._summed(OWN, groups),
            INPUT: self._summed(INPUT, groups),
            TARGET: self._summed(TARGET, groups),
            "definitions": self.definitions,
            "images": self.names,
            "whose": self.patients,
            "each": {name: [_short(v) for v in of] for name, of in self.each[OWN].items()},
        }

    def _summed(self, method: str, groups: list[str] | None) -> dict[str, Any]:
        from ganatomy.measures.distribution import set_measures
        from ganatomy.measures.histograms import histogram_measures
        from ganatomy.measures.registration import mean_interval
        from ganatomy.measures.seen import of_sets

        found: dict[str, Any] = {}
        for name, values in self.each[method].items():
            finite = np.isfinite(values)
            if finite.any():
                own = None if groups is None else np.array(groups)[finite]
                there = mean_interval(np.array(values)[finite], groups=own)
                found[name] = {k: _short(v) for k, v in there.to_dict().items()}
        if method == TARGET:
            return found
        seen = [np.concatenate(self.features[k]) for k in (method, TARGET)]
        sets = set_measures(seen[0], seen[1], of_sets(NETWORK))
        if self.counts:
            sets += histogram_measures(self.counts[method], self.counts[TARGET], 0, 1)
        for one in sets:
            short = one.name.partition("[")[0]
            found[short] = {"value": _short(float(np.asarray(one.value)))}
            self.definitions[short] = f"{one.name}, {one.definition}"
        return found

    # Pairs -------------------------------------------------------------------------------------

    def _add_pairs(self, translator: Translator, test: Path, fold: str) -> None:
        from ganatomy.measures.seen import network_features
        from ganatomy.tables import read_table
        from synthesis.evaluation import INPUT as SCAN
        from synthesis.evaluation import OWN as MADE
        from synthesis.evaluation import compare

        table = read_table([str(test)], {"scan": "joined", "target": "joined"})
        pairs = zip(table.names, table.whose, table.first, table.paths["target"], strict=True)
        for name, patient, first, second in pairs:
            pair = compare(translator, first, second)
            both = {OWN: pair.images[MADE], INPUT: pair.images[SCAN]}
            for method, image in both.items():
                self.features[method].append(network_features(image, 0, 1, NETWORK))
            self.features[TARGET].append(network_features(pair.truth, 0, 1, NETWORK))
            places: list[Any] = [...]
            if self.task.images == "slice":
                places = [(slice(None), slice(None), k) for k in range(pair.truth.shape[2])]
            for number, place in enumerate(places):
                truth = pair.truth[place]
                if truth.min() == truth.max():
                    continue  # air
                self.names.append(f"{_named(name)}-{fold}-{number}")
                self.patients.append(_named(str(patient)))
                for method, image in both.items():
                    self._note(method, measured(image[place], truth))

    def _add_holes(self, translator: Translator, test: Path) -> None:
        """What was filled in, beside the mean of the rim around it; in the hole alone."""
        from ganatomy.cache import prepare
        from ganatomy.measures import Measure
        from ganatomy.measures.seen import network_features
        from ganatomy.tables import read_table

        table = read_table([str(test)], {"scan": "joined", "target": "joined"})
        model: Any = translator.artifact_.model
        prepared = prepare(table.first, translator.preprocessing_)
        hole = np.asarray(model.hole)
        for owner, sample in zip(prepared.owner, prepared.array, strict=True):
            truth = (np.asarray(sample) + 1) / 2
            images = {OWN: (model.translate(sample[None])[0] + 1) / 2, INPUT: truth.copy()}
            images[INPUT][hole] = truth[np.asarray(model.rim)].mean()
            self.names.append(_named(table.names[owner]))
            self.patients.append(_named(str(table.whose[owner])))
            for method, image in {**images, TARGET: truth}.items():
                self.features[method].append(network_features(image, 0, 1, NETWORK))
            for method, image in images.items():
                error = image[hole] - truth[hole]
                mse = float(np.mean(error**2))
                where = "of the voxels in the hole, range 1"
                found = [
                    Measure("MAE", float(np.abs(error).mean()), f"mean absolute error {where}"),
                    Measure("PSNR", float(-10 * np.log10(mse)), f"dB, -10 log10(MSE), {where}"),
                    sharpness(_around(image, hole), _around(truth, hole)),
                ]
                self._note(method, found)

    def _note(self, method: str, measures: list[Measure]) -> None:
        for one in measures:
            self.each[method].setdefault(one.name, []).append(float(np.asarray(one.value)))
            if method == OWN:
                self.definitions[one.name] = one.definition

    def _add_shapes(self, translator: Translator, test: Path, judge: Translator) -> None:
        """Dice of what a segmentor of real targets finds in translations, beside scans and targets.

        Whole translations are prepared as it was trained to see targets, so that models of any rank
        and grid are judged alike; of a patient all slices together.
        """
        from ganatomy.cache import prepare
        from ganatomy.measures.registration import label_overlaps
        from ganatomy.scans import Preprocessing, read_scan
        from ganatomy.tables import read_table

        roles = {"scan": "joined", "target": "joined", self.task.labels: "scan"}
        table = read_table([str(test)], roles)
        settings = Preprocessing(**judge.preset.preprocessing_of("target"))
        paths = table.paths[self.task.labels]
        labels = prepare(paths, settings, places=table.first, labels=True)
        segmentor: Any = judge.artifact_.model
        for row, (first, second) in enumerate(zip(table.first, table.paths["target"], strict=True)):
            scan = translator.read(first)
            seen = {
                OWN: translator.translated(scan)[0],
                INPUT: scan,
                TARGET: read_scan(second, window=settings.voi),
            }
            truth = np.asarray(labels.array[labels.owner == row])[..., 0].astype(int)
            for method, one in seen.items():
                prepared = settings.apply(one)
                samples = np.stack([prepared.sample(n) for n in range(len(prepared))])
                found = segmentor.segment("target", samples)
                shares = label_overlaps(truth, found, range(1, segmentor.labels + 1))
                self.each[method].setdefault("Dice", []).append(
                    float(np.nanmean([*shares.values()]))
                )
        self.definitions["Dice"] = (
            "of the labels of the scan and what a frozen segmentor, trained on real targets and "
            f"their labels, finds in its translation; mean of {segmentor.labels} labels, on the "
            "segmentor's grid"
        )

    # Sets --------------------------------------------------------------------------------------

    def _add_sets(self, translator: Translator, test: Path) -> None:
        from ganatomy.cache import prepare
        from ganatomy.measures.histograms import histogram, shared_information
        from ganatomy.measures.seen import network_features
        from ganatomy.scans import Preprocessing
        from ganatomy.tables import read_table

        table = read_table([str(test)], {"scan": "joined", "target": "independent"})
        settings = Preprocessing(**translator.preset.preprocessing_of("target"))
        prepared = prepare(table.first, translator.preprocessing_)
        scans = np.asarray(prepared.array)
        images = {
            INPUT: scans,
            OWN: translator.artifact_.model.translate(scans),
            TARGET: np.asarray(prepare(table.paths["target"], settings).array),
        }
        for kind, array in images.items():
            shares = np.clip((array + 1) / 2, 0, 1)
            self.counts[kind] = histogram(shares, 0, 1)
            self.features[kind] += [network_features(one, 0, 1, NETWORK) for one in shares]
        self.names += [_named(table.names[owner]) for owner in prepared.owner]
        self.patients += [_named(str(table.whose[owner])) for owner in prepared.owner]
        for made, scan in zip(images[OWN], scans, strict=True):
            information = shared_information(made, scan)[1]
            name = "NMI with the scan"
            self.each[OWN].setdefault(name, []).append(float(np.asarray(information.value)))
            self.definitions[name] = f"of scan and translation, {information.definition}"


def measured(found: np.ndarray, truth: np.ndarray) -> list[Measure]:
    """What a single image is measured by, in shares of the target's range.

    Args:
        found: [*grid, C].
        truth: the same, aligned.
    """
    from ganatomy.measures.fidelity import fidelity
    from ganatomy.measures.histograms import shared_information
    from ganatomy.measures.seen import feature_distance
    from ganatomy.measures.visual import vif

    looks, seen = feature_distance(found, truth, 0, 1, NETWORK), vif(found, truth, 1.0)
    measures = [one for one in fidelity(found, truth, 1.0) if one.name in KEPT]
    measures += [*([seen] if seen is not None else []), *shared_information(found, truth)]
    if looks is not None:
        measures.append(
            looks._replace(name="perceptual", definition=f"{looks.name}: {looks.definition}")
        )
    return [*measures, sharpness(found, truth)]


def sharpness(found: np.ndarray, truth: np.ndarray) -> Measure:
    """How steep an image is beside its target: the ratio of their mean gradient magnitudes.

    Args:
        found: [*grid, C], at least two sides of the grid longer than a voxel.
        truth: the same.
    """
    from ganatomy.measures import Measure

    def steepness(image: np.ndarray) -> float:
        axes = tuple(axis for axis in range(image.ndim - 1) if image.shape[axis] > 1)
        slopes = np.gradient(np.asarray(image, float), axis=axes)
        return float(np.sqrt(sum(slope**2 for slope in slopes)).mean())

    return Measure(
        "sharpness",
        steepness(found) / steepness(truth),
        "mean gradient magnitude over that of the target, 1 as sharp as it; central differences "
        "between voxels",
    )


def _named(name: str) -> str:
    """A file and its folder: what it is called wherever the collection lies."""
    return "/".join(Path(name).parts[-2:])


def _around(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The box around a hole, of an image [*grid, C]."""
    places = np.argwhere(hole)
    return image[tuple(slice(a, b + 1) for a, b in zip(places.min(0), places.max(0), strict=True))]


def _short(value: float) -> float | None:
    """A figure with few digits; JSON has no infinity."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
