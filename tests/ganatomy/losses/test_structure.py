"""Structural similarity beside scikit-image's."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from ganatomy.losses import ssim
from tests.ganatomy.losses.conftest import check_gradient, gradient


@pytest.mark.parametrize("grid", [(24, 21), (14, 13, 12)])
@pytest.mark.parametrize("high", [1.0, 255.0])
def test_as_scikit_image(rng, grid, high):
    x = high * rng.random((2, *grid, 2))
    y = np.clip(0.7 * x + 0.3 * high * rng.random(x.shape), 0, high)
    maps = np.stack(
        [
            structural_similarity(
                a,
                b,
                data_range=high,
                channel_axis=-1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                full=True,
            )[1]
            for a, b in zip(x, y, strict=True)
        ]
    )
    axes = tuple(range(1, maps.ndim))
    np.testing.assert_allclose(ssim(x, y, intensity_range=high), 1 - maps.mean(axes), rtol=1e-6)
    single = ssim(x.astype("float32"), y.astype("float32"), intensity_range=high)
    np.testing.assert_allclose(single, 1 - maps.mean(axes), atol=1e-4)
    inner = np.zeros((2, *grid))
    inner[(slice(None), *[slice(5, -5)] * len(grid))] = 1  # what scikit-image's own mean is over
    expected = [1 - m[w > 0].mean() for m, w in zip(maps, inner, strict=True)]
    np.testing.assert_allclose(ssim(x, y, intensity_range=high, within=inner), expected, rtol=1e-6)


def test_the_same_inverted_and_constant(pair):
    x, _ = pair
    np.testing.assert_allclose(ssim(x, x), 0, atol=1e-9)
    # Where means are not 0 either, both factors become negative and their product positive.
    alternating = np.where(np.indices(x.shape[1:-1]).sum(0) % 2, 0.8, -0.8)[None, ..., None]
    assert (np.array(ssim(alternating, -alternating)) > 1.5).all()
    flat = np.zeros_like(x)
    assert np.isfinite(gradient(lambda y: ssim(x, y), flat)).all()


def test_gradients(pair, rng):
    x, y = pair
    found = check_gradient(lambda x: ssim(x, y), x, rng)
    assert np.abs(found).max() > 1e-5
