"""Does the alignment score know a failure? On transforms and patients it was not calibrated on.

    python -m benchmarks.alignment_score MODEL --calibrate CALIBRATE.csv --check CHECK.csv \\
        [--pairs PAIRS.csv]

Each CSV has columns fixed and moving, as the model was trained on; that of --pairs fixed_labels and
moving_labels as well. Pairs are laid on each other 0 to 20 mm off (`registration.calibrating`); the
probability of an error above 5 mm is fitted on the first table's and measured on the second's, by
all signs, by all but the critic's score, and by each alone. The pairs of --pairs are registered as
they are by a model calibrated on the first table: how many are called failures, and what Dice those
have that are and those that are not. What nothing is known of, such as the Dice of none, is null.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
) -> dict[str, dict[str, float | None]]:
    """By choice of signs the AUROC of errors above 5 mm, and Spearman's correlation with them."""
    (signs, errors), (others, truth) = fitted, checked
    found: dict[str, dict[str, float | None]] = {}
    failed = truth > LIMIT
    for name, columns in CHOICES.items():
        confidence = Confidence.fit(signs[:, columns], errors > LIMIT)
        said = np.array([confidence.probability(row) for row in others[:, columns]])
        found[name] = {
            "auroc": float(roc_auc_score(failed, said)) if 0 < failed.sum() < len(said) else None,
            "spearman": correlation(said, truth),
            "called": float(((said > 0.5) == failed).mean()),
        }
    for place, name in enumerate(SIGNS):  # as it is, whatever sign a fit would give it
        found[f"{name} alone"]["spearman_raw"] = correlation(others[:, place], truth)
    return found


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's over what is known; None where either is the same everywhere, and has no ranks."""
    known = np.isfinite(one) & np.isfinite(other)
    if any(len(set(values[known])) < 2 for values in (one, other)):
        return None
    found: Any = spearmanr(one[known], other[known])
    return float(found.statistic)


def mean(values: np.ndarray) -> float | None:
    """Of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def called(rows: pd.DataFrame) -> dict[str, float | None]:
    """How many ordinary pairs are called failures, and how many of them are badly aligned.

    Args:
        rows: of an evaluation's pairs.csv.
    """
    own: Any = rows[rows["method"] == OWN]
    dice, probability = (own[name].to_numpy(float) for name in ("dice", "failure"))
    failed, bad = probability > LIKELY, dice < BAD
    return {
        "pairs": len(own),
        "called": mean(failed),
        "bad": mean(bad),
        "bad_called": int((bad & failed).sum()),
        "good_called": int((~bad & failed).sum()),
        "dice_of_called": mean(dice[failed]),
        "dice_of_others": mean(dice[~failed]),
        "score_and_dice_spearman": correlation(own["alignment_score"].to_numpy(float), dice),
        "probability_and_dice_spearman": correlation(probability, dice),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--calibrate", type=Path, required=True)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--cases", type=int, default=60)
    words = parser.parse_args()
    registrar = Registrar(words.model)
    vars(registrar)["confidence_"] = None  # it is fitted anew, whatever was written
    tables = ((words.calibrate, 0), (words.check, 100))
    both = [cases(registrar, csv, seed, words.cases) for csv, seed in tables]
    found: dict[str, Any] = {"displaced": measured(both[0], both[1])}
    if words.pairs is not None:
        calibrate(registrar, read(registrar, words.calibrate))
        found["ordinary"] = called(evaluate(registrar, read_pairs([str(words.pairs)])).scores)
    print(json.dumps(found, indent=2, allow_nan=False))


if __name__ == "__main__":
    main()
