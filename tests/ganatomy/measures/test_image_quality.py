"""Measures of images beside other libraries, and beside values reckoned by hand."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from skimage.data import camera
from skimage.metrics import (
    normalized_mutual_information,
    peak_signal_noise_ratio,
    structural_similarity,
)
from sklearn.metrics.pairwise import polynomial_kernel

from ganatomy.measures import Interval, Measure
from ganatomy.measures.distribution import frechet_distance, kernel_distance, set_measures
from ganatomy.measures.feature_similarity import fsim
from ganatomy.measures.fidelity import fidelity, ssim, uqi
from ganatomy.measures.histograms import (
    histogram,
    histogram_measures,
    median_intensity,
    shared_information,
)
from ganatomy.measures.visual import global_contrast, vif


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def values(measures):
    return {measure.name: measure.value for measure in measures}


@pytest.fixture(scope="module")
def pictures():
    """A picture and what is left of it after blurring, [96, 90, 1], 0 to 255."""
    truth = camera()[100:196, 180:270].astype(float)
    return (0.9 * gaussian_filter(truth, 1.2) + 10)[..., None], truth[..., None]


def test_by_hand_and_by_scikit_image(pictures):
    found, truth = pictures
    got = values(fidelity(found, truth, 255))
    assert got["PSNR"] == pytest.approx(peak_signal_noise_ratio(truth, found, data_range=255))
    theirs = structural_similarity(truth[..., 0], found[..., 0], data_range=255)
    assert got["SSIM"] == pytest.approx(theirs, rel=1e-12)
    x, y = np.array([[[1.0, 2.0], [3.0, 6.0]], [[1.0, 4.0], [3.0, 2.0]]])[..., None]
    small = values(fidelity(x, y, 10))
    assert small["MAE"] == 6 / 4
    assert small["MSE"] == 20 / 4
    assert small["NMSE"] == 20 / 30
    assert small["PSNR"] == pytest.approx(10 * np.log10(100 / 5))
    assert small["SNR"] == pytest.approx(10 * np.log10(7.5 / 5))
    assert set(small) == {"MAE", "MSE", "NMSE", "PSNR", "SNR"}
    assert values(fidelity(y, y, 10))["PSNR"] == float("inf")
    with pytest.raises(ValueError, match="one shape"):
        fidelity(x, y[:1], 10)
    with pytest.raises(ValueError, match="range"):
        fidelity(x, y, 0)


def test_volumes_by_cubes_or_slice_by_slice(rng):
    x, y = rng.normal(size=(2, 9, 10, 8, 2))
    theirs = [
        structural_similarity(x[..., c], y[..., c], win_size=7, data_range=4) for c in range(2)
    ]
    found = ssim(x, y, 4)
    assert found.value == pytest.approx(np.mean(theirs))
    assert "in the volume" in found.definition
    flat = ssim(x[:, :, :3], y[:, :, :3], 4)
    theirs = [
        structural_similarity(x[:, :, k, c], y[:, :, k, c], data_range=4)
        for k in range(3)
        for c in range(2)
    ]
    assert flat.value == pytest.approx(np.mean(theirs))
    assert "slice by slice" in flat.definition


def test_quality_index_window_by_window(rng):
    x, y = rng.normal(2, 1, size=(2, 10, 9, 1))
    every = []
    for i in range(3):
        for j in range(2):
            a, b = (v[i : i + 8, j : j + 8].ravel() for v in (x, y))
            (aa, ab), (_, bb) = np.cov(a, b, ddof=0)
            q = 4 * ab * a.mean() * b.mean() / ((aa + bb) * (a.mean() ** 2 + b.mean() ** 2))
            every.append(q)
    assert uqi(x, y).value == pytest.approx(np.mean(every))
    assert uqi(np.zeros_like(x), np.zeros_like(x)).value == 1
    assert uqi(np.full_like(x, 2), np.ones_like(x)).value == pytest.approx(2 * 2 / 5)


def test_visual_information_is_that_of_sewar(pictures):
    found, truth = pictures
    # sewar 0.4.10: vifp(truth, found) on these two.
    assert vif(found, truth, 255).value == pytest.approx(0.499099431339968, rel=1e-9)
    # The same picture on another scale.
    assert vif(found / 255, truth / 255, 1).value == pytest.approx(0.499099431339968, rel=1e-9)
    assert vif(truth, truth, 255).value == pytest.approx(1, abs=1e-6)
    volumes = [np.stack([image, truth], axis=2) for image in (found, truth)]
    assert vif(*volumes, 255).value == pytest.approx((0.499099431339968 + 1) / 2, rel=1e-6)
    assert vif(found[:40], truth[:40], 255) is None


def test_feature_similarity_is_that_of_piq(pictures):
    found, truth = pictures
    # piq 0.8.0: fsim(found, truth, data_range=255, chromatic=False); it takes the lower of two
    # middle values as the median, and other frequencies where a side is odd.
    assert fsim(found, truth, 255).value == pytest.approx(0.8998905326622132, rel=1e-5)
    assert fsim(found / 255, truth / 255, 1).value == pytest.approx(0.8998905326622132, rel=1e-5)
    assert fsim(truth, truth, 255).value == pytest.approx(1)
    # From 384 pixels the shorter side is halved; doubled pixels are then what they were.
    large = [image[:, :90].repeat(3, 0).repeat(3, 1) for image in pictures]
    doubled = [image.repeat(2, 0).repeat(2, 1) for image in large]
    assert fsim(*doubled, 255).value == pytest.approx(fsim(*large, 255).value)
    assert fsim(found[:20], truth[:20], 255) is None
    assert fsim(np.zeros((30, 30, 1)), np.zeros((30, 30, 1)), 1) is None


def test_global_contrast_by_hand():
    board = 255.0 * (np.indices((4, 4)).sum(0) % 2)[..., None]
    # All neighbours differ by 100 at the first resolution, at the second by nothing.
    weight = (-0.406385 / 9 + 0.334573) / 9 + 0.0877526
    assert global_contrast(board, 0, 255).value == pytest.approx(100 * weight)
    halves = np.zeros((4, 4, 1))
    halves[:, 2:] = 0.5
    bright = 100 * np.sqrt(0.5**2.2)
    second = (-0.406385 * 2 / 9 + 0.334573) * 2 / 9 + 0.0877526
    # Contrasts of the two columns at the edge: a third inside, of 3 or 4 neighbours.
    first = bright * np.mean([1 / 3, 1 / 4, 1 / 4, 1 / 3]) / 2
    expected = weight * first + second * bright / 2
    assert global_contrast(halves, 0, 1).value == pytest.approx(expected)


def test_histograms_by_hand():
    x, y = np.zeros((2, 2, 1)), np.array([[0.0, 0.0], [0.0, 256.0]])[..., None]
    counts = [histogram([image], 0, 256) for image in (x, y)]
    found = values(histogram_measures(*counts, 0, 256))
    p, q, m = np.array([1, 0]), np.array([0.75, 0.25]), np.array([0.875, 0.125])
    kl = lambda a, b: np.sum(a[a > 0] * np.log(a[a > 0] / b[a > 0]))  # noqa: E731
    assert found["JS"] == pytest.approx((kl(p, m) + kl(q, m)) / 2)
    assert found["Wasserstein"] == pytest.approx(255 / 4)
    same = values(histogram_measures(counts[0], histogram([x, x], 0, 256), 0, 256))
    assert same == {"JS": 0, "Wasserstein": 0}
    with pytest.raises(ValueError, match="channels"):
        histogram_measures(counts[0], histogram([np.zeros((2, 2, 3))], 0, 256), 0, 256)


def test_shared_information_beside_scikit_image(pictures):
    found, truth = pictures
    got = values(shared_information(found, truth))
    theirs = normalized_mutual_information(found, truth, bins=64)
    assert got["NMI"] == pytest.approx(theirs, rel=1e-9)
    itself = values(shared_information(truth, 3 - truth))
    assert itself["NMI"] == pytest.approx(2, abs=0.05)
    counts = np.histogram(truth, 64)[0] / truth.size
    own = -np.sum(counts[counts > 0] * np.log(counts[counts > 0]))
    assert values(shared_information(truth, truth))["MI"] == pytest.approx(own)


def test_median_of_stains():
    assert median_intensity(np.arange(101.0).reshape(101, 1, 1)) == pytest.approx(50 / 95)
    with pytest.raises(ValueError, match="above 0"):
        median_intensity(np.zeros((4, 4, 3)))


def test_frechet_distance_beside_scipy(rng):
    a, b = rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)), rng.normal(1, 2, size=(50, 6))
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.trace(np.real(sqrtm(first @ second)))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    # Also where covariances are singular.
    assert frechet_distance(a[:4], a[:4]) == pytest.approx(0, abs=1e-5)
    # Fewer images, more distance, of the same law.
    law = rng.normal(size=(4000, 6))
    few, many = (frechet_distance(law[:n], law[2000 : 2000 + n]) for n in (12, 2000))
    assert few > 5 * many


def test_kernel_distance_by_scikit_learn_is_not_clipped(rng):
    a, b = rng.normal(size=(30, 4)), rng.normal(0.5, 1, size=(40, 4))
    kernels = [polynomial_kernel(*two, degree=3, gamma=1 / 4, coef0=1)
               for two in ((a, a), (b, b), (a, b))]  # fmt: skip
    apart = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
    expected = sum(apart) - 2 * kernels[2].mean()
    # All of a, 30 of b: the mean over draws of b is near that of all.
    value, spread, size = kernel_distance(a, b, size=30, subsets=400)
    assert size == 30
    assert value == pytest.approx(expected, abs=4 * spread / np.sqrt(400))
    assert kernel_distance(a, b, seed=1) == kernel_distance(a, b, seed=1)
    below = [kernel_distance(*rng.normal(size=(2, 20, 4)), seed=s)[0] for s in range(8)]
    assert min(below) < 0
    with pytest.raises(ValueError, match="subsets of 31"):
        kernel_distance(a, b, size=31)


def test_sets_say_how_many_and_how_biased(rng):
    fid, kid = set_measures(*rng.normal(size=(2, 6, 8)), "net:pooled@64")
    assert fid.name == "FID[net:pooled@64]"
    assert "n = 6 and 6; n is not above the 8 features" in fid.definition
    assert "biased upwards" in fid.definition
    assert "100 subsets of 3" in kid.definition
    with pytest.raises(ValueError, match="two or more"):
        set_measures(np.ones((1, 8)), np.ones((4, 8)), "net")


def test_a_measure_as_json():
    assert Measure("a", 1.0, "b").to_dict() == {"name": "a", "value": 1.0, "definition": "b"}
    interval = Measure("a", Interval(1.0, 0.0, 2.0), "b").to_dict()
    assert interval["value"] == {"value": 1.0, "low": 0.0, "high": 2.0}
