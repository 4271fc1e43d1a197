"""What scikit-learn asks of its own estimators, asked of AnomalyScorer."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.utils import estimator_checks

from anogan import AnomalyScorer
from tests.anogan.test_scorer import unfitted


class OfRows(AnomalyScorer):
    """A scorer of rows of numbers, each shown as a picture: scikit-learn's checks know no other."""

    def results(self, X):
        return super().results([np.resize(row, (24, 24)) for row in np.asarray(X, np.float32)])


# Those that ask of every row of numbers to be data (one feature, zeros, counts of features), of
# labels, weights and sparse matrices cannot apply to pictures.
CHECKS = (
    "dict_unchanged",
    "do_not_raise_errors_in_init_or_set_params",
    "dont_overwrite_parameters",
    "dtype_object",
    "estimator_cloneable",
    "estimator_repr",
    "estimator_tags_renamed",
    "estimators_fit_returns_self",
    "estimators_overwrite_params",
    "estimators_pickle",
    "estimators_unfitted",
    "f_contiguous_array_estimator",
    "fit_check_is_fitted",
    "fit_idempotent",
    "fit_score_takes_y",
    "get_params_invariance",
    "inplace_ensure_writeable",
    "methods_sample_order_invariance",
    "methods_subset_invariance",
    "mixin_order",
    "no_attributes_set_in_init",
    "parameters_default_constructible",
    "pipeline_consistency",
    "readonly_memmap_input",
    "requires_y_none",
    "set_params",
)


@pytest.fixture(scope="module")
def uncalibrated(quick_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncalibrated") / "model"
    unfitted(quick_model).save(folder)
    return folder


@pytest.mark.filterwarnings("ignore::anogan.calibration.UnlikeScans")
@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_own_checks_pass(check, uncalibrated):
    getattr(estimator_checks, f"check_{check}")("OfRows", OfRows(uncalibrated, fpr=0.2))


def test_a_pickled_scorer_scores_the_same_at_the_same_threshold(quick_model, pictures):
    healthy = sorted((pictures.labelled / "normal").iterdir())
    paths = sorted((pictures.labelled / "abnormal").iterdir())[:5]
    scorer = AnomalyScorer.load(quick_model).set_params(fpr=0.2).fit(healthy)
    before, threshold = scorer.anomaly_score(paths), scorer.threshold_
    copy = pickle.loads(pickle.dumps(scorer))
    assert copy.threshold_ == threshold
    np.testing.assert_array_equal(copy.anomaly_score(paths), before)
