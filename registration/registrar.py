"""Registrar: from two scans to the transform between them, by a trained network."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from ganatomy import artifacts
from ganatomy.artifacts import Artifact, ArtifactError
from ganatomy.errors import WrongUse
from ganatomy.image_models import ImageModel, image_model, translated
from ganatomy.progress import counter
from ganatomy.scans import Preprocessing, Scan, ScanError, read_scan
from ganatomy.scans.placed import on_grid
from ganatomy.tables import Table
from ganatomy.trained import Source, Trained
from registration.confidence import Confidence
from registration.evidence import SIGNS, Sampled, signs_of
from registration.known_transforms import Kind
from registration.landmarks import read_points
from registration.mirror import looks_mirrored
from registration.mono_modal import check_translation
from registration.pair import check_scan, remarks_on
from registration.refining import Reach, Refinement, refined
from registration.registration import Registration, grid_of
from registration.transforms import Affine, Transform


class OddPair(UserWarning):
    """What about a pair of scans may be wrong."""


class Settings(BaseModel):
    """What a preset's `postprocessing` takes.

    Attributes:
        refine: whether a rigid or affine transform is climbed further by the scans' mutual
            information: 'near' from a few mm off, 'far' from up to 15° and 20 mm.
        between_subjects: whether scans to register are of different subjects, which a table that
            pairs every scan with itself does not tell: the probability of failure is then
            calibrated on pairs of different subjects; see `registration.calibrating`.
        translate: the name of a translation model that makes the fixed scans' modality of moving
            scans, which are aligned by what it makes; see `registration.mono_modal`.
    """

    model_config = ConfigDict(extra="forbid")

    refine: Reach = "none"
    between_subjects: bool = False
    translate: str | None = None


class Registrar(Trained):
    """Registers pairs of scans with a trained model.

    Attributes:
        settings_: of the preset's postprocessing.
        confidence_: what its signs say about the error; None where it was not calibrated.

    Example:
        >>> found = Registrar("runs/brain-mr-rigid").register("t1.nii.gz", "t2-series")
        >>> found.transform.map(points_on_t1), found.points(points_on_t2), found.failed
    """

    settings: ClassVar[tuple[str, ...]] = tuple(Settings.model_fields)

    @cached_property
    def preprocessing_(self) -> Preprocessing:
        preprocessing = Preprocessing(**self.artifact_.preset.preprocessing)
        return preprocessing.load_state(self.artifact_.room("preprocessing"))

    @cached_property
    def settings_(self) -> Settings:
        return Settings(**self.artifact_.preset.postprocessing)

    @cached_property
    def confidence_(self) -> Confidence | None:
        state = self.artifact_.room("confidence")
        if not state:
            return None
        # The first folders held "confidence", of the score alone.
        count = state["signs"].shape[-1] if "signs" in state else 1
        if count != len(SIGNS):
            of = self.preset.name if isinstance(self.model, Artifact) else self.model
            raise ArtifactError(
                f"{of}: arrays.npz was calibrated by {count} of the {len(SIGNS)} signs of failure "
                f"that are looked at ({', '.join(SIGNS)}): train it again"
            )
        return Confidence.from_state(state)

    @cached_property
    def translation_(self) -> ImageModel | None:
        name = self.settings_.translate
        return None if name is None else image_model(name)

    @property
    def kind(self) -> Kind:
        """Of the model's transforms; those that bend are smooth."""
        motion = self.artifact_.preset.hyperparameters.get("motion", "rigid")
        return "smooth" if self.artifact_.model.bends else motion

    # Registration ----------------------------------------------------------------------------

    def register(
        self,
        fixed: Source,
        moving: Source,
        *,
        labels: Source | np.ndarray | None = None,
        points: str | Path | np.ndarray | None = None,
    ) -> Registration:
        """Align a moving scan to a fixed one.

        Args:
            fixed: a path or a scan.
            moving: the same; of another grid, spacing, direction and field of view as may be.
            labels: of the moving scan, carried to the fixed grid as `Registration.labels`.
            points: landmarks of the moving scan, [n, rank] in mm (RAS), of a picture in pixels, or
                a CSV (columns x, y, z or row, column); carried to the fixed scan by the inverse.

        Raises:
            ScanError: a scan that cannot be read or does not suit the model, or scans that have
                nothing in common.

        Warns:
            OddPair: left and right may be exchanged in one of the headers.
        """
        found = self._remarked(*(self.read(source) for source in (fixed, moving)))
        for remark in found.remarks:
            warnings.warn(remark, OddPair, stacklevel=2)
        if labels is not None:
            if isinstance(labels, (str, Path)):
                labels = read_scan(labels, constant=True)
            found.labels = found.warp(labels)
        if points is not None:
            rank = self.preprocessing_.rank
            given = read_points(points, rank) if isinstance(points, (str, Path)) else points
            found.landmarks = found.points(given)
        return found

    def align(self, fixed: Scan, moving: Scan, *, astray: Affine | None = None) -> Registration:
        """As `register` of scans that were read, without a look at what may be odd about them.

        Args:
            fixed: a scan.
            moving: another.
            astray: the network's transform goes astray by this before it is refined, and from near
                alone; to know failures by.
        """
        return self._registered(fixed, moving, astray=astray)[0]

    def _remarked(self, fixed: Scan, moving: Scan) -> Registration:
        """As `align`, with what may be odd about the pair."""
        found, pair, moved = self._registered(fixed, moving)
        found.remarks += remarks_on(fixed, moving)
        if looks_mirrored(self.artifact_.model, pair.fixed, pair.moving, moved):
            found.remarks.append(
                f"{found.moving.path}: fits the fixed scan better with left and right exchanged: "
                "one of the two headers may be flipped"
            )
        return found

    def _registered(
        self, fixed: Scan, moving: Scan, *, astray: Affine | None = None
    ) -> tuple[Registration, Sampled, np.ndarray]:
        """Also the pair as the model saw it, and what it made of the moving sample."""
        self.check_pair(fixed, moving)
        began = time.perf_counter()
        seen = self.seen(moving)
        model, pair = self.artifact_.model, self._sampled(fixed, seen)
        alignment = model.align(pair.fixed, pair.moving)
        transform = model.transform(alignment, 0, pair.fixed_grid, pair.moving_grid)
        done = None
        if self.settings_.refine != "none":
            if astray is not None and isinstance(transform, Affine):
                transform = Affine(transform.matrix @ astray.matrix)
            transform, done = self._refined(fixed, seen, transform, lost=astray is not None)
        found = Registration(fixed, moving, transform, np.nan, refinement=done)
        found.translated_by = self._translated_by()
        found.network_score = float(alignment.score[0])
        if not found.inside.any():
            problem = "shows nothing of the fixed scan once aligned"
            raise ScanError(moving.path, problem, "scans of one place")
        found.signs = signs_of(model, pair, transform)
        found.alignment_score = found.signs["alignment_score"]
        found.seconds = time.perf_counter() - began
        if self.confidence_ is not None:
            found.failure = self.confidence_.probability([*found.signs.values()])
        return found, pair, alignment.moved

    def seen(self, moving: Scan) -> Scan:
        """What a moving scan is aligned by: itself, or what `settings_.translate` makes of it."""
        return moving if self.translation_ is None else translated(self.translation_, moving)

    def _translated_by(self) -> tuple[str, str] | None:
        made = self.translation_
        return None if made is None else (str(self.settings_.translate), made.preset.name)

    def sampled(self, fixed: Scan, moving: Scan) -> Sampled:
        """A pair as the model sees it."""
        return self._sampled(fixed, self.seen(moving))

    def _sampled(self, fixed: Scan, moving: Scan) -> Sampled:
        seen = moving
        if self.artifact_.model.grids.get("moving") == "fixed":
            # Two pictures have their first pixels in one place.
            between = np.linalg.inv(grid_of(moving)) @ grid_of(fixed) if fixed.rank == 2 else None
            seen = on_grid(moving, fixed, between)
        pair = [self.preprocessing_.apply(scan) for scan in (fixed, seen)]
        grids = [
            grid_of(scan) @ prepared.placements[0]
            for scan, prepared in zip((fixed, seen), pair, strict=True)
        ]
        return Sampled(pair[0].samples, pair[1].samples, grids[0], grids[1])

    def _refined(
        self, fixed: Scan, moving: Scan, start: Transform, lost: bool = False
    ) -> tuple[Affine, Refinement]:
        preset, reach = self.artifact_.preset, self.settings_.refine
        if not isinstance(start, Affine):
            raise WrongUse(f"{preset.name}: refine is for rigid and affine models; set refine=none")
        starts = [start]
        if reach == "far" and not lost and self.artifact_.model.grids.get("moving") == "fixed":
            starts.append(Affine.identity(fixed.rank))  # as the headers have it
        kind = "affine" if self.kind == "affine" else "rigid"
        return refined(fixed, moving, starts, reach="near" if lost else reach, kind=kind)

    def refine(self, fixed: Scan, moving: Scan) -> Affine:
        """What the refinement finds without a network, from where the headers have the scans."""
        return self._refined(fixed, self.seen(moving), Affine.identity(fixed.rank))[0]

    def sample(self, source: Source, count: int, seed: int = 0) -> Iterator[Registration]:
        """Motions that a scan might make, each as the registration of the moved scan onto it.

        Args:
            source: a path or a scan.
            count: how many.
            seed: of the draw; the first of more are the same.

        Raises:
            WrongUse: the model makes no motions.
            ScanError: a scan that does not suit the model.
        """
        from registration.aligner import Alignment

        model, scan = self.artifact_.model, self.read(source)
        if not hasattr(model, "motions"):
            raise WrongUse(
                f"{self.artifact_.preset.name} makes no motions; hippocampus-motion does"
            )
        self.check_pair(scan, scan)
        pair = self._sampled(scan, scan)
        found = Alignment(model.motions(pair.fixed, count, seed), pair.moving, np.zeros(count))
        return (
            Registration(scan, scan, model.transform(found, n, *pair[2:]), np.nan)
            for n in range(count)
        )

    def check_pair(self, fixed: Scan, moving: Scan) -> None:
        """Refuse scans that the model cannot take.

        Raises:
            ScanError: of other dimensions, one voxel thin, constant, or without a place.
        """
        check_scan(fixed, self.preprocessing_.rank, "fixed")
        check_scan(moving, self.preprocessing_.rank, "moving")

    # Served: what an endpoint answers for one pair, by name and MLflow type ---------------------

    inputs: ClassVar[tuple[str, ...]] = ("fixed", "moving")
    answers: ClassVar[dict[str, str]] = {
        "alignment_score": "double",
        "failure": "double",
        "failed": "boolean",
        "overlap": "double",
        "folds": "double",
        "smallest_jacobian": "double",
        "largest_jacobian": "double",
        "remarks": "string",
        "refinement": "string",
        "transform": "string",
        "moved": "string",
    }

    def answer(self, pairs: Sequence[Sequence[Scan]], *, map: bool = False) -> list[dict[str, Any]]:
        """One answer a pair; see `registration.answering`."""
        from registration.answering import answer

        return [answer(self._remarked(*pair)) for pair in pairs]

    # Training and evaluation, as `ganatomy fit` and `evaluate` ask for them --------------------

    @staticmethod
    def check_settings(
        settings: Mapping[str, Any],
        preprocessing: Preprocessing | None = None,
        model: type | None = None,
    ) -> None:
        """Refuse settings of a preset that no pair can be registered with.

        Raises:
            pydantic.ValidationError: of its postprocessing.
            WrongUse: the preprocessing cuts a scan into tiles or moves it, or what the model finds
                bends and is to be refined.
        """
        own = Settings.model_validate(settings)
        if preprocessing is not None and (preprocessing.overlap or preprocessing.align):
            raise WrongUse("preprocessing: overlap and align are not for registration")
        if own.translate is not None and preprocessing is not None:
            check_translation(own.translate, preprocessing)
        if own.refine != "none" and getattr(model, "bends", False):
            raise WrongUse(
                f"postprocessing.refine: {own.refine} is for rigid and affine models, and this one "
                "bends: --set refine=none"
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
    ) -> Registrar:
        """A registrar of a model that was just trained, calibrated on what was held out."""
        from registration.calibrating import calibrate

        artifact.arrays = {
            f"preprocessing/{name}": array for name, array in preprocessing.state().items()
        }
        registrar = cls(artifact)
        calibrate(registrar, holdout, progress=counter("calibrating"))
        return registrar

    def evaluate(self, table: Table, folder: Path | None = None) -> Any:
        """Measures on pairs; see `registration.evaluation.evaluate`."""
        from registration.evaluation import evaluate
        from registration.pairs import pairs_of

        return evaluate(self, pairs_of(table), folder, progress=counter("evaluating"))

    @staticmethod
    def read_validation(specs: Sequence[str]) -> Table:
        """The pairs to measure on after training; see `registration.pairs.read_pairs`."""
        from registration.pairs import read_pair_table

        return read_pair_table(specs)

    def evaluate_pairs(self, specs: Sequence[str], known: int, folder: Path | None = None) -> Any:
        """Measures on the pairs of a table, or of scans each with itself, beside other programs.

        Args:
            specs: of `read_pairs`; with `known` also folders of scans.
            known: so many transforms are made and found again; 0 for none.
            folder: see `evaluate`.
        """
        from registration.evaluation import evaluate
        from registration.pairs import read_pairs

        pairs = read_pairs(specs, alone=known > 0)
        counted = counter("evaluating")
        return evaluate(self, pairs, folder, known=known, others=True, progress=counted)

    # On disk -----------------------------------------------------------------------------------

    @staticmethod
    def load(model: str | Path) -> Registrar:
        """A registrar of a saved model, ready to register.

        Raises:
            ganatomy.artifacts.ArtifactError: there is no such model, or what it was calibrated by
                is not what this version looks at.
        """
        registrar = Registrar(artifacts.local_folder(model))
        _ = registrar.confidence_  # refused before a scan is read
        return registrar

    def save(self, folder: str | Path) -> None:
        """Write model, fitted arrays and calibration as a model folder, for MLflow too."""
        from ganatomy.serving import write_pyfunc

        artifact, folder = self.artifact_, Path(folder)
        rooms = {"preprocessing": self.preprocessing_.state()}
        if self.confidence_ is not None:
            rooms["confidence"] = self.confidence_.state()
        artifact.arrays = {
            f"{room}/{name}": array for room, own in rooms.items() for name, array in own.items()
        }
        artifacts.save(artifact, folder)
        write_pyfunc(folder)
