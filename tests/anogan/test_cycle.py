"""The healthy counterpart by a translation model of one's name, scored as any detector's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anogan.scorer import AnomalyScorer
from ganatomy import artifacts, registry
from ganatomy.artifacts import ArtifactError
from ganatomy.errors import WrongUse
from ganatomy.settings import check_settings
from ganatomy.tables import Table, read_table
from ganatomy.training import fit
from tests.synthesis import translators

GRID = {"rank": 2, "size": [16, 12]}


@pytest.fixture(scope="module")
def named(tmp_path_factory) -> Iterator[Path]:
    """A model on disk that turns dark to bright: what it changes is known."""
    folder, real = tmp_path_factory.mktemp("translation"), artifacts.model_class
    artifacts.save(translators.artifact(preprocessing=GRID), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            artifacts,
            "model_class",
            lambda path: translators.Negative if path.startswith("tests.") else real(path),
        )
        yield folder


def recipe(named: Path | str, **preprocessing) -> registry.Preset:
    cycle = registry.preset("cycle-brain-mr")
    own: dict[str, Any] = {
        "preprocessing": {**GRID, **preprocessing},
        "postprocessing": {"smooth": 0},
    }
    own["training"] = registry.Training(holdout=0.5)
    return cycle.model_copy(update={**own, "hyperparameters": {"translate": str(named)}})


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Table:
    """Pictures half dark and half bright, which are far from their negative."""
    home, draw = tmp_path_factory.mktemp("healthy"), np.random.default_rng(0)
    for number in range(24):
        image = np.where(np.arange(12) < 6, 20, 230) + draw.integers(-20, 20, (16, 12))
        Image.fromarray(image.astype(np.uint8)).save(home / f"{number}.png")
    return read_table([str(home)], {"scan": "joined"})


def test_it_is_calibrated_saved_and_maps_what_the_model_changes(named, scans, tmp_path):
    fit(recipe(named), scans, tmp_path / "model", fpr=0.1)
    scorer = AnomalyScorer.load(tmp_path / "model")
    image = np.where(np.arange(12) < 6, 20, 230) + np.zeros((16, 1))
    sick = image.copy()
    sick[4:8, 2:5] = 125.0  # grey, which its negative is too: changed least where most change much
    healthy, found = scorer.results([image, sick])
    assert healthy.findings is not None
    assert found.findings is not None
    x = (2 * (sick - 20) / 210 - 1)[None]
    np.testing.assert_allclose(found.findings.residual, 2 * x, atol=1e-5)
    np.testing.assert_allclose(found.findings.reconstruction[..., 0], -x, atol=1e-5)
    assert found.paper_score == pytest.approx(np.abs(2 * x).mean(), abs=1e-5)
    assert found.anomaly_score > healthy.anomaly_score
    lesion = np.zeros((16, 12), bool)
    lesion[4:8, 2:5] = True
    assert found.maps[0][lesion].min() > found.maps[0][~lesion].max()


def test_a_score_does_not_depend_on_its_company(named):
    model = artifacts.build_model(recipe(named), (16, 12, 1))
    samples = np.random.default_rng(0).uniform(-1, 1, (5, 16, 12, 1)).astype(np.float32)
    together, alone = model.inspect(samples), model.inspect(samples[3:4])
    for all_of_it, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(all_of_it[3:4], one)


def test_a_name_that_does_not_fit_is_refused_before_anything_is_read(named, tmp_path):
    check_settings(recipe(named))
    with pytest.raises(WrongUse, match="--set translate=MODEL"):
        check_settings(recipe(""))
    with pytest.raises(ArtifactError, match="no such model folder"):
        check_settings(recipe(tmp_path / "none"))
    with pytest.raises(WrongUse, match=r"preprocessing\.normalise is 'range' for scans"):
        check_settings(recipe(named, normalise="contrast"))
