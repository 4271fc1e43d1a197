"""The autoencoder that predicts its variance: its likelihood, and what it expects to miss."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.variance_autoencoder import VarianceAutoencoder
from ganatomy.training import train
from tests.anogan.test_detectors import images, rough
from tests.feeding import feed

SMALL = {"latent": 4, "width": 2, "chunk": 4}


def trained(healthy, steps, **settings):
    """A model after `steps` steps, and the likelihood term of every one."""
    keras.utils.set_random_seed(0)
    model = VarianceAutoencoder(healthy.shape[1:], **settings)
    terms = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            terms.append(float(np.mean((logs or {})["autoencoder/likelihood"])))

    data = feed(model, 16, scan=healthy)
    train(model, data, {"autoencoder": steps}, every=1, callbacks=lambda: [Keep()])
    return model, terms


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 16, 3), (8, 8, 8, 2)])
def test_likelihood_score_and_residual_by_hand(shape):
    keras.utils.set_random_seed(0)
    model = rough(VarianceAutoencoder(shape, bound=3.0, **SMALL))
    x, channels = images(3, shape), shape[-1]
    decoded = model.networks["decoder"](model.networks["encoder"](x)).numpy()
    mean, variance = decoded[..., :channels], np.exp(3.0 * decoded[..., channels:])
    found = model.inspect(x)
    np.testing.assert_allclose(found.reconstruction, mean, atol=1e-6)
    axes = tuple(range(1, len(shape) + 1))
    misfit = (x - mean) ** 2 / variance
    np.testing.assert_allclose(found.paper_score, misfit.mean(axes), rtol=1e-4)
    signed = (x - mean) / np.sqrt(variance)
    strongest = np.abs(signed).argmax(-1, keepdims=True)
    signed = np.take_along_axis(signed, strongest, -1)[..., 0]
    np.testing.assert_allclose(found.residual, signed, rtol=1e-4, atol=1e-5)
    term = model.terms({"scan": x}, (mean, np.log(variance)))["likelihood"]
    np.testing.assert_allclose(term, (misfit + np.log(variance)).mean(axes), rtol=1e-4)
    assert variance.std() > 0.1


def test_a_variance_has_bounds():
    keras.utils.set_random_seed(0)
    model = rough(VarianceAutoencoder((8, 8, 1), bound=2.0, **SMALL))
    decoder = model.networks["decoder"]
    last = decoder.get_layer("image")
    for extreme in (-50.0, 50.0):
        last.set_weights([np.full_like(w, extreme) for w in last.get_weights()])
        _, log_variance = model.split(decoder(np.ones((1, 4), "float32"), training=False))
        np.testing.assert_allclose(log_variance, np.sign(extreme) * 2.0)
    with pytest.raises(ValueError, match="bound 0 of the log variance"):
        VarianceAutoencoder((8, 8, 1), bound=0)


def test_it_learns_where_healthy_samples_differ():
    """One half of a picture is noise and the other a constant: σ follows, and so does the score."""
    draw = np.random.default_rng(0)
    deviation = np.where(np.arange(8) < 4, 0.3, 0.05)[:, None]

    def healthy(count):
        return (deviation * draw.normal(size=(count, 8, 8))).astype("float32")[..., None]

    model, terms = trained(healthy(512), 250, latent=1, width=8)
    assert np.mean(terms[-20:]) < np.mean(terms[:20]) - 1
    new = healthy(64)
    _, log_variance = model.split(
        model.networks["decoder"](model.networks["encoder"](new), training=False)
    )
    sigma = np.exp(0.5 * np.asarray(log_variance)).mean((0, 2, 3))
    np.testing.assert_allclose(sigma[:4], 0.3, rtol=0.25)
    np.testing.assert_allclose(sigma[4:], 0.05, rtol=0.25)
    # The same blemish is worth more where the picture is quiet.
    loud, quiet = new.copy(), new.copy()
    loud[:, 1, 1:4] += 0.4
    quiet[:, 6, 1:4] += 0.4
    scores = [model.inspect(x).paper_score.mean() for x in (new, loud, quiet)]
    assert scores[2] - scores[0] > 5 * (scores[1] - scores[0])
    assert abs(scores[0] - 1) < 0.3


def test_it_finds_an_opacity(draw_chest):
    def chests(seeds, abnormal=False):
        drawn = [draw_chest(s, abnormal=abnormal, side=16) for s in seeds]
        return (np.stack(drawn).astype("float32") / 127.5 - 1)[..., None]

    model, _ = trained(chests(range(64)), 200, latent=4, width=8)
    well, ill = chests(range(100, 130)), chests(range(100, 130), abnormal=True)
    found, other = model.inspect(ill), model.inspect(well)
    assert np.median(found.paper_score) > 2 * np.median(other.paper_score)
    changed = np.abs(ill - well)[..., 0] > 0.2
    assert found.residual[changed].mean() > 1 + other.residual[changed].mean()


def test_pictures_of_training_are_pictures():
    keras.utils.set_random_seed(0)
    shown = rough(VarianceAutoencoder((8, 8, 1), **SMALL)).pictures(images(8))
    assert shown["reconstructions"].shape == (16, 64)
    assert shown["log_variances"].shape == (8, 64)
    assert max(np.abs(image).max() for image in shown.values()) <= 1
