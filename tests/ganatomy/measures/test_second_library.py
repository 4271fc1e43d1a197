"""Measures beside another library, or a formula written a second way; see docs/measures.md.

Where no library at hand has a measure, its definition is written anew with other means.
"""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage, optimize, signal, stats
from scipy.linalg import sqrtm
from skimage.data import camera
from skimage.measure import block_reduce
from skimage.metrics import mean_squared_error, normalized_root_mse, structural_similarity
from sklearn.metrics import f1_score, jaccard_score, mean_absolute_error
from sklearn.metrics.pairwise import paired_cosine_distances, polynomial_kernel

from ganatomy.measures import fidelity as fidelity_module
from ganatomy.measures.agreement import STEPS, agatston, bland_altman, intraclass_correlation
from ganatomy.measures.distribution import frechet_distance, kernel_distance
from ganatomy.measures.fidelity import fidelity, ssim, uqi
from ganatomy.measures.histograms import (
    histogram,
    histogram_measures,
    median_intensity,
    shared_information,
)
from ganatomy.measures.regions import (
    contrast_to_background,
    edge_distance,
    flat_region,
    full_width,
    line_profile,
    noise_level,
)
from ganatomy.measures.seen import OF_PAIRS, feature_distance, network_features
from ganatomy.measures.segmentation import segmentation_measures
from ganatomy.measures.visual import SUPERPIXELS, global_contrast
from ganatomy.networks.features import feature_network


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(scope="module")
def pictures():
    """What is left of a picture after blurring, and the picture, [120, 114, 1], 0 to 255."""
    truth = camera()[100:220, 180:294].astype(float)
    return (0.9 * ndimage.gaussian_filter(truth, 1.2) + 10)[..., None], truth[..., None]


@pytest.fixture
def masks(rng):
    """Two label maps of one and the same blob, a little apart, [18, 16, 14]."""
    noise = ndimage.gaussian_filter(rng.normal(size=(18, 16, 14)), 2.5)
    return noise > 0.01, np.roll(noise, 1, axis=0) > 0.015


def values(measures):
    return {measure.name: measure.value for measure in measures}


# Errors and structure --------------------------------------------------------------------------


def test_errors_beside_scikit_learn_and_scikit_image(pictures):
    found, truth = pictures
    got = values(fidelity(found, truth, 255))
    flat = found.ravel(), truth.ravel()
    share = normalized_root_mse(truth, found, normalization="euclidean")
    assert got["MAE"] == pytest.approx(mean_absolute_error(*flat), rel=1e-12)
    assert got["MSE"] == pytest.approx(mean_squared_error(truth, found), rel=1e-12)
    assert got["NMSE"] == pytest.approx(share**2, rel=1e-12)
    assert got["SNR"] == pytest.approx(-20 * np.log10(share), rel=1e-12)


