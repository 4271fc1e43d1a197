"""The scikit-learn-shaped face of whatever scores scans: all that needs no more than results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from anogan.calibration import PIXEL_FPR, Calibration, check_count, look, warn_of_unlike
from anogan.residuals import Postprocessing
from anogan.result import Result
from anogan.shortcuts import marks
from ganatomy import artifacts
from ganatomy.artifacts import Artifact
from ganatomy.errors import WrongUse
from ganatomy.measures.pixels import HealthyPixels
from ganatomy.progress import counter
from ganatomy.scans import Preprocessing, Scan
from ganatomy.tables import Table


class Face(OutlierMixin, BaseEstimator):
    """Scores, verdicts, thresholds and controls of what gives a `Result` a scan.

    Args:
        model: a model folder, any MLflow URI, or an `Artifact`.
        fpr: share of healthy scans that `fit` lets be called abnormal.

    Attributes:
        artifact_: the model, loaded when first asked for.
        controls_: by name, scorers to compare with, which come with a trained model.
        calibration_: healthy scores and looks; comes with a trained model, replaced by `fit`.
        threshold_: scores above it are abnormal.
    """

    preprocessing_: Preprocessing
    postprocessing_: Postprocessing

    def __init__(self, model: str | Path | Artifact, fpr: float = 0.05):
        self.model = model
        self.fpr = fpr

    def set_params(self, **params: Any) -> Self:
        """As scikit-learn's; with another model nothing of the one before is kept."""
        super().set_params(**params)
        if "model" in params:
            settings = self.get_params(deep=False)
            vars(self).clear()
            vars(self).update(settings)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What was given and calibrated; a copy reads networks and controls from `model` again."""
        kept = {*self.get_params(deep=False), "calibration_"}
        return {name: value for name, value in vars(self).items() if name in kept}

    # What a subclass does -------------------------------------------------------------------

    def results(self, X: Any) -> Iterator[Result]:
        """One `Result` a scan, in order, as they come; a broken scan has its error and no score."""
        raise NotImplementedError

    def again(self, results: Sequence[Result], other: Face) -> list[Result]:
        """The results on the scans of another's results, read once for both."""
        raise NotImplementedError

    @property
    def artifact_(self) -> Artifact:
        raise NotImplementedError

    def _rooms(self) -> dict[str, dict[str, np.ndarray]]:
        """What was fitted beside the networks, by room and name."""
        raise NotImplementedError

    # The model ------------------------------------------------------------------------------

    @cached_property
    def _folder(self) -> Path:
        # Once: a model in a store is downloaded.
        assert not isinstance(self.model, Artifact)
        return artifacts.local_folder(self.model)

    @property
    def controls_(self) -> dict[str, Face]:
        if "_controls" not in vars(self):
            held = isinstance(self.model, Artifact)
            configs = () if held else self._folder.glob("controls/*/config.json")
            self._controls = {
                config.parent.name: self.load(config.parent) for config in sorted(configs)
            }
        return self._controls

    @controls_.setter
    def controls_(self, controls: dict[str, Face]) -> None:
        self._controls = controls

    def __sklearn_is_fitted__(self) -> bool:
        return bool(self.artifact_) and "calibration_" in vars(self)

    @property
    def threshold_(self) -> float:
        check_is_fitted(self)
        return self.calibration_.threshold

    # Fit: a threshold, never the network ----------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Face:
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
    def trainable(table: Table) -> Table:
        """The rows that may be trained and calibrated on: where labels are known, the healthy."""
        return table if table.label is None else table.rows(table.label == 0)

    @staticmethod
    def check(holdout: Table, fpr: float, validation: Table | None) -> None:
        """Refuse tables that could not be calibrated or measured on.

        Raises:
            WrongUse: too few scans are held out, or those of one patient alone, or the validation
                lacks a kind and masks.
        """
        from anogan.evaluation import check_labels

        check_count(len(holdout), fpr)
        if len(set(holdout.whose)) < 2:
            raise WrongUse("all scans held out for calibration are of one patient: hold out more")
        if validation is not None:
            check_labels(validation)

    def evaluate(self, table: Table, folder: Path | None = None) -> Any:
        """Measures on labelled scans; see `anogan.evaluation.evaluate`."""
        from anogan.evaluation import evaluate

        return evaluate(self, table, folder, progress=counter("evaluating"))

    def score_to(self, table: Table, folder: Path, *, maps: bool = True) -> list[str]:
        """Scores and maps into a folder, resumed; see `anogan.scoring.score_to`."""
        from anogan.scoring import score_to

        return score_to(self, table, folder, maps=maps)

    def calibrate(self, table: Table, fpr: float, pixel_fpr: float = PIXEL_FPR) -> list[str]:
        """New thresholds from healthy scans of another site; what could not be read, a line each.

        Args:
            table: healthy scans.
            fpr: share of them that may be called abnormal.
            pixel_fpr: share of an average one's pixels that may be called abnormal.

        Raises:
            WrongUse: too few scans for the false-positive rate.
        """
        table, failed = self.trainable(table), list[str]()

        def readable() -> Iterator[Result]:
            for result in self.results(table.first):
                if result.error is None:
                    yield result
                else:
                    failed.append(str(result.error))

        self._calibrate(readable(), fpr, pixel_fpr)
        self.fpr = fpr
        return failed

    def _calibrate(
        self, results: Iterable[Result], fpr: float, pixel_fpr: float = PIXEL_FPR
    ) -> None:
        scores, looks, marked, pixels = [], [], [], HealthyPixels()
        for result in results:
            pixels.add(result.map)
            marked.append(marks(result.scan))
            scores.append(result.anomaly_score)
            looks.append(self.look_of(result))
        self.calibration_ = Calibration.of(
            scores,
            np.array(looks),
            fpr,
            pixels=pixels,
            pixel_fpr=pixel_fpr,
            marks=np.array(marked),
        )

    def look_of(self, result: Result) -> np.ndarray:
        """What the calibration compares: how a scan looks before any network, [d]."""
        return look(result.scan, result.prepared)

    def _compared(self, result: Result) -> Result:
        """The result with what the calibration says of its score and look."""
        if "calibration_" in vars(self):
            calibration = self.calibration_
            result.threshold = calibration.threshold
            result.p_value = float(calibration.p_value(np.array([result.anomaly_score]))[0])
            result.abnormal = result.anomaly_score > calibration.threshold
            result.unlike = float(calibration.unlike(self.look_of(result)[None])[0])
        return result

    @staticmethod
    def _whole(result: Result) -> Result:
        if result.error is not None:
            raise result.error
        return result

    # On disk -----------------------------------------------------------------------------------

    @staticmethod
    def load(model: str | Path) -> Face:
        """A scorer of a saved model, ready to score: an `Ensemble` where it has members.

        Raises:
            ganatomy.artifacts.ArtifactError: there is no such model.
        """
        from anogan.ensemble import Ensemble
        from anogan.scorer import AnomalyScorer

        folder = artifacts.local_folder(model)
        several = artifacts.read_config(folder)["preset"].get("members")
        scorer = (Ensemble if several else AnomalyScorer)(folder)
        if "calibration" in scorer.artifact_.facts:
            scorer.fpr = scorer.artifact_.facts["calibration"]["fpr"]
        return scorer

    def save(self, folder: str | Path) -> None:
        """Write model, fitted arrays, calibration and controls as a model folder for MLflow too."""
        from ganatomy.serving import write_pyfunc

        self._write(Path(folder))
        write_pyfunc(Path(folder))

    def _write(self, folder: Path) -> None:
        artifact, rooms = self.artifact_, self._rooms()
        if "calibration_" in vars(self):
            rooms["calibration"] = self.calibration_.state()
            threshold = self.calibration_.threshold
            artifact.facts["calibration"] = {
                "fpr": self.calibration_.fpr,
                "n": len(self.calibration_.scores),
                "threshold": threshold if np.isfinite(threshold) else None,
                "pixel_fpr": self.calibration_.pixel_fpr,
                "pixel_threshold": self.calibration_.pixel_threshold,
            }
        artifact.arrays = {
            f"{room}/{name}": array for room, own in rooms.items() for name, array in own.items()
        }
        artifacts.save(artifact, folder)
        for name, control in self.controls_.items():
            control._write(folder / "controls" / name)
