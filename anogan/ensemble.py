"""Several detectors as one: the mean of their scores, each over what healthy scans score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from anogan.calibration import Calibration, look
from anogan.detector import Findings
from anogan.face import Face
from anogan.finishing import control_presets, healthy_judgements, trained_control
from anogan.result import ABSENT, Result, in_groups
from anogan.scorer import AnomalyScorer
from anogan.shortcuts import marks
from anogan.standard_scores import StandardScores, left_out
from ganatomy import artifacts
from ganatomy.artifacts import Artifact, ArtifactError
from ganatomy.errors import WrongUse
from ganatomy.measures.pixels import HealthyPixels
from ganatomy.registry import Preset
from ganatomy.tables import Table


@dataclass
class Members:
    """What an ensemble's `Artifact` has in the place of one model."""

    scorers: dict[str, AnomalyScorer]
    # They lie in the members' own folders.
    networks: ClassVar[dict[str, Any]] = {}
    averages: ClassVar[dict[str, Any]] = {}

    @property
    def chunk(self) -> int:
        """Samples that are told of at a time."""
        return next(iter(self.scorers.values())).artifact_.model.chunk


@dataclass
class JointResult(Result):
    """What an ensemble says about one scan; prepared, findings and maps are its first member's.

    Attributes:
        parts: what each member says, in their order.
    """

    parts: Sequence[Result] = ABSENT

    @property
    def map(self) -> np.ndarray:
        """The mean of the members' maps, where one has seen the scan; NaN elsewhere."""
        return _mean_of_seen([part.map for part in self.parts])


