"""`python -m benchmarks.detection`: every detector by one protocol, into docs/detection.md.

Each preset is trained and measured as `ganatomy fit` and `ganatomy evaluate` do it. A row that is
there already and whose recipe and data are the same is not made again, so that an interrupted run
goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.detection_data import Task, tasks
from benchmarks.detection_page import write_page
from benchmarks.trained import folder as kept

RESULTS = harness.RESULTS / "detection.json"
ROLES = {"scan": "joined"}


def detectors(methods: Sequence[str] = ()) -> list[str]:
    """The presets that are compared: all that share the recipe for radiographs, or those named."""
    from ganatomy import registry

    found = {n: p for n, p in registry.presets().items() if n.endswith("-chest-xray")}
    # A model that needs sick scans as well cannot stand beside those that never saw one.
    alike = ["linear", *(n for n, p in found.items() if set(p.roles) == set(ROLES))]
    return [n for n in alike if not methods or n.removesuffix("-chest-xray") in methods]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detection", description=__doc__)
    parser.add_argument("--data", type=Path, default=harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--tasks", nargs="*", default=[], help="names of detection_data.tasks")
    parser.add_argument("--detectors", nargs="*", help="presets; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument("--render", action="store_true", help="only write the docs")
    chosen = parser.parse_args()
    from ganatomy import registry

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{kept()}/mlflow.db")
    work = kept() / "detection"
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not chosen.render:
        now = commit()  # once: what runs was read from the files as they are here
        todo = tasks(chosen.data, work, chosen.tasks)
        for name, task in todo.items():
            entry = found.setdefault(name, {"rows": {}})
            entry.update(title=task.name, says=task.says)
            for detector in chosen.detectors or detectors(task.detectors):
                if task.settings and registry.preset(detector).members:
                    continue  # an ensemble's settings are its members'
                for seed in range(chosen.seeds):
                    row = one(task, detector, seed, work / name, entry["rows"], now)
                    entry["rows"][f"{detector}/{seed}"] = row
                    RESULTS.parent.mkdir(exist_ok=True)
                    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    write_page(found)


@dataclass(frozen=True)
class Plan:
    """A training: of which preset, on what, into which folder."""

    preset: Any
    train: Any
    test: Any
    seed: int
    key: str
    out: Path


def planned(task: Task, detector: str, seed: int, work: Path) -> Plan:
    """A detector's training by a task; its folder is named after all that decides it.

    It lies beside `work`, the task's own folder: tasks that train on the same scans share it.
    """
    from ganatomy import registry
    from ganatomy.tables import read_labelled_table

    preset = registry.preset(detector).set(task.settings)
    if preset.training.steps:
        shorter = {
            stage: max(1, round(count * task.steps))
            for stage, count in preset.training.steps.items()
        }
        preset = preset.set([f"training.steps={json.dumps(shorter)}"])
    train, test = (read_labelled_table([str(file)], ROLES) for file in (task.train, task.test))
    members = registry.members(preset) if preset.members else {}
    recipes = [one.recipe() for one in (preset, *members.values())]
    same, key = (_key(recipes, seed, train.names, *more) for more in ([], [test.names]))
    out = work.parent / "models" / f"{detector}-{seed}-{same}"
    return Plan(preset, train, test, seed, key, out)


def one(task: Task, detector: str, seed: int, work: Path, rows: Mapping[str, Any], now: str) -> Any:
    """The row of a detector: measures, minutes, speed, and the commits that it was made at."""
    plan = planned(task, detector, seed, work)
    old = rows.get(f"{detector}/{seed}", {})
    if old.get("key") == plan.key:
        return old
    print(f"{task.name}: {detector}, seed {seed}", flush=True)
    made = {"trained": trained(plan, now), "measured": now}
    return {"key": plan.key, "commit": made, **measured(plan.out, plan.test)}


def trained(plan: Plan, now: str) -> str | None:
    """Train as planned, unless that was done; at which commit it was, where that is known."""
    from ganatomy.training import fit

    out = plan.out
    at = out.with_name(f"{out.name}.commit")
    if not (out / "config.json").exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(now)
        fit(plan.preset, plan.train, out, seed=plan.seed, resume=out.exists())
    return at.read_text() if at.exists() else None


def measured(out: Path, test: Any) -> dict[str, Any]:
    """What a trained model does on labelled scans."""
    from anogan import AnomalyScorer
    from anogan.evaluation import evaluate

    scorer = AnomalyScorer.load(out)
    measures = evaluate(scorer, test).measures
    # Members are trained, and look at a scan, one after another.
    alone = list(getattr(scorer, "members_", {"": scorer}).values())
    controls, pixels = measures["controls"], measures.get("pixels")
    return {
        "measures": measures["measures"],
        "kinds": {
            record["kind"]: record["auroc"] for record in measures["extra"].get("auroc_by_kind", [])
        },
        "paper": controls.get("paper score", {}).get("auroc"),
        "control": controls.get("linear control", {}).get("auroc_difference"),
        "pixels": pixels
        and {**pixels["measures"], "lesions": pixels["lesion_sensitivity"]["mean"]},
        "minutes": sum(one.artifact_.facts["training_seconds"] for one in alone) / 60,
        "images_per_second": 1 / sum(1 / speed(one, test) for one in alone),
    }


def speed(scorer: Any, test: Any) -> float:
    """Samples a second through the network, prepared beforehand; the best of three."""
    from ganatomy.cache import prepare

    samples = prepare(test.first[:128], scorer.preprocessing_).array
    scorer.artifact_.model.inspect(samples)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        scorer.artifact_.model.inspect(samples)
        times.append(time.perf_counter() - began)
    return len(samples) / min(times)


def commit(suite: str = "anogan") -> str:
    """The commit of this tree, `-changed` where what decides a suite's figure differs from it."""
    head = _git("rev-parse", "--short=10", "HEAD")
    decides = (suite, "ganatomy", "benchmarks/*.py")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *decides)
    return f"{head}-changed" if changed else head


def _key(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _git(*words: str) -> str:
    command = ["git", "--no-optional-locks", "-C", str(harness.ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
