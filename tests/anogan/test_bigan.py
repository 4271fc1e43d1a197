"""BiGAN and ALI: pairs judged as the papers say, and an encoder that learns to invert G."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.bigan import BiGAN
from ganatomy.gradients import gradient
from ganatomy.training import train
from tests.anogan.test_detectors import images, rough
from tests.feeding import feed

SMALL = {"latent": 4, "width": 2, "chunk": 4}


def bigan(shape=(8, 8, 1), **settings):
    keras.utils.set_random_seed(0)
    model = rough(BiGAN(shape, **{**SMALL, **settings}))
    last = model.networks["critic"].get_layer("logit")
    # Rough weights add up; a discriminator that is certain has no cross-entropy to compare.
    last.set_weights([0.01 * weights for weights in last.get_weights()])
    return model


def batch_of(model, count=3):
    draw = np.random.default_rng(4)
    return {
        "scan": images(count, model.shape),
        "mix": draw.uniform(size=count).astype("float32"),
        **{
            name: draw.normal(size=(count, 4)).astype("float32")
            for name in model.noise
            if name != "mix"
        },
    }


def softplus(x):
    return np.log1p(np.exp(np.asarray(x, float)))


# By adversary: what discriminator, generator and encoder minimise, of the logits of the encoder's
# pairs e and the generator's g, written out from the papers.
BY_HAND = {
    "nonsaturating": (
        lambda e, g: softplus(-e) + softplus(g),
        lambda g: softplus(-g),
        lambda e: softplus(e),
    ),
    "saturating": (
        lambda e, g: softplus(-e) + softplus(g),
        lambda g: -softplus(g),
        lambda e: -softplus(-e),
    ),
    "least_squares": (
        lambda e, g: 0.5 * (e - 1) ** 2 + 0.5 * g**2,
        lambda g: 0.5 * (g - 1) ** 2,
        lambda e: 0.5 * e**2,
    ),
    "hinge": (
        lambda e, g: np.maximum(0, 1 - e) + np.maximum(0, 1 + g),
        lambda g: -g,
        lambda e: e,
    ),
    "wasserstein": (lambda e, g: g - e, lambda g: -g, lambda e: e),
}


@pytest.mark.parametrize("adversary", BY_HAND)
def test_the_game_is_played_on_pairs(adversary):
    weights = {"critic/penalty": 10.0 if adversary == "wasserstein" else 0.0}
    model = bigan(adversary=adversary, critic_norm=None, term_weights=weights)
    batch = batch_of(model)
    code = model.networks["encoder"](batch["scan"], training=True).numpy()
    image = model.networks["generator"](batch["z"], training=True).numpy()
    played = {name: np.asarray(value) for name, value in model.play(batch).items()}
    np.testing.assert_allclose(played["code"], code, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(played["image"], image, rtol=1e-5, atol=1e-6)
    critic = model.networks["critic"]
    e = np.asarray(critic([batch["scan"], code])["logit"], float)
    g = np.asarray(critic([image, batch["z"]])["logit"], float)
    judge, generate, encode = BY_HAND[adversary]
    found = model.critic_terms(batch, played)["adversarial"]
    np.testing.assert_allclose(found, judge(e, g), rtol=1e-4, atol=1e-5)
    terms = model.generator_terms(batch, played)
    np.testing.assert_allclose(terms["generated"], generate(g), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(terms["encoded"], encode(e), rtol=1e-4, atol=1e-5)
    assert np.abs(e - g).min() > 1e-4


@pytest.mark.parametrize("shape", [(8, 8, 2), (8, 8, 8, 1)])
def test_the_penalty_is_of_the_slope_to_image_and_code_together(shape):
    model = bigan(
        shape,
        adversary="wasserstein",
        critic_norm=None,
        term_weights={"critic/penalty": 10.0},
    )
    batch = batch_of(model)
    played = {name: np.asarray(value) for name, value in model.play(batch).items()}
    wide = batch["mix"].reshape(3, *[1] * len(shape))
    x = wide * batch["scan"] + (1 - wide) * played["image"]
    z = batch["mix"][:, None] * played["code"] + (1 - batch["mix"][:, None]) * batch["z"]
    x, z = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(z)
    slopes = [
        np.asarray(gradient(lambda y: model.logit(y, z), x)),
        np.asarray(gradient(lambda y: model.logit(x, y), z)),
    ]
    squared = [(slope.reshape(3, -1) ** 2).sum(1) for slope in slopes]
    assert min(squared[0].min(), squared[1].min()) > 1e-6
    expected = (np.sqrt(squared[0] + squared[1]) - 1) ** 2
    found = model.critic_terms(batch, played)["penalty"]()
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_stochastic_encoder_draws_around_its_mean_and_is_scored_at_it():
    model = bigan(stochastic=True)
    batch = batch_of(model)
    told = model.networks["encoder"](batch["scan"], training=True).numpy()
    expected = told[:, :4] + np.exp(told[:, 4:] / 2) * batch["spread"]
    np.testing.assert_allclose(model.play(batch)["code"], expected, rtol=1e-4)
    mean = model.networks["encoder"](batch["scan"], training=False).numpy()[:, :4]
    np.testing.assert_allclose(model.inspect(batch["scan"]).latent, mean, rtol=1e-4, atol=1e-5)
    assert "spread" not in bigan().noise


@pytest.mark.parametrize("judge", ["features", "cross_entropy"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 16, 3), (8, 8, 8, 1)])
def test_the_score_is_zenatis(shape, judge):
    model = bigan(shape, judge=judge, lam=0.3)
    last = model.networks["critic"].get_layer("logit")
    last.set_weights([0.05 * weights for weights in last.get_weights()])
    x, networks = images(3, shape), model.networks
    code = networks["encoder"](x, training=False).numpy()
    image = networks["generator"](code, training=False).numpy()
    own = networks["critic"]([x, code], training=False)
    made = networks["critic"]([image, code], training=False)
    doubt = np.abs(np.asarray(own["features"]) - np.asarray(made["features"])).sum(1)
    if judge == "cross_entropy":
        doubt = softplus(-np.asarray(own["logit"]))
    expected = 0.7 * np.abs(x - image).reshape(3, -1).sum(1) + 0.3 * doubt
    found = model.inspect(x)
    np.testing.assert_allclose(found.paper_score, expected, rtol=1e-4)
    np.testing.assert_allclose(found.reconstruction, image, atol=1e-5)
    np.testing.assert_allclose(
        np.abs(found.residual), np.abs(x - image).max(-1), rtol=1e-4, atol=1e-5
    )
    assert doubt.min() > 1e-3


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_encoder_learns_to_invert_the_generator(stochastic):
    """Pictures of one number, as grey: G takes the numbers' range over, and G(E(x)) follows x."""
    keras.utils.set_random_seed(0)
    model = BiGAN(
        (8, 8, 1),
        latent=1,
        width=8,
        stochastic=stochastic,
        optimizers={name: {"learning_rate": 1e-3} for name in ("critic", "generator")},
        averages={"generator": 0.98, "encoder": 0.98},
    )
    grey = np.random.default_rng(0).uniform(-0.8, 0.8, (256, 1, 1, 1)).astype("float32")
    healthy = np.tile(grey, (1, 8, 8, 1))

    data = feed(model, 32, scan=healthy)
    before = model.inspect(healthy[:64]).reconstruction.mean((1, 2, 3))
    train(model, data, {"adversarial": 500}, every=500)
    after = model.inspect(healthy[:64]).reconstruction.mean((1, 2, 3))
    shade = grey[:64].ravel()
    assert np.corrcoef(shade, after)[0, 1] > 0.9
    assert np.abs(shade - after).mean() < 0.6 * np.abs(shade - before).mean()


def test_settings_that_make_no_game_are_refused():
    with pytest.raises(ValueError, match="neither features nor cross_entropy"):
        bigan(judge="eye")
    with pytest.raises(ValueError, match="'wasserstein' has no cross-entropy"):
        bigan(adversary="wasserstein", judge="cross_entropy")
    with pytest.raises(ValueError, match="no adversarial objective"):
        bigan(adversary="friendly")


@pytest.mark.parametrize("settings", [{}, {"stochastic": True, "network": "residual"}])
def test_pictures_of_training_are_pictures(settings):
    shown = bigan(**settings).pictures(images(8))
    assert shown["samples"].shape == (8, 64)
    assert shown["reconstructions"].shape == (16, 64)
    assert max(np.abs(image).max() for image in shown.values()) <= 1
