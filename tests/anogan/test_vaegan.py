"""VAE-GAN: what each of its three players minimises, by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.vaegan import VAEGAN
from tests.anogan.test_aae import check_opacities_stand_out, chests, learn, rates
from tests.anogan.test_detectors import SMALL, images, rough

SHAPE = (16, 16, 1)


def vaegan(shape=SHAPE, **settings):
    keras.utils.set_random_seed(0)
    return rough(VAEGAN(shape, **{**SMALL, **settings}))


def batch_of(model, count=3):
    draw = np.random.default_rng(1)
    names = ("epsilon", "z")
    noise = {n: draw.normal(size=(count, model.latent)).astype("float32") for n in names}
    return {"scan": images(count, model.shape), **noise}


@pytest.mark.parametrize("features", ["last", 1])
@pytest.mark.parametrize("adversary", ["saturating", "nonsaturating"])
def test_the_terms_of_each_player_are_those_of_algorithm_1(adversary, features):
    model = vaegan(gamma=0.3, adversary=adversary, features=features)
    batch = batch_of(model)
    played = {name: np.asarray(value) for name, value in model.play(batch).items()}
    assert played["made"].shape == (6, *SHAPE)
    seen = np.concatenate([batch["scan"], played["made"]])
    judged = model.networks["discriminator"](seen, training=True)
    real, reconstructed, sampled = np.split(np.asarray(judged["logit"], float), 3)
    f, g, _ = np.split(np.asarray(judged["features"]).reshape(9, -1), 3)
    unlike = 0.5 * ((f - g) ** 2).sum(1)

    def log_belief(logit):
        return -np.log1p(np.exp(-logit))

    def log_doubt(logit):
        return -np.log1p(np.exp(logit))

    found = model.discriminator_terms(batch, played)
    np.testing.assert_allclose(found["real"], -log_belief(real), rtol=1e-4)
    np.testing.assert_allclose(found["reconstructed"], -log_doubt(reconstructed), rtol=1e-4)
    np.testing.assert_allclose(found["sampled"], -log_doubt(sampled), rtol=1e-4)

    found = model.encoder_terms(batch, played)
    mean, log_variance = played["mean"], played["log_variance"]
    kl = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1).sum(1)
    np.testing.assert_allclose(found["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(found["features"], unlike, rtol=1e-4)

    found = model.decoder_terms(batch, played)
    wanted = log_doubt if adversary == "saturating" else lambda logit: -log_belief(logit)
    np.testing.assert_allclose(found["features"], 0.3 * unlike, rtol=1e-4)
    np.testing.assert_allclose(found["reconstructed"], wanted(reconstructed), rtol=1e-4)
    np.testing.assert_allclose(found["sampled"], wanted(sampled), rtol=1e-4)


def test_reconstructions_come_first_and_samples_of_the_prior_last():
    model = vaegan(norm=None)
    batch = batch_of(model)
    played = {name: np.asarray(value) for name, value in model.play(batch).items()}
    decode = model.networks["decoder"]
    code = played["mean"] + np.exp(played["log_variance"] / 2) * batch["epsilon"]
    np.testing.assert_allclose(played["made"][:3], decode(code), atol=1e-4)
    np.testing.assert_allclose(played["made"][3:], decode(batch["z"]), atol=1e-4)


def test_each_player_moves_its_own_network_alone():
    rates = {"encoder": 0.0, "decoder": 0.0, "discriminator": 0.0}
    for mover in rates:
        optimizers = {
            name: {"learning_rate": 0.01 if name == mover else 0.0, "kind": "sgd"} for name in rates
        }
        model = vaegan(optimizers=optimizers)
        before = {name: model.networks[name].trainable_variables for name in rates}
        before = {name: [v.numpy() for v in values] for name, values in before.items()}
        model.train_step({name: value[:, None] for name, value in batch_of(model).items()})
        moved = {
            name: max(
                np.abs(v.numpy() - w).max()
                for v, w in zip(model.networks[name].trainable_variables, before[name], strict=True)
            )
            for name in rates
        }
        assert {name for name, by in moved.items() if by > 0} == {mover}


def test_it_learns_healthy_pictures_without_comparing_a_pixel(draw_chest):
    keras.utils.set_random_seed(0)
    model = VAEGAN(
        SHAPE,
        latent=4,
        width=8,
        gamma=0.05,
        features=1,
        adversary="nonsaturating",
        optimizers=rates(encoder=2e-3, decoder=2e-3, discriminator=5e-4),
    )
    healthy = chests(draw_chest, range(64))
    before = model.inspect(healthy).paper_score.mean()
    learn(model, healthy, 200)
    assert model.inspect(healthy).paper_score.mean() < 0.4 * before
    check_opacities_stand_out(model, draw_chest)


@pytest.mark.parametrize("network", ["dcgan", "residual"])
def test_volumes_of_two_channels_have_one_too(network):
    shape = (8, 8, 8, 2)
    model = vaegan(shape, network=network)
    batch = batch_of(model, 2)
    terms = model.decoder_terms(batch, model.play(batch))
    assert all(np.isfinite(np.asarray(value)).all() for value in terms.values())
    assert model.inspect(images(2, shape)).residual.shape == (2, 8, 8, 8)


def test_a_decoder_wants_one_of_two_things():
    with pytest.raises(ValueError, match="neither saturating nor nonsaturating"):
        VAEGAN(SHAPE, adversary="hinge")  # pyright: ignore[reportArgumentType]
