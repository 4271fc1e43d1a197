"""How far a latent code's distribution is from the one that codes are drawn from."""

from typing import Any, Literal

from keras import ops

Tensor = Any


def kl_divergence(
    mean: Tensor,
    log_variance: Tensor | None = None,
    *,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """The Kullback-Leibler divergence of N(mean, variance) from N(0, 1), nats.

    The reduction decides what a weight means, so it is said: a sum of the code's n numbers is n
    times their mean.

    Args:
        mean: [B, ...], of the code.
        log_variance: the same; a variance of 1 where None. The divergence is then half the mean
            square, so UNIT's own term, which leaves out the half, is twice this at "mean".
        reduction: over the numbers of a code: "sum", the divergence itself (Kingma and Welling),
            or "mean", its share of a number (UNIT).

    Returns:
        [B]: 0 for a standard normal code.

    Raises:
        ValueError: another reduction.

    Reference: Kingma and Welling 2014, appendix B.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"a code is reduced by sum or mean, not {reduction!r}")
    mean = ops.convert_to_tensor(mean)
    mean = mean if mean.dtype == "float64" else ops.cast(mean, "float32")
    each: Tensor = ops.square(mean)
    if log_variance is not None:
        log_variance = ops.cast(log_variance, mean.dtype)
        variance: Tensor = ops.exp(log_variance)
        each = each + variance - log_variance - 1
    over = ops.sum if reduction == "sum" else ops.mean
    return over(each / 2, axis=tuple(range(1, len(mean.shape))))
