"""What every detector is: a model that says what a scan would look like were it healthy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from keras import ops

from ganatomy.game import AdversarialModel
from ganatomy.gradients import compiled

Tensor = Any


class Findings(NamedTuple):
    """What a detector says about samples: tensors in the graph, arrays outside.

    Attributes:
        reconstruction: the healthy counterpart, [n, *size, channels]; the sample itself where a
            method makes none.
        residual: what the map is made of, [n, *size]: input minus reconstruction, signed, of the
            channel that differs most at each pixel, or what a method says of each pixel itself;
            NaN where a mask says that there is nothing to judge.
        paper_score: the score of the method's paper, [n]; higher is more abnormal.
        latent: the code of the counterpart, [n, latent].
    """

    reconstruction: Any
    residual: Any
    paper_score: Any
    latent: Any

    @classmethod
    def against(cls, x: Tensor, image: Tensor, score: Tensor, code: Tensor) -> Findings:
        """Of samples and their healthy counterparts [B, *size, channels]."""
        return cls(image, largest(x - image), score, code)

    def within(self, mask: np.ndarray | None) -> Findings:
        """The same arrays with no residual outside a mask [n, *size]; None masks nothing."""
        if mask is None:
            return self
        return self._replace(residual=np.where(mask, self.residual, np.float32(np.nan)))


class Detector(AdversarialModel):
    """Base of the detectors: `examine` in the graph, `inspect` over any number of samples."""

    task: ClassVar[str] = "detect"
    # Every pass takes this many samples, padded with zeros: convolutions pick their algorithm
    # by the batch, so a fixed one makes a score bitwise the same alone and in company.
    chunk: int = 32
    # So many more rows follow that are no sample's: what does not fill a block of a matrix product
    # is added up in another order, and that is the end of the batch.
    spare: ClassVar[int] = 4

    def start(self, samples: np.ndarray) -> np.ndarray:
        """What `examine` needs beside the samples, a function of each sample alone, [n, ...]."""
        return np.zeros((len(samples), 0), np.float32)

    def examine(self, x: Tensor, start: Tensor) -> Findings:
        """What there is to say of samples [B, *size, channels], each by itself."""
        raise NotImplementedError

    def inspect(self, samples: np.ndarray) -> Findings:
        """Examine samples [n, *size, channels] in chunks of one size."""
        if "_examine" not in vars(self):
            object.__setattr__(self, "_examine", compiled(self.examine))
        return Findings(*self.passes(lambda x: self._examine(x, self.start(x)), samples))

    def passes(
        self, function: Callable[[np.ndarray], Sequence[Tensor]], samples: np.ndarray
    ) -> list[np.ndarray]:
        """What `function` gives for chunks of samples [n, *size, channels], each of its values as
        one array [n, ...].

        Raises:
            ValueError: no samples.
        """
        parts = []
        for begin in range(0, len(samples), self.chunk):
            x = np.asarray(samples[begin : begin + self.chunk], np.float32)
            padded = np.zeros((self.chunk + self.spare, *x.shape[1:]), np.float32)
            padded[: len(x)] = x
            parts.append([np.asarray(value)[: len(x)] for value in function(padded)])
        if not parts:
            raise ValueError("no samples to inspect")
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def largest(difference: Tensor) -> Tensor:
    """Of each pixel the channel of the largest magnitude, with its sign, [B, *size].

    Args:
        difference: [B, *size, channels].
    """
    high: Tensor = ops.max(difference, axis=-1)
    low: Tensor = ops.min(difference, axis=-1)
    return ops.where(high >= -low, high, low)
