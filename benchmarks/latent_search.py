"""AnoGAN's search: what steps, starts and optimisers are worth, in loss, AUROC and time."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks import trained
from benchmarks.harness import Result, Row, row
from benchmarks.latent_fit import PRESET, TRAINING

QUESTION = "AnoGAN: what do steps, starts and optimisers of the search buy?"
# Start, steps, step size, step size at the end as a fraction.
SEARCHES = (
    ("prior", 500, 0.01, 1.0),
    ("prior", 500, 0.1, 0.05),
    ("prior", 100, 0.1, 0.05),
    ("prior", 50, 0.1, 0.05),
    ("prior", 25, 0.1, 0.05),
    ("encoder", 100, 0.1, 0.05),
    ("encoder", 50, 0.1, 0.05),
    ("encoder", 25, 0.1, 0.05),
    ("encoder", 10, 0.1, 0.05),
    ("encoder", 5, 0.1, 0.05),
)
EVALUATIONS = 50


def measure(quick: bool) -> Result:
    trained.threads(len(os.sched_getaffinity(0)))
    from sklearn.metrics import roc_auc_score

    from anogan import AnomalyScorer
    from anogan.residuals import Postprocessing
    from ganatomy.artifacts import build_model
    from ganatomy.tables import split

    scorer = AnomalyScorer.load(
        trained.model_folder(PRESET, *(trained.SHORT if quick else TRAINING))
    )
    preset, own = scorer.artifact_.preset, scorer.artifact_.model
    chosen = trained.stratified("test", 64 if quick else 192)
    images = trained.samples(scorer.preprocessing_, chosen)
    holdout = split(trained.table("train"), preset.training.holdout, 0)[1]
    healthy = trained.samples(scorer.preprocessing_, holdout)[: 32 if quick else 96]
    rows: list[Row] = []
    for start, steps, rate, decay in SEARCHES[-2:] if quick else SEARCHES:
        search = [f"search_start={start}", f"search_steps={steps}", f"search_rate={rate}"]
        model = build_model(preset.set([*search, f"search_decay={decay}"]), scorer.artifact_.shape)
        model.set_weights(own.get_weights())
        post = Postprocessing(**preset.postprocessing).fit(model.inspect(healthy).residual)
        began = time.perf_counter()
        found = model.inspect(images)
        each = (time.perf_counter() - began) / len(images)
        auroc = float(roc_auc_score(chosen.label, post.scores(post.maps(found.residual))))
        way = f"{steps} steps from the {start}, step size {rate:g} to {rate * decay:g}"
        rows += [
            row(f"{way}: loss", "", found.paper_score, "scans"),
            row(f"{way}: AUROC of the map", "", [auroc], "run"),
            row(f"{way}: time", "ms/scan", [1000 * each], "run"),
        ]
    few = images[: 4 if quick else 24]
    rows.append(row(f"L-BFGS, {EVALUATIONS} evaluations from the encoder: loss", "",
                    lbfgs(own, few), "scans"))  # fmt: skip
    model = build_model(
        preset.set([f"search_steps={EVALUATIONS}", "search_start=encoder"]), scorer.artifact_.shape
    )
    model.set_weights(own.get_weights())
    rows.append(row(f"Adam, {EVALUATIONS} steps from the encoder, the same scans: loss", "",
                    model.inspect(few).paper_score, "scans"))  # fmt: skip
    return Result(
        rows,
        [
            f"One GAN, trained as `{PRESET}` but shorter; {len(images)} of the shipped test scans, "
            "half of them healthy. The loss is the search's objective; a lower one is a closer "
            "picture, not a better detector.",
            "L-BFGS is SciPy's, one scan at a time, gradients from the same graph; a step of Adam "
            "is one evaluation. It is compared in loss at equal evaluations, since it cannot run "
            "for a batch of scans at once.",
        ],
    )


def lbfgs(model: Any, images: np.ndarray) -> list[float]:
    """The search's objective after L-BFGS, a scan."""
    import tensorflow as tf
    from scipy.optimize import minimize

    generator, critic = model.network("generator"), model.network("critic")

    @tf.function
    def evaluated(z: Any, image: Any) -> Any:
        features = critic(image, training=False)["features"]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            fake = generator(z, training=False)
            residual = tf.reduce_sum(tf.abs(image - fake))
            other = tf.reduce_sum(tf.abs(features - critic(fake, training=False)["features"]))
            loss = (1 - model.lam) * residual + model.lam * other
        return loss, tape.gradient(loss, z)

    def of(z: np.ndarray, image: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = evaluated(tf.constant(z[None], tf.float32), tf.constant(image[None]))
        return float(loss), np.asarray(slope[0], np.float64)

    starts = np.asarray(model.network("encoder")(images, training=False), np.float64)
    return [
        minimize(of, start, args=(image,), jac=True, method="L-BFGS-B",
                 options={"maxfun": EVALUATIONS}).fun
        for start, image in zip(starts, images, strict=True)
    ]  # fmt: skip
