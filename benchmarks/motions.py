"""Motions that `hippocampus-motion` makes, beside those that its registration finds.

    python -m benchmarks motions [--quick]

Trained on the subjects of `benchmarks.hippocampus` that are there to train on, and asked about
those to measure on: for each, what registration finds between it and others, what is made of its
scan and codes, and smooth bendings of noise that are as long in the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import hippocampus, trained
from benchmarks.harness import Result, Row
from ganatomy.measures.registration import mean_interval

QUESTION = "Are the motions made of a hippocampus like those that registration finds?"
PRESET = "hippocampus-motion"
EACH = 4  # flows of each kind an image


def measure(quick: bool) -> Result:
    from ganatomy.cache import prepare
    from registration.registrar import Registrar

    trained.threads(1)
    work = trained.folder() / "hippocampus"
    train, _, measured = hippocampus.subjects()
    table = hippocampus.written(work / "train.csv", [(name, name) for name in train])
    registrar = Registrar.load(hippocampus.model(PRESET, table, work, quick))
    model: Any = registrar.artifact_.model
    files = [hippocampus.centred("images", name, work) for name in measured[: 4 if quick else None]]
    scans = prepare(files, registrar.preprocessing_).array
    flows = flows_of(model, scans)
    result = Result()
    for name, each in flows.items():
        result.rows += rows(model, name, each)
    for name in ("made", "bent at random"):
        right = nearest_right(flows["found"], flows[name])
        result.rows.append(over_subjects(f"found or {name}, told by the nearest", "", right))
    result.notes = [
        f"{len(train)} subjects to train on, {len(scans)} others, {EACH} flows of each kind for "
        "every one; displacements on the coarse grid in mm. Intervals are over subjects. Bent at "
        "random: a spline through noise on 5 points an axis, as long in the mean as what is found.",
        "Two flows apart: the mean distance between two of one kind of one image.",
        "The nearest neighbour among all other flows of both kinds says which kind a flow is of: "
        "0.5 cannot be told apart, 1 always (Lopez-Paz & Oquab 2017).",
    ]
    return result


def flows_of(model: Any, scans: np.ndarray) -> dict[str, np.ndarray]:
    """By kind, displacements [n, EACH, *coarse, rank] in voxels of the coarse grid."""
    from ganatomy.gradients import compiled

    flow, velocity = compiled(model.flow), compiled(model.velocity)
    found, made = [], []
    for place, scan in enumerate(scans):
        others = [scans[(place + step) % len(scans)] for step in range(1, EACH + 1)]
        between = [np.asarray(velocity(scan[None], other[None])) for other in others]
        found.append(np.asarray(flow(np.concatenate(between))))
        made.append(np.asarray(flow(model.motions(scan[None], EACH, seed=place))))
    kinds = {"found": np.stack(found), "made": np.stack(made)}
    return kinds | {"bent at random": at_random(model, kinds["found"])}


def at_random(model: Any, found: np.ndarray) -> np.ndarray:
    """Bendings of noise, [n, EACH, *coarse, rank] coarse voxels, each as long as one found."""
    from registration.copies import COARSEST, bent

    rank = found.shape[-1]
    asked = length(model, found).astype(np.float32).ravel()
    drawn = np.random.default_rng(0)
    noise = drawn.standard_normal((len(asked), *[COARSEST] * rank, rank), np.float32)
    return np.asarray(bent(noise, asked, model.grid, model.spacing)).reshape(found.shape)


def length(model: Any, flows: np.ndarray) -> np.ndarray:
    """The mean length in mm of displacements [..., *coarse, rank] in coarse voxels."""
    from registration.velocity_network import COARSE

    rank = flows.shape[-1]
    far = np.linalg.norm(flows * COARSE * np.array(model.spacing), axis=-1)
    return far.mean(tuple(range(-rank, 0)))


def rows(model: Any, name: str, flows: np.ndarray) -> list[Row]:
    from registration.fields import jacobian_determinant

    count, each, *coarse, rank = flows.shape
    flat = flows.reshape(-1, *coarse, rank)
    stretch = np.asarray(jacobian_determinant(flat)).reshape(count, each, -1)
    pairs = [(a, b) for a in range(each) for b in range(a)]
    apart = [length(model, flows[:, a] - flows[:, b]) for a, b in pairs]
    shown = {
        "mean length": ("mm", length(model, flows).mean(1)),
        "two flows apart": ("mm", np.mean(apart, 0)),
        "deviation of ln J": ("", np.log(np.maximum(stretch, 1e-3)).std(-1).mean(1)),
        "folds": ("", (stretch <= 0).mean((1, 2))),
    }
    return [
        over_subjects(f"{name}: {what}", unit, values) for what, (unit, values) in shown.items()
    ]


def nearest_right(found: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By subject, how often the nearest other flow is of a flow's own kind, [n]."""
    from scipy.spatial.distance import cdist

    count, each = found.shape[:2]
    flat = np.concatenate([found, other]).reshape(2 * count * each, -1)
    kind = np.repeat([0, 1], count * each)
    far = cdist(flat, flat)
    np.fill_diagonal(far, np.inf)
    right = kind[far.argmin(1)] == kind
    return right.reshape(2, count, each).mean((0, 2))


def over_subjects(what: str, unit: str, values: np.ndarray) -> Row:
    """A mean over subjects [n] with its bootstrap interval."""
    found = mean_interval(values)
    return Row(what, unit, found.value, found.low, found.high, f"{len(values)} subjects")
