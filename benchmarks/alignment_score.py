"""Does the alignment score know a failure? On transforms and patients it was not calibrated on.

    python -m benchmarks.alignment_score MODEL --calibrate CALIBRATE.csv --check CHECK.csv \\
        [--pairs PAIRS.csv]

Each CSV has columns fixed and moving, as the model was trained on; that of --pairs fixed_labels and
moving_labels as well. Pairs are laid on each other 0 to 20 mm off (`registration.calibrating`); the
probability of an error above 5 mm is fitted on the first table's and measured on the second's, by
all signs, by all but the critic's score, and by each alone. The pairs of --pairs are registered as
they are by a model calibrated on the first table: how many are called failures, and what Dice those
have that are and those that are not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from ganatomy.tables import Table, read_table
from registration.calibrating import Placed, calibrate, known_pairs
from registration.confidence import Confidence
from registration.evaluation import OWN, evaluate
from registration.evidence import SIGNS
from registration.pairs import read_pairs
from registration.registrar import Registrar
from registration.registration import LIKELY, LIMIT

# By name, the columns of the signs.
CHOICES = {
    "all signs": [*range(len(SIGNS))],
    "without the critic's score": [*range(1, len(SIGNS))],
    **{f"{name} alone": [place] for place, name in enumerate(SIGNS)},
}
BAD = 0.4  # Dice below which a pair counts as badly aligned


def read(registrar: Registrar, csv: Path) -> Table:
    """A table of scans, paired as the model pairs them."""
    roles = registrar.artifact_.model.roles
    return read_table([str(csv)], {role: roles[role] for role in ("fixed", "moving")})


def cases(registrar: Registrar, csv: Path, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs [n, k] and errors [n] in mm of so many wrongly placed pairs."""
    placed = [Placed(registrar, known) for known in known_pairs(registrar, read(registrar, csv))]
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
    for place, name in enumerate(SIGNS):  # as it is, whatever sign a fit would give it
        raw: Any = spearmanr(others[:, place], truth)
        found[f"{name} alone"]["spearman_raw"] = float(raw.statistic)
    return found


def called(registrar: Registrar, csv: Path) -> dict[str, float]:
    """How many ordinary pairs are called failures, and how many of them are badly aligned."""
    rows = evaluate(registrar, read_pairs([str(csv)])).scores
    own = rows[rows["method"] == OWN]
    failed, bad = own["failure"].astype(float) > LIKELY, own["dice"] < BAD
    correlated: Any = spearmanr(own["alignment_score"], own["dice"])
    probability: Any = spearmanr(own["failure"], own["dice"])
    return {
        "pairs": len(own),
        "called": float(failed.mean()),
        "bad": float(bad.mean()),
        "bad_called": int((bad & failed).sum()),
        "good_called": int((~bad & failed).sum()),
        "dice_of_called": float(own["dice"][failed].mean()),
        "dice_of_others": float(own["dice"][~failed].mean()),
        "score_and_dice_spearman": float(correlated.statistic),
        "probability_and_dice_spearman": float(probability.statistic),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--cases", type=int, default=60)
    words = parser.parse_args()
    registrar = Registrar.load(words.model)
    vars(registrar)["confidence_"] = None  # it is fitted anew
    tables = ((words.calibrate, 0), (words.check, 100))
    both = [cases(registrar, csv, seed, words.cases) for csv, seed in tables]
    found: dict[str, Any] = {"displaced": measured(both[0], both[1])}
    if words.pairs is not None:
        calibrate(registrar, read(registrar, words.calibrate))
        found["ordinary"] = called(registrar, words.pairs)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
