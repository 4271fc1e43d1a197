"""The adversarial autoencoder: norms, the constraint, and codes that meet the prior."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.aae import AdversarialAutoencoder
from ganatomy.training import train
from tests.anogan.test_detectors import SMALL, images, rough
from tests.feeding import feed

SHAPE = (8, 8, 1)


def autoencoder(shape=SHAPE, **settings):
    keras.utils.set_random_seed(0)
    return rough(AdversarialAutoencoder(shape, **{**SMALL, **settings}))


def chests(draw_chest, seeds, abnormal=False):
    drawn = [draw_chest(seed, abnormal=abnormal, side=16) for seed in seeds]
    return (np.stack(drawn).astype("float32") / 127.5 - 1)[..., None]


def learn(model, samples, steps, batch_size=16):
    """Train a model of one stage; the terms of every step, as they were logged."""
    losses = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append({key: float(np.mean(value)) for key, value in (logs or {}).items()})

    data = feed(model, batch_size, scan=samples)
    (stage,) = model.stage_list
    train(model, data, {stage.name: steps}, every=1, callbacks=lambda: [Keep()])
    return losses


def check_opacities_stand_out(model, draw_chest):
    """Where an opacity is put into a picture, the residual grows, and the score with it."""
    well = chests(draw_chest, range(100, 120))
    ill = chests(draw_chest, range(100, 120), abnormal=True)
    found, other = model.inspect(ill), model.inspect(well)
    more = np.abs(found.residual) - np.abs(other.residual)
    changed = np.abs(ill - well)[..., 0] > 0.2
    assert more[changed].mean() > 3 * more[~changed].mean()
    assert (found.paper_score > other.paper_score).mean() > 0.9


def test_the_terms_are_a_norm_and_a_sum_by_hand():
    model, x = autoencoder(norm=None), images(3)
    code = np.asarray(model.play({"scan": x}))
    image = model.networks["decoder"](code).numpy()
    again = model.networks["encoder"](image).numpy()
    terms = model.autoencoder_terms({"scan": x}, code)
    expected = [np.linalg.norm((a - b).ravel()) for a, b in zip(x, image, strict=True)]
    np.testing.assert_allclose(terms["image"], expected, rtol=1e-5)
    np.testing.assert_allclose(terms["constraint"](), ((code - again) ** 2).sum(1), rtol=1e-4)


def test_the_critic_is_three_layers_between_prior_and_code_with_a_penalty():
    model = autoencoder()
    draw = np.random.default_rng(0)
    z, code = draw.normal(size=(2, 3, 4)).astype("float32")
    mix = draw.uniform(size=3).astype("float32")
    weights = model.networks["critic"].get_weights()
    assert [w.shape for w in weights[::2]] == [(4, 200), (200, 400), (400, 1)]

    def critic(z):
        """Logits, and their slopes by the chain rule."""
        x, slope = z, np.eye(4)[None].repeat(len(z), 0)
        for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
            x, slope = x @ kernel + bias, slope @ kernel
            if kernel.shape[1] > 1:
                bend = np.where(x > 0, 1, 0.2)
                x, slope = x * bend, slope * bend[:, None]
        return x[:, 0], slope[..., 0]

    terms = model.critic_terms({"z": z, "mix": mix}, code)
    np.testing.assert_allclose(terms["adversarial"], critic(code)[0] - critic(z)[0], rtol=1e-4)
    between = mix[:, None] * z + (1 - mix[:, None]) * code
    slope = np.linalg.norm(critic(between)[1], axis=1)
    np.testing.assert_allclose(terms["penalty"](), (slope - 1) ** 2, rtol=1e-4)
    assert model.weight("critic/penalty") == 10
    np.testing.assert_allclose(
        model.encoder_terms({}, code)["adversarial"], -critic(code)[0], rtol=1e-4
    )


def test_a_code_is_not_bounded():
    assert np.abs(autoencoder().inspect(10 * images()).latent).max() > 2


def test_the_plain_one_is_the_same_model_without_the_constraint():
    plain, constrained = (
        learn(autoencoder(critic_updates=2, term_weights=weights), images(16), 1)
        for weights in ({}, {"autoencoder/constraint": 0.5})
    )
    assert set(plain[0]) == {
        "critic/adversarial",
        "critic/penalty",
        "autoencoder/image",
        "encoder/adversarial",
    }
    assert set(constrained[0]) - set(plain[0]) == {"autoencoder/constraint"}


def test_the_constraint_moves_the_decoder_through_the_reconstruction():
    weights = {"autoencoder/image": 0.0, "autoencoder/constraint": 0.5}
    model = autoencoder(critic_updates=1, term_weights=weights)
    before = model.networks["decoder"].get_weights()
    losses = learn(model, images(16), 3)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(before, model.networks["decoder"].get_weights(), strict=True)
    ]
    assert max(moved) > 0
    assert losses[0]["autoencoder/constraint"] > 0


def waves(count):
    """Pictures [count, 8, 8, 1] of four independent numbers each."""
    y, x = np.mgrid[:8, :8] / 7 * np.pi
    patterns = np.stack([np.cos(x), np.cos(y), np.cos(2 * x), np.cos(x) * np.cos(y)])
    numbers = np.random.default_rng(0).normal(size=(count, 4))
    made = np.tanh(0.5 * np.einsum("nk,kij->nij", numbers, patterns))
    return made[..., None].astype("float32")


def rates(**by_player):
    return {player: {"learning_rate": rate} for player, rate in by_player.items()}


def test_codes_become_like_the_prior_and_pictures_like_the_scans():
    keras.utils.set_random_seed(0)
    optimizers = rates(autoencoder=5e-3, critic=2e-3, encoder=2e-3)
    model = AdversarialAutoencoder(
        SHAPE, latent=4, width=8, critic_updates=3, optimizers=optimizers
    )
    samples = waves(128)
    losses = learn(model, samples, 250, batch_size=32)
    likeness = [step["autoencoder/image"] for step in losses]
    assert np.mean(likeness[-10:]) < 0.5 * likeness[0]
    code = model.inspect(samples).latent
    assert np.abs(code.mean(0)).max() < 0.6
    assert code.std(0).min() > 0.6
    assert code.std(0).max() < 1.6
    correlation = np.corrcoef(code.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.6


def test_the_constrained_one_learns_healthy_pictures(draw_chest):
    keras.utils.set_random_seed(0)
    model = AdversarialAutoencoder(
        (16, 16, 1),
        latent=4,
        width=8,
        critic_updates=1,
        term_weights={"autoencoder/constraint": 0.5},
        optimizers=rates(autoencoder=3e-3, critic=1e-3, encoder=1e-3),
    )
    losses = learn(model, chests(draw_chest, range(64)), 200)
    likeness = [step["autoencoder/image"] for step in losses]
    assert np.mean(likeness[-10:]) < 0.4 * np.mean(likeness[:3])
    check_opacities_stand_out(model, draw_chest)


@pytest.mark.parametrize("network", ["dcgan", "residual"])
@pytest.mark.parametrize("shape", [(8, 16, 4), (8, 8, 16, 2)])
def test_pictures_and_volumes_of_several_channels(shape, network):
    model = autoencoder(shape, network=network)
    found = model.inspect(images(2, shape))
    assert found.reconstruction.shape == (2, *shape)
    np.testing.assert_allclose(
        found.paper_score,
        np.abs(images(2, shape) - found.reconstruction).mean(tuple(range(1, len(shape) + 1))),
        rtol=1e-5,
    )


def test_settings_that_make_no_autoencoder_are_refused():
    with pytest.raises(ValueError, match="network is one of dcgan, residual, not"):
        AdversarialAutoencoder(SHAPE, network="unet")
    with pytest.raises(ValueError, match="0 or more"):
        AdversarialAutoencoder(SHAPE, restoration_steps=-1)
    with pytest.raises(ValueError, match="no adversarial objective"):
        AdversarialAutoencoder(SHAPE, adversary="none")


def test_pictures_of_training_are_pictures():
    shown = autoencoder().pictures(images(8))
    assert shown["samples"].shape == (8, 64)
    assert shown["reconstructions"].shape == (16, 64)
    assert max(np.abs(np.asarray(image)).max() for image in shown.values()) <= 1
