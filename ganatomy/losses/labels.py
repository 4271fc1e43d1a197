"""Differences of a network's answer from labels: of voxels, and of whole images."""

from typing import Any, Literal

from keras import ops

from ganatomy.losses.arrays import as_floats, as_weights, averaged
from ganatomy.losses.overlap import dice

Tensor = Any


def shape(
    logits: Tensor,
    labels: Tensor,
    *,
    form: Literal["cross_entropy", "dice", "both"] = "cross_entropy",
    within: Tensor | None = None,
) -> Tensor:
    """How far a segmentor's answer to a translated image is from the labels of its scan.

    The segmentor may be frozen or trained along; what is made must keep the shapes that labels say.

    Args:
        logits: [B, *grid, labels], of the segmentor, before softmax.
        labels: [B, *grid] or [B, *grid, 1], numbers of labels from 0, 0 the background.
        form: the mean cross entropy a voxel (nats), one minus the soft Dice overlap without the
            background, or their sum.
        within: [B, *grid] or [B, *grid, 1], weights of the voxels.

    Returns:
        [B]: 0 the labels with certainty.

    Raises:
        ValueError: shapes that do not fit, or another form.

    Reference: Zhang et al. 2018, the shape consistency loss (trained along); Zhang et al. 2018b
    (frozen). Chen et al. 2018 have no labels here but a critic of a frozen segmentor's answers.
    """
    if form not in ("cross_entropy", "dice", "both"):
        raise ValueError(f"a form is cross_entropy, dice or both, not {form!r}")
    logits = as_floats(logits)
    # One of each label of a voxel; where weights are checked, so are labels.
    labels = as_weights(labels, logits)
    truth: Tensor = ops.one_hot(ops.cast(labels[..., 0], "int32"), logits.shape[-1])
    truth = ops.cast(truth, logits.dtype)
    loss = 0.0
    if form != "dice":
        chances: Tensor = ops.log_softmax(logits, axis=-1)
        loss = averaged(ops.negative(ops.sum(truth * chances, axis=-1, keepdims=True)), within)
    if form != "cross_entropy":
        loss = loss + dice(ops.softmax(logits, axis=-1), truth, within=within)
    return loss


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross entropy of a classifier's answer to what was made, nats.

    Args:
        logits: [B, classes], before softmax.
        labels: [B], numbers of classes from 0; or [B, classes], a chance of each.

    Returns:
        [B]: 0 the label with certainty, ln(classes) for one that says nothing.

    Raises:
        ValueError: logits that are not of whole images.

    Reference: Odena, Olah, Shlens 2017, equation 3, of what was made.
    """
    logits = ops.convert_to_tensor(logits)
    if len(logits.shape) != 2:
        raise ValueError(f"a classifier gives [B, classes], not {tuple(logits.shape)}")
    logits = logits if logits.dtype == "float64" else ops.cast(logits, "float32")
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 1:
        labels = ops.one_hot(ops.cast(labels, "int32"), logits.shape[-1])
    chances: Tensor = ops.log_softmax(logits, axis=-1)
    return ops.negative(ops.sum(ops.cast(labels, logits.dtype) * chances, axis=-1))
