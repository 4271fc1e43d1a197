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
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.detection_data import Task, tasks
from benchmarks.trained import folder as kept

RESULTS = harness.RESULTS / "detection.json"
PAGE = harness.ROOT / "docs" / "detection.md"
BEGIN, END = "<!-- written by benchmarks.detection -->", "<!-- end -->"
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
        todo = tasks(chosen.data, work, chosen.tasks)
        for name, task in todo.items():
            entry = found.setdefault(name, {"rows": {}})
            entry.update(title=task.name, says=task.says)
            for detector in chosen.detectors or detectors(task.detectors):
                if task.settings and registry.preset(detector).members:
                    continue  # an ensemble's settings are its members'
                for seed in range(chosen.seeds):
                    row = one(task, detector, seed, work / name, entry["rows"])
                    entry["rows"][f"{detector}/{seed}"] = row
                    RESULTS.parent.mkdir(exist_ok=True)
                    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    write_page(found)


def one(task: Task, detector: str, seed: int, work: Path, rows: Mapping[str, Any]) -> Any:
    """The row of a detector: measures, minutes and speed."""
    from ganatomy import registry
    from ganatomy.tables import read_labelled_table
    from ganatomy.training import fit

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
    text = json.dumps([recipes, seed, train.names, test.names], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    old = rows.get(f"{detector}/{seed}", {})
    if old.get("key") == key:
        return old
    out = work / f"{detector}-{seed}-{key}"
    print(f"{task.name}: {detector}, seed {seed}", flush=True)
    if not (out / "config.json").exists():
        fit(preset, train, out, seed=seed, resume=out.exists())
    return {"key": key, **measured(out, test)}


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


def write_page(found: Mapping[str, Any]) -> None:
    """Put the tables between the marks of docs/detection.md."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, mark, tail = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE}: no place for the tables between {BEGIN!r} and {END!r}")
    made = "\n\n".join(section(entry) for entry in found.values())
    PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n\n{END}{tail}")


def section(entry: Mapping[str, Any]) -> str:
    """One comparison as a heading, a sentence and a table."""
    seeds: dict[str, list[Mapping[str, Any]]] = {}
    for name, row in entry["rows"].items():
        seeds.setdefault(name.partition("/")[0], []).append(row)
    pixels = any(row["pixels"] for rows in seeds.values() for row in rows)
    head = ["detector", "AUROC", "paper's own", "against the control", "sensitivity", "specificity"]
    head += ["pixel AP", "Dice at 1 %", "FROC"] if pixels else []
    head += ["minutes", "images/s"]
    best_first = sorted(seeds.items(), key=lambda item: -_mean(item[1], "auroc"))
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cells(name, rows, pixels))} |" for name, rows in best_first]
    rows = "\n".join(lines)
    return f"### {entry['title']}\n\n{entry['says']}\n\n{rows}\n\n{chosen_by_labels(seeds)}"


def chosen_by_labels(names: Iterable[str]) -> str:
    """Which settings of these presets were chosen with labels in sight."""
    from ganatomy import registry

    alike: dict[str, list[str]] = {}
    for name in sorted(names):
        alike.setdefault(registry.preset(name).labels, []).append(f"`{name}`")
    told = "; ".join(f"{', '.join(own)}: {what}" for what, own in alike.items())
    return f"Chosen in sight of labels: {told}."


def cells(name: str, rows: Sequence[Mapping[str, Any]], pixels: bool) -> list[str]:
    """The cells of one detector; of several seeds the mean, and the spread beside the AUROC."""
    first = rows[0]
    auroc = interval(first["measures"]["auroc"])
    if len(rows) > 1:
        each = [row["measures"]["auroc"]["value"] for row in rows]
        auroc = (
            f"{_mean(rows, 'auroc'):.3f} ({min(each):.3f} to {max(each):.3f}, {len(each)} seeds)"
        )
    paper, control = first["paper"], first["control"]
    shown = [
        f"`{name}`",
        auroc,
        "" if paper is None else f"{paper['value']:.3f}",
        "" if control is None else interval(control, "+.3f"),
        f"{_mean(rows, 'sensitivity'):.2f}",
        f"{_mean(rows, 'specificity'):.2f}",
    ]
    if pixels:
        own = first["pixels"] or {}
        for key in ("pixel_average_precision", "dice", "lesions"):
            shown.append(f"{own[key]['value']:.2f}" if key in own else "")
    minutes = sum(row["minutes"] for row in rows) / len(rows)
    shown += [f"{minutes:.1f}", f"{max(row['images_per_second'] for row in rows):,.0f}"]
    return shown


def interval(measure: Mapping[str, float], form: str = ".3f") -> str:
    return f"{measure['value']:{form}} ({measure['low']:{form}} to {measure['high']:{form}})"


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(row["measures"][name]["value"] for row in rows) / len(rows)


if __name__ == "__main__":
    main()
