"""Adversarial objectives: what a critic and a generator minimise, one value a sample.

Every function returns a float32 tensor of shape [B]; logits of a patch critic ([B, h, w, 1],
[B, d, h, w, 1]) are averaged over all axes but the batch's. The average over the batch, the weight
and the derivative are the game's business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

Tensor = Any


@dataclass(frozen=True)
class Objective:
    """An adversarial objective by its two sides, both to be minimised.

    Attributes:
        critic: (real_logit, fake_logit) -> [B].
        generator: fake_logit -> [B].
    """

    name: str
    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def per_sample(values: Tensor) -> Tensor:
    """Mean over all axes but the first, in float32: [B, ...] -> [B]."""
    values = ops.cast(values, "float32")
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def _logistic_critic(real_logit, fake_logit):
    # -log σ(l) = softplus(-l) and -log(1 - σ(l)) = softplus(l): no logarithm of a rounded zero.
    real, fake = _float32(real_logit), _float32(fake_logit)
    return per_sample(ops.softplus(-real)) + per_sample(ops.softplus(fake))


def saturating() -> Objective:
    """The minimax game.

    Critic: -log σ(D(x)) - log(1 - σ(D(G(z)))). Generator: log(1 - σ(D(G(z)))).
    At the optimal critic σ(D) = p / (p + q) its value is log 4 - 2 JSD(p, q).

    Reference: Goodfellow et al. 2014, equation 1 and theorem 1.
    """
    return Objective(
        "saturating",
        _logistic_critic,
        lambda fake_logit: -per_sample(ops.softplus(_float32(fake_logit))),
    )


def nonsaturating() -> Objective:
    """The minimax game's critic; the generator minimises -log σ(D(G(z))).

    Reference: Goodfellow et al. 2014, section 3.
    """
    return Objective(
        "nonsaturating",
        _logistic_critic,
        lambda fake_logit: per_sample(ops.softplus(-_float32(fake_logit))),
    )


def least_squares(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> Objective:
    """Squared distances of the raw logit to labels.

    Critic: 1/2 (D(x) - b)² + 1/2 (D(G(z)) - a)². Generator: 1/2 (D(G(z)) - c)².
    The optimal critic is (b p + a q) / (p + q); with b - c = 1 and b - a = 2 the generator's
    objective is a Pearson χ² distance.

    Args:
        a: label of generated samples for the critic.
        b: label of real samples for the critic.
        c: label that the generator wants its samples to have.

    Reference: Mao et al. 2017, equations 2, 4, 6 and 7.
    """
    return Objective(
        "least_squares",
        lambda real_logit, fake_logit: (
            0.5 * per_sample(ops.square(_float32(real_logit) - b))
            + 0.5 * per_sample(ops.square(_float32(fake_logit) - a))
        ),
        lambda fake_logit: 0.5 * per_sample(ops.square(_float32(fake_logit) - c)),
    )


def hinge() -> Objective:
    """A margin on both sides.

    Critic: max(0, 1 - D(x)) + max(0, 1 + D(G(z))). Generator: -D(G(z)).

    Reference: Lim and Ye 2017; Miyato et al. 2018, equations 16 and 17.
    """
    return Objective(
        "hinge",
        lambda real_logit, fake_logit: (
            per_sample(ops.relu(1.0 - _float32(real_logit)))
            + per_sample(ops.relu(1.0 + _float32(fake_logit)))
        ),
        lambda fake_logit: -per_sample(fake_logit),
    )


def wasserstein() -> Objective:
    """The dual form of the Wasserstein-1 distance; the critic has to be Lipschitz by other means.

    Critic: D(G(z)) - D(x). Generator: -D(G(z)). `clip_weights`, `gradient_penalty` or spectral
    normalisation bounds the critic.

    Reference: Arjovsky et al. 2017, equation 2.
    """
    return Objective(
        "wasserstein",
        lambda real_logit, fake_logit: per_sample(fake_logit) - per_sample(real_logit),
        lambda fake_logit: -per_sample(fake_logit),
    )


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    maker.__name__: maker
    for maker in (saturating, nonsaturating, least_squares, hinge, wasserstein)
}


def objective(name: str, **labels: float) -> Objective:
    """The adversarial objective of that name.

    Args:
        name: saturating, nonsaturating, least_squares, hinge or wasserstein.
        labels: a, b and c of least_squares.

    Raises:
        ValueError: there is no objective of that name, or it has no such labels.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"no adversarial objective {name!r}; there are: {', '.join(OBJECTIVES)}")
    try:
        return OBJECTIVES[name](**labels)
    except TypeError as error:
        raise ValueError(f"objective {name!r} takes no such labels: {sorted(labels)}") from error


