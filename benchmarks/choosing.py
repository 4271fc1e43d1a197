"""Settings of the radiograph presets, chosen without a label: by lesions planted in healthy scans.

The linear control is fitted on healthy radiographs of some patients; those of others are copied, as
they are and with a planted lesion. The settings that tell these copies apart best are chosen.
Labelled scans are looked at once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import harness, trained
from benchmarks.detection_data import chest, inside, padded, patient_of, read_grey, write_grey
from benchmarks.harness import Result, Row, row
from benchmarks.recalibration import elsewhere

QUESTION = "Radiographs: settings chosen on planted lesions alone, and what they are worth"
# Of the healthy training patients: fitted on, for the healthy map, to choose on.
SHARES = (0.6, 0.15, 0.25)
SIDE = 256  # the shorter side of the copies that lesions are planted in
SIZES = (0.12, 0.3)  # diameters of lesions, of the shorter side
# Opacities: how many, widths (a standard deviation, of the shorter side), and how much of the way
# from what was there to soft tissue.
NUMBER, WIDTHS, DENSITY = (1, 3), (0.06, 0.2), (0.3, 0.8)
SAMPLES: Mapping[str, Sequence[Any]] = {
    "size": ((16, 16), (32, 32), (48, 48), (64, 64)),
    "normalise": ("range", "contrast", "percentile"),
    "equalise": (None, 0.01, 0.03, 0.1),
    "align": (False, True),
    "margin": (0.0, 0.04, 0.08, 0.12),
}
MAPS: Mapping[str, Sequence[Any]] = {
    "components": (1, 2, 4, 8, 16, 32),
    "smooth": (0.0, 1 / 32, 1 / 16, 1 / 8),
    "border": (0.0, 0.1, 0.2),
    "centre": (False, True),
    "top": (1.0, 0.2, 0.05),
}
# Where the search begins: nothing is done to a picture or to a map.
BARE = {"size": (16, 16), "normalise": "range", "equalise": None, "align": False, "margin": 0.0}
BARE_MAP = {"components": 8, "smooth": 0.0, "border": 0.0, "centre": False, "top": 1.0}

Settings = dict[str, Any]
# Healthy files, and files of which the same is to be told.
Pair = tuple[list[Path], list[Path]]


class Split(NamedTuple):
    """Files of healthy patients: fitted on, for the healthy map, and copies to choose on.

    The copies are by what is planted in the second of a pair, and by how both were taken.
    """

    fitted: list[Path]
    mapped: list[Path]
    planted: dict[str, dict[str, Pair]]
    count: int


def measure(quick: bool) -> Result:
    root = harness.ROOT.parent / "shared" / "data"
    work = trained.folder() / "choosing"
    work.mkdir(parents=True, exist_ok=True)
    pneumonia = labelled(chest(root, work).test)
    split = copied(root / "chest-xray", work, 200 if quick else None)
    choices = {k: v[:2] for k, v in SAMPLES.items()} if quick else SAMPLES
    tried: dict[str, list[tuple[float, Settings, Settings]]] = {kind: [] for kind in split.planted}

    def worth(kind: str, settings: Settings) -> float:
        fitted = Fitted(split, settings)
        ways, found = climb(BARE_MAP, MAPS, lambda ways: fitted.worth(kind, ways), rounds=2)
        tried[kind].append((found, settings, ways))
        return found

    both = {"the presets' settings": preset_settings()}
    for kind in split.planted:
        climb(BARE, choices, lambda settings, kind=kind: worth(kind, settings), rounds=1)
        best = max(tried[kind], key=lambda one: one[0])
        both[f"chosen on {kind}"] = best[1:]
    rows: list[Row] = []
    for name, (settings, ways) in both.items():
        fitted = Fitted(split, settings)
        for kind, copies in split.planted.items():
            for how, pair in copies.items():
                rows.append(fitted.told(f"{name}: {kind}, {how}", pair, ways))
        rows.append(fitted.told(f"{name}: pneumonia of other patients", pneumonia, ways))
    for kind, found in tried.items():
        rows += [row(f"{kind}: {words(one)}", "AUROC", [v], "best map") for v, one, _ in found]
    return Result(
        rows,
        [
            "Principal components. "
            + " ".join(f"{name}: {words(a)}; {words(b)}." for name, (a, b) in both.items()),
            f"Fitted on {len(split.fitted)} healthy radiographs of children, the healthy map on "
            f"{len(split.mapped)} of other patients, chosen on {split.count} of others still, each "
            "without and with something planted, as they are and moved and exposed otherwise; the "
            "mean of the two areas decides, one setting after another. Lesions: one, lighter or "
            "darker, of another texture, deformed or foreign, 12 to 30 % of the shorter side. "
            "Opacities: one to three soft clouds in the lungs, up to two thirds of the side wide. "
            "Labels had no part in a choice. Intervals over patients.",
        ],
    )


def climb(
    start: Settings,
    choices: Mapping[str, Sequence[Any]],
    worth: Callable[[Settings], float],
    rounds: int,
) -> tuple[Settings, float]:
    """The best settings when one after another is tried, and what they are worth."""
    best, value = dict(start), worth(start)
    for _ in range(rounds):
        for name, values in choices.items():
            for one in values:
                if one != best[name] and (found := worth(best | {name: one})) > value:
                    best, value = best | {name: one}, found
    return best, value


def copied(source: Path, work: Path, count: int | None) -> Split:
    """Healthy training radiographs by patient; small copies of the last group, with and without."""
    from ganatomy.measures.planting import KINDS, plant_lesion

    files = sorted((source / "train" / "normal").glob("*.jpeg"))[:count]
    draw = np.random.default_rng(0)
    patients = draw.permutation(sorted({patient_of(file) for file in files}))
    ends = [round(sum(SHARES[:n]) * len(patients)) for n in (1, 2)]
    groups = [set(part) for part in np.split(patients, ends)]
    fitted, mapped, chosen = ([f for f in files if patient_of(f) in part] for part in groups)
    images = [shrunk(read_grey(file)) for file in chosen]
    made: dict[str, dict[str, Pair]] = {
        kind: {"plain": ([], []), "moved": ([], [])} for kind in ("lesions", "opacities")
    }
    for number, (file, image) in enumerate(zip(chosen, images, strict=True)):
        kind = KINDS[number % len(KINDS)]
        donor = padded(images[(number + 1) % len(images)], image.shape)
        lesion = plant_lesion(
            image, kind, draw.uniform(*SIZES) * SIDE, number, within=inside(image),
            donor=donor if kind == "foreign" else None,
        )  # fmt: skip
        for what, sick in {"lesions": lesion.image, "opacities": clouded(image, draw)}.items():
            for how, pair in made[what].items():
                for place, shown in enumerate((image, sick)):
                    out = work / f"{what}-{how}-{place}" / f"{file.stem}.png"
                    # One movement for both, so that what is planted alone tells them apart.
                    again = np.random.default_rng([1, number])
                    write_grey(out, shown if how == "plain" else elsewhere(shown, again))
                    pair[place].append(out)
    return Split(fitted, mapped, made, len(chosen))


def clouded(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A radiograph [H, W] with soft clouds of the density of soft tissue in its lungs."""
    from scipy.ndimage import gaussian_filter

    body = inside(image)
    smooth = gaussian_filter(image, SIDE / 32)
    tissue = np.percentile(image[body], 75)
    # The middle of the chest, without its corners, which are dark as well.
    middle = np.zeros_like(body)
    middle[tuple(slice(side // 6, -side // 6) for side in image.shape)] = True
    lungs = np.argwhere(body & middle & (smooth < np.median(image[body & middle])))
    rows, columns = np.indices(image.shape)
    for _ in range(draw.integers(NUMBER[0], NUMBER[1] + 1)):
        centre = lungs[draw.integers(len(lungs))]
        width = draw.uniform(*WIDTHS, 2) * SIDE
        away = ((rows - centre[0]) / width[0]) ** 2 + ((columns - centre[1]) / width[1]) ** 2
        share = draw.uniform(*DENSITY) * np.exp(-away / 2) * body
        image = image + share * np.maximum(tissue - image, 0)
    return image.astype(np.float32)


class Fitted:
    """Principal components of what a preprocessing makes of the healthy, and its residuals."""

    def __init__(self, split: Split, settings: Settings):
        from sklearn.decomposition import PCA

        from ganatomy.scans import Preprocessing, read_scan

        self.split, self.known = split, {}
        self.preprocessing = Preprocessing(**settings)
        self.preprocessing.fit(read_scan(file) for file in split.fitted)
        samples = self.samples(split.fitted)
        pca = PCA(max(MAPS["components"]), svd_solver="full").fit(samples.reshape(len(samples), -1))
        self.mean, self.basis = np.asarray(pca.mean_), np.asarray(pca.components_)

    def samples(self, files: Sequence[Path]) -> np.ndarray:
        """What the model sees of files, [n, H, W]; asked for hundreds of times."""
        from ganatomy.cache import prepare

        key = tuple(files)
        if key not in self.known:
            self.known[key] = prepare(files, self.preprocessing).array[..., 0]
        return self.known[key]

    def residuals(self, files: Sequence[Path], components: int) -> np.ndarray:
        """What so many components leave of each, [n, H, W]."""
        samples = self.samples(files)
        away = samples.reshape(len(samples), -1) - self.mean
        basis = self.basis[:components]
        return (away - away @ basis.T @ basis).reshape(samples.shape).astype(np.float32)

    def worth(self, kind: str, ways: Settings) -> float:
        """AUROC of what is planted, the mean of copies as they are and moved."""
        from sklearn.metrics import roc_auc_score

        copies = self.split.planted[kind].values()
        found = [roc_auc_score(*self.judged(pair, ways)) for pair in copies]
        return float(np.mean(found))

    def judged(self, pair: Pair, ways: Settings) -> tuple[np.ndarray, np.ndarray]:
        """Labels and scores, [n] each."""
        from anogan.residuals import Postprocessing

        post = Postprocessing(**{k: v for k, v in ways.items() if k != "components"})
        post.fit(self.residuals(self.split.mapped, ways["components"]))
        maps = [post.maps(self.residuals(files, ways["components"])) for files in pair]
        return np.repeat([0, 1], [len(p) for p in pair]), np.concatenate(
            list(map(post.scores, maps))
        )

    def told(self, what: str, pair: Pair, ways: Settings) -> Row:
        """A row of the result, with the interval over patients."""
        from ganatomy.measures.detection import detection_measures

        labels, scores = self.judged(pair, ways)
        whose = [patient_of(file) for files in pair for file in files]
        found = detection_measures(labels, scores, groups=whose)["auroc"]
        return Row(what, "AUROC", *found, f"{len(set(whose))} patients")


def preset_settings() -> tuple[Settings, Settings]:
    """What the radiograph presets have for the same settings."""
    from anogan.residuals import Postprocessing
    from ganatomy import registry
    from ganatomy.scans import Preprocessing

    preset = registry.preset("linear")
    before = Preprocessing(**preset.preprocessing).model_dump()
    after = Postprocessing(**preset.postprocessing).model_dump()
    after |= {"components": preset.hyperparameters["components"]}
    return {k: before[k] for k in BARE}, {k: after[k] for k in BARE_MAP}


def labelled(table: Path) -> Pair:
    """The files of a labelled table, healthy and not."""
    from ganatomy.tables import read_labelled_table

    rows = read_labelled_table([str(table)], {"scan": "joined"})
    healthy, sick = (list(rows.rows(rows.label == kind).first) for kind in (0, 1))
    return healthy, sick


def shrunk(image: np.ndarray) -> np.ndarray:
    """An image [H, W] whose shorter side is SIDE."""
    from skimage.transform import rescale

    return rescale(image, SIDE / min(image.shape), anti_aliasing=True).astype(np.float32)


def words(settings: Settings) -> str:
    return ", ".join(
        f"{k} {v:.3g}" if type(v) is float else f"{k} {v}" for k, v in settings.items()
    )
