"""The variational autoencoder: its bound by hand, and scores without chance."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.vae import LARGEST, VAE, divergence, sample
from tests.anogan.test_aae import check_opacities_stand_out, chests, learn
from tests.anogan.test_detectors import SMALL, images, rough

SHAPE = (8, 8, 1)


def vae(shape=SHAPE, **settings):
    keras.utils.set_random_seed(0)
    return rough(VAE(shape, **{**SMALL, **settings}))


def kl(mean, log_variance):
    return 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1)


def test_the_divergence_is_the_mean_log_ratio_of_the_densities():
    mean, log_variance = np.array([[0.7, -1.2]], "float32"), np.array([[-0.5, 0.8]], "float32")
    epsilon = np.random.default_rng(0).normal(size=(200_000, 2)).astype("float32")
    z = np.asarray(sample(mean, log_variance, epsilon))
    np.testing.assert_allclose(z.mean(0), mean[0], atol=0.01)
    np.testing.assert_allclose(z.std(0), np.exp(0.5 * log_variance[0]), rtol=0.01)
    # Both densities have the factor (2π)^(-d/2).
    log_q = -0.5 * (epsilon**2 + log_variance).sum(1)
    log_p = -0.5 * (z**2).sum(1)
    np.testing.assert_allclose(divergence(mean, log_variance)[0], (log_q - log_p).mean(), atol=0.01)
    np.testing.assert_array_equal(divergence(np.zeros((1, 3)), np.zeros((1, 3))), 0)


def test_the_terms_are_the_bound_by_hand():
    model, x = vae(norm=None, deviation=0.5), images(3)
    epsilon = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    batch = {"scan": x, "epsilon": epsilon}
    encoded = model.networks["encoder"](x).numpy()
    mean, log_variance = encoded[:, :4], np.clip(encoded[:, 4:], -LARGEST, LARGEST)
    z = mean + np.exp(log_variance / 2) * epsilon
    image = model.networks["decoder"](z).numpy()
    terms = model.autoencoder_terms(batch, model.play(batch))
    np.testing.assert_allclose(
        terms["image"], ((x - image) ** 2).sum((1, 2, 3)) / (2 * 0.25), rtol=1e-4
    )
    np.testing.assert_allclose(terms["kl"], kl(mean, log_variance), rtol=1e-4)


def test_a_score_is_of_the_mean_code():
    model, x = vae(), images(3)
    mean = model.networks["encoder"](x, training=False).numpy()[:, :4]
    image = model.networks["decoder"](mean, training=False).numpy()
    found = model.inspect(x)
    np.testing.assert_allclose(found.latent, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.reconstruction, image, atol=1e-5)
    np.testing.assert_allclose(found.paper_score, np.abs(x - image).mean((1, 2, 3)), rtol=1e-4)


def test_the_bound_at_the_mean_is_what_a_restoration_lowers():
    model, x = vae(deviation=0.5), images(3)
    encoded = model.networks["encoder"](x, training=False).numpy()
    mean, log_variance = encoded[:, :4], np.clip(encoded[:, 4:], -LARGEST, LARGEST)
    image = model.networks["decoder"](mean, training=False).numpy()
    expected = 2 * ((x - image) ** 2).sum((1, 2, 3)) + kl(mean, log_variance)
    np.testing.assert_allclose(model.implausibility(x), expected, rtol=1e-4)


def test_it_learns_healthy_pictures_and_uses_its_code(draw_chest):
    keras.utils.set_random_seed(0)
    model = VAE(
        (16, 16, 1),
        latent=4,
        width=8,
        deviation=0.05,
        optimizers={"autoencoder": {"learning_rate": 5e-3}},
    )
    healthy = chests(draw_chest, range(64))
    losses = learn(model, healthy, 200)
    bound = [step["autoencoder/image"] + step["autoencoder/kl"] for step in losses]
    assert np.mean(bound[-10:]) < 0.2 * np.mean(bound[:3])
    assert np.mean([step["autoencoder/kl"] for step in losses[-10:]]) > 1
    check_opacities_stand_out(model, draw_chest)


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8, 8, 2)])
def test_pictures_and_volumes_of_several_channels(shape):
    found = vae(shape, network="residual").inspect(images(2, shape))
    assert found.residual.shape == (2, *shape[:-1])
    assert np.isfinite(found.paper_score).all()


def test_no_pixel_deviates_by_nothing():
    with pytest.raises(ValueError, match="deviation is above 0"):
        VAE(SHAPE, deviation=0.0)
