"""`python -m benchmarks.ablation`: what each part of a detector is worth, into docs/detection.md.

On chest radiographs by the protocol of benchmarks.detection, several seeds of each. A variant is
measured beside what it differs from, on the same scans, resampled alike: intervals are over
patients, seeds averaged. Networks are trained once for all variants that share them; GANs, which
take minutes, are taken from what `python -m benchmarks.detection` trained, or left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import detection, detection_page, harness
from benchmarks.ablation_variants import RULES, Variant, parts
from benchmarks.detection_data import Task, tasks
from benchmarks.seeds import over_patients
from benchmarks.trained import folder as kept

RESULTS = harness.RESULTS / "ablation.json"
BEGIN, END = "<!-- written by benchmarks.ablation -->", "<!-- end of ablation -->"
# Whose trainings take minutes: three of them are the members of one ensemble.
SEVERAL = {"fanogan-chest-xray": "fanogan-seeds-chest-xray"}
# What is fitted in closed form, and anew where a variant changes it.
FITTED = ("density", "projection")


class Network(NamedTuple):
    """A trained detector and the healthy scans that it was trained and calibrated on."""

    scorer: Any
    training: Any
    holdout: Any


class Scores(NamedTuple):
    """Of one training: scores of held-out healthy scans, of the test's, and of moved copies."""

    healthy: np.ndarray
    test: np.ndarray
    moved: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--data", type=Path, default=harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each")
    parser.add_argument("--parts", nargs="*", default=[], help=", ".join(parts()))
    parser.add_argument("--render", action="store_true", help="only write the docs")
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{kept()}/mlflow.db")
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not chosen.render:
        work = kept() / "detection"
        task = tasks(chosen.data, work, ["chest-xray"])["chest-xray"]
        bench = Bench(task, work / "chest-xray", chosen.seeds, detection.commit())
        for name, part in parts().items():
            if not chosen.parts or name in chosen.parts:
                began = time.monotonic()
                found[name] = bench.measured(part.variants) | {
                    "title": part.title,
                    "says": part.says,
                    "minutes": round((time.monotonic() - began) / 60, 1),
                    "commit": bench.now,
                }
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    put(BEGIN, END, "\n\n".join(section(found[name]) for name in parts() if name in found))


