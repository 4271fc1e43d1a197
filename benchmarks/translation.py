"""`python -m benchmarks.translation`: translation presets by one protocol, into docs/systems.md.

Each preset is trained as `ganatomy fit` does it, and beside it the same generator by squared error
alone, where there are pairs to learn from so; the scan itself is the other baseline. A row that is
there already and whose recipe and data are the same is not made again, so that an interrupted run
goes on. With --anew all is trained and measured again, and the results are replaced at its end; a
run of it that was interrupted goes on as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.detection import commit
from benchmarks.trained import folder as kept
from benchmarks.translation_data import Fold, Task
from benchmarks.translation_tasks import PRESETS, TASKS, WITHOUT, tasks

NAME = "translation.json"
QUICK = 20  # steps of a stage


@dataclass(frozen=True)
class Run:
    """What is trained: a preset, perhaps changed.

    Attributes:
        name: of its rows.
        preset: with all changes made.
        settings: what was changed, for the docs.
        without: roles of labels that it is not given.
    """

    name: str
    preset: Any
    settings: Sequence[str] = ()
    without: Sequence[str] = ()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=__doc__)
    parser.add_argument("--data", type=Path, default=harness.ROOT.parent / "shared" / "data")
    parser.add_argument("--tasks", nargs="*", default=[], choices=[*TASKS], metavar="TASK")
    parser.add_argument("--presets", nargs="*", help="or rows, as in the docs; all by default")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} steps each; the docs are left as they are"
    )
    parser.add_argument(
        "--anew", action="store_true", help="as if no row and no trained model were there"
    )
    parser.add_argument("--render", action="store_true", help="only write the docs")
    parser.add_argument("--list", action="store_true", help="only say what would be trained")
    chosen = parser.parse_args()
    if chosen.anew and chosen.render:
        parser.error("--render only writes the docs, --anew trains: give one of them")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{kept()}/mlflow.db")
    from benchmarks.translation_page import write_page

    results = harness.RESULTS / ("quick" if chosen.quick else "") / NAME
    work = kept() / ("translation" + chosen.anew * ("-anew" + chosen.quick * "-quick"))
    # What is made anew is kept apart until all of it is there.
    rows = work / NAME if chosen.anew else results
    found = read(rows)
    failed: list[str] = []
    now = commit("synthesis")  # once: what runs was read from the files as they are here
    for name, task in {} if chosen.render else tasks(chosen.data, work, chosen.tasks).items():
        entry = found.setdefault(name, {"rows": {}})
        entry.update(title=task.name, says=task.says, taught=task.taught)
        for seed in range(chosen.seeds):  # a first training of all before a second of any
            for run in runs(name, task, chosen.presets or ()):
                row = f"{run.name}/{seed}"
                if chosen.list:
                    print(f"{name}: {row}{' '.join(['', *run.settings])}")
                    continue
                try:  # one that fails does not keep the others from being measured
                    entry["rows"][row] = one(
                        task, run, seed, work, entry["rows"], now, chosen.quick
                    )
                except Exception as error:
                    traceback.print_exc()
                    failed.append(f"{name}: {row}: {error}")
                    continue
                rows.parent.mkdir(parents=True, exist_ok=True)
                rows.write_text(written(found))
    if chosen.anew and not (chosen.list or failed):
        found = merged(read(results), found)
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(written(found))
        shutil.rmtree(work)
    if not (chosen.quick or chosen.list or (chosen.anew and failed)):
        write_page(found)
    if failed:
        raise SystemExit("\n".join(["failed:", *failed]))


def read(results: Path) -> dict[str, Any]:
    """The tasks and rows of a file; none where there is no file."""
    return json.loads(results.read_text()) if results.exists() else {}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """All tasks and rows of both, in the order of the old ones; where both have one, the new."""
    found = {**old, **new}
    for name in old.keys() & new.keys():
        found[name] = {**new[name], "rows": {**old[name]["rows"], **new[name]["rows"]}}
    return found


def runs(name: str, task: Task, wanted: Sequence[str]) -> list[Run]:
    """What is trained for a task: its presets, each with its baseline, and variants of them."""
    from benchmarks.translation_rows import VARIANTS, by_squares
    from ganatomy import registry

    known = registry.presets()
    found = []
    for preset in (known[n] for n, of in PRESETS.items() if of == name and n in known):
        found.append(Run(preset.name, preset, without=WITHOUT.get(preset.name, ())))
        plain = by_squares(preset) if task.taught else None
        if plain is not None:
            found.append(Run(f"{preset.name}, L2 only", plain))
    for variant in VARIANTS:
        if PRESETS.get(variant.preset) == name and variant.preset in known:
            changed = known[variant.preset].set(variant.settings)
            found.append(
                Run(variant.name, changed, variant.settings, WITHOUT.get(variant.preset, ()))
            )
    return [run for run in found if not wanted or {run.name, run.preset.name} & set(wanted)]


# One row ---------------------------------------------------------------------------------------


def one(
    task: Task,
    run: Run,
    seed: int,
    work: Path,
    rows: Mapping[str, Any],
    now: str,
    quick: bool = False,
) -> dict[str, Any]:
    """The row of a run: measures, minutes, and the commits that it was made at."""
    from benchmarks.translation_measures import FORMAT, Images

    preset = as_trained(run.preset, quick)
    key = _key(_recipe(preset), seed, FORMAT, [_names(fold) for fold in task.folds], *run.without)
    old = rows.get(f"{run.name}/{seed}", {})
    if old.get("key") == key:
        return old
    print(f"{task.name}: {run.name}, seed {seed}", flush=True)
    images, minutes, commits = Images(task), 0.0, []
    for number, fold in enumerate(task.folds):
        judge = judged_by(task, fold, work, now, quick)
        out, at = trained(preset, fold, seed, work, now, run.without)
        commits.append(at)
        minutes += images.add(out, fold.test, str(number), judge)
    made = {"trained": commits[0] if len(set(commits)) == 1 else None, "measured": now}
    return {"key": key, "commit": made, "minutes": minutes, **images.row()}


def as_trained(preset: Any, quick: bool) -> Any:
    """A preset as it is trained here: on all patients of its table, for others are held out."""
    preset = preset.set(["training.holdout=0"])
    if not quick:
        return preset
    steps = {stage: min(count, QUICK) for stage, count in preset.training.steps.items()}
    return preset.set([f"training.steps={json.dumps(steps)}", f"training.every={QUICK}"])


def judged_by(task: Task, fold: Fold, work: Path, now: str, quick: bool) -> Path | None:
    """The segmentor of real targets that is to find labels in translations; None without labels."""
    from benchmarks.translation_rows import JUDGE
    from ganatomy import registry

    if not task.labels:
        return None
    preset = as_trained(registry.preset(JUDGE.preset).set(JUDGE.settings), quick)
    return trained(preset, fold, 0, work, now)[0]


def trained(
    preset: Any, fold: Fold, seed: int, work: Path, now: str, without: Sequence[str] = ()
) -> tuple[Path, str | None]:
    """Train as planned, unless that was done; the folder, and at which commit where it is known."""
    from ganatomy import registry
    from ganatomy.tables import read_table
    from ganatomy.training import fit

    roles = {r: kind for r, kind in registry.roles_of(preset).items() if r not in without}
    table = read_table([str(fold.train)], roles)
    key = _key(_recipe(preset), seed, _names(fold)[0], *without)
    # Rows of one recipe on the same scans share a training, whatever they are called.
    models = work / "models"
    done = [file.parent for file in models.glob(f"*-{seed}-{key}/config.json")]
    out = done[0] if done else models / f"{preset.name}-{seed}-{key}"
    at = out.with_name(f"{out.name}.commit")
    if not (out / "config.json").exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        if not at.exists():
            at.write_text(now)
        fit(preset, table, out, seed=seed, resume=out.exists())
    return out, at.read_text() if at.exists() else None


def written(found: Mapping[str, Any]) -> str:
    """The results as JSON, a row a line: their many figures of single images are for programs."""
    parts = []
    for name, entry in found.items():
        rows = [f"{json.dumps(n)}: {json.dumps(row)}" for n, row in entry["rows"].items()]
        words = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in entry.items() if k != "rows"]
        lines = ",\n  ".join([*words, '"rows": {\n   ' + ",\n   ".join(rows) + "\n  }"])
        parts.append(f" {json.dumps(name)}: {{\n  {lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _recipe(preset: Any) -> dict[str, Any]:
    """What decides a training; the name does not."""
    return {k: v for k, v in preset.recipe().items() if k != "name"}


def _names(fold: Fold) -> list[str]:
    """The tables of a fold by what they name, wherever the collections lie."""
    import pandas as pd

    def told(file: Path) -> str:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        columns = {name: [Path(cell).name for cell in frame[name]] for name in frame}
        return _key(columns, fold.made)

    return [told(fold.train), told(fold.test)]


def _key(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
