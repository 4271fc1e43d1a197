"""The patch posterior: one pass over an image says what a loop over its patches says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.patch_posterior import PatchPosterior
from anogan.residuals import Postprocessing
from ganatomy.networks import dense_critic
from ganatomy.training import train
from tests.anogan.test_detectors import images, rough
from tests.feeding import feed

SMALL = {"patch": 7, "patches": 3, "latent": 4, "width": 2, "chunk": 4}


def posterior(shape, **settings):
    keras.utils.set_random_seed(0)
    return rough(PatchPosterior(shape, **{**SMALL, **settings}))


def odds_of_patches(model, patches):
    """-logit of patches that are images of their own, [n]."""
    logits = model.networks["critic"](np.stack(patches), training=False).numpy()
    return -logits.reshape(len(patches)).astype(float)


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("shape", [(12, 10, 1), (9, 8, 3), (8, 9, 8, 2)])
def test_the_dense_map_is_a_loop_over_the_patches_around_every_pixel(shape, spectral):
    model = posterior(shape, spectral=spectral, evidence="surprise")
    (x,) = images(1, shape)
    size, half, patches = shape[:-1], 3, []
    for pixel in np.ndindex(*size):
        # Near the border: the patch nearest to it that lies in the image.
        centre = [min(max(p, half), n - 1 - half) for p, n in zip(pixel, size, strict=True)]
        patches.append(x[tuple(slice(c - half, c + half + 1) for c in centre)])
    expected = odds_of_patches(model, patches).reshape(size)
    found = model.inspect(x[None])
    np.testing.assert_allclose(found.residual[0], np.log1p(np.exp(expected)), rtol=1e-4, atol=1e-5)
    assert expected.std() > 1e-3
    doubt = posterior(shape, spectral=spectral).inspect(x[None])
    np.testing.assert_allclose(doubt.residual[0], 1 / (1 + np.exp(-expected)), rtol=1e-4)
    np.testing.assert_array_equal(doubt.reconstruction[0], x)


@pytest.mark.parametrize("shape", [(12, 10, 2), (9, 10, 9, 1)])
def test_a_score_counts_every_patch_once(shape):
    model = posterior(shape)
    samples, rank = images(3, shape), len(shape) - 1
    found = model.inspect(samples)
    for sample, score, residual in zip(samples, found.paper_score, found.residual, strict=True):
        corners = np.ndindex(*(n - 6 for n in shape[:-1]))
        patches = [sample[tuple(slice(c, c + 7) for c in corner)] for corner in corners]
        doubt = 1 / (1 + np.exp(-odds_of_patches(model, patches)))
        # Pixels nearer to the border than half a patch repeat what is known farther in.
        inner = residual[(slice(3, -3),) * rank]
        np.testing.assert_allclose(score, inner.mean(), rtol=1e-4)
        np.testing.assert_allclose(score, doubt.mean(), rtol=1e-4)
        assert abs(residual.mean() - score) > 1e-3 * score


@pytest.mark.parametrize("patch", [7, 15])
def test_a_logit_sees_every_pixel_of_its_patch_and_no_other(patch):
    keras.utils.set_random_seed(0)
    critic = dense_critic(1, 2, patch, width=2)
    side = patch + 2
    x = images(1, (side, side, 1))
    base = critic(x).numpy()
    assert base.shape == (1, 3, 3)
    seen = np.zeros((side, side), bool)
    for pixel in np.ndindex(side, side):
        other = x.copy()
        other[(0, *pixel, 0)] += 5.0
        seen[pixel] = critic(other).numpy()[0, 1, 1] != base[0, 1, 1]
    assert seen[1:-1, 1:-1].all()
    assert seen.sum() == patch * patch


@pytest.mark.parametrize("shape", [(10, 8, 2), (8, 9, 10, 1)])
def test_patches_are_cut_where_the_noise_says(shape):
    model = PatchPosterior(shape, **SMALL)
    samples, rank = images(2, shape), len(shape) - 1
    place = np.random.default_rng(3).uniform(size=(2, 3)).astype("float32")
    place[0, 0], place[1, 2] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    found = np.asarray(model.cut(samples, place)).reshape(2, 3, *[7] * rank, shape[-1])
    corners = list(np.ndindex(*(n - 6 for n in shape[:-1])))
    for b, k in np.ndindex(2, 3):
        corner = corners[int(place[b, k] * len(corners))]
        inside = tuple(slice(c, c + 7) for c in corner)
        np.testing.assert_array_equal(found[b, k], samples[b][inside])


def corners_of(model, samples):
    """The first pixels of patches of one sample whose pixels are numbered."""
    place = np.random.default_rng(0).uniform(size=(1, model.patches)).astype("float32")
    return np.unique(np.asarray(model.cut(samples, place))[:, 0, 0, 0], return_counts=True)


def test_every_place_is_as_likely():
    model = PatchPosterior((9, 8, 1), **{**SMALL, "patches": 600})
    found, counts = corners_of(model, np.arange(72, dtype="float32").reshape(1, 9, 8, 1))
    assert found.tolist() == [0, 1, 8, 9, 16, 17]
    assert counts.min() > 70


def test_no_patch_is_cut_about_what_a_mask_hides():
    model = PatchPosterior((9, 8, 2), **{**SMALL, "patches": 600})
    numbered = np.arange(72, dtype="float32").reshape(1, 9, 8, 1).repeat(2, -1)
    # Centres are (3, 3) to (5, 4); one of these is hidden in a single channel only.
    hidden = numbered.copy()
    hidden[0, 3, 3], hidden[0, 5, 4], hidden[0, 4, 4, 0] = -1, -1, -1
    found, counts = corners_of(model, hidden)
    assert found.tolist() == [1, 8, 9, 16]
    assert counts.min() > 110
    nothing = np.full_like(numbered, -1)
    assert np.asarray(model.cut(nothing, np.full((1, 600), 0.5, "float32"))).max() == -1


def test_terms_are_those_of_the_vanilla_game_by_hand():
    model = posterior((8, 8, 1))
    batch = {
        "scan": images(2),
        "place": np.full((2, 3), 0.8, "float32"),
        "z": np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32"),
    }
    fake = np.asarray(model.play(batch))
    assert fake.shape == (6, 7, 7, 1)
    real = batch["scan"][:, 1:, 1:]
    doubt_real = 1 / (1 + np.exp(-odds_of_patches(model, real)))
    belief_fake = 1 / (1 + np.exp(odds_of_patches(model, fake))).reshape(2, 3)
    expected = -np.log1p(-doubt_real) - np.log1p(-belief_fake).mean(1)
    found = model.critic_terms(batch, fake)["adversarial"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    found = model.generator_terms(batch, fake)["adversarial"]
    np.testing.assert_allclose(found, -np.log(belief_fake).mean(1), rtol=1e-4)


@pytest.mark.parametrize("evidence", ["posterior", "surprise"])
def test_a_discriminator_of_healthy_patches_doubts_what_it_never_saw(draw_chest, evidence):
    """An opacity scores higher than the same picture without it, where it lies."""

    def chests(seeds, abnormal=False):
        drawn = [draw_chest(s, abnormal=abnormal, side=16) for s in seeds]
        return (np.stack(drawn).astype("float32") / 127.5 - 1)[..., None]

    keras.utils.set_random_seed(0)
    model = PatchPosterior((16, 16, 1), patch=7, patches=8, latent=8, width=8, evidence=evidence)
    healthy = chests(range(64))

    data = feed(model, 16, scan=healthy)
    train(model, data, {"adversarial": 150}, every=150)
    well, ill = chests(range(100, 120)), chests(range(100, 120), abnormal=True)
    found, other = model.inspect(ill), model.inspect(well)
    more = found.residual - other.residual
    changed = np.abs(ill - well)[..., 0] > 0.2
    assert more[changed].mean() > 3 * more[~changed].mean()
    assert (found.paper_score > other.paper_score).mean() > 0.75
    # A patch that is more real than most is no anomaly, whatever maps make of a sign.
    post = Postprocessing().fit(model.inspect(chests(range(300, 340))).residual)
    higher = post.scores(post.maps(found.residual)) > post.scores(post.maps(other.residual))
    assert higher.mean() > 0.75


def test_settings_that_make_no_patch_posterior_are_refused():
    with pytest.raises(ValueError, match="a patch of 15 pixels does not fit"):
        PatchPosterior((8, 16, 1))
    with pytest.raises(ValueError, match=r"patch is 7, 15, 31, .* not 8"):
        PatchPosterior((8, 8, 1), patch=8)
    with pytest.raises(ValueError, match="only nonsaturating and saturating have a D"):
        PatchPosterior((16, 16, 1), adversary="hinge")
    with pytest.raises(ValueError, match="neither posterior nor surprise"):
        PatchPosterior((16, 16, 1), evidence="odds")


def test_pictures_of_training_are_pictures():
    shown = posterior((8, 8, 1)).pictures(images(8))
    assert shown["samples"].shape == (7, 56)
    assert shown["maps"].shape == (8, 64)
    assert max(np.abs(np.asarray(image)).max() for image in shown.values()) <= 1
