"""A bias field laid over a drawn head is found and taken away again."""

import numpy as np
import pytest

from ganatomy.scans import Preprocessing, Scan, ScanError
from ganatomy.scans.bias_field import without_bias_field
from tests.ganatomy.scans.test_masks import ball


def drawn(shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tissue of two kinds in air, where it is, and a smooth field."""
    inside = ball(shape, min(shape[:2]) * 0.42)
    draw = np.random.default_rng(0)
    tissue = np.where(draw.random(shape) > 0.5, 100.0, 60.0) + draw.normal(0, 2, shape)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    field = np.exp(0.45 * axes[0] - 0.35 * axes[1] ** 2)
    return np.where(inside, tissue, 1.0), inside, field


@pytest.mark.parametrize("shape", [(24, 20, 6), (40, 36, 1), (48, 40)])
def test_a_field_is_taken_away(shape):
    clean, inside, field = drawn(shape)
    even = without_bias_field((clean * field)[..., None], (2.0,) * len(shape))[..., 0]
    left = np.log(even / clean)[inside]
    assert np.std(left) < 0.4 * np.std(np.log(field)[inside])
    # brightness as a whole stays
    change = np.log(even / (clean * field))[inside].mean()
    assert change == pytest.approx(0, abs=0.1)


def test_the_same_scan_gives_the_same_and_what_is_even_stays():
    clean, inside, _ = drawn((40, 36))
    once, twice = (without_bias_field(clean[..., None], None) for _ in range(2))
    np.testing.assert_array_equal(once, twice)
    assert np.abs(np.log(once[..., 0] / clean))[inside].max() < 0.1


def test_a_model_sees_the_even_scan_and_says_what_it_cannot_take():
    clean, _, field = drawn((40, 36))
    affine = np.diag([2.0, -2.0, 4.0, 1.0])
    settings = {"size": (24, 24), "bias_field": True}
    seen = Preprocessing(**settings).apply(Scan((clean * field)[..., None], affine)).samples
    plain = Preprocessing(size=(24, 24))
    target = plain.apply(Scan(clean[..., None], affine)).samples
    uneven = plain.apply(Scan((clean * field)[..., None], affine)).samples
    assert np.abs(seen - target).mean() < 0.5 * np.abs(uneven - target).mean()
    negative = Scan(clean[..., None] - 50, affine, path="ct")
    with pytest.raises(ScanError, match="ct: has values below 0: no bias field; expected MR"):
        Preprocessing(**settings).apply(negative)
