"""The few at one end of many: which stay, and that nothing is made of the others."""

import numpy as np
import pytest

from anogan.extremes import Extremes
from anogan.result import Result


@pytest.mark.parametrize("count", [1, 3, 12, 50])
def test_the_highest_stay_and_of_equal_ones_the_first(count):
    keys = np.random.default_rng(0).integers(0, 9, 40).astype(float)
    extremes = Extremes(count, lambda result: result.path.upper())
    for number, key in enumerate(keys):
        extremes.offer(f"n{number}", key, Result(f"p{number}"))
    expected = np.argsort(-keys, kind="stable")[:count]
    assert extremes.highest() == [f"n{number}" for number in expected]
    assert {n: extremes.made[n] for n in extremes.highest()} == {f"n{i}": f"P{i}" for i in expected}
    assert len(extremes.made) == len(extremes.keys) == min(count, len(keys))


def test_nothing_is_made_of_what_is_too_low():
    seen = []
    extremes = Extremes(2, lambda result: seen.append(result.path))
    for name, key in (("a", 3.0), ("b", 1.0), ("c", 1.0), ("d", 0.0), ("e", 2.0)):
        extremes.offer(name, key, Result(name))
    assert seen == ["a", "b", "e"]
