"""AnomalyScorer: from scans to what one trained detector says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anogan.calibration import Calibration
from anogan.detector import Findings
from anogan.face import Face
from anogan.residuals import Postprocessing
from anogan.result import Result
from ganatomy import artifacts, registry
from ganatomy.artifacts import Artifact
from ganatomy.decoding import Decoded, decode
from ganatomy.errors import WrongUse
from ganatomy.registry import Preset
from ganatomy.scans import Preprocessing, Scan, ScanError
from ganatomy.tables import Table


class AnomalyScorer(Face):
    """Scores scans with a trained detector.

    Args:
        model: a model folder, any MLflow URI, or an `Artifact`.
        fpr: share of healthy scans that `fit` lets be called abnormal.

    Attributes:
        artifact_: the model, loaded when first asked for.
        controls_: by name, scorers to compare with, which come with a trained model.
        calibration_: healthy scores and looks; comes with a trained model, replaced by `fit`.
        threshold_: scores above it are abnormal.

    Example:
        >>> scorer = AnomalyScorer("runs/fanogan")
        >>> scorer.anomaly_score(["a.dcm", "b.png"])
        >>> scorer.fit(healthy_scans_of_this_site).predict(scans)
    """

    # The settings a preset's `postprocessing` takes.
    settings: ClassVar[tuple[str, ...]] = tuple(Postprocessing.model_fields)

    @property
    def artifact_(self) -> Artifact:
        if "_artifact" not in vars(self):
            held = self.model if isinstance(self.model, Artifact) else artifacts.load(self._folder)
            self._artifact = held
            preset = held.preset
            self.preprocessing_ = Preprocessing(**preset.preprocessing)
            self.preprocessing_.load_state(held.room("preprocessing"))
            self.postprocessing_ = Postprocessing(**preset.postprocessing)
            self.postprocessing_.load_state(held.room("postprocessing"))
            state = held.room("calibration")
            if state and "calibration_" not in vars(self):
                self.calibration_ = Calibration.from_state(state)
        return self._artifact

    def results(self, X: Any) -> Iterator[Result]:
        """One `Result` a scan, in order, as they come; a broken scan has its error and no score.

        Scans are read a few ahead and go through the model in full chunks, so that memory does
        not grow with their number.
        """
        for item, findings in self.examined(X):
            yield self._judged(item, findings)

    def examined(self, X: Any) -> Iterator[tuple[Decoded, Findings | None]]:
        """What was read and what the detector says of it, before any score is made of it."""
        chunk = self.artifact_.model.chunk
        waiting: list[Decoded] = []
        samples = 0
        for item in self._decoded(X):
            waiting.append(item)
            samples += len(item.prepared) if item.error is None else 0
            if samples >= chunk or len(waiting) >= 2 * chunk:
                yield from self._examine(waiting)
                waiting, samples = [], 0
        yield from self._examine(waiting)

    def again(self, results: Sequence[Result], other: Face) -> list[Result]:
        """This scorer's results on the scans of another's results, read once for both.

        A scan that the other could not read, or that this one's preprocessing refuses, has its
        error here.
        """
        alike = self.sees_as(other)
        items = []
        for result in results:
            if result.error is not None:
                items.append(Decoded(Path(result.path), error=result.error))
                continue
            try:
                prepared = result.prepared if alike else self.preprocessing_.apply(result.scan)
                items.append(Decoded(Path(result.path), result.scan, prepared))
            except ScanError as error:
                items.append(Decoded(Path(result.path), error=error))
        return [self._judged(item, findings) for item, findings in self._examine(items)]

    def sees_as(self, other: Face) -> bool:
        """Whether both prepare a scan to the same samples."""
        if not (self.artifact_ and other.artifact_):
            return False
        own, its = self.preprocessing_, other.preprocessing_
        mine, theirs = own.state(), its.state()
        return (
            own.model_dump() == its.model_dump()
            and set(mine) == set(theirs)
            and all(np.array_equal(mine[name], theirs[name]) for name in mine)
        )

    def _examine(self, items: list[Decoded]) -> Iterator[tuple[Decoded, Findings | None]]:
        readable = [item.prepared.samples for item in items if item.error is None]
        findings = ()
        if readable:
            # Of one scan nothing is copied: its tiles may be many.
            samples = readable[0] if len(readable) == 1 else np.concatenate(readable)
            findings = self.artifact_.model.inspect(samples)
        begin = 0
        for item in items:
            if item.error is not None:
                yield item, None
                continue
            own = slice(begin, begin + len(item.prepared))
            begin = own.stop
            said = Findings(*(value[own] for value in findings))
            yield item, said.within(item.prepared.mask)

    def _judged(self, item: Decoded, findings: Findings | None) -> Result:
        if findings is None:
            return Result(str(item.path), error=item.error)
        maps, scores, score = self.postprocessing_.judge(findings)
        result = Result(
            str(item.path),
            anomaly_score=score,
            paper_score=self.postprocessing_.whole(findings.paper_score),
            slice_scores=scores,
            scan=item.scan,
            prepared=item.prepared,
            findings=findings,
            maps=maps,
        )
        return self._compared(result)

    def _decoded(self, X: Any) -> Iterator[Decoded]:
        if isinstance(X, (str, Path, Scan)):
            X = [X]
        for kind, group in _runs(X):
            if kind is Path:
                yield from decode(map(Path, group), self.preprocessing_)
                continue
            for number, item in enumerate(group):
                try:
                    scan = item if isinstance(item, Scan) else self._scan(item, number)
                    yield Decoded(Path(scan.path), scan, self.preprocessing_.apply(scan))
                except ScanError as error:
                    yield Decoded(Path(error.path), error=error)

    def _scan(self, array: Any, number: int) -> Scan:
        """An array [*grid] or [*grid, channels] as a scan without geometry."""
        pixels = np.asarray(array, np.float32)
        if pixels.ndim == self.preprocessing_.rank:
            pixels = pixels[..., None]
        if pixels.ndim not in (3, 4):
            raise ScanError(
                f"array {number}",
                f"has {pixels.ndim} dimensions",
                f"{self.preprocessing_.rank} dimensions, and channels last",
            )
        if not np.isfinite(pixels).all():
            raise ScanError(f"array {number}", "holds NaN or infinite values", "finite values")
        return Scan(pixels, path=f"array {number}")

    # Training and evaluation, as `ganatomy fit` and `evaluate` ask for them --------------------

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
    ) -> AnomalyScorer:
        """A calibrated scorer of a detector that was just trained; see `anogan.finishing`."""
        from anogan.finishing import finish

        return finish(artifact, preprocessing, training, holdout, fpr, controls=controls)

    def behind(self, preset: Preset, training: Table, holdout: Table, fpr: float) -> AnomalyScorer:
        """The same trained networks behind the postprocessing of another preset."""
        own = self.artifact_
        other = Artifact(preset, own.model, own.shape, {}, dict(own.facts))
        return self.from_training(
            other, self.preprocessing_, training, holdout, fpr, controls=False
        )

    @staticmethod
    def check_settings(
        settings: Mapping[str, Any], preprocessing: Preprocessing, model: type | None = None
    ) -> None:
        """Refuse settings of the postprocessing that do not fit.

        Raises:
            pydantic.ValidationError: which.
            WrongUse: a healthy map at each pixel of tiles.
        """
        post = Postprocessing.model_validate(settings)
        if preprocessing.overlap is not None and post.healthy_map and not post.pooled:
            raise WrongUse(
                "postprocessing.pooled: tiles (overlap) show no place in the body at the same "
                "pixel, and have one mean and deviation for all: --set pooled=true"
            )

    @staticmethod
    def check_preset(preset: Preset) -> None:
        """Refuse a preset by what its detector says of it; most say nothing.

        Raises:
            WrongUse: why.
        """
        model: Any = registry.model_class(preset.model) if preset.model else None
        if hasattr(model, "check_preset"):
            model.check_preset(preset)

    @staticmethod
    def check_member(preset: Preset) -> None:
        """Refuse a detector that could not be one of an ensemble's.

        Raises:
            WrongUse: its map is not over what healthy scans show.
        """
        if not Postprocessing(**preset.postprocessing).healthy_map:
            raise WrongUse(
                f"{preset.name}: maps of an ensemble are comparable with healthy_map alone"
            )

    @staticmethod
    def from_members(
        preset: Preset,
        members: dict[str, AnomalyScorer],
        training: Table,
        holdout: Table,
        fpr: float,
        facts: dict[str, Any],
    ) -> Face:
        """A calibrated ensemble of detectors that were just trained; see `Ensemble.of`."""
        from anogan.ensemble import Ensemble

        return Ensemble.of(preset, members, training, holdout, fpr, facts)

    def _rooms(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            "preprocessing": self.preprocessing_.state(),
            "postprocessing": self.postprocessing_.state(),
        }


def _runs(X: Iterable[Any]) -> Iterator[tuple[type, Iterable[Any]]]:
    """Consecutive inputs of one kind: paths together, so that they are read in parallel."""
    from itertools import groupby

    def kind(item: Any) -> type:
        return Path if isinstance(item, (str, Path)) else object

    yield from groupby(X, kind)