def box_statistics(x, y, side):
    """Means, variances and the covariance over all boxes inside, by scipy's filter."""
    box = lambda v: ndimage.uniform_filter(v, side)  # noqa: E731
    inside = tuple(slice(side // 2, n - (side - 1) // 2) for n in x.shape)
    mean_x, mean_y = box(x)[inside], box(y)[inside]
    var_x, var_y = box(x * x)[inside] - mean_x**2, box(y * y)[inside] - mean_y**2
    return mean_x, mean_y, var_x, var_y, box(x * y)[inside] - mean_x * mean_y


@pytest.mark.parametrize("rank", [2, 3])
def test_structural_similarity_beside_its_equation(rng, pictures, rank):
    if rank == 2:
        (x, y), scale = (image[..., 0] for image in pictures), 255.0
    else:
        y = ndimage.gaussian_filter(rng.normal(size=(12, 11, 13)), 1)
        x, scale = y + 0.1 * rng.normal(size=y.shape), 2.0
    mean_x, mean_y, var_x, var_y, both = box_statistics(x, y, 7)
    unbiased = 7**rank / (7**rank - 1)
    c1, c2 = (0.01 * scale) ** 2, (0.03 * scale) ** 2
    expected = (
        (2 * mean_x * mean_y + c1)
        * (2 * unbiased * both + c2)
        / ((mean_x**2 + mean_y**2 + c1) * (unbiased * (var_x + var_y) + c2))
    )
    assert ssim(x[..., None], y[..., None], scale).value == pytest.approx(expected.mean(), rel=1e-9)


def test_quality_index_beside_scipy_and_scikit_image(pictures, monkeypatch):
    found, truth = pictures
    mean_x, mean_y, var_x, var_y, both = box_statistics(found[..., 0], truth[..., 0], 8)
    expected = 4 * both * mean_x * mean_y / ((var_x + var_y) * (mean_x**2 + mean_y**2))
    assert uqi(found, truth).value == pytest.approx(expected.mean(), rel=1e-9)
    # scikit-image's windows have an odd side; without constants its SSIM is this index.
    monkeypatch.setattr(fidelity_module, "UQI_WINDOW", 7)
    settings = {"K1": 1e-9, "K2": 1e-9, "use_sample_covariance": False}
    theirs = structural_similarity(
        truth[..., 0], found[..., 0], win_size=7, data_range=255, **settings
    )
    assert uqi(found, truth).value == pytest.approx(theirs, rel=1e-6)


def test_global_contrast_beside_block_means_of_scikit_image(pictures):
    truth = pictures[1][..., 0]
    total = 0.0
    for number, side in enumerate(SUPERPIXELS, 1):
        whole = truth[: truth.shape[0] // side * side, : truth.shape[1] // side * side]
        luminance = block_reduce((whole / 255) ** 2.2, (side, side), np.mean)
        if min(luminance.shape) < 2:
            break
        seen = 100 * np.sqrt(luminance)
        contrasts = []
        for i, j in np.ndindex(*seen.shape):
            beside = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            there = [p for p in beside if 0 <= p[0] < seen.shape[0] and 0 <= p[1] < seen.shape[1]]
            contrasts.append(np.mean([abs(seen[i, j] - seen[p]) for p in there]))
        weight = (-0.406385 * number / 9 + 0.334573) * number / 9 + 0.0877526
        total += weight * np.mean(contrasts)
    assert global_contrast(truth[..., None], 0, 255).value == pytest.approx(total, rel=1e-10)


# Histograms ------------------------------------------------------------------------------------


def test_histogram_distances_beside_entropies_and_transport(pictures):
    counts = [histogram([image], 0, 255) for image in pictures]
    got = values(histogram_measures(*counts, 0, 255))
    p, q = (c[0] / c.sum() for c in counts)
    jensen = stats.entropy((p + q) / 2) - (stats.entropy(p) + stats.entropy(q)) / 2
    assert got["JS"] == pytest.approx(jensen, rel=1e-9)
    # Equally many values, moved in their order, are moved the least.
    centres = (np.arange(256) + 0.5) * 255 / 256
    ordered = [np.repeat(centres, c[0]) for c in counts]
    assert got["Wasserstein"] == pytest.approx(np.abs(ordered[0] - ordered[1]).mean(), rel=1e-9)


def test_wasserstein_beside_a_linear_program(rng):
    """The cheapest of all plans of transport, by scipy's solver."""
    counts = np.zeros((2, 1, 256))
    places = np.array([3, 40, 41, 200, 255])
    counts[:, 0, places] = rng.integers(1, 9, (2, 5))
    p, q = (c[0, places] / c.sum() for c in counts)
    cost = np.abs(places[:, None] - places).astype(float)
    sums = [np.kron(np.eye(5), np.ones(5)), np.kron(np.ones(5), np.eye(5))]
    plan = optimize.linprog(cost.ravel(), A_eq=np.concatenate(sums), b_eq=np.concatenate([p, q]))
    got = values(histogram_measures(counts[0], counts[1], 0, 256))
    assert got["Wasserstein"] == pytest.approx(plan.fun, rel=1e-9)


def test_mutual_information_beside_entropies_and_of_a_gaussian(rng, pictures):
    found, truth = (image.ravel() for image in pictures)
    joint = np.histogram2d(found, truth, 64)[0]
    expected = stats.entropy(joint.sum(1)) + stats.entropy(joint.sum(0))
    expected -= stats.entropy(joint.ravel())
    assert values(shared_information(*pictures))["MI"] == pytest.approx(expected, rel=1e-9)
    # Of two Gaussians it is known; bins and a finite sample shift it a little.
    x, noise = rng.normal(size=(2, 1000, 1000, 1))
    got = values(shared_information(0.8 * x + 0.6 * noise, x))["MI"]
    assert got == pytest.approx(-np.log(1 - 0.8**2) / 2, abs=0.02)


def test_median_of_stains_beside_scipy(rng):
    image = rng.gamma(2, 30, (40, 30, 3))
    grey = image.mean(-1)
    expected = ndimage.median(grey) / stats.scoreatpercentile(grey, 95)
    assert median_intensity(image) == pytest.approx(expected, rel=1e-12)


# What a network sees ---------------------------------------------------------------------------


def tiles(image, count=10):
    """Pictures of 64 pixels a side, which the network sees without being resized."""
    starts = np.linspace(0, min(image.shape[:2]) - 64, count).astype(int)
    return np.stack([image[n : n + 64, n : n + 64, 0] for n in starts], -1)[..., None]


def test_perceptual_distance_beside_cosines_of_scikit_learn(pictures):
    found, truth = pictures
    network = feature_network("mednist", OF_PAIRS["mednist"])
    seen = [network((image / 127.5 - 1)[None].astype("float32")) for image in pictures]
    expected = 0.0
    for layer in OF_PAIRS["mednist"]:
        x, y = (np.asarray(s[layer], float).reshape(-1, s[layer].shape[-1]) for s in seen)
        # Of vectors of length 1 the squared distance is 2 (1 - cos); where nothing is active, 0.
        active = x.any(1) & y.any(1)
        distances = 2 * paired_cosine_distances(x, y)
        lone = x.any(1) ^ y.any(1)
        expected += np.where(active, distances, lone).mean()
    assert feature_distance(found, truth, 0, 255).value == pytest.approx(expected, rel=1e-4)


def test_fid_and_kid_of_pictures_beside_scipy_and_scikit_learn(pictures):
    network = feature_network("mednist", ("pooled",))
    mine, theirs = [], []
    for image in pictures:
        stack = tiles(image)
        mine.append(network_features(stack, 0, 255))
        batch = np.moveaxis(stack[..., 0], -1, 0)[..., None] / 127.5 - 1
        theirs.append(np.asarray(network.predict(batch, verbose=0)["pooled"], float))
        np.testing.assert_allclose(mine[-1], theirs[-1], rtol=1e-4, atol=1e-5)
    x, y = theirs
    # Covariances of few pictures are singular: sqrtm needs a little on their diagonals.
    first, second = (np.cov(v.T) for v in theirs)
    small = 1e-10 * np.eye(len(first))
    root = np.trace(np.real(sqrtm((first + small) @ (second + small))))
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(first + second) - 2 * root
    assert frechet_distance(*mine) == pytest.approx(expected, rel=1e-3)
    # Drawn all at once, every draw is the same.
    kernels = [polynomial_kernel(*two, degree=3, coef0=1) for two in ((x, x), (y, y), (x, y))]
    apart = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
    value, spread, _ = kernel_distance(*mine, size=len(x), subsets=2)
    assert spread == pytest.approx(0, abs=1e-9)
    assert value == pytest.approx(sum(apart) - 2 * kernels[2].mean(), rel=1e-3)


# Regions and lines -----------------------------------------------------------------------------


def test_noise_and_contrasts_beside_simpleitk(rng, masks):
    region, background = masks[0], ~masks[1] & ~masks[0]
    image = 20 + 30 * region + rng.normal(0, 4, region.shape)
    found = sitk.LabelStatisticsImageFilter()
    found.Execute(
        sitk.GetImageFromArray(image), sitk.GetImageFromArray((region + 2 * background).astype(int))
    )
    noise, level = found.GetSigma(2), found.GetMean(2)
    step = found.GetMean(1) - level
    assert noise_level(image, background).value == pytest.approx(noise, rel=1e-9)
    got = {form: contrast_to_background(image, region, background, form).value
           for form in ("ratio", "noise")}  # fmt: skip
    assert got["ratio"] == pytest.approx(step / level, rel=1e-9)
    assert got["noise"] == pytest.approx(step / noise, rel=1e-9)


def test_flattest_box_beside_simpleitk(rng):
    image = ndimage.gaussian_filter(rng.normal(size=(30, 26)), 1.5)
    spread = sitk.GetArrayFromImage(sitk.Noise(sitk.GetImageFromArray(image), (2, 2)))[2:-2, 2:-2]
    start = np.unravel_index(np.argmin(spread), spread.shape)
    assert flat_region(image, 5) == tuple(slice(n, n + 5) for n in start)


def test_slanted_profile_beside_scipy(pictures):
    image = pictures[1][..., 0]
    start, end = np.array([10.0, 20.0]), np.array([40.0, 60.0])  # 50 pixels long
    places = start[:, None] + np.outer(end - start, np.linspace(0, 1, 51))
    expected = ndimage.map_coordinates(image, places, order=1)
    np.testing.assert_allclose(line_profile(image, start, end), expected, rtol=1e-9)


def test_widths_beside_scipy(rng):
    places = np.arange(-20, 20.5, 0.5)
    peak = 3 + 80 * np.exp(-((places - 0.7) ** 2) / 18) + 0.01 * places**2
    top = [int(np.argmax(peak))]
    # Half of the height above the profile's lowest value, at its full prominence.
    share = (peak.max() - peak.min()) / signal.peak_prominences(peak, top)[0] / 2
    assert full_width(peak, 0.5) == pytest.approx(
        0.5 * signal.peak_widths(peak, top, share.item())[0].item(), rel=1e-9
    )
    edge = stats.logistic.cdf(places, 0.3, 1.7)
    share = (edge - edge[0]) / (edge[-1] - edge[0])
    expected = np.diff(np.interp([0.1, 0.9], share, places)).item()
    assert edge_distance(edge, 0.5) == pytest.approx(expected, rel=1e-9)
    # The known width of this edge: 2 ln 9 times its scale; bins cost a hundredth.
    assert edge_distance(edge, 0.5) == pytest.approx(2 * np.log(9) * 1.7, rel=0.01)


# Subjects --------------------------------------------------------------------------------------


def test_limits_of_agreement_as_published():
    """Bland and Altman 1986, table 1: peak flow of 17 people, l/min, by two meters."""
    wright = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    bias, low, high = bland_altman(wright, mini)
    assert bias == pytest.approx(-2.1, abs=0.05)
    assert (high - low) / (2 * 1.96) == pytest.approx(38.8, abs=0.05)
    gaps = np.subtract(wright, mini)
    expected = stats.norm.interval(0.95, stats.tmean(gaps), stats.tstd(gaps))
    assert (low, high) == pytest.approx(expected, rel=1e-4)  # 1.96 for 1.95996


def test_intraclass_correlation_beside_an_analysis_of_variance(rng):
    formula = pytest.importorskip("statsmodels.formula.api")
    pandas = pytest.importorskip("pandas")
    from statsmodels.stats.anova import anova_lm

    n, k = 9, 3
    ratings = rng.normal(size=(n, 1)) + [0, 0.4, 0.1] + 0.5 * rng.normal(size=(n, k))
    subject, method = (v.ravel() for v in np.indices((n, k)))
    rows = pandas.DataFrame({"y": ratings.ravel(), "subject": subject, "method": method})
    found = anova_lm(formula.ols("y ~ C(subject) + C(method)", rows).fit())
    between, methods, error = found["sum_sq"] / found["df"]
    expected = (between - error) / (between + (k - 1) * error + k * (methods - error) / n)
    assert intraclass_correlation(ratings) == pytest.approx(expected, rel=1e-9)


def test_calcium_beside_patches_of_simpleitk(rng):
    volume = 900 * ndimage.gaussian_filter(rng.normal(size=(40, 36, 5)), (2, 2, 0.3)) + 60
    spacing, score = (0.6, 0.7, 2.5), 0.0
    for k in range(volume.shape[2]):
        page = sitk.GetImageFromArray(volume[..., k])
        patches = sitk.ConnectedComponent(page >= 130, True)
        found = sitk.LabelStatisticsImageFilter()
        found.Execute(page, patches)
        for label in found.GetLabels():
            area = found.GetCount(label) * 0.6 * 0.7
            if label and area >= 1:
                score += area * sum(found.GetMaximum(label) >= step for step in STEPS) * 2.5 / 3
    assert score > 50
    assert agatston(volume, spacing) == pytest.approx(score, rel=1e-9)


def test_overlaps_beside_simpleitk_and_scikit_learn(masks):
    got = values(segmentation_measures(*masks, (1, 1, 1)))
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    theirs = sitk.LabelOverlapMeasuresImageFilter()
    theirs.Execute(*images)
    flat = [mask.ravel() for mask in masks]
    for other in (theirs.GetDiceCoefficient(), f1_score(*flat)):
        assert got["Dice"] == pytest.approx(other, rel=1e-12)
    for other in (theirs.GetJaccardCoefficient(), jaccard_score(*flat)):
        assert got["Jaccard"] == pytest.approx(other, rel=1e-12)
