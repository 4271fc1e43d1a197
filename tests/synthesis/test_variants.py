"""What stands on pix2pix: coarse to fine, a blend, a code, generated masks, a missing contrast."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy import losses
from synthesis.blended import Blended
from synthesis.coarse_to_fine import CoarseToFine
from synthesis.coded import Coded
from synthesis.generated_masks import GeneratedMasks
from synthesis.missing_contrast import MissingContrast
from tests.synthesis.test_pix2pix import SMALL, pairs

PLAIN = {"width": 4, "critic_width": 4, "critic_depth": 1}


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)


def test_boundaries_are_where_labels_change_and_come_out_beside_the_image():
    model = CoarseToFine((16, 12, 1), **SMALL)
    labels = np.full((1, 16, 12, 1), -1.0, "float32")
    labels[:, 4:10, 3:8] = 0
    found = np.asarray(model.boundaries(labels))[0, ..., 0]
    expected = np.full((16, 12), -1.0)
    expected[3:11, 2:9] = 1
    expected[5:9, 4:7] = -1
    np.testing.assert_array_equal(found, expected)
    target = pairs((16, 12), 1)["target"]
    some, means = model.halved({"scan": labels, "target": target})
    np.testing.assert_array_equal(some, labels[:, ::2, ::2])
    np.testing.assert_allclose(
        means[0, ..., 0], target[0, ..., 0].reshape(8, 2, 6, 2).mean((1, 3)), atol=1e-6
    )
    played = model.play({"scan": labels, "target": target})
    assert played["made"].shape == (1, 16, 12, 2)
    np.testing.assert_allclose(model.generate(labels), played["made"][..., :1], atol=1e-5)
    # What is made wrong of the boundary is a term of its own.
    off = {"made": np.concatenate([target, found[None, ..., None] + 0.5], -1), "generated": target}
    terms = model.generator_terms({"scan": labels, "target": target}, off)
    np.testing.assert_allclose(terms["boundary"](), [0.5], rtol=1e-5)
    np.testing.assert_allclose(terms["l1"](), [0.0])
    with pytest.raises(ValueError, match="has even sides"):
        CoarseToFine((15, 12, 1), **SMALL)


def test_where_a_regression_is_hot_it_is_believed():
    model = Blended((16, 12, 1), hot=0.1, **SMALL)
    scan = keras.ops.convert_to_tensor(pairs((16, 12))["scan"])
    regressed = np.asarray(model.networks["regressor"](scan))
    shift = float(np.median(regressed)) - 0.1
    kernel, bias = model.networks["regressor"].get_layer("up_1").get_weights()
    model.networks["regressor"].get_layer("up_1").set_weights([kernel, bias - shift])
    regressed = np.asarray(model.networks["regressor"](scan))
    made, own = np.asarray(model.generate(scan)), np.asarray(model.made_of(scan)[-1])
    hot = regressed > 0.1
    assert 0 < hot.mean() < 1
    np.testing.assert_array_equal(made, np.where(hot, regressed, own))
    target = np.where(np.arange(16)[:, None, None] < 4, 1.0, -1.0) * np.ones((4, 16, 12, 1))
    target = target.astype("float32")
    terms = model.regressor_terms({"target": target}, {"regressed": 0 * target + 0.5})
    np.testing.assert_allclose(terms["hot"](), np.full(4, 0.25))
    np.testing.assert_allclose(terms["l2"](), np.full(4, (0.25 + 3 * 2.25) / 4))


def test_a_code_is_seen_found_and_chosen():
    settings = {"latent": 3, "encoder_width": 4, "dropout": 0.0, **PLAIN}
    model = Coded((16, 16, 1), target_channels=2, **settings)
    data = pairs((16, 16), channels=2)
    looks = [np.full((4, 3), v, "float32") for v in (-1.0, 1.0)]
    made = [np.asarray(model.made_of(model.with_code(data["scan"], z))[-1]) for z in looks]
    assert np.abs(made[0] - made[1]).max() > 1e-4
    chosen = Coded((16, 16, 1), target_channels=2, look=[1.0, 1.0, 1.0], **settings)
    for name, network in model.networks.items():
        chosen.networks[name].set_weights(network.get_weights())
    np.testing.assert_allclose(chosen.generate(data["scan"]), made[1], atol=1e-5)
    # Of a code that is found exactly nothing is left; one away in each number leaves a half.
    found = model.code_of(data["target"])
    batch = {**data, "z": found, "spread": 0 * found}
    played = {**model.play(batch), "drawn": data["target"]}
    np.testing.assert_allclose(model.generator_terms(batch, played)["code"], np.zeros(4), atol=1e-5)
    away = model.generator_terms({**batch, "z": found + 1}, played)["code"]
    np.testing.assert_allclose(away, np.full(4, 0.5), rtol=1e-4)
    with pytest.raises(ValueError, match="a look has 3 numbers"):
        Coded((16, 16, 1), look=[0.0], **settings)


@pytest.mark.parametrize("masks", ["noise", "autoencoder"])
def test_a_code_gives_a_mask_and_its_image(masks):
    settings = {"latent": 5, "mask_width": 4, **PLAIN}
    model = GeneratedMasks((16, 16, 1), target_channels=3, masks=masks, **settings)
    codes = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    made, images = model.draw(codes)
    assert made.shape == (3, 16, 16, 1)
    assert images.shape == (3, 16, 16, 3)
    np.testing.assert_array_equal(model.translate(made), images)
    with pytest.raises(ValueError, match="expected"):
        model.draw(codes[:, :4])
    assert model.pictures(pairs((16, 16))["scan"])["drawn"].shape == (32, 64)


def test_whichever_contrast_is_missing_is_made_of_the_others_alone():
    settings = {**PLAIN, "generator_settings": {"depth": 2}}
    model = MissingContrast((16, 12, 3), missing=1, **settings)
    scan = np.random.default_rng(0).uniform(-1, 1, (3, 16, 12, 3)).astype("float32")
    made = model.translate(scan)
    other = scan.copy()
    other[..., 1] = 0.3
    np.testing.assert_array_equal(model.translate(other), made)
    other[..., 2] = 0.3
    assert np.abs(model.translate(other) - made).max() > 1e-4
    batch = {"scan": scan, "which": np.array([0.0, 0.5, 0.99], "float32")}
    played = model.play(batch)
    np.testing.assert_array_equal(played["which"], [0, 1, 2])
    np.testing.assert_allclose(played["real"][..., 0], [scan[i, ..., i] for i in range(3)])
    np.testing.assert_allclose(played["made"][1], made[1], atol=1e-5)
    # With the truth in its place, what is made again is what would be made of the scan.
    terms = model.generator_terms(batch, {**played, "made": played["real"]})
    again = [
        np.abs(np.asarray(model.generate_of(scan, k)) - scan[..., k : k + 1]).mean((1, 2, 3))
        for k in range(3)
    ]
    expected = [np.mean([again[k][i] for k in range(3) if k != i]) for i in range(3)]
    np.testing.assert_allclose(terms["cycle"](), expected, rtol=1e-4)
    made = [model.generate_of(scan, k) for k in range(3)]
    unlike = [np.asarray(losses.ssim(made[k], scan[..., k : k + 1])) for k in range(3)]
    logs = -np.log(1 - np.array(unlike) / 2)
    expected = [np.mean([logs[k][i] for k in range(3) if k != i]) for i in range(3)]
    np.testing.assert_allclose(terms["similarity"](), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="two or more"):
        MissingContrast((16, 12, 1), **settings)
