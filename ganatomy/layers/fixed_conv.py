"""What convolutions of one fixed form share."""

from typing import Any, ClassVar


class FixedConv:
    """Before a Keras convolution: some of its arguments are the layer's own and not the caller's.

    Args:
        filters: channels of the output.
    """

    fixed: ClassVar[dict[str, Any]]

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, **self.fixed, **kwargs)  # pyright: ignore

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # pyright: ignore
        return {key: config[key] for key in config if key not in self.fixed}
