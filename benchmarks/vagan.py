"""`python -m benchmarks.vagan`: VA-GAN, which needs sick scans, on patients that it did not see.

It stands in no table of benchmarks.detection, whose detectors are trained on healthy scans alone.
Half of the patients with pneumonia are trained on, with their labels; the healthy ones that the
other detectors are measured on and the other half are measured on. A seed draws the halves too.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ablation, detection, harness
from benchmarks.detection_data import Task, tasks
from benchmarks.seeds import over_patients
from benchmarks.trained import folder as kept

PRESET = "vagan-chest-xray"
RESULTS = harness.RESULTS / "vagan.json"
BEGIN, END = "<!-- written by benchmarks.vagan -->", "<!-- end of vagan -->"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vagan", description=__doc__)
    parser.add_argument("--data", type=Path, default=harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--seeds", type=int, default=3, help="trainings, each on a half of its own")
    parser.add_argument("--render", action="store_true", help="only write the docs")
    chosen = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{kept()}/mlflow.db")
    if not chosen.render:
        work = kept() / "detection"
        task = tasks(chosen.data, work, ["chest-xray"])["chest-xray"]
        found = measured(task, work / "chest-xray", chosen.seeds)
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    ablation.put(BEGIN, END, sentence(json.loads(RESULTS.read_text())))


def measured(task: Task, work: Path, seeds: int) -> dict[str, Any]:
    """AUROC of VA-GAN's map and of the linear control on the same scans, over seeds."""
    from ganatomy.tables import read_labelled_table

    now = detection.commit()
    test = read_labelled_table([str(task.test)], detection.ROLES)
    assert test.label is not None
    assert test.patient is not None
    scores = {name: np.full((seeds, len(test)), np.nan) for name in ("map", "paper", "linear")}
    minutes = []
    for seed in range(seeds):
        print(f"{PRESET}, seed {seed}", flush=True)
        taught = half(test.label, test.patient, seed)
        scorer = trained(task, test, taught, seed, work, now)
        minutes.append(scorer.artifact_.facts["training_seconds"] / 60)
        unseen = np.flatnonzero(~taught)
        results = list(scorer.results([test.first[place] for place in unseen]))
        control = scorer.controls_["linear"].again(results, scorer)
        scores["map"][seed, unseen] = [result.anomaly_score for result in results]
        scores["paper"][seed, unseen] = [result.paper_score for result in results]
        scores["linear"][seed, unseen] = [result.anomaly_score for result in control]
    own, paper = (
        over_patients(test.label, scores[name], test.patient, scores["linear"])
        for name in ("map", "paper")
    )
    return {"map": own, "paper": paper, "minutes": float(np.mean(minutes)), "commit": now}


def half(labels: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    """Which scans are trained on, [scans]: those of half of the patients with none but sick ones.

    Args:
        labels: 0 healthy, 1 abnormal, [scans].
        patients: whose each is, [scans].
        seed: of the draw.
    """
    sick = sorted(set(patients[labels == 1]) - set(patients[labels == 0]))
    drawn = np.random.default_rng(seed).permutation(sick)[: len(sick) // 2]
    return np.isin(patients, drawn)


def trained(task: Task, test: Any, taught: np.ndarray, seed: int, work: Path, now: str) -> Any:
    """A scorer of VA-GAN, trained on a task's healthy scans and on the `taught` of the test's."""
    from anogan import AnomalyScorer
    from ganatomy import registry
    from ganatomy.tables import read_labelled_table

    preset = registry.preset(PRESET)
    table = work / f"vagan-{seed}.csv"
    write_table(task.train, test, taught, table)
    roles = registry.roles_of(preset)
    train = read_labelled_table([str(table)], roles)
    decides = json.dumps([preset.recipe(), seed, table.read_text()], sort_keys=True)
    key = hashlib.sha256(decides.encode()).hexdigest()[:12]
    out = work.parent / "models" / f"{PRESET}-{seed}-{key}"
    plan = detection.Plan(preset, train, test, seed, key, out)
    detection.trained(plan, now)
    return AnomalyScorer.load(plan.out)


def write_table(healthy: Path, test: Any, taught: np.ndarray, file: Path) -> None:
    """A CSV of healthy scans, and below them sick ones in the column `abnormal`."""
    with open(healthy, newline="") as lines:
        rows = [(one["scan"], "", one["label"], one["patient"]) for one in csv.DictReader(lines)]
    for place in np.flatnonzero(taught):
        rows.append(("", str(test.first[place]), "", test.patient[place]))
    with open(file, "w", newline="") as lines:
        csv.writer(lines).writerows([("scan", "abnormal", "label", "patient"), *rows])


def sentence(found: Mapping[str, Any]) -> str:
    """What there is to say, for the docs."""
    seeds = len(found["map"]["seeds"])
    return (
        f"Trained on half of the patients with pneumonia and measured on the others; {seeds} "
        f"seeds, each with halves of its own: {ablation.spread(found['map'])} by the map, "
        f"{ablation.spread(found['paper'])} by the size of its change; the map is "
        f"{ablation.difference(found['map'])} against the linear control on the same scans "
        f"(mean ± standard deviation over seeds, intervals over patients; "
        f"{found['minutes']:.1f} minutes a training, commit {found['commit']})."
    )


if __name__ == "__main__":
    main()
