"""What others make of a pair is told in the same coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ganatomy.scans import Scan
from registration.baselines import baselines, by_ants, identity, simple_itk
from registration.known_transforms import displaced, error_of, rigid, shown_points
from registration.transforms import Affine
from tests.registration.placing import place, points_of, turn


def body(rank: int) -> Scan:
    """Something with edges and texture, oblique and anisotropic."""
    shape = (40, 36, 24)[:rank]
    texture = gaussian_filter(np.random.default_rng(0).standard_normal(shape), 2.5)
    if rank == 2:
        away = (np.moveaxis(np.indices(shape), 0, -1) - (19.5, 17.5)) / (14, 12)
        pixels = np.where((away**2).sum(-1) < 1, 100 + 300 * texture, 0)
        return Scan(pixels[..., None], path="b", kind="picture")
    grid = place(turn((8, -5, 12)) * (2.0, 2.2, 3.1), shape, (5.0, -8.0, 30.0))
    away = (points_of(grid, shape) - (5.0, -8.0, 30.0)) / (28, 26, 24)
    pixels = np.where((away**2).sum(-1) < 1, 100 + 300 * texture, 0)
    return Scan(pixels[..., None], grid, path="b", kind="nifti")


def known(scan: Scan) -> Affine:
    parameters = [0.08, -3.0, 2.0] if scan.rank == 2 else [0.05, -0.08, 0.1, 3.0, -4.0, 2.0]
    middle = [19.5, 17.5] if scan.rank == 2 else [5.0, -8.0, 30.0]
    return Affine.rigid(parameters, middle)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("motion", ["rigid", "affine"])
def test_simple_itk_finds_a_known_transform(rank, motion):
    fixed = body(rank)
    moving, points = displaced(fixed, known(fixed)), shown_points(fixed)
    goals = known(fixed).points(points)
    before = error_of(identity(fixed, moving), points, goals)
    found = simple_itk(fixed, moving, motion=motion)
    assert error_of(found, points, goals) < min(1.5, before / 3)
    assert found.rank == rank


@pytest.mark.parametrize("kind", ["Rigid", "Affine", "SyN"])
def test_ants_finds_a_known_transform(kind):
    pytest.importorskip("ants", reason="antspyx is not installed")
    fixed = body(3)
    moving, points = displaced(fixed, known(fixed)), shown_points(fixed)
    # With every voxel looked at: which of them it draws by chance, no seed of its own settles.
    found = by_ants(fixed, moving, type_of_transform=kind, aff_random_sampling_rate=1.0)
    assert error_of(found, points, known(fixed).points(points)) < 2.0


def test_what_is_compared_is_of_the_models_kind():
    assert {"identity", "SimpleITK rigid"} <= set(baselines("rigid"))
    assert {"identity", "SimpleITK affine"} <= set(baselines("affine"))
    assert {"identity", "SimpleITK affine"} <= set(baselines("smooth"))
    assert "SimpleITK rigid" not in baselines("affine")
    scan = body(3)
    assert rigid(scan, 0, 0).map(np.zeros((1, 3))).shape == (1, 3)
