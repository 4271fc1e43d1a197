"""Another site: what becomes of false positives, and does the drift warning come before?"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import harness, trained
from benchmarks.harness import Result, Row, row

QUESTION = "Another site: false positives before and after `calibrate` on 50 healthy scans"
MODELS = ("linear", "fanogan-chest-xray", "planted-chest-xray")
FPR, COUNT = 0.05, 50


def measure(quick: bool) -> Result:
    from anogan import AnomalyScorer
    from anogan.calibration import Calibration

    rows: list[Row] = []
    draws = 20 if quick else 200
    places = sites(100 if quick else 500)
    for name in MODELS[:1] if quick else MODELS:
        scorer = AnomalyScorer.load(trained.model_folder(name))
        for site, scans in places.items():
            found = list(scorer.results(scans))
            scores = np.array([one.anomaly_score for one in found])
            looks = np.array([scorer.look_of(one) for one in found])
            draw, after = np.random.default_rng(0), []
            for _ in range(draws):
                order = draw.permutation(len(found))
                held, others = order[:COUNT], order[COUNT:]
                threshold = Calibration.of(scores[held].tolist(), looks[held], FPR).threshold
                after.append(100 * float(np.mean(scores[others] > threshold)))
            unlike = [100 * float(np.mean([one.unlike > 1 for one in found]))]
            before = [100 * float(np.mean([one.abnormal for one in found]))]
            rows += [
                row(f"{name}, {site}: scans unlike", "%", unlike, f"model, {len(found)} scans"),
                row(f"{name}, {site}: abnormal before", "%", before, f"model, {len(found)} scans"),
                row(f"{name}, {site}: abnormal after", "%", after, f"draws of {COUNT} scans"),
            ]
    return Result(
        rows,
        [
            "Trained on the shipped healthy radiographs of children; thresholds at a "
            f"false-positive rate of {100 * FPR:g} % from their holdout. Home: the shipped healthy "
            "radiographs of other children. Moved: the same, smaller, off centre and exposed "
            "otherwise, each in its own way. Adults: radiographs of MedNIST (NIH), which are not "
            "all healthy, so that their share of abnormal scans is no error before `calibrate`.",
            f"After: {COUNT} scans of the site set the threshold, the others are measured on; the "
            "median over draws, and the extremes.",
            "A warning comes where more than 5 % of the scans are unlike those of the calibration.",
        ],
    )


def sites(count: int) -> dict[str, Any]:
    """Healthy scans by site, as arrays or files."""
    from ganatomy.scans import read_scan

    tables = [trained.table(name) for name in ("validation", "test")]
    healthy = [path for one in tables for path in one.rows(one.label == 0).first]
    own = [read_scan(path).pixels[..., 0] for path in healthy]
    draw = np.random.default_rng(0)
    adults = harness.ROOT.parent / "shared" / "data" / "mednist" / "CXR"
    return {
        "home": own,
        "moved": [elsewhere(image, draw) for image in own],
        "adults": [str(file) for file in sorted(adults.glob("*.jpeg"))[:count]],
    }


def elsewhere(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A picture [H, W] taken from further away, off centre and exposed otherwise."""
    from scipy.ndimage import affine_transform

    low, high = float(image.min()), float(image.max())
    scale = draw.uniform(0.85, 0.95)
    centre = (np.array(image.shape) - 1) / 2
    shift = draw.uniform(-0.05, 0.05, 2) * image.shape
    offset: Any = centre - (centre + shift) / scale
    moved = affine_transform(image, np.eye(2) / scale, offset, order=1, cval=low)
    exposed = ((moved - low) / (high - low)) ** draw.uniform(0.6, 0.8)
    return (low + (high - low) * exposed).astype(np.float32)
