"""The verb `evaluate`: measures of one or several models, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ganatomy.arguments import name_of, trained_face
from ganatomy.exits import plain_errors
from ganatomy.measuring import json_option, say_failed
from ganatomy.printing import (
    measure_differences,
    numbered,
    print_differences,
    print_measures,
    read_failures,
    summarise_seeds,
    warn_of_unlike,
)
from ganatomy.registering import evaluate_pairs
from ganatomy.translating import evaluate_translations


def with_seeds(model: str) -> list[str]:
    """A model, or those that `fit --repeat` left below its folder, by number of their seed."""
    from ganatomy.run_folder import seed_folders

    if (Path(model) / "config.json").exists():
        return [model]
    return [str(one) for one in seed_folders(Path(model))] or [model]


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--data", multiple=True, help="Labelled scans: a CSV, or a folder of folders.")
@click.option("--normal", type=click.Path(path_type=Path, exists=True), help="Healthy scans.")
@click.option("--abnormal", type=click.Path(path_type=Path, exists=True), help="Abnormal scans.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path),
    help="Masks, each called as its scan; or a column 'mask' of the CSV.",
)
@click.option("--known-transforms", type=click.IntRange(1), help="Make so many, to be found again.")
@json_option
@click.option("--out", type=click.Path(path_type=Path), help="Write scores and pictures here.")
@plain_errors
def evaluate(
    models: tuple[str, ...],
    data: tuple[str, ...],
    normal: Path | None,
    abnormal: Path | None,
    masks: Path | None,
    known_transforms: int | None,
    json_file: Path | None,
    out: Path | None,
) -> None:
    """Measure one or several MODELS on labelled scans or pairs, side by side; of seeds the mean."""
    import shutil

    from ganatomy.artifacts import are_seeds, local_folder, read_config, refuse_full, write_whole
    from ganatomy.tables import read_labelled_table, table_of_two, with_masks

    models = tuple(name for model in models for name in with_seeds(model))
    usage = "give --data, or --abnormal with --normal or --masks or both"
    if not data and abnormal is None:
        raise click.UsageError(usage)
    if json_file is not None and not json_file.parent.is_dir():
        raise click.UsageError(f"--json {json_file}: no such folder {json_file.parent}")
    sources = [local_folder(model) for model in models]
    tasks = {read_config(source)["preset"]["task"] for source in sources}
    if tasks == {"translate"}:
        evaluate_translations(models, sources, data, json_file, out)
        return
    if tasks == {"register"}:
        evaluate_pairs(models, sources, data, known_transforms or 0, json_file, out)
        return
    if known_transforms is not None:
        raise click.UsageError("--known-transforms is for models that register")
    roles = {"scan": "joined"}
    if abnormal is not None and (normal or masks) and not data:
        table = table_of_two(normal, abnormal)
    elif data and normal is None and abnormal is None:
        table = read_labelled_table(data, roles)
    else:
        raise click.UsageError(usage)
    if masks is not None:
        table = with_masks(table, masks)
    folders: list[Path | None] = [out]
    names = numbered(map(name_of, models), "-{}")
    if len(models) > 1:
        folders = [None if out is None else out / name for name in names]
        if out is not None:
            refuse_full(out, *names)
    for folder in folders:
        if folder is not None:
            refuse_full(folder, "measures.json")
    faces = [
        trained_face(model, "detect", "evaluate", source)
        for model, source in zip(models, sources, strict=True)
    ]
    found = []
    labels = numbered(models, " ({})")
    for label, face, source, folder in zip(labels, faces, sources, folders, strict=True):
        found.append((label, face.evaluate(table, folder)))
        if folder is not None:  # what the report shows beside the measures
            for name in ("model_card.md", "history.csv"):
                if (source / name).exists():
                    shutil.copyfile(source / name, folder / name)
    measures = [(label, evaluation.measures) for label, evaluation in found]
    shown: dict[str, Any] = dict(measures) if len(models) > 1 else measures[0][1]
    print_measures(measures)
    if len(models) > 1:
        shown["paired differences"] = differences = measure_differences(found)
        print_differences(differences)
        if out is not None:  # there the models go by the names of their folders
            called = dict(zip(labels, names, strict=True))
            told = [{**d, "of": called[d["of"]], "minus": called[d["minus"]]} for d in differences]
            write_whole(out / "comparison.json", json.dumps(told, indent=2))
    if are_seeds(sources):
        shown["over seeds"] = summarise_seeds([one for _, one in measures], out)
    elif out is not None:  # of models that were measured here before
        (out / "seeds.json").unlink(missing_ok=True)
    if json_file is not None:
        json_file.write_text(json.dumps(shown, indent=2))
    for label, evaluation in found:
        scores = evaluation.scores
        warn_of_unlike(
            scores.loc[scores["label"] == 0, "unlike"],
            "healthy scans" if len(models) == 1 else f"healthy scans of {label}",
        )
    say_failed(line for _, one in measures for line in read_failures(one))
