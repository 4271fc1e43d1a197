"""Preprocessing by role: of a preset, of prepared samples, of the settings that are refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from ganatomy.cache import prepare_table
from ganatomy.errors import WrongUse
from ganatomy.registry import Preset, PresetError, preset
from ganatomy.scans import Preprocessing
from ganatomy.settings import check_settings
from ganatomy.tables import read_table

PAIR = {"scan": "joined", "target": "joined"}
GRID = {"size": (8, 8), "spacing": (1, 1), "orientation": None}


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """Two patients, each with a scan and a target of half the resolution, a little elsewhere."""
    monkeypatch.setenv("GANATOMY_CACHE", str(tmp_path / "cache"))
    for n in range(2):
        ramp = np.linspace(-1000, 1000, 8 * 8 * 4).reshape(8, 8, 4) + n
        fine = nib.Nifti1Image(ramp.astype(np.float32), np.diag([1.0, 1, 2, 1]))  # pyright: ignore
        place = np.diag([2.0, 2, 2, 1])
        place[:2, 3] = 0.5  # the centre of two voxels of the scan
        coarse = ramp.reshape(4, 2, 4, 2, 4).mean((1, 3)).astype(np.float32)
        nib.save(fine, tmp_path / f"{n}-scan.nii")  # pyright: ignore
        nib.save(nib.Nifti1Image(coarse, place), tmp_path / f"{n}-target.nii")  # pyright: ignore
    return read_table([f"{role}={tmp_path}/*-{role}.nii" for role in PAIR], PAIR)


def test_a_pair_is_prepared_by_its_own_settings_on_one_grid_in_mm(pairs):
    ct = {**GRID, "normalise": "window", "window": (-2000, 2000)}
    _, samples = prepare_table(
        pairs,
        Preprocessing(**GRID, neighbours=1),
        by_role={"target": Preprocessing(**ct)},
        grids={"target": "scan"},
    )
    scan, target = samples["scan"].array, samples["target"].array
    assert scan.shape == (8, 8, 8, 3)  # four slices of each of two
    assert target.shape == (8, 8, 8, 1)
    inner = np.s_[:4, 2:-2, 2:-2, 0]
    hounsfield = 2000 * target[inner]
    expected = 1000 * scan[:4, 2:-2, 2:-2, 1]  # the whole ramp is ±1 for the scan
    np.testing.assert_allclose(hounsfield, expected, atol=5)


def test_independent_scans_keep_their_own_grid(pairs):
    pairs.independent = {"target": np.array(["0", "1"])}
    coarse = Preprocessing(**{**GRID, "size": (4, 4), "spacing": (2, 2)})
    _, samples = prepare_table(
        pairs, Preprocessing(**GRID), by_role={"target": coarse}, grids={"target": "scan"}
    )
    assert samples["target"].array.shape == (8, 4, 4, 1)


def test_a_preset_says_what_is_of_one_role_alone():
    made = preset("t1-to-t2")
    tree = made.model_dump() | {"by_role": {"target": {"grey": False}}}
    own = Preset(**tree).set(["by_role.target.normalise=window", "by_role.target.window=[0, 9]"])
    assert own.preprocessing_of("target")["window"] == [0, 9]
    assert "window" not in own.preprocessing_of("scan")
    assert Preset(**own.recipe(), **{k: tree[k] for k in ("title", "paper", "cost", "roles")})
    assert "by_role" not in Preset(**{**tree, "by_role": {}}).recipe()
    with pytest.raises(PresetError, match=r"expected by_role\.ROLE\.SETTING"):
        made.set(["by_role.target.windw=[0, 9]"])
    with pytest.raises(PresetError, match="by_role names nobody, which is no role after the first"):
        made.set(["by_role.nobody.window=[0, 9]"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("by_role.target.size=[16, 16]", "by_role.target.size is not that of the first role"),
        ("by_role.target.channels=3", "targets have 3 channels, and the model makes 1: --set"),
        ("by_role.target.margin=0.25", "by_role.target.margin is not that of the first role"),
        ("by_role.target.normalise=window", r"by_role.target: Value error, normalise: window"),
    ],
)
def test_settings_that_do_not_fit_the_first_role_are_refused(setting, message):
    with pytest.raises(WrongUse, match=message):
        check_settings(preset("t1-to-t2").set([setting]))
