"""pix2pix: what its players minimise, on both ranks, and what it refuses."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy.errors import WrongUse
from ganatomy.losses import IMAGE_LOSSES
from ganatomy.training import train
from synthesis.judging import feature_matching
from synthesis.pix2pix import Pix2Pix
from tests.feeding import feed

SMALL = {"width": 4, "critic_width": 4, "critic_depth": 1}


def pairs(shape, count=4, channels=1, seed=0):
    """Blobs, and the same turned dark: what a translation of contrast is."""
    draw = np.random.default_rng(seed).normal(size=(count, *shape, 1))
    for axis in range(1, len(shape) + 1):
        draw = draw + np.roll(draw, 1, axis) + np.roll(draw, -1, axis)
    scan = np.tanh(draw / 5).astype("float32")
    return {"scan": scan, "target": np.repeat(-scan, channels, -1)}


@pytest.mark.parametrize("shape", [(16, 12), (8, 6, 5)], ids=str)
def test_it_learns_a_contrast_from_pairs(shape):
    keras.utils.set_random_seed(0)
    quick = {"generator": {"learning_rate": 5e-3}}
    model = Pix2Pix((*shape, 1), target_channels=2, dropout=0.0, optimizers=quick, **SMALL)
    data = pairs(shape, channels=2)
    apart = np.abs(model.translate(data["scan"]) - data["target"]).mean()
    train(model, feed(model, 2, **data), {"adversarial": 40}, every=40)
    made = model.translate(data["scan"])
    assert made.shape == data["target"].shape
    assert np.abs(made - data["target"]).mean() < 0.7 * apart
    # A translation is the scan's own, whatever is translated with it.
    np.testing.assert_array_equal(model.translate(data["scan"][2:3])[0], made[2])
    with pytest.raises(ValueError, match="samples have shape"):
        model.translate(data["scan"][..., :-1, :])
    assert model.pictures(data["scan"])["translations"].shape == (2 * shape[0], 4 * shape[1])


def test_the_terms_are_those_published():
    model = Pix2Pix((16, 12, 1), **SMALL)
    weights = {name: weight for name, weight in model._term_weights.items() if model._weighed(name)}
    assert weights == {
        "generator/l1": 100.0,
        "generator/draft": 100.0,  # of a cascade alone
        "discriminator/adversarial": 0.5,
    }
    batch = pairs((16, 12))
    played = {"generated": batch["target"], "drafts": []}
    # Of the right image: nothing is left but the adversary, and its features match.
    terms = model.generator_terms(batch, played)
    np.testing.assert_allclose(terms["l1"](), np.zeros(4))
    np.testing.assert_allclose(terms["features"](), np.zeros(4))
    said = np.asarray(model.judge(batch["scan"], batch["target"])["logits"][0])
    expected = np.log1p(np.exp(-said)).mean((1, 2, 3))
    np.testing.assert_allclose(terms["adversarial"], expected, rtol=1e-5)
    twice = model.discriminator_terms(batch, played)["adversarial"]
    np.testing.assert_allclose(
        twice, (np.log1p(np.exp(-said)) + np.log1p(np.exp(said))).mean((1, 2, 3)), rtol=1e-5
    )


def test_features_are_matched_as_published():
    real, fake = ({"features": [[np.full((1, 2, 2, 1), v)] * 3]} for v in (1.0, 3.0))
    # Three inner layers of difference 2, times 4 / 3: a critic that halves its grid n_layers_D = 2
    # times has n_layers_D + 1 of them.
    np.testing.assert_allclose(feature_matching(real, fake), [8.0])


def test_another_network_is_looked_through_at_activations_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "mine.weights.h5"
    keras.applications.VGG19(include_top=False, weights=None).save_weights(path)
    monkeypatch.setattr("ganatomy.networks.features.VGG19_WEIGHTS", path)
    weights = {"generator/perceptual": 1.0}
    model = Pix2Pix((16, 12, 1), features="vgg19", term_weights=weights, **SMALL)
    scan = pairs((16, 12), count=2)["scan"]
    seen = {name: a.shape[1:] for name, a in model.feature_network(scan).items()}
    assert seen == {
        "block1_conv2": (16, 12, 64),
        "block2_conv2": (8, 6, 128),
        "block3_conv4": (4, 3, 256),
    }


def test_dropout_is_drawn_with_the_batch_and_not_after_training():
    model = Pix2Pix((16, 12, 1), **SMALL)
    scan = keras.ops.convert_to_tensor(pairs((16, 12))["scan"])
    shape = (4, *model.noise["kept_generator"].shape)
    draws = [keras.ops.full(shape, v, dtype="float32") for v in (0.2, 0.7)]
    none, all_of = (
        np.asarray(model.play({"scan": scan, "kept_generator": d})["generated"]) for d in draws
    )
    assert np.abs(none - all_of).max() > 1e-4
    assert not Pix2Pix((16, 12, 1), **{**SMALL, "dropout": 0.0}).noise


def test_a_resumed_run_with_dropout_equals_an_unbroken_one(tmp_path, eager):
    data = pairs((16, 12))

    def made():
        keras.utils.set_random_seed(0)
        return Pix2Pix((16, 12, 1), **SMALL)

    def run(model, steps):
        train(model, feed(model, 2, **data), {"adversarial": steps}, every=1)
        return model

    assert "kept_generator" in made().noise
    whole, half = run(made(), 4), run(made(), 2)
    half.save_weights(tmp_path / "checkpoint.weights.h5")
    resumed = made()
    resumed.load_weights(tmp_path / "checkpoint.weights.h5")
    run(resumed, 4)
    assert len(whole.variables) == len(resumed.variables)
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    before = zip(half.trainable_variables, resumed.trainable_variables, strict=True)
    assert not all(np.array_equal(one, other) for one, other in before)


def test_a_second_generator_sees_what_the_first_made():
    keras.utils.set_random_seed(0)
    data = pairs((16, 12), channels=2)
    model = Pix2Pix((16, 12, 1), target_channels=2, cascade=2, generator="resnet", **SMALL)
    played = model.play({name: keras.ops.convert_to_tensor(a) for name, a in data.items()})
    (draft,) = played["drafts"]
    first, second = model.networks["generator"], model.networks["generator_2"]
    np.testing.assert_allclose(draft, first(data["scan"]), atol=1e-5)
    both = np.concatenate([data["scan"], draft], -1)
    np.testing.assert_allclose(model.generate(data["scan"]), second(both), atol=1e-5)
    draft_term = model.generator_terms(data, played)["draft"]()
    expected = np.abs(np.asarray(draft) - data["target"]).mean((1, 2, 3))
    np.testing.assert_allclose(draft_term, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="the number of generators, 1 or more"):
        Pix2Pix((16, 12, 1), cascade=0, **SMALL)


@pytest.mark.parametrize("name", [n for n, one in IMAGE_LOSSES.items() if not one.aligned])
def test_losses_between_scan_and_target_say_where_their_channels_differ(name):
    weights = {"generator/l1": 1.0, f"generator/{name}": 1.0}
    settings = {"target_channels": 3, "term_weights": weights, **SMALL}
    if IMAGE_LOSSES[name].channels == "any":
        data = pairs((16, 12), count=2, channels=3)
        terms = Pix2Pix((16, 12, 1), **settings).image_terms(data["target"], data)
        assert np.asarray(terms[name]()).shape == np.asarray(terms["l1"]()).shape == (2,)
        return
    expected = f"generator/{name} compares a scan of 1 channels with a target of 3: set its weight"
    with pytest.raises(WrongUse, match=expected):
        Pix2Pix((16, 12, 1), **settings)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="wasserstein needs a critic of bounded slope"):
        Pix2Pix((16, 12, 1), adversary="wasserstein", **SMALL)
    model = Pix2Pix((16, 12, 1), term_weights={"generator/colour": 1.0}, **SMALL)
    with pytest.raises(WrongUse, match="the terms of generator are"):
        train(model, feed(model, 2, **pairs((16, 12))), {"adversarial": 1}, every=1)
