"""VA-GAN: a map that makes sick samples healthy, learned from a label an image."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from anogan.vagan import VAGAN
from ganatomy.training import train
from tests.anogan.test_detectors import images, rough
from tests.feeding import feed

SMALL = {"width": 2, "chunk": 4}


def made(shape=(8, 8, 1), **settings):
    keras.utils.set_random_seed(0)
    return rough(VAGAN(shape, **SMALL, **settings))


def change(model, x, training=False):
    return np.asarray(model.networks["map"](x, training=training))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 12, 3), (8, 8, 8, 2)])
def test_the_residual_is_what_has_to_be_taken_away(shape):
    model, x = made(shape), images(3, shape)
    found, m = model.inspect(x), change(model, x)
    assert m.shape == x.shape
    np.testing.assert_allclose(found.reconstruction, x + m, rtol=1e-4, atol=1e-4)
    scale = np.abs(m).max()
    strongest = np.take_along_axis(m, np.abs(m).argmax(-1, keepdims=True), -1)[..., 0]
    np.testing.assert_allclose(found.residual / scale, -strongest / scale, atol=1e-5)
    expected = np.abs(m).mean(tuple(range(1, m.ndim)))
    np.testing.assert_allclose(found.paper_score, expected, rtol=1e-4)


def test_terms_by_hand():
    model = made()
    batch = {"scan": images(4), "abnormal": images(4, seed=1), "mix": np.full(4, 0.3, "float32")}
    played = model.play(batch)
    m = change(model, batch["abnormal"], training=True)
    np.testing.assert_allclose(played["image"], batch["abnormal"] + m, rtol=1e-5, atol=1e-5)
    image = np.asarray(played["image"])

    def logit(x):
        return model.networks["critic"](x)["logit"].numpy()

    critic = model.critic_terms(batch, played)
    # The critic raises healthy samples over mended ones; the map raises the mended.
    np.testing.assert_allclose(
        critic["adversarial"], logit(image) - logit(batch["scan"]), rtol=1e-4
    )
    terms = model.map_terms(batch, played)
    np.testing.assert_allclose(terms["adversarial"], -logit(image), rtol=1e-4)
    np.testing.assert_allclose(terms["size"], np.abs(m).mean((1, 2, 3)), rtol=1e-4)
    # As published: the size of M outweighs the adversary by 100, the penalty is weighed by 10.
    assert model.weight("map/size") == 100
    assert model.weight("critic/penalty") == 10
    assert model.weight("map/adversarial") == model.weight("critic/adversarial") == 1


def test_its_critic_is_not_let_go():
    with pytest.raises(ValueError, match="needs a critic of bounded slope"):
        VAGAN((8, 8, 1), term_weights={"critic/penalty": 0.0}, **SMALL)


def test_the_critic_begins_alone_and_moves_more_often():
    first, second = made().stages()
    assert [p.name for p in first.players] == ["critic"]
    assert [p.name for p in second.players] == ["critic", "map"]
    assert first.updates == second.updates == 5


def test_an_untrained_map_changes_nothing():
    keras.utils.set_random_seed(0)
    model = VAGAN((8, 8, 1), **SMALL)
    np.testing.assert_array_equal(model.inspect(images()).reconstruction, images())


def test_the_first_stage_leaves_the_map_alone():
    model = made(critic_updates=1)

    data = feed(model, 4, scan=images(9), abnormal=images(12, seed=1))

    def weights(name):
        return [v.numpy() for v in model.networks[name].trainable_variables]

    before = {name: weights(name) for name in model.networks}
    train(model, data, {"critic": 2, "adversarial": 0}, every=2)
    for old, new in zip(before["map"], weights("map"), strict=True):
        np.testing.assert_array_equal(old, new)
    assert any((a != b).any() for a, b in zip(before["critic"], weights("critic"), strict=True))
    train(model, data, {"critic": 2, "adversarial": 2}, every=2)
    assert any((a != b).any() for a, b in zip(before["map"], weights("map"), strict=True))


def squares(seeds, abnormal=False):
    """Noise around -0.5, [n, 8, 8, 1]; where abnormal, with a bright square somewhere."""
    pictures = []
    for seed in seeds:
        draw = np.random.default_rng(seed)
        picture = draw.normal(-0.5, 0.05, (8, 8, 1))
        y, x = draw.integers(0, 6, 2)
        if abnormal:
            picture[y : y + 3, x : x + 3] += 0.8
        pictures.append(picture)
    return np.array(pictures, "float32")


def test_the_map_takes_away_what_the_sick_have_and_leaves_the_healthy():
    keras.utils.set_random_seed(0)
    fast = {"learning_rate": 1e-3}
    model = VAGAN(
        (8, 8, 1),
        width=4,
        critic_updates=3,
        term_weights={"map/size": 10},
        optimizers={"critic": fast, "map": fast},
    )

    data = feed(
        model, 16, scan=squares(range(64)), abnormal=squares(range(200, 248), abnormal=True)
    )
    train(model, data, {"critic": 50, "adversarial": 200}, every=50)
    well, ill = squares(range(100, 130)), squares(range(100, 130), abnormal=True)
    found, other = model.inspect(ill), model.inspect(well)
    square = (ill - well)[..., 0] > 0.5
    # Signed: what is too bright is positive in the residual.
    inside, outside = found.residual[square].mean(), np.abs(found.residual[~square]).mean()
    assert inside > 0.2
    assert inside > 8 * outside
    assert inside > 8 * np.abs(other.residual).mean()
    assert (found.paper_score > other.paper_score.max()).mean() > 0.9


def test_pictures_of_training_are_pictures():
    shown = made().pictures(images(8))["healthy"]
    assert shown.shape == (16, 64)
    assert np.abs(shown).max() <= 1
