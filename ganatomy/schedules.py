"""Numbers that change in training: `[[step, value], ...]`, linear between the points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any
Points = Sequence[Sequence[float]]


def linear(points: Points, step: Tensor) -> Tensor:
    """The value at a step, float32: before the first point the first's, after the last the last's.

    Args:
        points: `[[step, value], ...]` in the order of their steps.
        step: a number.
    """
    now = ops.cast(step, "float32")
    value = ops.convert_to_tensor(float(points[0][1]), "float32")
    for (begin, first), (end, last) in itertools.pairwise(points):
        part: Tensor = ops.clip((now - begin) / max(end - begin, 1), 0.0, 1.0)
        value = ops.where(now >= begin, first + part * (last - first), value)
    return value


def as_schedule(value: Any) -> float | list[list[float]]:
    """A setting that may change in training: a number, or the points of `linear`.

    Raises:
        ValueError: neither a number nor points in the order of their steps.
    """
    changes = isinstance(value, (list, tuple))
    points: Any
    try:
        points = np.array(value if changes else [[0, value]], float)
    except (TypeError, ValueError):
        points = np.empty(0)
    fits = points.ndim == 2 and points.shape[1] == 2 and np.isfinite(points).all()
    if not fits or (np.diff(points[:, 0]) <= 0).any():
        raise ValueError(
            f"expected a number, or [[step, number], ...] with rising steps, not {value!r}"
        )
    return points.tolist() if changes else float(points[0, 1])


@keras.saving.register_keras_serializable(package="ganatomy")
class LinearRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate by `linear`, over the updates of its optimizer.

    Args:
        points: `[[update, rate], ...]`.
    """

    def __init__(self, points: Points):
        self.points = [[float(number) for number in point] for point in points]

    def __call__(self, step: Tensor) -> Tensor:
        return linear(self.points, step)

    def get_config(self) -> dict[str, Any]:
        return {"points": self.points}