def check_critic(
    adversary: str, penalty: Any, norm: str | None = None, *, bounded: bool = False
) -> None:
    """Refuse settings of a critic that contradict each other.

    Args:
        adversary: a name of `objective`.
        penalty: the weight of its gradient penalty, a number or [[step, weight], ...].
        norm: how its layers are normalised.
        bounded: whether its weights are clipped or divided by their spectral norm.

    Raises:
        ValueError: a penalty of each sample's own slope where batch normalisation mixes samples, or
            a Wasserstein critic whose slope nothing bounds.

    Reference: Gulrajani et al. 2017, section 4, "no critic batch normalization".
    """
    penalised = bool((np.atleast_2d(penalty)[:, -1] > 0).any())
    if penalised and norm == "batch":
        raise ValueError(
            "a gradient penalty is of each sample's own slope, and batch normalisation in the "
            "critic mixes samples: set critic_norm to layer, instance or null, or "
            "critic/penalty to 0"
        )
    if adversary == "wasserstein" and not (penalised or bounded):
        raise ValueError(
            "adversary wasserstein needs a critic of bounded slope: give critic/penalty a weight "
            "(10 as published), or clip or spectral where the model has them"
        )


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    target: float = 1.0,
) -> Tensor:
    """Two-sided penalty on the critic's slope between real and generated samples.

    (‖∇D(x̂)‖₂ - target)², x̂ = e x + (1 - e) G(z), e ~ U[0, 1] one number a sample; the norm runs
    over all axes but the batch's. The weight (10 as published) is the game's. The critic must
    treat samples apart: no batch normalisation.

    Args:
        critic: a function of samples that returns logits, [B] or [B, h, w, 1].
        real: samples, [B, ...].
        fake: generated samples, shape of `real`.
        mix: e, [B] or [B, 1, ...].
        target: the slope without penalty.

    Returns:
        [B], float32.

    Raises:
        ValueError: `mix` has more than one number a sample.

    Reference: Gulrajani et al. 2017, equation 3.
    """
    from ganatomy.gradients import gradient

    real, fake, mix = _float32(real), _float32(fake), _float32(mix)
    if any(size != 1 for size in mix.shape[1:]):
        raise ValueError(
            f"mix holds one number a sample, [B] or [B, 1, ...]; its shape is {mix.shape}"
        )
    mix = ops.reshape(mix, (-1,) + (1,) * (len(real.shape) - 1))
    mixed = mix * real + (1.0 - mix) * fake
    # A patch critic's value is the mean of its patches, as in the objectives above.
    slope = _float32(gradient(lambda samples: per_sample(critic(samples)), mixed))
    return ops.square(_norm(slope) - target)


def clip_weights(network, c: float = 0.01) -> None:
    """Project a critic's trainable weights onto [-c, c], after its update.

    Args:
        network: a Keras model or layer.
        c: the bound; 0.01 as published.

    Reference: Arjovsky et al. 2017, algorithm 1, line 7.
    """
    for variable in network.trainable_variables:
        variable.assign(ops.clip(variable, -c, c))


def _float32(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")


def _norm(values: Tensor) -> Tensor:
    squared = ops.sum(ops.square(values), axis=tuple(range(1, len(values.shape))))
    # The root's derivative is infinite at 0; an epsilon under it would bias every other norm.
    zero = ops.equal(squared, 0.0)
    return ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, squared)))
