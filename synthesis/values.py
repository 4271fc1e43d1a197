"""What a translation's values stand for: the range and units of the targets it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ganatomy.artifacts import ArtifactError
from ganatomy.decoding import decode
from ganatomy.registry import Preset
from ganatomy.scans import Preprocessing
from ganatomy.tables import Table

# The range of targets is as well known from this many as from all.
ENOUGH = 24


@dataclass(frozen=True)
class Values:
    """The scale of a model's output.

    Attributes:
        low: what -1 stands for, in the target's units: the lower end of its window, or of targets
            that were each taken to their own range the median of their lowest values.
        high: what 1 stands for.
        exact: whether all targets had this range; else it is that of a typical one.
        units: of the targets, where all agree and a range of their own was not given to each.
        modality: theirs.
    """

    low: float
    high: float
    exact: bool
    units: Literal["HU", "Gy", "counts", "unknown"]
    modality: str

    def of(self, generated: np.ndarray) -> np.ndarray:
        """Values from -1 to 1 in the target's units."""
        share = (np.clip(generated, -1, 1) + 1) / 2
        return (self.low + share * (self.high - self.low)).astype(np.float32)

    def facts(self) -> dict[str, Any]:
        """As config.json holds it."""
        return {"target": asdict(self)}

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> Values:
        """What `facts` gave.

        Raises:
            ArtifactError: the model does not say what its output stands for.
        """
        try:
            return cls(**facts["target"])
        except (KeyError, TypeError) as error:
            raise ArtifactError("config.json does not say what the target's values are") from error

    @classmethod
    def of_targets(cls, preset: Preset, table: Table, grids: Mapping[str, str]) -> Values:
        """The values of the targets that a model was trained on.

        Args:
            preset: with their preprocessing.
            table: of scans and targets, all of which can be read.
            grids: of the model; see `ganatomy.cache.prepare_table`.
        """
        settings = Preprocessing(**preset.preprocessing_of("target"))
        first = Preprocessing(**preset.preprocessing)
        targets = table.paths["target"]
        joined = "target" not in table.independent and "target" in grids
        chosen = range(0, len(targets), -(-len(targets) // ENOUGH))
        places = [table.paths[grids["target"]][n] for n in chosen] if joined else None
        if places is None and settings.mask == "place":
            settings = settings.model_copy(update={"mask": None})
        found = [
            one
            for one in decode(
                [targets[n] for n in chosen], settings, places=places, place_settings=first
            )
            if one.error is None
        ]
        if not found:
            raise ArtifactError(f"{preset.name}: not one target could be read again")
        lows, highs = np.array([one.prepared.ends for one in found], float).T
        exact = bool(np.ptp(lows) == 0 == np.ptp(highs)) and settings.equalise is None
        units = {one.scan.units for one in found}
        kinds = {one.scan.modality for one in found}
        told = exact and len(units) == 1 and not settings.voi
        return cls(
            float(np.median(lows)),
            float(np.median(highs)),
            exact and settings.normalise == "window",
            units.pop() if told else "unknown",  # pyright: ignore
            kinds.pop() if len(kinds) == 1 else "unknown",
        )
