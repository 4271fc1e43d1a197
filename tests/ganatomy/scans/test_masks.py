"""Masks: what they keep of drawn heads and bodies, and that a model sees and judges no more."""

import numpy as np
import pytest
from pydantic import ValidationError

from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from ganatomy.scans.masks import find_mask
from tests.ganatomy.scans.conftest import DATA

AFFINE = np.diag([3.0, 3.0, 3.0, 1.0])


def ball(shape, radius: float, centre=None) -> np.ndarray:
    centre = [(n - 1) / 2 for n in shape] if centre is None else centre
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    away = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
    return away <= radius**2


def head(shape=(56, 56, 42), fat=3.0, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Brain (1) with ventricles (0.3) in skull (0.1) and scalp (`fat`) on a noisy ground; 3 mm."""
    brain = ball(shape, 15.5)
    image = np.zeros(shape)
    image[ball(shape, 20.5)] = fat
    image[ball(shape, 18)] = 0.1
    image[brain] = 1
    image[ball(shape, 4)] = 0.3
    return image + np.random.default_rng(seed).normal(0, 0.03, shape), brain


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("fat", [3.0, 1.4])
def test_the_brain_is_found_in_its_skull(fat):
    image, brain = head(fat=fat)
    found = find_mask(image, "brain", (3, 3, 3))
    assert dice(found, brain) > 0.97
    assert found[28, 28, 21]  # the ventricles are filled
    assert not found[~ball(image.shape, 18)].any()


def test_the_brain_is_found_on_a_slice_without_spacing():
    image, brain = head()
    # its head is 41 pixels long: 200 mm of nearly 5 mm each, as if it were larger
    found = find_mask(image[:, :, 21], "brain", None)
    assert dice(found, brain[:, :, 21]) > 0.95


def test_both_halves_of_a_slice_are_kept_where_the_falx_parts_them():
    image, brain = head()
    plane = image[:, :, 21].copy()
    plane[27:29][brain[27:29, :, 21]] = 0.1
    assert dice(find_mask(plane, "brain", (3, 3)), brain[:, :, 21]) > 0.95


@pytest.mark.parametrize("spacing", [(3, 3, 3), (1, 1, 1)])
def test_erosion_takes_so_many_mm_off_all_around(spacing):
    image = np.pad(ball((40, 40, 40), 15).astype(float), 4)
    whole = find_mask(image, "body", spacing)
    peeled = find_mask(image, "body", spacing, erosion=2.0 * spacing[0])
    assert dice(peeled, ball(image.shape, 13)) > 0.95
    assert whole.sum() > peeled.sum()


def test_erosion_of_a_picture_takes_a_head_for_200_mm():
    image, _ = head()
    plane = image[:, :, 21]
    # 41 pixels are 200 mm, so that 15 mm are three of them
    peeled = find_mask(plane, "brain", None, erosion=15)
    whole = find_mask(plane, "brain", None)
    assert np.sqrt(peeled.sum() / np.pi) == pytest.approx(np.sqrt(whole.sum() / np.pi) - 3, abs=1)


def test_erosion_that_leaves_nothing_is_told():
    image, _ = head()
    with pytest.raises(ValueError, match="nothing is left of it but a rim of 90 mm"):
        find_mask(image, "brain", (3, 3, 3), erosion=90)
    with pytest.raises(ValidationError, match="mask_erosion needs a mask"):
        Preprocessing(mask_erosion=3)


def test_a_brain_without_its_skull_is_kept():
    image, brain = head()
    image[~brain] = 0
    assert dice(find_mask(image, "brain", (3, 3, 3)), brain) > 0.98


def test_the_body_is_found_with_its_lungs_and_without_its_table():
    shape = (80, 90, 20)
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    body = ((grid[0] - 40) / 22) ** 2 + ((grid[1] - 45) / 35) ** 2 <= 1
    image = np.where(body, 40.0, -1000.0)
    lungs = ball(shape[:2], 9, (40, 30)) | ball(shape[:2], 9, (40, 60))
    image[lungs] = -850
    image[66:69] = 200  # the table, through the whole image
    image += np.random.default_rng(0).normal(0, 20, shape)
    found = find_mask(image, "body", (4, 4, 5))
    assert dice(found, body) > 0.98
    assert found[lungs].all()
    assert not found[66:].any()


def test_masks_of_real_scans_are_of_the_size_of_what_they_show():
    scan = read_scan(DATA / "body-ct")
    body = find_mask(scan.pixels[..., 0], "body", scan.spacing)
    tissue = scan.pixels[..., 0] > -200
    assert (body & tissue).sum() > 0.98 * tissue.sum()


@pytest.mark.parametrize("what", ["body", "brain"])
def test_nothing_to_see_is_said(what):
    with pytest.raises(ValueError, match="nothing stands out"):
        find_mask(np.full((20, 20), 3.0), what, None)
    scan = Scan(np.full((20, 20, 1), 3.0), path="flat")
    with pytest.raises(ScanError, match=f"flat: shows no {what}: nothing stands out"):
        Preprocessing(size=(16, 16), mask=what).apply(scan)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("equalise", [None, 0.03])
def test_what_lies_outside_is_dark_and_changes_nothing(align, equalise):
    image, _ = head()
    scan = Scan(image[..., None], AFFINE)
    settings = {"size": (32, 32), "mask": "brain", "equalise": equalise, "align": align}
    preprocessing = Preprocessing(**settings).fit([scan])
    prepared = preprocessing.apply(scan)
    assert prepared.mask.shape == prepared.samples.shape[:-1]
    assert (prepared.samples[~prepared.mask] == -1).all()
    # the brightest is in the brain, which the scalp outshone
    assert np.quantile(prepared.samples[prepared.mask], 0.9) > 0.5
    # another scalp, the same brain
    louder = image.copy()
    louder[ball(image.shape, 20.5) & ~ball(image.shape, 18)] = 9
    again = preprocessing.apply(Scan(louder[..., None], AFFINE))
    np.testing.assert_array_equal(again.mask, prepared.mask)
    np.testing.assert_allclose(again.samples, prepared.samples, atol=1e-4)


@pytest.mark.parametrize("normalise", ["range", "percentile", "contrast"])
def test_statistics_are_of_the_inside_alone(normalise):
    image, _ = head()
    prepared = Preprocessing(rank=3, size=(28, 28, 21), mask="brain", normalise=normalise).apply(
        Scan(image[..., None], AFFINE)
    )
    inside = prepared.samples[prepared.mask]
    if normalise == "contrast":
        assert inside.mean() == pytest.approx(0, abs=0.02)
        assert (prepared.samples[~prepared.mask] == -1).all()
    else:
        assert inside.max() == pytest.approx(1)


@pytest.mark.parametrize(
    "settings",
    [
        {"size": (32, 32)},
        {"size": (24, 32), "plane": "coronal", "framing": "fit"},
        {"size": (36, 36), "margin": 0.1},
        {"rank": 3, "size": (32, 32, 24)},
        {"rank": 3, "size": (32, 32, 32), "spacing": (5, 5, 5)},
    ],
)
def test_a_map_is_nan_outside_the_mask_and_whole_inside(settings):
    image, _ = head()
    scan = Scan(image[..., None], AFFINE)
    prepared = Preprocessing(mask="brain", **settings).apply(scan)
    maps = np.where(prepared.mask, 2.0, 77.0).astype(np.float32)
    back = prepared.back(maps)
    known = np.isfinite(back)
    # nothing of what is outside reaches in, and the border does not fade
    np.testing.assert_allclose(back[known], 2, atol=1e-5)
    assert dice(known, find_mask(image, "brain", scan.spacing)) > 0.94
    assert not known[~ball(image.shape, 18.5)].any()


def test_coordinates_come_back_to_their_place_under_a_mask():
    image, _ = head()
    scan = Scan(image[..., None], AFFINE)
    prepared = Preprocessing(rank=3, size=(28, 28, 21), mask="brain").apply(scan)
    for axis in range(3):
        index = np.moveaxis(np.indices((28, 28, 21)), 0, -1)
        where = prepared.placements[0][axis, :3] @ np.moveaxis(index, -1, -2)
        where = where + prepared.placements[0][axis, 3]
        back = prepared.back(where[None].astype(np.float32))
        known = np.isfinite(back)
        away = np.abs(back - np.indices(image.shape)[axis])[known]
        # at the border what is inside stands for what is outside
        assert away.max() < 1.5
        inner = ball(image.shape, 11)
        assert known[inner].all()
        assert np.abs(back - np.indices(image.shape)[axis])[inner].max() < 1e-3


def test_slices_that_show_nothing_are_not_seen():
    image, brain = head()
    scan = Scan(image[..., None], AFFINE)
    whole = Preprocessing(size=(32, 32)).apply(scan)
    prepared = Preprocessing(size=(32, 32), mask="brain").apply(scan)
    assert len(prepared.samples) < len(whole.samples) == 42
    assert prepared.mask.any(axis=(1, 2)).all()
    kept = prepared.field.slices[1]
    shown = brain.mean(axis=(0, 1))
    assert shown[list(kept)].min() > 0.005
    assert prepared.back(np.zeros(prepared.mask.shape, np.float32)).shape == image.shape


def test_a_share_of_the_slices_is_seen_in_the_models_order():
    pixels = np.random.default_rng(0).random((9, 8, 10, 1))
    for sign, expected in ((1, [3, 4, 5]), (-1, [6, 5, 4])):
        scan = Scan(pixels, np.diag([1.0, 1.0, sign, 1.0]))
        part = Preprocessing(size=(8, 8), slices=(0.3, 0.6)).apply(scan)
        assert list(part.field.slices[1]) == expected
        back = part.back(np.ones((3, 8, 8), np.float32))
        seen = np.isfinite(back).all(axis=(0, 1))
        assert list(np.flatnonzero(seen)) == sorted(expected)
        # what is not used takes no part in the statistics
        used = pixels[:, :, expected]
        alone = Preprocessing(size=(8, 8)).apply(Scan(used[:, :, ::sign], scan.affine))
        np.testing.assert_allclose(part.samples, alone.samples, atol=1e-6)
    single = Preprocessing(size=(8, 8), slices=(0.5, 0.5001)).apply(scan)
    assert len(single.samples) == 1


def test_settings_that_cannot_be_are_refused():
    for wrong in (
        {"slices": (0.6, 0.3)},
        {"slices": (0, 1.5)},
        {"rank": 3, "size": (8, 8, 8), "slices": (0.2, 0.8)},
        {"mask": "liver"},
    ):
        with pytest.raises(ValidationError):
            Preprocessing(**wrong)


def test_settings_are_saved_with_the_model():
    preprocessing = Preprocessing(mask="brain", bias_field=True, slices=(0.2, 0.9))
    again = Preprocessing.model_validate_json(preprocessing.model_dump_json())
    assert again == preprocessing