class Bench:
    """Trains, scores and measures variants.

    Args:
        task: to train and measure by.
        work: the folder of its models.
        seeds: trainings of each.
        now: the commit that this is.
    """

    def __init__(self, task: Task, work: Path, seeds: int, now: str):
        self.task, self.work, self.seeds, self.now = task, work, seeds, now
        self.test = detection.planned(task, "linear", 0, work).test
        self.moved = moved(self.test.first, work / "moved")
        self.network, self.found = cache(self._network), cache(self._found)

    def measured(self, variants: Sequence[Variant]) -> dict[str, Any]:
        """Rows of variants, each beside what it differs from, and what had to be left out."""
        scores: dict[str, list[Scores]] = {}
        rows, left_out = [], []
        for variant in variants:
            print(variant.what, flush=True)
            own = [self.scores(variant, seed) for seed in range(self.seeds)]
            if any(one is None for one in own):
                left_out.append(variant.what)
                continue
            scores[variant.what] = [one for one in own if one is not None]
            rows.append(self.row(variant, scores))
        return {"rows": rows, "left_out": left_out, "seeds": self.seeds}

    def row(self, variant: Variant, scores: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
        """AUROC of a variant, and what it is more than its reference's, as they are and moved."""
        labels, patients = self.test.label, self.test.patient
        row: dict[str, Any] = {"what": variant.what, "reference": variant.reference}
        for name in ("test", "moved"):
            own = np.stack([getattr(one, name) for one in scores[variant.what]])
            other = scores.get(variant.reference or "")
            rival = None if other is None else np.stack([getattr(one, name) for one in other])
            row[name] = over_patients(labels, own, patients, rival)
        return row

    def scores(self, variant: Variant, seed: int) -> Scores | None:
        """What a variant says with one seed; None where it is made of a GAN that nobody trained."""
        if variant.rule:
            members = [self.scores(one, seed) for one in variant.members]
            known = [one for one in members if one is not None]
            return joined(variant.rule, known) if len(known) == len(members) else None
        network = self.network(variant.trained, variant.settings, seed)
        if network is None:
            return None
        from anogan.finishing import healthy_judgements
        from anogan.residuals import Postprocessing

        preset = as_variant(network.scorer.artifact_.preset, variant)
        made = json.dumps([preset.model, preset.hyperparameters])
        held, test, elsewhere = self.found(variant.trained, variant.settings, seed, made)
        post = Postprocessing(**preset.postprocessing)
        judged = healthy_judgements(post, held, network.holdout.whose)
        healthy = np.array([score for _, score in judged])
        return Scores(
            healthy, *(np.array([post.judge(f)[2] for f in own]) for own in (test, elsewhere))
        )

    def _network(self, name: str, settings: tuple[str, ...], seed: int) -> Network | None:
        from anogan import AnomalyScorer
        from ganatomy.tables import split

        if name in SEVERAL:
            plan = detection.planned(self.task, SEVERAL[name], 0, self.work)
            folder = plan.out / "members" / (name + (f"-seed-{seed}" if seed else ""))
            if not (folder / "config.json").exists():
                return None
        else:
            task = dataclasses.replace(self.task, settings=settings)
            plan = detection.planned(task, name, seed, self.work)
            detection.trained(plan, self.now)
            folder = plan.out
        healthy = plan.train.rows(plan.train.label == 0)
        training, holdout = split(healthy, plan.preset.training.holdout, plan.seed)
        return Network(AnomalyScorer.load(folder), training, holdout)

    def _found(self, name: str, settings: tuple[str, ...], seed: int, made: str) -> list[list[Any]]:
        """Findings on held-out healthy scans, the test's and moved ones, of networks in a model."""
        from anogan.detector import Findings
        from ganatomy.cache import prepare

        network = self.network(name, settings, seed)
        assert network is not None
        own = network.scorer.artifact_
        model = own.model
        if json.loads(made) != [own.preset.model, own.preset.hyperparameters]:
            path, hyperparameters = json.loads(made)
            change = {"model": path, "hyperparameters": hyperparameters}
            model = rebuilt(own, own.preset.model_copy(update=change))
            model.solve(prepare(network.training.first, network.scorer.preprocessing_).array)
        found = []
        for paths in (network.holdout.first, self.test.first, self.moved):
            samples = prepare(paths, network.scorer.preprocessing_)
            if samples.failures:
                raise samples.failures[0]
            said = model.inspect(samples.array)
            found.append(
                [Findings(*(value[n : n + 1] for value in said)) for n in range(len(samples.array))]
            )
        return found


def as_variant(preset: Any, variant: Variant) -> Any:
    """The preset of trained networks as a variant scores with them."""
    from ganatomy import registry

    if variant.like:
        other = registry.preset(variant.like)
        change = {"preprocessing": preset.preprocessing, "training": preset.training}
        preset = other.model_copy(update=change)
    return preset.set(variant.after)


def rebuilt(artifact: Any, preset: Any) -> Any:
    """The model of a preset, with the trained networks that it has in common with an artifact."""
    from ganatomy.artifacts import build_model

    model = build_model(preset, artifact.shape)
    for name in set(model.networks) - set(FITTED):
        weights = artifact.model.network(name).get_weights()
        model.networks[name].set_weights(weights)
        if name in model.averages:
            model.averages[name].set_weights(weights)
    return model


def joined(rule: str, members: Sequence[Scores]) -> Scores:
    """The mean of members' scores, each measured by its own healthy ones, see `RULES`."""
    told = [RULES[rule](one.healthy) for one in members]
    means = (
        np.mean([of(getattr(one, name)) for of, one in zip(told, members, strict=True)], axis=0)
        for name in ("test", "moved")
    )
    # Seeds draw who is held out, for each member others; nothing is made of an ensemble again.
    return Scores(np.empty(0), *means)


def moved(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of radiographs, smaller, off centre and exposed otherwise, each in its own way."""
    from PIL import Image

    from benchmarks.recalibration import elsewhere
    from ganatomy.scans import read_scan

    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / f"{path.stem}.png" for path in paths]
    for number, (path, copy) in enumerate(zip(paths, copies, strict=True)):
        if not copy.exists():
            pixels = read_scan(path).pixels[..., 0]
            made = np.clip(elsewhere(pixels, np.random.default_rng(number)), 0, 255)
            aside = copy.with_suffix(".part")
            Image.fromarray(np.rint(made).astype(np.uint8)).save(aside, "PNG")
            aside.replace(copy)
    return copies


def section(part: Mapping[str, Any]) -> str:
    """A heading, what was asked, and a table."""
    lines = []
    for row in part["rows"]:
        cells = [row["what"]]
        for name in ("test", "moved"):
            own = row[name]
            cells += [spread(own), difference(own)]
        lines.append(cells)
    head = ["", "AUROC", "difference", "moved", "difference"]
    texts = [f"#### {part['title']}", part["says"], detection_page.table(head, lines)]
    if part["left_out"]:
        texts.append(
            "Left out, since `python -m benchmarks.detection` has not trained it here: "
            f"{', '.join(part['left_out'])}."
        )
    seeds = f"{part['seeds']} seed{'s' if part['seeds'] > 1 else ''}"
    texts.append(f"{seeds}, {part['minutes']:g} minutes, commit {part['commit']}.")
    return "\n\n".join(texts)


def spread(found: Mapping[str, Any]) -> str:
    """The mean over seeds with their standard deviation, and the interval over patients."""
    auroc, seeds = found["auroc"], found["seeds"]
    deviation = f" ± {np.std(seeds, ddof=1):.3f}" if len(seeds) > 1 else ""
    return f"{auroc['value']:.3f}{deviation} ({auroc['low']:.3f}–{auroc['high']:.3f})"


def difference(found: Mapping[str, Any]) -> str:
    """What a variant has more than its reference."""
    if "difference" not in found:
        return ""
    own = found["difference"]
    return f"{own['value']:+.3f} ({own['low']:+.3f} to {own['high']:+.3f})"


def put(begin: str, end: str, made: str) -> None:
    """Put a text between two marks of docs/detection.md."""
    page = detection_page.PAGE
    text = page.read_text()
    head, _, rest = text.partition(begin)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise SystemExit(f"{page}: no place between {begin!r} and {end!r}")
    page.write_text(f"{head}{begin}\n\n{made}\n\n{end}{tail}")


if __name__ == "__main__":
    main()
