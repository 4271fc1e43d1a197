"""One `fit` in a process of its own, to be killed or to be one of several workers.

    python -m tests.ganatomy.training_worker OUT DATA STRATEGY [resume]

Writes the weights it ends with to OUT/../weights-TASK.npz. Of several workers each then claims to
stand at another step, and prints what it is told.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = [
    "size=[8,8]",
    "network=dcgan",
    "latent=4",
    "width=2",
    "critic_updates=1",
    "averages={generator: 0.9}",
    "optimizers={}",
    "batch_size=8",
    "training.steps={adversarial: 8, encoder: 6}",
    "every=2",
    "training.holdout=0.3",
    "training.augment={shift: 0.1}",
    "postprocessing.score=map",
]
FPR = 0.1


def run(out: Path, data: Path, strategy: str, resume: bool = False) -> Any:
    """The scorer of a small f-AnoGAN, and the model that was trained."""
    from ganatomy import registry, training
    from ganatomy.tables import read_table

    models = []
    build = training.build_model

    def remember(*args: Any) -> Any:
        models.append(build(*args))
        return models[-1]

    training.build_model = remember
    try:
        face = training.fit(
            registry.preset("fanogan").set(SETTINGS),
            read_table([str(data)], {"scan": "joined"}),
            out,
            seed=4,
            strategy=strategy,
            resume=resume,
            fpr=FPR,
        )
    finally:
        training.build_model = build
    return face, models[0]


def state(model: Any) -> dict[str, np.ndarray]:
    """Every variable that training changes, by its place."""
    variables = [*model.variables, *(v for o in model.optimizers.values() for v in o.variables)]
    return {f"{number:03}": v.numpy() for number, v in enumerate(variables)}


def claim_other_steps(model: Any, task: int) -> None:
    from ganatomy.artifacts import ArtifactError
    from ganatomy.training import check_same_step

    strategy = model.distribute_strategy
    check_same_step(strategy, 7)
    try:
        check_same_step(strategy, 10 * task)
    except ArtifactError as error:
        print(error)


if __name__ == "__main__":
    folder, pictures, where, *more = sys.argv[1:]
    task = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"]
    trained = run(Path(folder), Path(pictures), where, "resume" in more)[1]
    np.savez(Path(folder).parent / f"weights-{task}.npz", **state(trained))
    if where == "multiworker":
        claim_other_steps(trained, task)
