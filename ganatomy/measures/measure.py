"""A figure that says what it is."""

from __future__ import annotations

from typing import Any, NamedTuple

from ganatomy.measures.bootstrap import Interval


class Measure(NamedTuple):
    """A measured value and its definition: the form, the range, slice or volume, the count.

    Attributes:
        name: short, as in a table's head.
        value: the figure; of several images their mean with its interval.
        definition: in words, enough to tell it from others of the same name.
    """

    name: str
    value: float | Interval
    definition: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON writes it."""
        value = self.value.to_dict() if isinstance(self.value, Interval) else self.value
        return {"name": self.name, "value": value, "definition": self.definition}
