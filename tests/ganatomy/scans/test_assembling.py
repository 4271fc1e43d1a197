"""What a model sees beside a slice, and what it made as one image on the scan's grid."""

from __future__ import annotations

import numpy as np
import pytest

from ganatomy.scans import Preprocessing, Scan

SLICES = {"size": (8, 8), "normalise": "range", "orientation": None, "overlap": 0.5}


def volume(shape=(13, 11, 5), seed=0):
    pixels = np.random.default_rng(seed).normal(size=(*shape, 1))
    return Scan(pixels, np.diag([1.0, 1.0, 3.0, 1.0]))


def test_neighbouring_slices_are_channels_and_the_ends_repeat_themselves():
    alone = Preprocessing(**{**SLICES, "overlap": None, "spacing": (1, 1)}).apply(volume())
    prepared = Preprocessing(**{**SLICES, "overlap": None, "spacing": (1, 1)}, neighbours=1).apply(
        volume()
    )
    own = alone.samples[..., 0]
    beside = np.stack([own[[0, 0, 1, 2, 3]], own, own[[1, 2, 3, 4, 4]]], axis=-1)
    np.testing.assert_array_equal(prepared.samples, beside)
    assert Preprocessing(**SLICES, neighbours=1).shape == (8, 8, 3)
    tiled = Preprocessing(**SLICES, neighbours=2).apply(volume())
    assert tiled.samples.shape == (len(tiled), 8, 8, 5)
    np.testing.assert_array_equal(tiled.samples[..., 2:3], tiled.tiles.cut(tiled.whole))
    with pytest.raises(ValueError, match="neighbours are for 2D"):
        Preprocessing(rank=3, size=(8, 8, 8), neighbours=1)


@pytest.mark.parametrize("rank", [2, 3])
def test_samples_come_back_as_the_scan_one_by_one(rank):
    scan = volume()
    settings = {**SLICES, "rank": rank, "size": (8, 8, 4)[:rank]}
    prepared = Preprocessing(**settings).apply(scan)
    low, high = prepared.ends
    assert (low, high) == pytest.approx((scan.pixels.min(), scan.pixels.max()))
    outputs = (prepared.sample(number).repeat(2, -1) for number in range(len(prepared)))
    back = prepared.assemble(outputs)
    assert back.shape == (*scan.shape, 2)
    np.testing.assert_allclose(
        (back + 1) / 2 * (high - low) + low, np.repeat(scan.pixels, 2, -1), atol=1e-5
    )


def test_a_mask_of_the_place_is_taken_instead_of_an_own_one():
    body = np.zeros((20, 20, 12, 1), np.float32)
    body[5:15, 5:15, 6:] = 1 + np.random.default_rng(0).random((10, 10, 6, 1))
    place = Scan(body, np.eye(4))
    settings = {"size": (20, 20), "spacing": (1, 1), "orientation": None}
    own = Preprocessing(**settings, mask="body")
    other = volume((20, 20, 12))
    seen = own.apply(place)
    pair = Preprocessing(**settings, mask="place").apply(other, own.mask_of(place))
    np.testing.assert_array_equal(pair.inside, seen.inside)
    assert len(pair) == len(seen) < 12
    assert (pair.samples[..., 0][~pair.inside] == -1).all()
    with pytest.raises(RuntimeError, match="give the mask"):
        Preprocessing(**settings, mask="place").apply(other)
