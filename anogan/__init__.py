"""Find what is abnormal on a scan after training on healthy scans only."""

from typing import Any

__all__ = ["AnomalyScorer"]


def __getattr__(name: str) -> Any:
    # Late, so that `ganatomy models` need not import TensorFlow.
    if name == "AnomalyScorer":
        from anogan.scorer import AnomalyScorer

        return AnomalyScorer
    raise AttributeError(f"module 'anogan' has no attribute {name!r}")
