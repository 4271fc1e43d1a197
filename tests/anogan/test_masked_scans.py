"""A detector that looks at the body alone: trained, saved, loaded and scored under a mask."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anogan import AnomalyScorer
from ganatomy import registry
from ganatomy.tables import read_table
from ganatomy.training import fit


def disc(seed: int, *, lesion: bool = False, outside: bool = False) -> np.ndarray:
    """A grey disc with a dark hole on a black, noisy ground; perhaps with a bright spot."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5 - draw.normal(0, 0.5, (2, 1, 1))
    away = np.hypot(y, x)
    image = np.where(away < 22, 120 + 30 * np.sin(y / 6), 0) - 60 * (away < 6)
    image[y**2 + (x - 12) ** 2 < 16] += 90 * lesion
    image[(y + 26) ** 2 + (x + 26) ** 2 < 9] += 250 * outside
    return np.uint8(np.clip(image + draw.normal(0, 3, image.shape), 0, 255))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory) -> AnomalyScorer:
    root = tmp_path_factory.mktemp("discs")
    (root / "healthy").mkdir()
    for seed in range(50):
        Image.fromarray(disc(seed)).save(root / "healthy" / f"{seed}.png")
    settings = ["size=[32,32]", "equalise=null", "align=false", "margin=0.0", "mask=body"]
    grey = ["normalise=window", "window=[0,255]"]
    preset = registry.preset("linear").set([*settings, "training.holdout=0.4", *grey])
    fit(preset, read_table([str(root / "healthy")], {"scan": "joined"}), root / "model")
    return AnomalyScorer.load(root / "model")


def test_the_map_ends_at_the_body_and_finds_what_is_in_it(scorer):
    assert scorer.preprocessing_.mask == "body"
    [sick, healthy] = scorer.results([disc(100, lesion=True), disc(100)])
    known = np.isfinite(sick.map)
    away = np.hypot(*(np.mgrid[:64, :64] - 31.5))
    assert known[away < 20].all()
    assert not known[away > 26].any()
    assert sick.abnormal
    assert sick.anomaly_score > healthy.anomaly_score
    peak = np.unravel_index(np.nanargmax(sick.map), sick.map.shape)
    assert np.hypot(peak[0] - 31.5, peak[1] - 43.5) < 5


def test_what_lies_outside_the_body_changes_nothing(scorer):
    [plain, marked] = scorer.results([disc(101), disc(101, outside=True)])
    assert marked.anomaly_score == pytest.approx(plain.anomaly_score, rel=1e-4)
    np.testing.assert_allclose(marked.map, plain.map, atol=1e-4)
