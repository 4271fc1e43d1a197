"""What every registration model shares: pairs are aligned one by one, and a critic of pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from registration.aligner import Aligner
from registration.pair_critic import pair_critic


class Difference(Aligner):
    """Moves nothing; what it says of a pair depends on both images."""

    def examine(self, fixed: Any, moving: Any):
        axes = tuple(range(1, len(fixed.shape)))
        return moving - fixed, moving, ops.negative(ops.mean(ops.abs(moving - fixed), axis=axes))


def test_a_pair_is_aligned_without_regard_to_the_others():
    draw = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 9, 1)).astype("float32")
    model = Difference()
    whole, alone = model.align(*draw), model.align(draw[0, 1:2], draw[1, 1:2])
    assert len(whole) == 3
    for name in ("transform", "moved", "score"):
        np.testing.assert_array_equal(getattr(whole, name)[1:2], getattr(alone, name))
    np.testing.assert_allclose(whole.score, -np.abs(draw[1] - draw[0]).mean((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
def test_what_a_model_aligned_is_judged_as_it_was_scored(rank):
    from registration.airnet import AirNet
    from registration.deformable import Deformable

    shape = (9, 12, 10, 1)[-rank - 1 :]
    rigid = AirNet(shape=shape, spacing=(3.0,) * rank, width=2, critic_width=2)
    for model in (rigid, Deformable(shape, width=2, critic_width=2)):
        fixed, moving = np.random.default_rng(2).uniform(-1, 1, (2, 2, *shape))
        found = model.align(fixed, moving)
        seen = np.ones((2, *shape[:-1], 1))
        scores = model.judge(fixed, found.moved, seen)
        # Untrained, the rigid one moves by a hair, and its border may be half seen; a score may be
        # near 0, where a share of it says nothing.
        np.testing.assert_allclose(scores, found.score, rtol=0.05, atol=1e-3)
        assert scores.shape == (2,)
        assert not np.allclose(model.judge(fixed, moving[::-1], seen), scores, rtol=1e-3)


def test_what_is_no_pair_is_refused():
    x = np.zeros((2, 8, 9, 1))
    with pytest.raises(ValueError, match="expected one or more pairs of one shape"):
        Difference().align(x, x[:1])
    with pytest.raises(ValueError, match="expected one or more pairs of one shape"):
        Difference().align(x[:0], x[:0])


@pytest.mark.parametrize("shape", [(12, 10, 1), (30, 33, 2), (8, 9, 7, 1), (3, 17, 5, 1)])
@pytest.mark.parametrize("network", ["dcgan", "residual"])
def test_a_critic_judges_pairs_of_any_size(shape, network):
    critic = pair_critic(shape, width=2, network=network, spectral=True)
    draw = np.random.default_rng(1).uniform(-1, 1, (3, *shape[:-1], 2 * shape[-1]))
    logits = np.asarray(critic(draw.astype("float32"), training=False))
    assert logits.shape == (3,)
    assert logits.dtype == np.float32
    assert len(set(logits)) == 3
