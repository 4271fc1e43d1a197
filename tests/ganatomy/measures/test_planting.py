"""Planted lesions: the outline is exact, the size is the one asked for, the seed is everything."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, laplace

from ganatomy.measures.planting import KINDS, plant_lesion

CASES = {
    "picture": ((64, 60), None, 18.0),
    "slice": ((70, 50), (0.8, 1.2), 20.0),
    "volume": ((30, 28, 26), (1.0, 1.0, 1.5), 12.0),
}


def tissue(shape, seed=0):
    """Grainy tissue about 100 with smooth variation, float32."""
    draw = np.random.default_rng(seed)
    mesh = np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij")
    return np.float32(100 + 20 * np.sin(sum(mesh)) + draw.normal(0, 5, shape))


def planted(case, kind, seed=1, image=None, **more):
    shape, spacing, size = CASES[case]
    image = tissue(shape) if image is None else image
    if kind == "foreign":
        more.setdefault("donor", tissue(tuple(n + 5 for n in shape), 9))
    return image, plant_lesion(image, kind, more.pop("size", size), seed, spacing=spacing, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_mask_is_exactly_where_the_image_changed(case, kind):
    image, lesion = planted(case, kind)
    assert lesion.image.dtype == image.dtype
    assert lesion.mask.dtype == bool
    np.testing.assert_array_equal(lesion.mask, lesion.image != image)
    assert lesion.mask[lesion.centre] or kind == "deformation"
    # Plain to see: a good part of the tissue's own variation, and no more than is asked for.
    change = np.abs(lesion.image - image)[lesion.mask]
    assert 0.1 * image.std() < change.mean() < 3 * image.std()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_size_is_the_one_asked_for(case, kind, seed):
    shape, spacing, size = CASES[case]
    _, lesion = planted(case, kind, seed)
    steps = np.ones(len(shape)) if spacing is None else np.array(spacing)
    measure = lesion.mask.sum() * steps.prod()
    expected = np.pi / 4 * size**2 if len(shape) == 2 else np.pi / 6 * size**3
    assert measure == pytest.approx(expected, rel=0.12)
    extent = np.ptp(np.argwhere(lesion.mask) * steps, axis=0)
    assert (extent < 1.8 * size).all()
    assert (extent > 0.5 * size).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_everything(kind):
    image, one = planted("picture", kind)
    before = image.copy()
    _, again = planted("picture", kind)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(image, before)
    others = [planted("picture", kind, seed)[1] for seed in range(2, 8)]
    assert len({lesion.centre for lesion in (one, *others)}) > 4
    assert all((lesion.image != one.image).any() for lesion in others)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_lies_wholly_inside(kind):
    shape = CASES["picture"][0]
    within = np.zeros(shape, bool)
    within[8:40, 20:55] = True
    within[20:24, 30:34] = False
    for seed in range(10):
        _, lesion = planted("picture", kind, seed, within=within, size=9)
        assert not (lesion.mask & ~within).any()
    with pytest.raises(ValueError, match="size 30 does not fit"):
        planted("picture", kind, within=within, size=30)


def test_intensity_moves_by_standard_deviations_of_what_lies_within():
    image = tissue((64, 60))
    image[:10] = 1000  # another tissue, where no lesion may lie
    within = np.ones(image.shape, bool)
    within[:10] = False
    signs = set()
    for seed in range(8):
        lesion = plant_lesion(image, "intensity", 16, seed, within=within, strength=1.5)
        change = lesion.image[lesion.centre] - image[lesion.centre]
        assert abs(change) == pytest.approx(1.5 * image[within].std(), rel=1e-3)
        signs.add(np.sign(change))
    assert signs == {-1, 1}


def test_texture_keeps_the_mean_and_deformation_the_values():
    flat = np.full((64, 60), 50.0)
    flat[::4] = 54.0
    for seed in range(4):
        lesion = plant_lesion(flat, "texture", 20, seed)
        assert abs(lesion.image[lesion.mask].mean() - flat[lesion.mask].mean()) < 1.0
        bent = plant_lesion(flat, "deformation", 20, seed)
        assert bent.image.min() > 50 - 1e-9
        assert bent.image.max() < 54 + 1e-9
        assert (np.abs(bent.image - flat)[bent.mask] > 0.5).mean() > 0.1


def test_foreign_tissue_solves_the_poisson_equation():
    image, lesion = planted("picture", "foreign")
    # A donor without detail leaves all as it was; no level of the donor's is taken over.
    dull = planted("picture", "foreign", donor=np.full((64, 60), 3.0))[1]
    np.testing.assert_allclose(dull.image, image, atol=1e-3)
    raised = planted("picture", "foreign", donor=tissue((69, 65), 9) + 1000)[1]
    np.testing.assert_allclose(raised.image, lesion.image, atol=0.01)
    # Where the donor's gradients are the larger on every edge, both have one Laplacian inside.
    ramp = np.add.outer(np.arange(64) ** 2, np.arange(60) ** 2) * 3.0 + 5000 * np.arange(60)
    smooth = np.full((64, 60), 7.0)
    lesion = plant_lesion(smooth, "foreign", 18, 1, donor=ramp)
    inside = binary_erosion(lesion.mask)
    np.testing.assert_allclose(laplace(lesion.image)[inside], 12.0, atol=1e-4)
    assert (lesion.image[~lesion.mask] == 7.0).all()


def test_a_donor_smaller_than_the_lesion_is_continued():
    lesion = planted("picture", "foreign", donor=tissue((6, 7), 3))[1]
    assert np.isfinite(lesion.image).all()
    assert lesion.mask.any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"image": np.zeros((8, 8), int)}, "floating point"),
        ({"image": np.zeros(8)}, "two or three axes"),
        ({"kind": "tumour"}, "kind is one of"),
        ({"size": 0}, "size and strength are positive"),
        ({"strength": -1}, "size and strength are positive"),
        ({"kind": "deformation", "strength": 3}, "at most 1"),
        ({"spacing": (1,)}, "spacing is 2 positive"),
        ({"spacing": (1, 0)}, "spacing is 2 positive"),
        ({"within": np.ones((4, 4), bool)}, "within has shape"),
        ({"kind": "foreign"}, "they need one"),
        ({"donor": np.zeros((8, 8))}, "a donor is for"),
        ({"kind": "foreign", "donor": np.zeros((8, 8, 8))}, "the donor has 3 axes"),
        ({"size": 50}, "does not fit"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_said(change, reason):
    settings = {"image": np.zeros((20, 20)), "kind": "intensity", "size": 6, "seed": 0, **change}
    with pytest.raises(ValueError, match=reason):
        plant_lesion(**settings)
