"""Local cross-correlation beside correlations counted window by window."""

import numpy as np
import pytest

from ganatomy.losses import ncc
from tests.ganatomy.losses.conftest import check_gradient, gradient


def counted(x, y, window, floor):
    """The signed correlation of every window of one channel, by np.cov of what is inside."""
    found = np.zeros(x.shape)
    half = window // 2
    floors = [floor * image.var() + 1e-8 for image in (x, y)]
    for index in np.ndindex(x.shape):
        box = tuple(slice(max(i - half, 0), i + half + 1) for i in index)
        (xx, xy), (_, yy) = np.cov(x[box].ravel(), y[box].ravel(), ddof=0)
        found[index] = xy / np.sqrt((xx + floors[0]) * (yy + floors[1]))
    return found


@pytest.mark.parametrize("window", [3, 9])
def test_as_counted_window_by_window(pair, window):
    x, y = pair
    maps = [
        np.stack([counted(x[b, ..., c], y[b, ..., c], window, 1e-3) for c in range(2)], axis=-1)
        for b in range(2)
    ]
    np.testing.assert_allclose(ncc(x, y, window), [1 - m.mean() for m in maps], rtol=1e-9)
    squared = ncc(x, y, window, squared=True)
    np.testing.assert_allclose(squared, [1 - (m**2).mean() for m in maps], rtol=1e-9)
    weights = np.abs(x[..., 0])
    expected = [1 - np.average(m.mean(-1), weights=w) for m, w in zip(maps, weights, strict=True)]
    np.testing.assert_allclose(ncc(x, y, window, within=weights), expected, rtol=1e-9)


def test_a_window_of_the_whole_image_is_pearsons_correlation(pair):
    x, y = (image[..., :1] for image in pair)
    expected = [1 - np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ncc(x, y, 25, floor=0.0), expected, rtol=1e-5)


def test_the_sign_says_same_or_opposite(pair):
    x, _ = pair
    np.testing.assert_allclose(ncc(x, x, 5), 0, atol=0.02)
    np.testing.assert_allclose(ncc(x, -x, 5), 2, atol=0.02)
    np.testing.assert_allclose(ncc(x, -x, 5, squared=True), 0, atol=0.04)


def test_no_change_by_scale_and_offset_from_tiny_to_huge(pair):
    x, y = pair
    for squared in (False, True):
        once = ncc(x, y, 5, squared=squared)
        np.testing.assert_allclose(ncc(1e6 * x + 3e6, y, 5, squared=squared), once, rtol=1e-6)
        np.testing.assert_allclose(ncc(x, 0.05 * y - 1, 5, squared=squared), once, rtol=1e-2)


def test_float32_is_exact_enough_far_from_zero(pair):
    x, y = pair
    far = (np.float32(1000) + x.astype("float32")) / 1000
    single, double = ncc(far, y.astype("float32"), 5), ncc(far.astype(float), y, 5)
    np.testing.assert_allclose(single, double, atol=2e-3)


@pytest.mark.parametrize("squared", [False, True])
def test_gradients(pair, rng, squared):
    x, y = pair
    check_gradient(lambda x: ncc(x, y, 5, squared=squared), x, rng)
    check_gradient(lambda y: ncc(x, y, 5, squared=squared), y, rng)


def test_a_negative_correlation_has_a_gradient(pair):
    x, _ = pair
    noise = np.random.default_rng(1).normal(size=x.shape)
    opposite = -x + 0.3 * x.std() * noise
    # Downhill a signed one leads to x, a squared one to -x.
    signed = gradient(lambda y: ncc(x, y, 5), opposite)
    squared = gradient(lambda y: ncc(x, y, 5, squared=True), opposite)
    assert np.sum(-signed * x) > 0
    assert np.sum(squared * noise) > 0
    assert np.abs(squared).max() > 1e-4


def test_a_constant_image_is_unrelated_and_its_gradient_finite(pair):
    x, _ = pair
    flat = np.full_like(x, 0.5)
    np.testing.assert_allclose(ncc(x, flat), 1)
    np.testing.assert_allclose(ncc(flat, flat), 1)
    assert np.isfinite(gradient(lambda y: ncc(x, y), flat)).all()


def test_noise_in_the_background_counts_little(rng):
    x, y = np.zeros((2, 1, 32, 32, 1))
    x[:, :8, :8] = y[:, :8, :8] = rng.normal(size=(1, 8, 8, 1))
    noise = 1e-3 * rng.normal(size=(2, *x.shape))
    background = np.zeros(x.shape[:-1])
    background[:, 16:, 16:] = 1
    with_floor, without = (
        ncc(x + noise[0], y + noise[0], 5, floor=floor, within=background)[0]
        for floor in (1e-3, 0.0)
    )
    assert with_floor > 0.9
    assert without < 0.1


def test_weights_of_zero_give_no_loss_and_no_nan(pair):
    x, y = pair
    nothing = np.zeros(x.shape[:-1])
    np.testing.assert_array_equal(ncc(x, y, within=nothing), 1)
    assert np.isfinite(gradient(lambda y: ncc(x, y, within=nothing), y)).all()


def test_what_does_not_fit_is_refused(pair):
    x, y = pair
    with pytest.raises(ValueError, match="one shape"):
        ncc(x, y[:, 1:])
    with pytest.raises(ValueError, match="odd"):
        ncc(x, y, 4)
    with pytest.raises(ValueError, match="not of images"):
        ncc(x, y, within=np.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="2D or 3D"):
        ncc(x[0, ..., 0, 0], y[0, ..., 0, 0])
