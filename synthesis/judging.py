"""What patch critics of one or several scales say of images, one value a sample."""

from __future__ import annotations

from typing import Any

from keras import ops

from ganatomy.objectives import Objective, per_sample

Tensor = Any
Judged = Any  # what `ganatomy.networks.patch_critic` gives


def told_apart(adversary: Objective, real: Judged, fake: Judged) -> Tensor:
    """What a critic minimises, the sum over scales of the mean over patches, [B]."""
    pairs = zip(real["logits"], fake["logits"], strict=True)
    return sum(adversary.critic(true, made) for true, made in pairs)


def fooled(adversary: Objective, fake: Judged) -> Tensor:
    """What a generator minimises, the sum over scales of the mean over patches, [B]."""
    return sum(adversary.generator(made) for made in fake["logits"])


def feature_matching(real: Judged, fake: Judged) -> Tensor:
    """The mean absolute difference of a critic's activations, [B].

    The mean over scales of 4 / L times the sum over the critic's L inner layers, each a mean over
    its activations; those of the real image are constants. Its published weight is 10.

    Reference: Wang et al. 2018 (pix2pixHD), equation 4; the factor is their code's.
    """
    scales = []
    for true, made in zip(real["features"], fake["features"], strict=True):
        gaps = [
            per_sample(ops.abs(ops.subtract(ops.stop_gradient(t), m)))
            for t, m in zip(true, made, strict=True)
        ]
        scales.append(4.0 / len(gaps) * sum(gaps))
    return sum(scales) / len(scales)
