"""What is made of the few results at one end of many, kept while the many go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from anogan.result import Result

T = TypeVar("T")


class Extremes(Generic[T]):
    """What `make` makes of the results with the highest keys; nothing else of them is kept.

    Args:
        count: so many are kept.
        make: called as a result comes, where it is among the highest so far.

    Attributes:
        keys: of those kept, by name, in the order in which they came.
        made: of those kept, by name.
    """

    def __init__(self, count: int, make: Callable[[Result], T]):
        self.count, self.make = count, make
        self.keys: dict[str, float] = {}
        self.made: dict[str, T] = {}

    def offer(self, name: str, key: float, result: Result) -> None:
        """Keep what is made of a result if its key is high enough; of equal ones the first stay."""
        if len(self.keys) == self.count:
            last = min(reversed(self.keys), key=self.keys.__getitem__)
            if key <= self.keys[last]:
                return
            del self.keys[last], self.made[last]
        self.keys[name], self.made[name] = key, self.make(result)

    def highest(self) -> list[str]:
        """The names of those kept, the highest first."""
        return sorted(self.keys, key=self.keys.__getitem__, reverse=True)
