"""UNIT: codes that both kinds share, its terms, and what is tied."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy.training import train
from synthesis.unit import UNIT
from tests.feeding import feed

SMALL = {"width": 2, "blocks": 2, "critic_width": 2, "critic_depth": 1, "scales": 2}


def batch_of(model: UNIT, count: int = 2) -> dict:
    draw = np.random.default_rng(0)
    shapes = {"scan": model.shape, "target": model.target_shape} | {
        name: noise.shape for name, noise in model.noise.items()
    }
    return {
        name: keras.ops.convert_to_tensor(draw.uniform(-1, 1, (count, *shape)), "float32")
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("shape", [(13, 14, 1), (9, 10, 12, 1)], ids=str)
def test_a_code_is_of_any_grid_and_both_kinds(shape, eager):
    keras.utils.set_random_seed(0)
    model = UNIT(shape, target_channels=2, **SMALL)
    batch = batch_of(model)
    made = model.translate(np.asarray(batch["scan"]))
    assert made.shape == (2, *shape[:-1], 2)
    code = model.encode("target", made)
    assert tuple(code.shape) == (2, *model.code_shape)
    assert model.decode("scan", code).shape == (2, *shape)
    data = {kind: np.asarray(batch[kind]) for kind in ("scan", "target")}
    before = {name: network.get_weights() for name, network in model.networks.items()}
    train(model, feed(model, 2, **data), {"adversarial": 1}, every=1)
    for name, network in model.networks.items():
        after = network.get_weights()
        assert any(not np.array_equal(a, b) for a, b in zip(before[name], after, strict=True)), name


def test_the_terms_are_those_published():
    keras.utils.set_random_seed(0)
    model = UNIT((16, 12, 1), **SMALL)
    weights = {n: w for n, w in model._term_weights.items() if model._weighed(n)}
    assert weights == {
        "generator/adversarial": 2.0,
        "generator/image": 10.0,
        "generator/code": 0.01,
        "generator/cycle": 10.0,
        "generator/cycle_code": 0.01,
        "discriminator/adversarial": 2.0,
    }
    batch = batch_of(model)
    played = model.play(batch)
    terms = model.generator_terms(batch, played)
    means = [np.asarray(model.encode(kind, batch[kind])) for kind in ("scan", "target")]
    np.testing.assert_allclose(
        terms["code"], sum((mean**2).mean((1, 2, 3)) for mean in means), rtol=1e-4
    )
    # The noise of a code is that of its translation, too.
    code = model.encode("scan", batch["scan"]) + batch["scan_code"]
    np.testing.assert_allclose(played["again"]["scan"], model.decode("scan", code), atol=1e-5)
    np.testing.assert_allclose(played["made"]["target"], model.decode("target", code), atol=1e-5)
    back = model.encode("target", played["made"]["target"]) + batch["scan_cycle"]
    gap = np.asarray(model.decode("scan", back) - batch["scan"])
    code = model.encode("target", batch["target"]) + batch["target_code"]
    other = model.encode("scan", model.decode("scan", code)) + batch["target_cycle"]
    there = np.asarray(model.decode("target", other) - batch["target"])
    np.testing.assert_allclose(
        terms["cycle"], np.abs(gap).mean((1, 2, 3)) + np.abs(there).mean((1, 2, 3)), rtol=1e-4
    )


def test_blocks_are_tied_as_asked():
    tied, apart = UNIT((16, 12, 1), **SMALL), UNIT((16, 12, 1), shared=0, **SMALL)
    assert {"shared_encoder", "shared_decoder"} < set(tied.networks)
    assert not any(name.startswith("shared") for name in apart.networks)
    # A block of either side stands once in place of twice: two convolutions of kernel 3.
    block = 2 * 3 * 3 * 8 * 8
    sizes = [sum(n.count_params() for n in model.networks.values()) for model in (tied, apart)]
    assert sizes[1] - sizes[0] == 2 * block
    with pytest.raises(ValueError, match="of 2 blocks 0 to 2 can be shared, not 3"):
        UNIT((16, 12, 1), shared=3, **SMALL)
