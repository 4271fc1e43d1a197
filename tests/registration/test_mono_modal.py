"""Translate, then register: the moving scan is aligned by what a named model makes of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ganatomy import artifacts
from ganatomy.artifacts import ArtifactError
from ganatomy.errors import WrongUse
from ganatomy.report import write_report
from ganatomy.scans import Preprocessing
from ganatomy.tables import TableError
from registration.evaluation import DIRECT, OWN, evaluate
from registration.pairs import Pair
from registration.registrar import Registrar
from tests.registration.aligners import artifact
from tests.registration.placing import place, points_of, turn
from tests.synthesis import translators

SHAPE, MIDDLE, SHIFT = (26, 24, 20), np.array([2.0, 9.0, -18.0]), np.array([6.0, -5.0, 4.0])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> dict[str, Path]:
    """One body bright on dark: fixed, and shifted as moving; `negative` is moving dark on bright.

    `still` is the negative of the fixed scan.
    """
    home, found = tmp_path_factory.mktemp("volumes"), {}
    grid = place(turn((5, 3, -4)) * (1.5, 1.7, 2.2), SHAPE, (0.0, 10.0, -20.0))
    for name, shift, sign in (
        ("fixed", 0, 1),
        ("moving", SHIFT, 1),
        ("negative", SHIFT, -1),
        ("still", 0, -1),
    ):
        away = points_of(grid, SHAPE) - MIDDLE - shift
        body = 1000 * np.exp(-((away / (9.0, 7.0, 8.0)) ** 2).sum(-1))
        pixels = (body if sign > 0 else 1000 - body).astype(np.float32)
        found[name] = home / f"{name}.nii"
        nibabel.Nifti1Image(pixels, grid).to_filename(found[name])
    for name, spot in (("fixed", MIDDLE), ("moving", MIDDLE + SHIFT)):
        found[f"{name}-points"] = home / f"{name}.csv"
        found[f"{name}-points"].write_text("x,y,z\n" + ",".join(map(str, spot)))
    return found


@pytest.fixture(scope="module")
def name(tmp_path_factory) -> Iterator[str]:
    """Of a model on disk that makes bright of dark."""
    folder = tmp_path_factory.mktemp("translation")
    artifacts.save(translators.artifact(3, preprocessing={"rank": 3, "size": SHAPE}), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "model_class", lambda path: translators.Negative)
        yield str(folder)


def registrar(name: str | None, **settings) -> Registrar:
    own = artifact(bends=settings.pop("bends", False))
    own.preset.postprocessing.update(translate=name, **settings)
    return Registrar(own)


def pair_of(volumes) -> Pair:
    points = volumes["fixed-points"], volumes["moving-points"]
    return Pair("a", volumes["fixed"], volumes["negative"], "a", None, None, *points)


@pytest.mark.parametrize("bends", [False, True])
def test_the_translation_is_aligned_and_the_scan_itself_moved(volumes, name, bends):
    within = registrar(None, bends=bends).register(volumes["fixed"], volumes["moving"])
    found = registrar(name, bends=bends).register(volumes["fixed"], volumes["negative"])
    at = MIDDLE[None]
    np.testing.assert_allclose(found.transform.map(at), at + SHIFT, atol=1.0)
    np.testing.assert_allclose(found.transform.map(at), within.transform.map(at), atol=0.05)
    assert found.alignment_score == pytest.approx(within.alignment_score, abs=1e-3)
    # Dark on bright as before, and that scan's own values.
    inner = found.inside & within.inside
    total = found.moved.pixels[inner] + within.moved.pixels[inner]
    np.testing.assert_allclose(total, 1000, atol=15)
    across = registrar(None, bends=bends).register(volumes["fixed"], volumes["negative"])
    assert np.linalg.norm(across.transform.map(at) - at - SHIFT) > 3


def test_the_summary_and_the_page_name_the_model_that_translated(volumes, name, tmp_path):
    for own, stated in ((name, (name, "negative")), (None, (None, None))):
        out = tmp_path / str(own is None)
        summary = registrar(own).register(volumes["fixed"], volumes["negative"]).save(out)
        assert (summary["translate"], summary.get("translate_preset")) == stated
        assert json.loads((out / "registration.json").read_text()) == summary
        with open(out / "registration.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        assert row["translate"] == (own or "")
        page = write_report(out, out / "report.html").read_text()
        assert ("Aligned by what this model makes of the moving scan" in page) == (own is not None)
        assert (name in page) == (own is not None)


def test_it_is_measured_beside_the_same_model_without(volumes, name):
    found = evaluate(registrar(name), [pair_of(volumes)]).measures
    assert found["translate"] == name
    across = evaluate(registrar(None), [pair_of(volumes)]).measures
    own, other = found["measures"], found["methods"][DIRECT]
    assert own["error_median"]["value"] < 1 < 3 < other["error_median"]["value"]
    assert other["error_median"] == across["measures"]["error_median"]
    gap = found["differences"][DIRECT]["error_mm"]["value"]
    assert gap == pytest.approx(own["error_median"]["value"] - other["error_median"]["value"])
    assert DIRECT not in across["methods"]


def test_known_transforms_are_found_in_both_ways(volumes, name):
    lying = Pair("a", volumes["fixed"], volumes["still"], "a")
    rows = evaluate(registrar(name), [lying], known=2).scores.set_index("method")["error_mm"]
    across = evaluate(registrar(None), [lying], known=2).scores.set_index("method")["error_mm"]
    assert len(rows[OWN]) == 2
    np.testing.assert_allclose(rows[DIRECT], across[OWN])
    assert (np.abs(np.asarray(rows[OWN]) - np.asarray(rows[DIRECT])) > 1).all()
    alone = Pair("a", volumes["fixed"], volumes["fixed"], "a")
    with pytest.raises(TableError, match="give pairs of the two"):
        evaluate(registrar(name), [alone], known=1)


def test_a_translation_that_does_not_fit_is_refused_before_training(name, tmp_path):
    def check(name, rank=3, **rest):
        grid = Preprocessing.model_validate({"rank": rank, "size": (8,) * rank, **rest})
        Registrar.check_settings({"translate": str(name)}, grid)

    check(name)
    with pytest.raises(ArtifactError, match="no such model folder"):
        check(tmp_path / "none")
    artifacts.save(artifact(), tmp_path)
    with pytest.raises(WrongUse, match="does register; expected a model that translates"):
        check(tmp_path)
    with pytest.raises(WrongUse, match=r"voi is False there: --set voi=False"):
        check(name, voi=True)
    with pytest.raises(WrongUse, match="targets have no window"):
        check(name, normalise="window", window=(-100, 300))
    with pytest.raises(WrongUse, match="is for volumes"):
        check(name, rank=2)
