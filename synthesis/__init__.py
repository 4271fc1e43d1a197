"""Make one image from another: translation between modalities and conditional synthesis."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from synthesis.translator import Translator

__all__ = ["Translator"]


def __getattr__(name: str) -> Any:
    # Late, so that `ganatomy models` need not import TensorFlow.
    if name == "Translator":
        from synthesis.translator import Translator

        return Translator
    raise AttributeError(f"module 'synthesis' has no attribute {name!r}")
