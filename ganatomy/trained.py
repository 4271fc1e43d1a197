"""What the faces of tasks share that take scans and a trained model, and train on every row."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from ganatomy import artifacts
from ganatomy.artifacts import Artifact
from ganatomy.registry import Preset
from ganatomy.scans import Preprocessing, Scan, read_scan
from ganatomy.tables import Table

Source = str | Path | Scan


class Trained:
    """Base of a face over a trained model.

    Args:
        model: a model folder, any MLflow URI, or an `Artifact`.

    Attributes:
        artifact_: the model, loaded when first asked for.
        preprocessing_: that it sees scans by; a subclass says.
    """

    preprocessing_: Preprocessing | cached_property[Preprocessing]

    def __init__(self, model: str | Path | Artifact):
        self.model = model

    @cached_property
    def artifact_(self) -> Artifact:
        return self.model if isinstance(self.model, Artifact) else artifacts.load(self.model)

    @property
    def preset(self) -> Preset:
        return self.artifact_.preset

    def read(self, source: Source) -> Scan:
        """A scan as the model's preprocessing asks for it."""
        if isinstance(source, Scan):
            return source
        return read_scan(source, window=self.preprocessing_.voi)

    # What `ganatomy fit` asks before it trains --------------------------------------------------

    @staticmethod
    def check_preset(preset: Preset) -> None:
        """No preset is refused for what its sections say of each other."""

    @staticmethod
    def trainable(table: Table) -> Table:
        """All rows may be trained on."""
        return table

    @staticmethod
    def check(holdout: Table, fpr: float, validation: Table | None) -> None:
        """Nothing that is held out is too little."""
