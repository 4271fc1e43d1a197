"""GANomaly: its three losses and its score by hand, and codes that part where there is a lesion."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.ganomaly import GANomaly
from ganatomy.training import train
from tests.anogan.test_detectors import images, rough
from tests.feeding import feed

SMALL = {"latent": 4, "width": 2, "chunk": 4}


def ganomaly(shape, **settings):
    keras.utils.set_random_seed(0)
    model = rough(GANomaly(shape, **{**SMALL, **settings}))
    last = model.networks["critic"].get_layer("dense")
    # Rough weights add up; a discriminator that is certain has no cross-entropy to compare.
    last.set_weights([0.01 * weights for weights in last.get_weights()])
    return model


@pytest.mark.parametrize("features", ["last", 1])
@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 16, 4), (8, 8, 8, 2)])
def test_losses_and_score_by_hand(shape, features):
    model = ganomaly(shape, features=features)
    x, axes = images(3, shape), tuple(range(1, len(shape) + 1))
    networks = model.networks
    code = networks["encoder"](x, training=False).numpy()
    image = networks["decoder"](code, training=False).numpy()
    again = networks["second"](image, training=False).numpy()
    found = model.inspect(x)
    np.testing.assert_allclose(found.reconstruction, image, atol=1e-5)
    np.testing.assert_allclose(found.paper_score, np.abs(code - again).sum(1), rtol=1e-4)
    np.testing.assert_allclose(found.latent, code, rtol=1e-4, atol=1e-5)

    played = {"code": code, "image": image, "again": again}
    terms = model.generator_terms({"scan": x}, played)
    np.testing.assert_allclose(terms["image"], np.abs(x - image).mean(axes), rtol=1e-5)
    np.testing.assert_allclose(terms["code"], ((code - again) ** 2).mean(1), rtol=1e-4)
    real, fake = (networks["critic"](each, training=True) for each in (x, image))
    parted = np.square(np.asarray(real["features"]) - np.asarray(fake["features"]))
    np.testing.assert_allclose(
        terms["features"](), parted.reshape(3, -1).mean(1), rtol=1e-3, atol=1e-6
    )
    belief = [1 / (1 + np.exp(-np.asarray(side["logit"], float))) for side in (real, fake)]
    expected = -np.log(belief[0]) - np.log(1 - belief[1])
    judged = model.critic_terms({"scan": x}, played)["adversarial"]
    np.testing.assert_allclose(judged, expected, rtol=1e-3, atol=1e-5)


def test_weights_are_the_published_ones():
    model = ganomaly((8, 8, 1))
    weights = [model.weight(f"generator/{term}") for term in ("features", "image", "code")]
    assert weights == [1.0, 50.0, 1.0]
    (stage,) = model.stage_list
    assert [player.name for player in stage.players] == ["critic", "generator"]
    assert set(stage.players[1].owns) == {"encoder", "decoder", "second"}


def test_it_finds_an_opacity(draw_chest):
    def chests(seeds, abnormal=False):
        drawn = [draw_chest(s, abnormal=abnormal, side=16) for s in seeds]
        return (np.stack(drawn).astype("float32") / 127.5 - 1)[..., None]

    keras.utils.set_random_seed(0)
    model = GANomaly((16, 16, 1), latent=4, width=8)
    healthy, losses = chests(range(64)), []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            losses.append({name: float(np.mean(value)) for name, value in (logs or {}).items()})

    data = feed(model, 16, scan=healthy)
    train(model, data, {"adversarial": 200}, every=1, callbacks=lambda: [Keep()])
    terms = {"generator/features", "generator/image", "generator/code"}
    assert set(losses[0]) == terms | {"critic/adversarial"}
    before, after = (
        np.mean([row["generator/image"] for row in rows]) for rows in (losses[:10], losses[-10:])
    )
    assert after < 0.5 * before
    well, ill = chests(range(100, 130)), chests(range(100, 130), abnormal=True)
    found, other = model.inspect(ill), model.inspect(well)
    changed = np.abs(ill - well)[..., 0] > 0.2
    more = found.residual - other.residual
    assert more[changed].mean() > 5 * np.abs(more[~changed].mean())
    # The second encoder reads a healthy code back from the reconstruction, and no other.
    assert np.median(found.paper_score) > 1.5 * np.median(other.paper_score)


def test_pictures_of_training_are_pictures():
    shown = ganomaly((8, 8, 1)).pictures(images(8))
    assert shown["reconstructions"].shape == (16, 64)
    assert np.abs(shown["reconstructions"]).max() <= 1
