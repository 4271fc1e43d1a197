"""What the alignment score is worth, written as JSON that any program reads."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.alignment_score import called, measured
from registration.evaluation import OWN
from registration.evidence import SIGNS


def signs(errors: np.ndarray) -> np.ndarray:
    """As many as there are, each lower the larger the error."""
    return np.stack([-errors] * len(SIGNS), -1)


def rows(dice: list[float], failure: list[float], score: list[float]) -> pd.DataFrame:
    own = {"method": OWN, "dice": dice, "failure": failure, "alignment_score": score}
    others = {"method": "identity", "dice": [0.1], "failure": [None], "alignment_score": [None]}
    return pd.concat([pd.DataFrame(own), pd.DataFrame(others)]).astype({"failure": object})


def test_signs_that_fall_with_the_error_tell_all_failures():
    errors = np.linspace(0, 20, 41)
    found = measured((signs(errors), errors), (signs(errors), errors))
    for name, one in found.items():
        assert one["auroc"] == 1
        assert one["spearman"] == pytest.approx(1)
        assert ("spearman_raw" in one) == name.endswith("alone")
    assert found["overlap alone"]["spearman_raw"] == pytest.approx(-1)


def test_what_nothing_can_be_said_of_is_null():
    errors = np.linspace(0, 20, 41)
    still = np.zeros((5, len(SIGNS)))
    found = measured((signs(errors), errors), (still, np.linspace(0, 4, 5)))
    assert found["all signs"]["auroc"] is None
    assert found["overlap alone"]["spearman_raw"] is None
    none, every = (
        called(rows([0.5, 0.6, 0.3], [odds] * 3, [0.0, 0.0, 0.0])) for odds in (0.2, 0.9)
    )
    assert none["dice_of_called"] is every["dice_of_others"] is None
    assert none["dice_of_others"] == every["dice_of_called"] == pytest.approx(1.4 / 3)
    assert none["score_and_dice_spearman"] is none["probability_and_dice_spearman"] is None
    assert (none["bad_called"], every["bad_called"], every["good_called"]) == (0, 1, 2)
    nobody = called(rows([0.5, np.nan], [np.nan, np.nan], [0.0, 1.0]))  # knows of a failure here
    assert nobody["probability_and_dice_spearman"] is nobody["score_and_dice_spearman"] is None
    assert nobody["dice_of_others"] == 0.5
    assert "NaN" not in json.dumps([found, none, every, nobody], allow_nan=False)


def test_called_pairs_have_the_dice_of_called_pairs():
    found = called(rows([0.2, 0.6, 0.7], [0.8, 0.1, 0.2], [1.0, 2.0, 3.0]))
    assert found["pairs"] == 3
    assert found["called"] == pytest.approx(1 / 3)
    assert found["dice_of_called"] == pytest.approx(0.2)
    assert found["dice_of_others"] == pytest.approx(0.65)
    assert found["score_and_dice_spearman"] == pytest.approx(1)
