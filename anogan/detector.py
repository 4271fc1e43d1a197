"""What every detector is: a model that says what a scan would look like were it healthy."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from ganatomy.game import AdversarialModel
from ganatomy.gradients import compiled

Tensor = Any


class Findings(NamedTuple):
    """What a detector says about samples.

    Attributes:
        reconstruction: the healthy counterpart, [n, *size, channels].
        residual: input minus reconstruction, signed, averaged over channels, [n, *size].
        paper_score: the score of the method's paper, [n]; higher is more abnormal.
        latent: the code of the counterpart, [n, latent].
    """

    reconstruction: np.ndarray
    residual: np.ndarray
    paper_score: np.ndarray
    latent: np.ndarray


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

    def examine(self, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Healthy counterpart [B, *size, channels], the paper's score [B] and the code [B, ...]."""
        raise NotImplementedError

    def inspect(self, samples: np.ndarray) -> Findings:
        """Examine samples [n, *size, channels] in chunks of one size."""
        if "_examine" not in vars(self):
            object.__setattr__(self, "_examine", compiled(self.examine))
        parts = []
        for begin in range(0, len(samples), self.chunk):
            x = np.asarray(samples[begin : begin + self.chunk], np.float32)
            padded = np.zeros((self.chunk + self.spare, *x.shape[1:]), np.float32)
            padded[: len(x)] = x
            outcome = self._examine(padded, self.start(padded))
            parts.append([np.asarray(value)[: len(x)] for value in outcome])
        if not parts:
            raise ValueError("no samples to inspect")
        reconstruction, score, latent = (np.concatenate(part) for part in zip(*parts, strict=True))
        residual = np.mean(np.asarray(samples, np.float32) - reconstruction, axis=-1)
        return Findings(reconstruction, residual, score, latent)
