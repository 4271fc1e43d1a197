"""Translator: from a scan to the scan that another modality would have made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ganatomy import artifacts
from ganatomy.artifacts import Artifact
from ganatomy.errors import WrongUse
from ganatomy.progress import counter
from ganatomy.registry import Preset
from ganatomy.scans import Prepared, Preprocessing, Scan, ScanError
from ganatomy.scans.tiles import Tiles
from ganatomy.tables import Table, read_table
from ganatomy.trained import Source, Trained
from synthesis.values import Values

if TYPE_CHECKING:
    from synthesis.drawing import Pair

PAIR = {"scan": "joined", "target": "joined"}
OVERLAP = 0.5  # of windows over arrays, where the preset says nothing


class Settings(BaseModel):
    """What a preset's `postprocessing` takes.

    Attributes:
        overlap: windows over a whole scan share at least this fraction of a side with their
            neighbours; as in training where None.
    """

    model_config = ConfigDict(extra="forbid")

    overlap: float | None = Field(None, gt=0, le=0.75)


class Translator(Trained):
    """Translates whole scans with a trained model.

    Attributes:
        values_: what its output stands for, in the target's units where they are known.

    Example:
        >>> t2 = Translator.load("runs/t1-to-t2").translate(["t1-series", "other.nii.gz"])
        >>> t2[0].pixels, t2[0].affine, t2[0].units
    """

    settings: ClassVar[tuple[str, ...]] = tuple(Settings.model_fields)

    @cached_property
    def values_(self) -> Values:
        return Values.from_facts(self.artifact_.facts)

    @cached_property
    def settings_(self) -> Settings:
        return Settings(**self.artifact_.preset.postprocessing)

    @cached_property
    def preprocessing_(self) -> Preprocessing:
        """Of the scans that are translated; windows overlap as `settings_` say."""
        settings, overlap = self.artifact_.preset.preprocessing, self.settings_.overlap
        return Preprocessing(**settings if overlap is None else {**settings, "overlap": overlap})

    # Translation -----------------------------------------------------------------------------

    def translate(self, scans: Source | Iterable[Source]) -> list[Scan]:
        """The translations of scans, each on the grid of the scan that it was made of.

        A whole scan of any size is seen through windows that overlap, one at a time, and are
        blended; a 2D model takes a volume slice by slice. Where the model saw nothing, a
        translation has the lowest value there is; see `notes`.

        Args:
            scans: paths or scans; one, or several.

        Returns:
            As many scans; of each the units and modality are the target's, all else the scan's.

        Raises:
            ScanError: one that cannot be read or does not suit the model.
        """
        alone = isinstance(scans, (str, Path, Scan))
        several: Any = [scans] if alone else scans
        return [self.translated(self.read(one))[0] for one in several]

    def translate_arrays(self, x: np.ndarray) -> np.ndarray:
        """Samples in, translations out, for programs.

        Args:
            x: [n, *size, C] in [-1, 1], as the preprocessing makes them; a grid larger than the
                model's is seen through overlapping windows.

        Returns:
            float32 [n, *size, C'], in [-1, 1].

        Raises:
            ValueError: no samples, other channels, or a grid smaller than the model's.
        """
        x = np.asarray(x, np.float32)
        *size, channels = self.artifact_.shape
        rank = len(size)
        if x.ndim != rank + 2 or not len(x) or x.shape[-1] != channels:
            raise ValueError(f"arrays have shape {x.shape}; expected [n, {size}, {channels}]")
        if any(side < least for side, least in zip(x.shape[1:-1], size, strict=True)):
            raise ValueError(f"arrays have shape {x.shape}; expected sides of {size} or more")
        overlap = self.preprocessing_.overlap or OVERLAP
        tiles = Tiles.over(x.shape[:-1], tuple(size), overlap)
        places = (tiles.place(number) for number in range(len(tiles)))
        return tiles.blend((self._made(x[n][box]) for n, box in places), x.shape[:-1])

    def generated(self, scan: Scan) -> np.ndarray:
        """What the model makes of a scan, in [-1, 1], float32 [i, j(, k), C'].

        NaN where it saw nothing.
        """
        return self.made_of(self.preprocessing_.apply(scan))

    def made_of(self, prepared: Prepared) -> np.ndarray:
        """What `generated` gives, of a scan that was prepared."""
        samples = (prepared.sample(number) for number in range(len(prepared)))
        return prepared.assemble(self._made(sample) for sample in samples)

    def _made(self, sample: np.ndarray) -> np.ndarray:
        return self.artifact_.model.translate(sample[None])[0]

    def translated(self, scan: Scan) -> tuple[Scan, float]:
        """The translation of a scan that was read, and the share of it that the model never saw."""
        made, values = self.generated(scan), self.values_
        unseen = np.isnan(made).any(-1)
        notes = list(scan.notes)
        if unseen.all():
            raise ScanError(scan.path, "shows nothing where the model looks", "another framing")
        if unseen.any():
            notes.append(f"{unseen.mean():.1%} of it lies outside what the model sees")
        found = Scan(
            values.of(np.nan_to_num(made, nan=-1.0)),
            scan.affine,
            values.units,
            values.modality,
            scan.path,
            scan.kind,
            scan.header,
            notes,
        )
        return found, float(unseen.mean())

    # A folder of scans -------------------------------------------------------------------------

    def translate_to(self, table: Table, folder: Path) -> list[str]:
        """Translations into a folder, resumed; see `synthesis.writing.translate_to`."""
        from synthesis.writing import translate_to

        return translate_to(self, table, folder, progress=counter("translating"))

    # Pairs of a mask and its image, of models that generate their masks --------------------------

    def draw(self, count: int, seed: int = 0) -> Iterator[Pair]:
        """Pairs of a drawn mask and its image; see `synthesis.drawing.drawn`."""
        from synthesis.drawing import drawn

        return drawn(self, count, seed)

    def draw_to(self, folder: Path, count: int, seed: int = 0) -> Path:
        """Pairs into an empty folder; see `synthesis.drawing.draw_to`."""
        from synthesis.drawing import draw_to

        return draw_to(self, folder, count, seed, progress=counter("drawing"))

    # Served --------------------------------------------------------------------------------------

    inputs: ClassVar[tuple[str, ...]] = ("scan",)
    answers: ClassVar[dict[str, str]] = {
        "translation": "string",
        "kind": "string",
        "units": "string",
        "unseen": "double",
    }

    def answer(self, rows: Sequence[Sequence[Scan]], *, map: bool = False) -> list[dict[str, Any]]:
        """One answer a scan; see `synthesis.answering`."""
        from synthesis.answering import answer

        return [answer(self, scan) for (scan,) in rows]

    # Training and evaluation, as `ganatomy fit` and `evaluate` ask for them --------------------

    @staticmethod
    def check_settings(
        settings: Mapping[str, Any],
        preprocessing: Preprocessing | None = None,
        model: type | None = None,
    ) -> None:
        """Refuse settings of a preset that no scan can be translated with.

        Raises:
            pydantic.ValidationError: of its postprocessing.
            WrongUse: the preprocessing moves scans, or leaves nothing for windows to lie on.
        """
        overlap = Settings.model_validate(settings).overlap
        if preprocessing is None:
            return
        if preprocessing.align:
            raise WrongUse("preprocessing.align: moves a scan and not its target: leave it out")
        if overlap is not None and preprocessing.overlap is None and preprocessing.spacing is None:
            raise WrongUse(
                "postprocessing.overlap: a model of whole scans has no windows: give "
                "preprocessing.spacing or preprocessing.overlap"
            )

    @staticmethod
    def check_preset(preset: Preset) -> None:
        """Refuse a preset whose model makes other channels than its targets have.

        Raises:
            WrongUse: which number to set.
        """
        scan, target = (Preprocessing(**preset.preprocessing_of(r)).shape[-1] for r in PAIR)
        made = preset.hyperparameters.get("target_channels") or scan
        if target != made:
            raise WrongUse(
                f"{preset.name}: targets have {target} channels, and the model makes {made}: "
                f"--set target_channels={target}"
            )

    @classmethod
    def from_training(
        cls,
        artifact: Artifact,
        preprocessing: Preprocessing,
        training: Table,
        holdout: Table,
        fpr: float,
        *,
        controls: bool = True,
    ) -> Translator:
        """A translator of a model that was just trained; it learns what the targets' values are."""
        artifact.facts |= Values.of_targets(artifact.preset, training, artifact.model.grids).facts()
        if hasattr(artifact.model, "draw"):
            from synthesis.drawing import mask_facts

            artifact.facts |= mask_facts(training.paths["scan"], preprocessing)
        return cls(artifact)

    @staticmethod
    def read_validation(specs: Sequence[str]) -> Table:
        """The pairs to measure on after training."""
        return read_table(specs, PAIR)

    def evaluate(self, table: Table, folder: Path | None = None) -> Any:
        """Measures on aligned pairs; see `synthesis.evaluation.evaluate`."""
        from synthesis.evaluation import evaluate

        return evaluate(self, table, folder, progress=counter("evaluating"))

    @staticmethod
    def differences(first: Any, other: Any) -> dict[str, dict[str, float]]:
        """One model's measures minus another's; of each the rows of its pairs.csv."""
        from synthesis.evaluation import OWN, differences

        return differences(*(rows[rows["method"] == OWN] for rows in (first, other)))

    # On disk -----------------------------------------------------------------------------------

    @staticmethod
    def load(model: str | Path) -> Translator:
        """A translator of a saved model, ready to translate.

        Raises:
            ganatomy.artifacts.ArtifactError: there is no such model.
        """
        translator = Translator(artifacts.local_folder(model))
        assert translator.values_ is not None
        return translator

    def save(self, folder: str | Path) -> None:
        """Write the model as a model folder, for MLflow too."""
        from ganatomy.serving import write_pyfunc

        artifacts.save(self.artifact_, Path(folder))
        write_pyfunc(Path(folder))
