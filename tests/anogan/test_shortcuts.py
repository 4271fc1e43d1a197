"""Shortcuts: each tells of one thing alone, and of that thing it does tell."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from anogan.calibration import Calibration, look
from anogan.shortcuts import marks, shortcuts
from ganatomy.measures.pixels import HealthyPixels
from ganatomy.scans import Prepared, Preprocessing, Scan

PLAIN = Preprocessing(size=(16, 16))


def scan(seed: int, *, offset=0.0, rim=0.0, shape=(40, 40)) -> Scan:
    pixels = np.random.default_rng(seed).uniform(20, 200, shape)
    pixels[0, 0], pixels[-1, -1] = 0, 255  # one range for all
    pixels[:2], pixels[-2:] = pixels[:2] + rim, pixels[-2:] + rim
    return Scan(np.clip(pixels, 0, 255)[..., None] + offset)


def seen(scans: list[Scan]) -> tuple[np.ndarray, np.ndarray]:
    prepared: list[Prepared] = [PLAIN.apply(one) for one in scans]
    looks = [look(one, p) for one, p in zip(scans, prepared, strict=True)]
    return np.array(looks), np.array([marks(one) for one in scans])


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    looks, marked = seen([scan(seed) for seed in range(80)])
    return Calibration.of(np.arange(80.0), looks, 0.05, marks=marked)


@pytest.mark.parametrize(
    ("changed", "telling"),
    [
        ({"offset": 40.0}, {"mean intensity alone"}),
        ({"rim": 50.0}, {"outer frame alone"}),
        ({"shape": (40, 52)}, {"image aspect alone"}),
    ],
)
def test_a_shortcut_tells_of_its_own(calibration, changed, telling):
    scans = [scan(seed) for seed in range(100, 130)]
    scans += [scan(seed, **changed) for seed in range(200, 230)]
    said = shortcuts(calibration, *seen(scans))
    auroc = {name: roc_auc_score([0] * 30 + [1] * 30, score) for name, score in said.items()}
    assert set(auroc) == {
        "image aspect alone",
        "exposure alone",
        "mean intensity alone",
        "outer frame alone",
    }
    assert {name for name in auroc if auroc[name] > 0.99} >= telling
    if changed != {"rim": 50.0}:  # which a mean and quantiles see as well
        others = set(auroc) - telling - {"outer frame alone"}
        assert all(auroc[name] < 0.8 for name in others)


def test_the_frame_is_the_outermost_blocks_and_nothing_inside():
    inner, outer = np.zeros((32, 48, 1)), np.zeros((32, 48, 1))
    inner[2:-2, 3:-3], outer[0, :] = 1, 1
    assert marks(Scan(inner))[1:].max() == 0
    assert marks(Scan(outer))[1:].max() == pytest.approx(0.5)  # a block has two rows
    assert len(marks(Scan(inner))) == 1 + 16 * 16 - 14 * 14
    assert len(marks(Scan(np.random.default_rng(0).random((9, 30, 8, 1))))) == 1 + 8**3 - 6**3


def test_a_scan_smaller_than_its_blocks_has_a_frame():
    small = marks(Scan(np.arange(25.0).reshape(5, 5, 1)))
    assert len(small) == len(marks(scan(0)))
    assert np.isfinite(small).all()


def test_they_survive_the_calibration_s_arrays(calibration):
    again = Calibration.from_state(calibration.state())
    np.testing.assert_array_equal(again.marks, calibration.marks)
    healthy = HealthyPixels()
    healthy.add(np.arange(100.0))
    other = Calibration.of(np.arange(30.0), np.zeros((30, 6)), 0.1, pixels=healthy, pixel_fpr=0.05)
    again = Calibration.from_state(other.state())
    assert again.pixel_threshold == other.pixel_threshold == pytest.approx(94, rel=1e-3)
    assert again.pixel_fpr == 0.05
    assert again.marks is None
