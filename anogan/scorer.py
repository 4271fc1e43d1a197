"""AnomalyScorer: the scikit-learn-shaped face of every detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from anogan.calibration import Calibration, check_count, look, warn_of_unlike
from anogan.detector import Findings
from anogan.residuals import Postprocessing
from anogan.result import Result
from ganatomy import artifacts
from ganatomy.artifacts import Artifact
from ganatomy.decoding import Decoded, decode
from ganatomy.progress import counter
from ganatomy.scans import Preprocessing, Scan, ScanError
from ganatomy.tables import Table


class AnomalyScorer(OutlierMixin, BaseEstimator):
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

    # The settings a preset's `postprocessing` takes, and what refuses others by pydantic's error.
    settings: ClassVar[tuple[str, ...]] = tuple(Postprocessing.model_fields)
    check_settings: ClassVar[Any] = Postprocessing.model_validate

    def __init__(self, model: str | Path | Artifact, fpr: float = 0.05):
        self.model = model
        self.fpr = fpr

    # The model, loaded once ---------------------------------------------------------------

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

    @cached_property
    def _folder(self) -> Path:
        # Once: a model in a store is downloaded.
        assert not isinstance(self.model, Artifact)
        return artifacts.local_folder(self.model)

    @property
    def controls_(self) -> dict[str, AnomalyScorer]:
        if "_controls" not in vars(self):
            held = isinstance(self.model, Artifact)
            configs = () if held else self._folder.glob("controls/*/config.json")
            self._controls = {
                config.parent.name: AnomalyScorer.load(config.parent) for config in sorted(configs)
            }
        return self._controls

    @controls_.setter
    def controls_(self, controls: dict[str, AnomalyScorer]) -> None:
        self._controls = controls

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.artifact_) and "calibration_" in vars(self)

    @property
    def threshold_(self) -> float:
        check_is_fitted(self)
        return self.calibration_.threshold

    # Fit: a threshold, never the network ----------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> AnomalyScorer:
        """Set the threshold from healthy scans that the model was not trained on.

        Args:
            X: arrays [n, *grid(, c)], paths, or Scans.
            y: ignored.

        Raises:
            ScanError: one of them cannot be read.
            ValueError: too few for the false-positive rate.
        """
        self._calibrate(map(self._whole, self.results(X)), self.fpr)
        return self

    # Scores ----------------------------------------------------------------------------------

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Scores, [n]; higher is more abnormal."""
        return np.array([self._whole(r).anomaly_score for r in self.results(X)])

    def anomaly_map(self, X: Any) -> list[np.ndarray]:
        """Maps on the scans' own grids; NaN where a scan was not seen."""
        return [self._whole(r).map for r in self.results(X)]

    def score_samples(self, X: Any) -> np.ndarray:
        """Negative scores: higher is more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Threshold minus score: negative is abnormal."""
        check_is_fitted(self)
        return self.threshold_ - self.anomaly_score(X)

    def predict(self, X: Any) -> np.ndarray:
        """-1 abnormal, 1 normal.

        Warns:
            UnlikeScans: more than one in twenty does not look like the calibration scans.
        """
        check_is_fitted(self)
        results = [self._whole(r) for r in self.results(X)]
        warn_of_unlike([r.unlike or 0.0 for r in results], stacklevel=2)
        return np.array([-1 if r.abnormal else 1 for r in results], int)

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
            samples += len(item.prepared.samples) if item.error is None else 0
            if samples >= chunk or len(waiting) >= 2 * chunk:
                yield from self._examine(waiting)
                waiting, samples = [], 0
        yield from self._examine(waiting)

    def again(self, results: Sequence[Result], other: AnomalyScorer) -> list[Result]:
        """This scorer's results on the scans of another's results, read once for both.

        A scan that the other's preprocessing takes and this one's does not has its error here.
        """
        alike = bool(self.artifact_) and _see_alike(self.preprocessing_, other.preprocessing_)
        items = []
        for result in results:
            try:
                prepared = result.prepared if alike else self.preprocessing_.apply(result.scan)
                items.append(Decoded(Path(result.path), result.scan, prepared))
            except ScanError as error:
                items.append(Decoded(Path(result.path), error=error))
        return [self._judged(item, findings) for item, findings in self._examine(items)]

    def _examine(self, items: list[Decoded]) -> Iterator[tuple[Decoded, Findings | None]]:
        readable = [item.prepared.samples for item in items if item.error is None]
        findings = self.artifact_.model.inspect(np.concatenate(readable)) if readable else ()
        begin = 0
        for item in items:
            if item.error is not None:
                yield item, None
                continue
            own = slice(begin, begin + len(item.prepared.samples))
            begin = own.stop
            yield item, Findings(*(value[own] for value in findings))

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
        if "calibration_" in vars(self):
            calibration = self.calibration_
            result.threshold = calibration.threshold
            result.p_value = float(calibration.p_value(np.array([result.anomaly_score]))[0])
            result.abnormal = score > calibration.threshold
            result.unlike = float(calibration.unlike(look(item.scan, item.prepared)[None])[0])
        return result

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

    def _calibrate(self, results: Iterable[Result], fpr: float) -> None:
        scores, looks = [], []
        for result in results:
            scores.append(result.anomaly_score)
            looks.append(look(result.scan, result.prepared))
        self.calibration_ = Calibration.of(scores, np.array(looks), fpr)

    @staticmethod
    def _whole(result: Result) -> Result:
        if result.error is not None:
            raise result.error
        return result

    # Served: what an endpoint answers for one scan, by name and MLflow type --------------------

    answers: ClassVar[dict[str, str]] = {
        "anomaly_score": "double",
        "p_value": "double",
        "abnormal": "boolean",
        "unlike": "double",
    }

    def answer(self, scans: Sequence[Scan], *, map: bool = False) -> list[dict[str, Any]]:
        """One answer a scan: `answers`, and the map as nested lists (None where not seen).

        Raises:
            ScanError: a scan does not suit the model.
        """
        answers = []
        for result in [self._whole(r) for r in self.results(scans)]:
            answer = {name: getattr(result, name) for name in self.answers}
            if map:
                answer["map"] = np.where(np.isnan(result.map), np.array(None), result.map).tolist()
            answers.append(answer)
        return answers

    # Training and evaluation, as `ganatomy fit` and `evaluate` ask for them --------------------

    @staticmethod
    def check(holdout: Table, fpr: float, validation: Table | None) -> None:
        """Refuse tables that could not be calibrated or measured on.

        Raises:
            WrongUse: too few scans are held out, or the validation has no labels of both kinds.
        """
        from anogan.evaluation import check_labels

        check_count(len(holdout), fpr)
        if validation is not None:
            check_labels(validation)

    @classmethod
    def from_training(
        cls,
        artifact: Artifact,
        preprocessing: Preprocessing,
        training: Table,
        holdout: Table,
        fpr: float,
    ) -> AnomalyScorer:
        """A calibrated scorer of a detector that was just trained; see `anogan.finishing`."""
        from anogan.finishing import finish

        return finish(artifact, preprocessing, training, holdout, fpr)

    def evaluate(self, table: Table, folder: Path | None = None) -> Any:
        """Measures on labelled scans; see `anogan.evaluation.evaluate`."""
        from anogan.evaluation import evaluate

        return evaluate(self, table, folder, progress=counter("evaluating"))

    def score_to(self, table: Table, folder: Path, *, maps: bool = True) -> list[str]:
        """Scores and maps into a folder, resumed; see `anogan.scoring.score_to`."""
        from anogan.scoring import score_to

        return score_to(self, table, folder, maps=maps)

    def calibrate(self, table: Table, fpr: float) -> list[str]:
        """A new threshold from healthy scans of another site; what could not be read, a line each.

        Raises:
            WrongUse: too few scans for the false-positive rate.
        """
        failed: list[str] = []

        def readable() -> Iterator[Result]:
            for result in self.results(table.first):
                if result.error is None:
                    yield result
                else:
                    failed.append(str(result.error))

        self._calibrate(readable(), fpr)
        self.fpr = fpr
        return failed

    # On disk -----------------------------------------------------------------------------------

    @classmethod
    def load(cls, model: str | Path) -> AnomalyScorer:
        """A scorer of a saved model, ready to score.

        Raises:
            ganatomy.artifacts.ArtifactError: there is no such model.
        """
        scorer = cls(artifacts.local_folder(model))
        if "calibration" in scorer.artifact_.facts:
            scorer.fpr = scorer.artifact_.facts["calibration"]["fpr"]
        return scorer

    def save(self, folder: str | Path) -> None:
        """Write model, fitted arrays, calibration and controls as a model folder for MLflow too."""
        from ganatomy.serving import write_pyfunc

        self._write(Path(folder))
        write_pyfunc(Path(folder))

    def _write(self, folder: Path) -> None:
        artifact = self.artifact_
        artifact.arrays = {
            f"{room}/{name}": array
            for room, state in (
                ("preprocessing", self.preprocessing_.state()),
                ("postprocessing", self.postprocessing_.state()),
                ("calibration", self.calibration_.state() if "calibration_" in vars(self) else {}),
            )
            for name, array in state.items()
        }
        if "calibration_" in vars(self):
            threshold = self.calibration_.threshold
            artifact.facts["calibration"] = {
                "fpr": self.calibration_.fpr,
                "n": len(self.calibration_.scores),
                "threshold": threshold if np.isfinite(threshold) else None,
            }
        artifacts.save(artifact, folder)
        for name, control in self.controls_.items():
            control._write(folder / "controls" / name)


def _see_alike(one: Preprocessing, other: Preprocessing) -> bool:
    states = one.state(), other.state()
    return (
        one.model_dump() == other.model_dump()
        and set(states[0]) == set(states[1])
        and all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    )


def _runs(X: Iterable[Any]) -> Iterator[tuple[type, Iterable[Any]]]:
    """Consecutive inputs of one kind: paths together, so that they are read in parallel."""
    from itertools import groupby

    def kind(item: Any) -> type:
        return Path if isinstance(item, (str, Path)) else object

    yield from groupby(X, kind)
