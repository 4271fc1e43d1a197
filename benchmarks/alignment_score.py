"""Does the alignment score know a failure? On transforms and patients it was not calibrated on.

    python -m benchmarks.alignment_score MODEL --calibrate CALIBRATE.csv --check CHECK.csv

Each CSV has columns fixed and moving; of models between patients each scan is paired with itself.
Pairs are laid on each other 0 to 20 mm off (`registration.calibrating.Placed`); the probability of
an error above 5 mm is fitted on the first table's and measured on the second's, by all signs, by
all but the critic's score, and by the score alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from ganatomy.tables import read_table
from registration.calibrating import Placed, scan_pairs
from registration.confidence import Confidence
from registration.evidence import SIGNS
from registration.registrar import Registrar
from registration.registration import LIMIT

# By name, the columns of the signs.
CHOICES = {
    "all signs": [*range(len(SIGNS))],
    "without the critic's score": [*range(1, len(SIGNS))],
    **{f"{name} alone": [place] for place, name in enumerate(SIGNS)},
}


def cases(registrar: Registrar, csv: Path, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs [n, k] and errors [n] in mm of so many wrongly placed pairs."""
    table = read_table([str(csv)], {"fixed": "joined", "moving": "joined"})
    placed = [Placed(registrar, *pair) for pair in scan_pairs(registrar, table)]
    found = [placed[n % len(placed)].case(seed, n) for n in range(count)]
    return np.array([[*signs.values()] for signs, _ in found]), np.array([e for _, e in found])


def measured(
    fitted: tuple[np.ndarray, np.ndarray], checked: tuple[np.ndarray, np.ndarray]
) -> dict[str, dict[str, float]]:
    """By choice of signs the AUROC of errors above 5 mm, and Spearman's correlation with them."""
    (signs, errors), (others, truth) = fitted, checked
    found = {}
    for name, columns in CHOICES.items():
        confidence = Confidence.fit(signs[:, columns], errors > LIMIT)
        said = [confidence.probability(row) for row in others[:, columns]]
        correlated: Any = spearmanr(said, truth)
        found[name] = {
            "auroc": float(roc_auc_score(truth > LIMIT, said)),
            "spearman": float(correlated.statistic),
            "called": float(((np.array(said) > 0.5) == (truth > LIMIT)).mean()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=60)
    words = parser.parse_args()
    registrar = Registrar.load(words.model)
    tables = ((words.calibrate, 0), (words.check, 100))
    both = [cases(registrar, csv, seed, words.cases) for csv, seed in tables]
    print(json.dumps(measured(both[0], both[1]), indent=2))


if __name__ == "__main__":
    main()
