"""Arrays as the batches that `ganatomy.training.train` asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ganatomy.batches import batches


def feed(model: Any, batch_size: int, **arrays: np.ndarray) -> Callable[..., Any]:
    """The `data` of `train`: batches of the arrays by role, with the model's noise, seed 0."""

    def data(first: int, end: int, updates: int, noise: Any) -> Any:
        return batches(
            arrays,
            noise,
            roles=model.roles,
            batch_size=batch_size,
            updates=updates,
            first_step=first,
            steps=end,
            seed=0,
        )

    return data
