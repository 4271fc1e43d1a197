"""docs/measures.md: its example runs, and no measure is missing in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ganatomy.measures.agreement import agreement_measures
from ganatomy.measures.paired import paired_measures
from ganatomy.measures.regions import region_measures
from ganatomy.measures.segmentation import segmentation_measures

PAGE = (Path(__file__).parents[3] / "docs" / "measures.md").read_text()


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/measures.md", "exec"), {})
    told = capsys.readouterr().out
    assert "mm from 10 to 90 %" in told
    assert "Agreement(bias=" in told


def test_every_measure_that_compare_gives_has_a_row():
    image = np.random.default_rng(0).random((64, 64, 1)) + 1
    mask = image[..., 0] > 1.5
    given = [
        *paired_measures(image, image + 0.1, 1),
        *region_measures(image[..., 0], 1 + mask),
        *segmentation_measures(mask, mask, (1, 1)),
        *agreement_measures([1, 2, 3], [1, 3, 3], "ml"),
    ]
    names = " ".join(line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|"))
    assert len(given) == 23
    called = {"lower limit": "limits of agreement", "upper limit": "limits of agreement"}
    missing = [one.name for one in given if called.get(one.name, one.name) not in names]
    assert not missing
