"""A model and others measured on the same pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from ganatomy.scans import read_scan
from ganatomy.tables import TableError
from registration.baselines import identity
from registration.evaluation import NETWORK, OWN, REFINEMENT, evaluate
from registration.known_transforms import affine, error_of, shown_points
from registration.pairs import Pair, read_pairs
from registration.refinement import Level
from registration.registrar import Registrar
from tests.registration.aligners import artifact
from tests.registration.placing import place, points_of, turn

LEVELS = (Level(6.0, 400, 10, 8, 2.0), Level(3.0, 1500, 12, 20, 0.5))


@pytest.fixture
def pairs(tmp_path) -> list[Pair]:
    """Three volumes of one body in other places; labels and landmarks go with it."""
    draw = np.random.default_rng(0)
    for number, name in enumerate("abc"):
        grid = place(turn((5 * number, 3, -4)) * (1.5, 1.7, 2.2), (26, 24, 20), (0.0, 10.0, -20.0))
        middle = np.array([0.0, 10.0, -20.0]) + (-5.0, 6.0, 0.0)[number]
        away = points_of(grid, (26, 24, 20)) - middle
        body = 1000 * np.exp(-((away / (9.0, 7.0, 8.0)) ** 2).sum(-1)) + draw.normal(0, 1)
        nibabel.Nifti1Image(body.astype(np.float32), grid).to_filename(tmp_path / f"{name}.nii")
        labels = (body > 300).astype(np.uint8) + (body > 700)
        nibabel.Nifti1Image(labels.astype(np.uint8), grid).to_filename(tmp_path / f"{name}-l.nii")
        spots = middle + np.array([[0, 0, 0], [3, 0, 0], [0, -3, 2]])
        lines = ["x,y,z", *(",".join(map(str, spot)) for spot in spots)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    columns = "fixed,moving,fixed_labels,moving_labels,fixed_points,moving_points,patient"
    lines = [f"{a}.nii,{b}.nii,{a}-l.nii,{b}-l.nii,{a}.csv,{b}.csv,{a}" for a, b in ("ab", "bc")]
    (tmp_path / "pairs.csv").write_text("\n".join([columns, *lines]))
    return read_pairs([str(tmp_path / "pairs.csv")])


def test_labels_and_landmarks_are_measured_beside_the_identity(pairs, tmp_path):
    registrar = Registrar(artifact())
    found = evaluate(registrar, pairs, tmp_path / "out").measures
    assert json.loads((tmp_path / "out" / "measures.json").read_text()) == found
    own, identity = found["measures"], found["methods"]["identity"]
    assert own["dice"]["value"] > 0.8 > identity["dice"]["value"]
    assert own["error_median"]["value"] < 1.5
    # The bodies lie 11·√3 and 6·√3 mm apart.
    assert identity["error_median"]["value"] == pytest.approx(8.5 * 3**0.5, abs=0.01)
    assert identity["error_failures"]["value"] == 1
    assert own["hd95_mm"]["value"] < identity["hd95_mm"]["value"]
    assert own["folds"]["value"] == 0
    assert own["log_jacobian_deviation"]["value"] < 1e-4
    gap = found["differences"]["identity"]
    assert gap["dice"]["value"] == pytest.approx(own["dice"]["value"] - identity["dice"]["value"])
    assert gap["error_mm"]["high"] < 0
    assert (found["n_pairs"], found["patients"], found["failed"]) == (2, True, [])


def test_known_transforms_are_made_and_found_again(pairs, tmp_path):
    registrar = Registrar(artifact(bends=True))
    alone = [Pair("a", pairs[0].fixed, pairs[0].fixed, "a")]
    found = evaluate(registrar, alone, known=3)
    assert found.measures["known_transforms"] == found.measures["n_pairs"] == 3
    rows = found.scores
    assert set(rows["method"]) == {OWN, "identity"}
    assert rows["error_mm"].between(0, 30).all()
    again = evaluate(registrar, alone, known=3).scores
    assert again["error_mm"].tolist() == rows["error_mm"].tolist()


def test_a_rigid_model_is_asked_for_rigid_transforms(pairs):
    alone = [Pair("a", pairs[0].fixed, pairs[0].fixed, "a")]
    found = evaluate(Registrar(artifact()), alone, known=4).measures
    own, identity = found["measures"], found["methods"]["identity"]
    assert own["error_median"]["value"] < identity["error_median"]["value"]
    assert found["score"]["n"] == 4


def test_an_affine_model_is_asked_for_affine_transforms_beside_affine_programs(pairs, monkeypatch):
    asked = []

    def named(kind):
        asked.append(kind)
        return {"identity": identity, "another": identity}

    monkeypatch.setattr("registration.evaluation.baselines", named)
    own = artifact()
    own.preset.hyperparameters["motion"] = "affine"
    alone = [Pair("a", pairs[0].fixed, pairs[0].fixed, "a")]
    rows = evaluate(Registrar(own), alone, known=3, others=True).scores
    assert asked == ["affine"]
    scan = read_scan(pairs[0].fixed)
    goals = [affine(scan, 0, number) for number in range(3)]
    points = [shown_points(scan, seed=number) for number in range(3)]
    far = [error_of(a.inverse(), p, p) for a, p in zip(goals, points, strict=True)]
    np.testing.assert_allclose(rows[rows["method"] == "identity"]["error_mm"], far)


def test_network_and_refinement_are_measured_apart(pairs, monkeypatch):
    monkeypatch.setattr("registration.refinement.FAR", LEVELS)
    own = artifact()
    own.preset.postprocessing["refine"] = "far"
    alone = [Pair("a", pairs[0].fixed, pairs[0].fixed, "a")]
    found = evaluate(Registrar(own), alone, known=2)
    assert list(found.measures["methods"]) == [NETWORK, REFINEMENT, "identity"]
    network = evaluate(Registrar(artifact()), alone, known=2).scores
    rows = found.scores
    scores = {name: own["alignment_score"].to_numpy() for name, own in rows.groupby("method")}
    np.testing.assert_allclose(scores[NETWORK], network["alignment_score"][::2], atol=1e-4)
    assert (scores[OWN] != scores[NETWORK]).all()  # of the pair as the refinement left it
    same = rows[rows["method"] == NETWORK]["error_mm"].to_numpy()
    np.testing.assert_allclose(same, network[network["method"] == OWN]["error_mm"])
    assert not np.allclose(rows[rows["method"] == OWN]["error_mm"], same)


def test_a_program_that_fails_leaves_the_scans_as_they_are(pairs, monkeypatch):
    def broken(fixed, moving):
        raise RuntimeError("too many samples map outside")

    named = {"identity": identity, "broken": broken}
    monkeypatch.setattr("registration.evaluation.baselines", lambda bends: named)
    found = evaluate(Registrar(artifact()), pairs, others=True).measures
    errors = [found["methods"][name]["error_median"] for name in named]
    assert errors[0] == errors[1]
    assert "broken gave nothing: RuntimeError" in found["failed"][0]


def relabelled(pair: Pair, tmp_path, role: str, change) -> Pair:
    """A pair with other labels of one of its scans."""
    image = nibabel.load(getattr(pair, f"{role}_labels"))
    path = tmp_path / f"odd-{role}.nii"
    change(np.asanyarray(image.dataobj), image.affine).to_filename(path)
    return replace(pair, name="odd", **{f"{role}_labels": path})


def turned(array, affine):
    """The same shape with the first axis the other way."""
    return nibabel.Nifti1Image(array, affine @ np.diag([-1.0, 1, 1, 1]))


def likely(array, affine):
    return nibabel.Nifti1Image((array / 4).astype(np.float32), affine)


def flat(array, affine):
    return nibabel.Nifti1Image(array[:, :, 10], affine)


def coloured(array, affine):
    return nibabel.Nifti1Image(np.stack([array] * 3, -1)[:, :, :, None], affine)


@pytest.mark.parametrize(
    ("role", "change", "message"),
    [
        ("fixed", turned, "lies elsewhere than its scan; expected labels on the grid"),
        ("fixed", likely, "does not hold labels; expected whole numbers"),
        ("moving", likely, "does not hold labels; expected whole numbers"),
        ("moving", flat, "is 2D with 1 channels; expected labels in 3D"),
        ("moving", coloured, "is 3D with 3 channels; expected labels in 3D"),
    ],
)
def test_a_pair_whose_labels_do_not_fit_is_listed_and_the_rest_measured(
    pairs, tmp_path, role, change, message
):
    odd = relabelled(pairs[0], tmp_path, role, change)
    found = evaluate(Registrar(artifact()), [odd, *pairs]).measures
    assert found["n_pairs"] == 2
    assert found["measures"]["dice"]["value"] > 0.8
    (failure,) = found["failed"]
    assert f"odd-{role}.nii: {message}" in failure


def test_moving_labels_may_lie_on_a_grid_of_their_own(pairs, tmp_path):
    def reversed_axis(array, affine):
        other = affine @ np.diag([-1.0, 1, 1, 1])
        other[:3, 3] += affine[:3, 0] * (array.shape[0] - 1)
        return nibabel.Nifti1Image(array[::-1].copy(), other)

    same = relabelled(pairs[0], tmp_path, "moving", reversed_axis)
    found = evaluate(Registrar(artifact()), [same, pairs[0]]).scores
    own = found[found["method"] == OWN]["dice"]
    assert own.iloc[0] == pytest.approx(own.iloc[1], abs=1e-3)


def test_what_cannot_be_measured_is_said(pairs, tmp_path):
    registrar = Registrar(artifact())
    bare = [Pair("p", pair.fixed, pair.moving, "p") for pair in pairs]
    with pytest.raises(TableError, match="nothing is known of these pairs"):
        evaluate(registrar, bare)
    gone = [Pair("p", tmp_path / "none.nii", pairs[0].moving, "p")]
    with pytest.raises(TableError, match="not one of 1 pairs could be registered; the first"):
        evaluate(registrar, gone, known=1)
    some = evaluate(registrar, [*pairs, *gone]).measures
    assert some["n_pairs"] == 2
    assert "none.nii" in some["failed"][0]
    (tmp_path / "half.csv").write_text("fixed,moving,fixed_labels\na.nii,b.nii,a-l.nii\n")
    with pytest.raises(TableError, match="has fixed_labels without moving_labels"):
        read_pairs([str(tmp_path / "half.csv")])
