"""CycleGAN: the pool, the terms of both directions, and a run that goes on as if unbroken."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy.errors import WrongUse
from ganatomy.training import train
from synthesis.cyclegan import CycleGAN
from synthesis.image_pool import ImagePool
from synthesis.mixed_cycle import MixedCycleGAN
from tests.feeding import feed

SMALL = {
    "width": 2,
    "generator_settings": {"blocks": 1},
    "critic_width": 2,
    "critic_depth": 1,
    "pool": 3,
}
FALLING = [[0, 1e-3], [2, 1e-3], [4, 0.0]]
RATES = {name: {"learning_rate": FALLING} for name in ("generator", "discriminator")}


def made(**settings) -> CycleGAN:
    keras.utils.set_random_seed(0)
    return CycleGAN((16, 12, 1), **{**SMALL, **settings})


@pytest.fixture(scope="module")
def scans():
    draw = np.random.default_rng(0)
    return {
        "scan": draw.uniform(-1, 1, (6, 16, 12, 1)).astype("float32"),
        "target": draw.uniform(-1, 1, (5, 16, 12, 1)).astype("float32"),
    }


# The pool --------------------------------------------------------------------------------------


def one_by_one(kept: list, new: list, draws: np.ndarray, size: int) -> list:
    """The pool as published: a loop over images."""
    handed = []
    for image, (swap, which) in zip(new, draws, strict=True):
        if len(kept) < size:
            kept.append(image)
            handed.append(image)
        elif swap < 0.5:
            place = int(which * size)
            handed.append(kept[place])
            kept[place] = image
        else:
            handed.append(image)
    return handed


def test_a_pool_hands_back_what_a_loop_over_images_does():
    pool, kept, draw = ImagePool(4, (2, 2, 1)), [], np.random.default_rng(0)
    old = 0
    for step in range(12):
        new, draws = np.arange(5.0) + 5 * step, draw.uniform(size=(5, 2))
        images = np.broadcast_to(new[:, None, None, None], (5, 2, 2, 1)).astype("float32")
        handed = np.asarray(pool.exchange(images, draws.astype("float32")))[:, 0, 0, 0]
        assert handed.tolist() == one_by_one(kept, new.tolist(), draws, 4)
        assert np.asarray(pool.images)[:, 0, 0, 0].tolist() == kept
        old += int((handed < 5 * step).sum())
    assert old > 5
    assert not pool.trainable_weights


def test_no_pool_hands_on_what_comes():
    images = np.ones((2, 4, 4, 1), "float32")
    assert ImagePool(0, (4, 4, 1)).exchange(images, np.zeros((2, 2))) is images


# The game --------------------------------------------------------------------------------------


def test_the_terms_are_those_published(scans):
    model = made()
    weights = {n: w for n, w in model._term_weights.items() if model._weighed(n)}
    assert weights == {
        "generator/adversarial": 2.0,
        "generator/cycle": 10.0,
        "generator/identity": 5.0,
    }
    batch = {name: array[:2] for name, array in scans.items()}
    batch["pool"] = np.zeros((2, 4), "float32")
    played = model.play(batch)
    terms = model.generator_terms(batch, played)
    there = [np.asarray(played[f"{kind}_again"]) - batch[kind] for kind in ("scan", "target")]
    np.testing.assert_allclose(
        terms["cycle"](), sum(np.abs(gap).mean((1, 2, 3)) for gap in there), rtol=1e-5
    )
    said = [np.asarray(model.judge(k, played[k])["logits"][0]) for k in ("scan", "target")]
    # With weight 2 the published mean of (D - 1)².
    np.testing.assert_allclose(
        2.0 * np.asarray(terms["adversarial"]),
        sum(((one - 1) ** 2).mean((1, 2, 3)) for one in said),
        rtol=1e-5,
    )
    assert np.asarray(terms["identity"]()).shape == (2,)


def test_both_generators_share_an_optimizer_and_both_critics(scans, eager):
    model = made()
    assert set(model.optimizers) == {"generator", "discriminator"}
    before = {name: network.get_weights() for name, network in model.networks.items()}
    train(model, feed(model, 2, **scans), {"adversarial": 1}, every=1)
    for name, network in model.networks.items():
        after = network.get_weights()
        assert any(not np.array_equal(a, b) for a, b in zip(before[name], after, strict=True)), name


def test_a_resumed_run_equals_an_unbroken_one(tmp_path, scans, eager):
    def run(model, steps):
        train(model, feed(model, 2, **scans), {"adversarial": steps}, every=1)
        return model

    whole = run(made(optimizers=RATES), 4)
    half = run(made(optimizers=RATES), 2)
    half.save_weights(tmp_path / "checkpoint.weights.h5")
    resumed = made(optimizers=RATES)
    resumed.load_weights(tmp_path / "checkpoint.weights.h5")
    assert int(resumed.pool_of_targets.count) == 3
    np.testing.assert_array_equal(half.pool_of_scans.images, resumed.pool_of_scans.images)
    run(resumed, 4)
    assert len(whole.variables) == len(resumed.variables)
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)
    # After the last step the rate is nothing: more steps change no network.
    settled = [np.array(v) for v in whole.trainable_variables]
    for one, other in zip(settled, run(whole, 5).trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(13, 14, 1), (9, 8, 10, 1)], ids=str)
def test_it_goes_there_and_back_on_any_grid(shape):
    settings = {**SMALL, "generator": "unet", "generator_settings": {}}
    model = CycleGAN(shape, target_channels=2, **settings)
    x = np.zeros((2, *shape), "float32")
    assert model.translate(x).shape == (2, *shape[:-1], 2)
    assert model.generate_back(model.translate(x)).shape == x.shape
    assert "identity" not in model.generator_terms(
        {"scan": x, "target": model.translate(x)},
        {**model.play({"scan": x, "target": model.translate(x)})},
    )


def test_what_needs_pairs_or_equal_channels_is_refused_in_a_line():
    with pytest.raises(
        WrongUse, match="generator/l1 compares with an aligned target, and CycleGAN"
    ):
        made(term_weights={"generator/l1": 1.0})
    made(term_weights={"generator/l1": 0.0, "generator/gradient_consistency": 1.0})
    with pytest.raises(WrongUse, match="a scan of 1 channels with a target of 2"):
        made(target_channels=2, term_weights={"generator/identity": 5.0})


def test_pairs_and_unpaired_images_are_learned_from_together(scans):
    keras.utils.set_random_seed(0)
    model = MixedCycleGAN((16, 12, 1), **SMALL)
    data = {name: array[:5] for name, array in scans.items()}
    data |= {"unpaired_scan": data["target"][:4], "unpaired_target": data["scan"][::-1][:3]}
    batch = {name: keras.ops.convert_to_tensor(array[:2]) for name, array in data.items()}
    batch["pool"] = keras.ops.zeros((2, 4))
    played = model.play(batch)
    terms = model.generator_terms(batch, played)
    made = model.translate(data["scan"][:2]), np.asarray(model.generate_back(batch["target"]))
    gaps = made[0] - data["target"][:2], made[1] - data["scan"][:2]
    np.testing.assert_allclose(
        terms["l1"](), sum(np.abs(gap).mean((1, 2, 3)) for gap in gaps), rtol=1e-4
    )
    again = np.asarray(model.generate_back(model.generate(batch["unpaired_scan"])))
    np.testing.assert_allclose(played["scan_again"], again, atol=1e-5)
    assert float(model.weight("generator/l1")) == 100.0
    # There is nothing to be the same.
    assert float(model.weight("generator/identity")) == 0.0
