"""Scans cut into overlapping tiles: all of a scan is seen, and maps come back without a seam."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ganatomy.cache import prepare
from ganatomy.scans import Preprocessing, Scan, ScanError
from ganatomy.scans.tiles import Tiles, count, starts

BLOCKS = {"rank": 3, "size": (8, 8, 8), "overlap": 0.5, "spacing": (2, 2, 2)}
OBLIQUE = np.array(
    [
        [0.05, 0.89, 0.20, -30.0],
        [-0.69, 0.05, -0.40, 42.0],
        [-0.10, -0.13, 2.96, -11.0],
        [0, 0, 0, 1],
    ]
)


def volume(shape=(31, 42, 13), affine=OBLIQUE, seed=0) -> Scan:
    return Scan(np.random.default_rng(seed).random((*shape, 1), np.float32), affine)


@given(st.integers(2, 40), st.integers(0, 200), st.floats(0.01, 0.75))
def test_tiles_cover_an_axis_and_share_what_was_asked_for(tile, more, overlap):
    side = tile + more
    first = starts(side, tile, overlap)
    assert len(first) == count(side, tile, overlap) == len(set(first))
    assert (first[0], first[-1] + tile) == (0, side)
    steps = np.diff(first)
    # neighbours share what was asked for, to the pixel below; fewer tiles could not
    assert (steps <= max(1, tile * (1 - overlap) + 1e-6)).all()
    assert len(first) == 1 or (len(first) - 2) * max(1, int(tile * (1 - overlap))) < side - tile


@pytest.mark.parametrize("orientation", ["RAS", None])
def test_all_of_an_oblique_volume_is_seen_and_comes_back(orientation):
    scan = volume()
    prepared = Preprocessing(**BLOCKS, orientation=orientation).apply(scan)
    assert len(prepared) == len(prepared.samples) > 20
    assert prepared.samples.shape[1:] == (8, 8, 8, 1)
    back = prepared.back(prepared.samples[..., 0])
    # the tiles of one image agree wherever they overlap: their blend is that image
    whole = prepared.field.back(prepared.whole[..., 0])
    assert np.isfinite(back).all()
    np.testing.assert_allclose(back, whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(50, 37), (50, 37, 4)])
def test_slices_and_pictures_are_cut_as_volumes_are(shape):
    scan = Scan(np.random.default_rng(1).random((*shape, 1)))
    prepared = Preprocessing(size=(16, 16), overlap=0.25, normalise="window", window=(0, 1)).apply(
        scan
    )
    # without a spacing a pixel of the model is one of the scan
    assert len(prepared) == 4 * 3 * (4 if len(shape) == 3 else 1)
    back = prepared.back(prepared.samples[..., 0])
    np.testing.assert_allclose(back, 2 * scan.pixels[..., 0] - 1, atol=1e-5)


def test_a_scan_smaller_than_a_tile_is_one():
    scan = volume((5, 6, 4), np.diag([2.0, 2, 2, 1]))
    prepared = Preprocessing(**BLOCKS).apply(scan)
    same = Preprocessing(**{**BLOCKS, "overlap": None}).apply(scan)
    np.testing.assert_array_equal(prepared.samples, same.samples)
    maps = np.random.default_rng(0).random((1, 8, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(prepared.back(maps), same.back(maps), atol=1e-6)


def test_placements_say_where_each_tile_lies():
    pixels = np.full((30, 40, 20, 1), 0.1, np.float32)
    pixels[17, 26, 9] = 1
    prepared = Preprocessing(**{**BLOCKS, "spacing": (1, 1, 1)}).apply(
        Scan(pixels, np.diag([-1.0, 1, 1, 1]))
    )
    assert prepared.placements.shape == (len(prepared), 4, 4)
    shown = 0
    for sample, placement in zip(prepared.samples[..., 0], prepared.placements, strict=True):
        if sample.max() > 0.9:
            shown += 1
            at = [*np.unravel_index(sample.argmax(), sample.shape), 1]
            np.testing.assert_allclose(placement @ at, [17, 26, 9, 1], atol=1e-6)
    assert shown >= 8


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.75])
def test_no_seam_shows_where_tiles_disagree(overlap):
    grid = (1, 64, 53)
    tiles = Tiles.over(grid, (16, 16), overlap)
    said = np.random.default_rng(0).choice([-1.0, 1.0], len(tiles))[:, None, None]
    maps = np.broadcast_to(said, (len(tiles), 16, 16))
    blended, pasted = tiles.blend(maps, grid)[0], np.zeros(grid[1:])
    for (_, row, column), one in zip(tiles.corners, maps, strict=True):
        pasted[row : row + 16, column : column + 16] = one
    for axis in (0, 1):
        first = np.unique(tiles.corners[:, 1 + axis])
        ends = np.union1d(first[1:], first[:-1] + 16) - 1
        jumps = [np.abs(np.diff(image, axis=axis)).take(ends, axis) for image in (blended, pasted)]
        assert jumps[1].max() == 2
        assert jumps[0].max() < 0.3
        # From one to another it goes in steps, over what they share.
        assert np.abs(np.diff(blended, axis=axis)).max() < 1.2
    # What all say is said.
    np.testing.assert_allclose(tiles.blend(np.full((len(tiles), 16, 16), 3.0), grid), 3, rtol=1e-6)


def test_what_one_tile_does_not_know_another_says():
    tiles = Tiles.over((1, 12), (8,), 0.5)
    said = np.array([[1] * 8, [2] * 8], np.float32)
    said[0, 6:], said[:, -1] = np.nan, np.nan
    blended = tiles.blend(said, (1, 12))[0]
    np.testing.assert_array_equal(blended[:4], 1)
    assert ((blended[4:6] > 1) & (blended[4:6] < 2)).all()
    np.testing.assert_array_equal(blended[6:11], 2)
    assert np.isnan(blended[11])


def ball(shape=(40, 40, 40), centre=(12, 12, 12), radius=9) -> Scan:
    grid = np.moveaxis(np.indices(shape), 0, -1)
    inside = np.linalg.norm(grid - np.array(centre), axis=-1) < radius
    pixels = np.where(inside, 100, 0) + np.random.default_rng(0).normal(0, 3, shape)
    return Scan(pixels[..., None].astype(np.float32), np.eye(4))


def test_tiles_are_taken_where_the_mask_is_and_show_all_of_it():
    scan = ball()
    settings = {**BLOCKS, "spacing": (1, 1, 1)}
    prepared = Preprocessing(**settings, mask="body").apply(scan)
    everything = Preprocessing(**settings).apply(scan)
    assert 8 < len(prepared) < len(everything) / 3
    shares = prepared.mask.mean(axis=(1, 2, 3))
    assert (shares > 0).all()
    assert np.mean(shares >= 0.1) > 0.9
    np.testing.assert_array_equal(prepared.samples[~prepared.mask], -1)
    maps = np.where(prepared.mask, 7, np.nan).astype(np.float32)
    back = prepared.back(maps)
    # the mask has its own definition; what it covers is seen and nothing else
    np.testing.assert_array_equal(np.isfinite(back), prepared.inside[0])
    np.testing.assert_allclose(back[prepared.inside[0]], 7, rtol=1e-5)


def test_a_crumb_of_the_mask_has_a_tile():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, :20, :20] = True
    mask[0, 60, 60] = True  # a pixel of a tile of 256 is no tenth of it
    tiles = Tiles.over(mask.shape, (16, 16), 0.5, mask)
    shares = tiles.cut(mask).mean(axis=(1, 2))
    assert sum(shares < 0.1) == 1
    seen = tiles.blend(np.ones((len(tiles), 16, 16), np.float32), mask.shape)
    assert np.isfinite(seen[mask]).all()
    assert len(tiles) < len(Tiles.over(mask.shape, (16, 16), 0.5))


def test_training_sees_the_tiles_that_scoring_sees(tmp_path):
    paths = []
    for number in range(3):
        scan = volume((20 + number, 24, 18), np.diag([1.0, 1, 1, 1]), number)
        paths.append(tmp_path / f"{number}.nii.gz")
        nib.save(nib.Nifti1Image(scan.pixels[..., 0], scan.affine), paths[-1])
    settings = Preprocessing(**{**BLOCKS, "spacing": (1, 1, 1)})
    found = prepare(paths, settings)
    tiles = [
        settings.apply(Scan(np.asarray(nib.load(path).dataobj)[..., None], np.eye(4)))
        for path in paths
    ]
    assert found.owner.tolist() == [n for n, own in enumerate(tiles) for _ in range(len(own))]
    np.testing.assert_allclose(found.array, np.concatenate([t.samples for t in tiles]), atol=1e-5)


def test_tiles_are_cut_when_they_are_asked_for():
    prepared = Preprocessing(**{**BLOCKS, "overlap": 0.75}).apply(volume())
    # What waits to be scored, or goes from one process to another, is the scan once.
    assert prepared.whole.nbytes < prepared.samples.nbytes / 8


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"overlap": 0.0}, "overlap"),
        ({"overlap": 0.8}, "overlap"),
        ({"overlap": 0.5, "align": True}, "align moves a whole scan"),
    ],
)
def test_what_makes_no_tiles_is_refused(wrong, says):
    with pytest.raises(ValidationError, match=says):
        Preprocessing(size=(8, 8), **wrong)


def test_tiles_that_would_fill_the_memory_are_refused():
    settings = Preprocessing(**{**BLOCKS, "spacing": (0.05, 0.05, 0.05)})
    with pytest.raises(ScanError, match=r"is cut into .* expected a larger spacing or a smaller"):
        settings.apply(volume())