class Ensemble(Face):
    """Scores scans with several trained detectors; a sibling of `AnomalyScorer`.

    A scan's score is the mean of its members' standard scores (see `StandardScores`), its map the
    mean of their maps, each over what healthy scans show at that pixel. A scan that one of them
    refuses has its error. Members of one model have the mean of its paper's scores as well.

    Args:
        model: the folder of an ensemble, any MLflow URI, or an `Artifact` of `Members`.
        fpr: share of healthy scans that `fit` lets be called abnormal.

    Attributes:
        members_: the detectors by name, `AnomalyScorer`s.
    """

    @property
    def artifact_(self) -> Artifact:
        if "_artifact" not in vars(self):
            if isinstance(self.model, Artifact):
                held = self.model
            else:
                held = artifacts.load(self._folder, self._members_of)
            self._artifact = held
            self.members_: dict[str, AnomalyScorer] = held.model.scorers
            first, *_ = self.members_.values()
            self.preprocessing_, self.postprocessing_ = first.preprocessing_, first.postprocessing_
            self._references = [
                StandardScores(m.calibration_.scores) for m in self.members_.values()
            ]
            state = held.room("calibration")
            if state and "calibration_" not in vars(self):
                self.calibration_ = Calibration.from_state(state)
        return self._artifact

    def _members_of(self, preset: Preset, shape: tuple[int, ...]) -> Members:
        scorers = {}
        for member in preset.members:
            scorer = AnomalyScorer(self._folder / "members" / member.name)
            if not scorer.__sklearn_is_fitted__():
                raise ArtifactError(f"{scorer.model}: a member of an ensemble has to be calibrated")
            scorers[member.name] = scorer
        return Members(scorers)

    def results(self, X: Any) -> Iterator[Result]:
        """One `Result` a scan, in order, as they come; read once for all members."""
        chunk = self.artifact_.model.chunk
        first, *_ = self.members_.values()
        for group in in_groups(first.results(X), chunk):
            yield from self._of_all(group, first)

    def again(self, results: Sequence[Result], other: Face) -> list[Result]:
        """This ensemble's results on the scans of another's results, read once for both."""
        assert self.artifact_
        first, *_ = self.members_.values()
        return list(self._of_all(first.again(results, other), first))

    def _of_all(self, group: list[Result], first: AnomalyScorer) -> Iterator[Result]:
        """The joint results, from the first member's."""
        said: list[tuple[AnomalyScorer, list[Result]]] = [(first, group)]
        for member in list(self.members_.values())[1:]:
            # Prepared once for all that see alike.
            seer, seen = next((one for one in said if member.sees_as(one[0])), said[0])
            said.append((member, member.again(seen, seer)))
        for parts in zip(*(own for _, own in said), strict=True):
            yield self._joined(parts)

    def _joined(self, parts: Sequence[Result]) -> Result:
        refused = next((part for part in parts if part.error is not None), None)
        if refused is not None:
            return Result(refused.path, error=refused.error)
        first = parts[0]
        told = list(zip(self._references, parts, strict=True))
        # Summed exactly, so that the order of the members does not matter.
        score = math.fsum(of(part.anomaly_score) for of, part in told) / len(parts)
        by_slice = np.mean([of(part.slice_scores) for of, part in told], axis=0)
        result = JointResult(
            first.path,
            anomaly_score=score,
            paper_score=self._paper_score(parts, score),
            slice_scores=by_slice,
            scan=first.scan,
            prepared=first.prepared,
            findings=first.findings,
            maps=first.maps,
            rivals={name: p.anomaly_score for name, p in zip(self.members_, parts, strict=True)},
            parts=parts,
        )
        return self._compared(result)

    def _paper_score(self, parts: Sequence[Result], score: float) -> float:
        """The mean of the members' where all are of one paper; else theirs say nothing together."""
        if len({member.artifact_.preset.model for member in self.members_.values()}) > 1:
            return score
        return math.fsum(part.paper_score for part in parts) / len(parts)

    def look_of(self, result: Result) -> np.ndarray:
        """As one scorer's, with the alignment to every mean that members align to."""
        assert isinstance(result, JointResult)
        looks, known = [look(result.scan, result.prepared)], [result.prepared]
        for part in result.parts:
            if not any(part.prepared is one for one in known):
                known.append(part.prepared)
                if part.prepared.alignment is not None:
                    looks.append(part.prepared.alignment)
        return np.concatenate(looks)

    def _rooms(self) -> dict[str, dict[str, np.ndarray]]:
        return {}

    def _write(self, folder: Path) -> None:
        super()._write(folder)
        for name, member in self.members_.items():
            member._write(folder / "members" / name)

    # Training -------------------------------------------------------------------------------

    @classmethod
    def of(
        cls,
        preset: Preset,
        members: dict[str, AnomalyScorer],
        training: Table,
        holdout: Table,
        fpr: float,
        facts: dict[str, Any],
    ) -> Ensemble:
        """A calibrated ensemble of trained detectors, with the controls of the first beside it.

        Args:
            preset: of the ensemble.
            members: by name; calibrated on the same holdout.
            training: healthy scans they were trained on.
            holdout: healthy scans of other patients.
            fpr: share of healthy scans that may be called abnormal.
            facts: what config.json is to say of the training.

        Raises:
            WrongUse: none of the holdout can be read.
        """
        first, *_ = members.values()
        own = first.artifact_.preset
        # How scans are read stands where it does in a single model.
        preset = preset.model_copy(update={"preprocessing": own.preprocessing})
        ensemble = cls(Artifact(preset, Members(members), first.artifact_.shape, {}, facts), fpr)
        ensemble._calibrate_by_others(holdout)
        ensemble.controls_ = {
            name: trained_control(control, first.preprocessing_, training, holdout, fpr)
            for name, control in control_presets(own).items()
        }
        return ensemble

    def _calibrate_by_others(self, holdout: Table) -> None:
        """Calibrate on the scans that the members were calibrated on.

        Each scan is scored by healthy maps and healthy scores of all other patients (see
        `finishing.healthy_judgements`): where it is one of those it is compared with, it scores
        lower than a new one.
        """
        found: list[list[Findings]] = []
        whose, places, looks, marked = [], [], [], []
        for patient, result in zip(holdout.whose, self.results(holdout.first), strict=True):
            if isinstance(result, JointResult):
                whose.append(patient)
                # What a score is made of; the pictures of all held-out scans would fill the memory.
                found.append([p.findings._replace(reconstruction=None) for p in result.parts])
                places.append([part.prepared for part in result.parts])
                looks.append(self.look_of(result))
                marked.append(marks(result.scan))
        if not found:
            raise WrongUse("not one of the scans held out for calibration suits all members")
        judged = [
            healthy_judgements(member.postprocessing_.model_copy(), own, whose)
            for member, own in zip(self.members_.values(), zip(*found, strict=True), strict=True)
        ]
        scores, pixels = [], HealthyPixels()
        for prepared, said in zip(places, zip(*judged, strict=True), strict=True):
            scores.append([score for _, score in said])
            pixels.add(
                _mean_of_seen([p.back(maps) for p, (maps, _) in zip(prepared, said, strict=True)])
            )
        told = [left_out(own, whose) for own in np.array(scores).T]
        self.calibration_ = Calibration.of(
            [math.fsum(one) / len(one) for one in zip(*told, strict=True)],
            np.stack(looks),
            self.fpr,
            pixels=pixels,
            marks=np.stack(marked),
        )


def _mean_of_seen(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of maps [*grid] at each pixel over those that are not NaN there."""
    total, count = np.zeros(maps[0].shape), np.zeros(maps[0].shape, int)
    for one in maps:
        seen = ~np.isnan(one)
        total += np.where(seen, one, 0)
        count += seen
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
