"""Measures of regions, lines, subjects and segmentations: by hand, and beside SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.special import erf

from ganatomy.measures.agreement import agatston, bland_altman, intraclass_correlation
from ganatomy.measures.regions import (
    contrast_to_background,
    edge_distance,
    flat_region,
    full_width,
    line_profile,
    noise_level,
)
from ganatomy.measures.segmentation import segmentation_measures


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_noise_where_it_is_flat(rng):
    image = np.zeros((20, 20))
    image[5:, :] = 50 * rng.random((15, 20))
    image[8:14, 8:14] = 10 + rng.normal(0, 0.1, (6, 6))
    object_ = np.zeros(image.shape, bool)
    object_[5:] = True
    box = flat_region(image, 6, object_)
    assert box == (slice(8, 14), slice(8, 14))
    expected = image[8:14, 8:14].std(ddof=1)
    assert noise_level(image, box).value == pytest.approx(expected)
    assert noise_level(image, image == 0).value == 0
    assert flat_region(image, 4)[0].start == 0
    with pytest.raises(ValueError, match="no box of 18"):
        flat_region(image, 18, object_)


def test_two_contrasts_of_one_name():
    image = np.array([[10.0, 14.0], [5.0, 3.0]])
    region, background = image > 9, image < 6
    assert contrast_to_background(image, region, background).value == (12 - 4) / 4
    noise = contrast_to_background(image, region, background, "noise")
    assert noise.value == pytest.approx((12 - 4) / np.sqrt(2))
    assert (noise.name, noise.definition[-9:]) == ("CNR", "d (n − 1)")
    with pytest.raises(ValueError, match="is 0"):
        contrast_to_background(image - 4, region, background)


def test_lines():
    ramp = np.arange(30.0).reshape(5, 6)
    np.testing.assert_allclose(line_profile(ramp, (1, 0), (1, 5)), ramp[1])
    np.testing.assert_allclose(line_profile(ramp, (1, 2), (3, 2), width=3), ramp[1:4, 2])
    places = np.arange(-20, 20.5, 0.5)
    # An edge blurred by a Gaussian of 2: 10 to 90 % over 2.563 σ, up and down.
    edge = erf(places / (2 * np.sqrt(2)))
    for profile in (edge, -edge):
        assert edge_distance(profile, 0.5) == pytest.approx(2.563 * 2, rel=0.01)
    peak = np.exp(-(places**2) / (2 * 3**2))
    assert full_width(peak, 0.5) == pytest.approx(2.3548 * 3, rel=0.005)
    assert full_width(np.array([0, 0, 1.0, 0, 0])) == 1
    with pytest.raises(ValueError, match="both sides"):
        full_width(places)


def test_agreement_as_published():
    # Shrout and Fleiss 1979, table 2: ICC(2,1) is .29.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert intraclass_correlation(ratings) == pytest.approx(0.29, abs=0.005)
    first, second = np.array([1.0, 2, 4]), np.array([0.0, 2, 2])
    bias, low, high = bland_altman(first, second)
    assert (bias, high - low) == (1, pytest.approx(2 * 1.96))


def test_calcium_by_hand():
    volume = np.zeros((10, 10, 2))
    volume[1:3, 1:3, 0] = 150  # 4 voxels of 0.25 mm²: 1 mm², once
    volume[5, 5, 0] = 450  # too small
    volume[2:6, 2:6, 1] = 140
    volume[3, 3, 1] = 320  # 16 voxels: 4 mm², three times
    assert agatston(volume, (0.5, 0.5, 3.0)) == 1 * 1 + 4 * 3
    assert agatston(volume, (0.5, 0.5, 1.5)) == (1 * 1 + 4 * 3) / 2
    coronary = np.zeros(volume.shape, bool)
    coronary[:, :, 0] = True
    assert agatston(volume, (0.5, 0.5, 3.0), coronary) == 1
    assert agatston(np.zeros((4, 4, 4)), (1, 1, 1)) == 0


def test_segmentations_by_hand():
    truth = np.zeros((6, 7), bool)
    truth[1:4, 1:4] = True
    found = np.roll(truth, 1, axis=1)
    got = {m.name: m.value for m in segmentation_measures(found, truth, (1.0, 2.0), 1.0)}
    assert got["Dice"] == pytest.approx(2 * 6 / 18)
    assert got["Jaccard"] == pytest.approx(6 / 12)
    # Of 8 border voxels three are 2 mm off, and one lies inside the other, 1 mm from its border.
    distances = [2, 2, 2, 1, 0, 0, 0, 0]
    assert got["ASSD"] == pytest.approx(7 / 8)
    assert got["surface Dice"] == 5 / 8
    assert got["HD95"] == pytest.approx(np.percentile(distances, 95))
    nothing = {m.name: m.value for m in segmentation_measures(found & False, truth, (1.0, 2.0))}
    assert (nothing["Dice"], nothing["HD95"], nothing["ASSD"]) == (0, np.inf, np.inf)
    neither = segmentation_measures(found & False, found & False, (1.0, 1.0))
    assert all(np.isnan(m.value) for m in neither)


def test_surface_distances_beside_simpleitk(rng):
    from scipy.ndimage import gaussian_filter

    spacing = (1.5, 1.0, 2.0)
    masks = [gaussian_filter(rng.normal(size=(18, 16, 14)), 2.5) > 0.01 for _ in range(2)]
    masks = [np.pad(mask, 1) for mask in masks]
    images = []
    for mask in masks:
        image = sitk.GetImageFromArray(mask.astype(np.uint8).T)
        image.SetSpacing(spacing)
        images.append(image)
    borders = [np.asarray(sitk.GetArrayFromImage(sitk.BinaryContour(i))).T > 0 for i in images]
    away = [
        np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(
            sitk.BinaryContour(i), insideIsPositive=False, squaredDistance=False,
            useImageSpacing=True))).T
        for i in images
    ]  # fmt: skip
    there, back = away[1][borders[0]], away[0][borders[1]]
    got = {m.name: m.value for m in segmentation_measures(*masks, spacing, tolerance=2.0)}
    every = np.concatenate([there, back])
    assert got["ASSD"] == pytest.approx(every.mean(), rel=1e-5)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert got["HD95"] == pytest.approx(expected, rel=1e-5)
    assert got["surface Dice"] == pytest.approx(np.mean(every <= 2 + 1e-6))
