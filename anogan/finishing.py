"""After the networks are trained: healthy map, threshold and the controls beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from anogan.calibration import Calibration, look
from anogan.detector import Findings
from anogan.residuals import Postprocessing
from anogan.scorer import AnomalyScorer
from anogan.shortcuts import marks
from ganatomy import registry
from ganatomy.artifacts import Artifact, build_model
from ganatomy.cache import prepare
from ganatomy.errors import WrongUse
from ganatomy.measures.pixels import HealthyPixels
from ganatomy.registry import Preset
from ganatomy.scans import Preprocessing
from ganatomy.tables import Table


def finish(
    artifact: Artifact,
    preprocessing: Preprocessing,
    training: Table,
    holdout: Table,
    fpr: float,
    *,
    controls: bool = True,
) -> AnomalyScorer:
    """A calibrated scorer of a trained detector, with its controls trained beside it.

    Args:
        artifact: the trained model; no arrays yet.
        preprocessing: fitted on the training scans.
        training: healthy scans the networks were trained on.
        holdout: healthy scans of other patients.
        fpr: share of healthy scans that may be called abnormal.
        controls: whether it has any; a member of an ensemble has none of its own.
    """
    scorer = calibrated(artifact, preprocessing, holdout, fpr)
    if controls and artifact.preset.model != registry.preset("linear").model:
        scorer.controls_ = {
            name: trained_control(preset, preprocessing, training, holdout, fpr)
            for name, preset in control_presets(artifact.preset).items()
        }
    return scorer


def control_presets(preset: Preset) -> dict[str, Preset]:
    """The presets of the controls: the same pipeline without a network, and next to nothing.

    "linear" has the preset's own pre- and postprocessing; "raw" has neither margin, equalisation,
    alignment, mask, bias field, border nor map score: principal components of the pictures as they
    are.
    """
    control = registry.preset("linear")
    linear: dict[str, Any] = {
        **preset.model_dump(),
        "name": "linear",
        "title": "Principal components through the same pipeline",
        "model": control.model,
        # Fitted on the first role alone, whatever else the model takes.
        "roles": {role: preset.roles.get(role, what) for role, what in control.roles.items()},
        "paper": control.paper,
        "hyperparameters": control.hyperparameters,
        "postprocessing": {**preset.postprocessing, "score": "map"},
    }
    plain = {"equalise": None, "align": False, "normalise": "range"}
    plain |= {"mask": None, "mask_erosion": 0.0, "bias_field": False, "margin": 0.0}
    raw = {
        **linear,
        "name": "raw",
        "title": "Principal components of the pictures as they are",
        "preprocessing": {**preset.preprocessing, **plain},
        "postprocessing": {**preset.postprocessing, "score": "paper", "border": 0.0},
    }
    return {"linear": Preset(**linear), "raw": Preset(**raw)}


def calibrated(
    artifact: Artifact, preprocessing: Preprocessing, holdout: Table, fpr: float
) -> AnomalyScorer:
    """A scorer whose healthy map and threshold come from the holdout."""
    artifact.arrays = {f"preprocessing/{k}": array for k, array in preprocessing.state().items()}
    scorer = AnomalyScorer(artifact, fpr)
    found, whose, looks, marked, places = [], [], [], [], []
    for own, (item, findings) in zip(holdout.whose, scorer.examined(holdout.first), strict=True):
        if findings is not None:
            # What a score is made of; pictures of all held-out scans would fill the memory.
            found.append(findings._replace(reconstruction=None))
            whose.append(own)
            looks.append(look(item.scan, item.prepared))
            marked.append(marks(item.scan))
            places.append(item.prepared)
    if not found:
        raise WrongUse("not one of the scans held out for calibration could be read")
    scores, pixels = [], HealthyPixels()
    judged = healthy_judgements(scorer.postprocessing_, found, whose)
    for place, (maps, score) in zip(places, judged, strict=True):
        scores.append(score)
        pixels.add(place.back(maps))
    scorer.calibration_ = Calibration.of(
        scores, np.stack(looks), fpr, pixels=pixels, marks=np.stack(marked)
    )
    return scorer


def healthy_judgements(
    post: Postprocessing, found: Sequence[Findings], whose: Sequence[str]
) -> Iterator[tuple[np.ndarray, float]]:
    """Fit the healthy map on held-out scans and judge them as scans it has not seen.

    Each is judged by the map of all other patients' scans: in a map that holds its own residual, or
    that of another scan of the same patient, a scan scores lower than any new one, and the
    threshold would be passed more often than stated. A new scan is judged by the map of all n, so
    that calibration scores are exchangeable with new ones up to the share that one patient is of
    the map.

    Args:
        post: gets the healthy map of all.
        found: what the detector says of each scan.
        whose: the patient of each scan.

    Yields:
        Maps on the model's grid, [m, *size], and the score of each scan.

    Raises:
        WrongUse: all are of one patient, which leaves no others.

    Reference: Barber et al. 2021, section 1 (the jackknife; here the map alone is fitted anew).
    """
    # Of tiles a second copy would be too much.
    post.fit(chain.from_iterable(findings.residual for findings in found))
    own = {patient: [] for patient in whose}
    for patient, findings in zip(whose, found, strict=True):
        own[patient].append(findings.residual)
    last, others = None, post
    for patient, findings in zip(whose, found, strict=True):
        if patient != last:  # a table mostly has a patient's scans one after another
            last, others = patient, post.without(chain.from_iterable(own[patient]))
        maps, _, score = others.judge(findings)
        yield maps, score


def trained_control(
    preset: Preset, preprocessing: Preprocessing, training: Table, holdout: Table, fpr: float
) -> AnomalyScorer:
    """A calibrated scorer of a control's preset; `preprocessing` is the model's, fitted."""
    own = Preprocessing(**preset.preprocessing)
    own.load_state(preprocessing.state() if own.align else {})
    samples = prepare(training.first, own).array
    shape = samples.shape[1:]
    model = build_model(preset, shape)
    model.solve(samples)
    return calibrated(Artifact(preset, model, shape), own, holdout, fpr)
