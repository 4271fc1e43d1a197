"""Segmentors in the loop of a CycleGAN: whose labels judge what, and who moves when."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ganatomy import losses
from ganatomy.artifacts import Artifact, save
from ganatomy.errors import WrongUse
from ganatomy.registry import preset
from ganatomy.training import train
from synthesis.shape_cycle import ShapeCycleGAN
from tests.feeding import feed

SMALL = {
    "labels": 2,
    "width": 2,
    "generator_settings": {"blocks": 1},
    "critic_width": 2,
    "critic_depth": 1,
    "pool": 3,
    "segmentor_width": 2,
    "segmentor_depth": 1,
}
SIZE = (16, 12)


def made(size=SIZE, **settings) -> ShapeCycleGAN:
    keras.utils.set_random_seed(0)
    return ShapeCycleGAN((*size, 1), **{**SMALL, **settings})


def scans(size=SIZE, count=3) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    images = {kind: draw.uniform(-1, 1, (count, *size, 1)) for kind in ("scan", "target")}
    labels = {f"{kind}_labels": draw.integers(0, 3, (count, *size, 1)) for kind in images}
    return {name: array.astype("float32") for name, array in (images | labels).items()}


def batch(*left_out: str) -> dict:
    arrays = {name: array for name, array in scans().items() if name not in left_out}
    return {n: keras.ops.convert_to_tensor(a) for n, a in arrays.items()} | {
        "pool": keras.ops.zeros((3, 4))
    }


def missed(model: ShapeCycleGAN, kind: str, image, labels) -> np.ndarray:
    logits = model.networks[f"segmentor_of_{kind}s"](image)
    return np.asarray(losses.shape(logits, labels, form="both"))


def test_what_was_made_is_held_against_the_labels_of_what_it_was_made_of():
    model, one = made(), batch()
    played = model.play(one)
    terms = model.generator_terms(one, played)
    of_targets = missed(model, "target", played["target"], one["scan_labels"])
    of_scans = missed(model, "scan", played["scan"], one["target_labels"])
    np.testing.assert_allclose(terms["shape"](), of_targets + of_scans, rtol=1e-4)
    back = missed(model, "target", played["target_again"], one["target_labels"])
    back = back + missed(model, "scan", played["scan_again"], one["scan_labels"])
    np.testing.assert_allclose(terms["shape_back"](), back, rtol=1e-4)
    own = model.segmentor_terms(one, played)
    np.testing.assert_allclose(own["made"](), of_targets + of_scans, rtol=1e-4)
    real = sum(missed(model, kind, one[kind], one[f"{kind}_labels"]) for kind in ("scan", "target"))
    np.testing.assert_allclose(own["real"](), real, rtol=1e-4)


def test_labels_of_one_side_are_enough_for_what_needs_no_others():
    model, one = made(segmentors=["target"]), batch("target_labels")
    played = model.play(one)
    terms = model.generator_terms(one, played)
    only = missed(model, "target", played["target"], one["scan_labels"])
    np.testing.assert_allclose(terms["shape"](), only, rtol=1e-4)
    assert set(model.segmentor_terms(one, played)) == {"made"}
    with pytest.raises(WrongUse, match="generator/shape_back has a weight, and the table no targ"):
        terms["shape_back"]()
    frozen = made(segmentors=["target"], segmentor="before")
    with pytest.raises(WrongUse, match="segmentor of targets has nothing to learn: give target_la"):
        frozen.segmentor_terms(one, {})


@pytest.mark.parametrize(("when", "left"), [("before", {"segmentor_of_targets"}), ("first", set())])
def test_a_segmentor_learns_first_and_is_left_alone_then_where_it_is_frozen(when, left, eager):
    model = made(
        segmentors=["target"],
        segmentor=when,
        term_weights={"generator/shape": 0.0, "generator/masks": 1.0},
    )
    arrays = {name: array for name, array in scans().items() if name != "scan_labels"}

    def after(segmentation: int, adversarial: int) -> dict[str, list]:
        steps = {"segmentation": segmentation, "adversarial": adversarial}
        train(model, feed(model, 2, **arrays), steps, every=1)
        return {name: network.get_weights() for name, network in model.networks.items()}

    def moved(one: dict, other: dict) -> set[str]:
        return {
            n for n in one if any((a != b).any() for a, b in zip(one[n], other[n], strict=True))
        }

    began = {name: network.get_weights() for name, network in model.networks.items()}
    learned = after(1, 0)
    assert moved(began, learned) == {"segmentor_of_targets"}
    assert moved(learned, after(1, 1)) == set(began) - left


def test_a_segmentor_is_taken_over_from_a_model_of_ones_name(tmp_path):
    plain = {"generator": "unet", "generator_settings": {"depth": 1}}  # quickly built
    small = [f"{name}={value}" for name, value in (SMALL | plain).items()]
    recipe = preset("hippocampus-shape").set([*small, "optimizers={}", f"size={[*SIZE]}"])
    other = made(**plain)
    other.networks["segmentor_of_targets"].set_weights(
        [w + 0.5 for w in other.networks["segmentor_of_targets"].get_weights()]
    )
    save(Artifact(recipe, other, (*SIZE, 1), {}, {"seed": 0}), tmp_path / "judge")
    settings = {**plain, "segmentors": ["target"], "segmentor": str(tmp_path / "judge")}
    model = made(**settings)
    model.enter(model.stage_list[0])
    theirs, own = (one.networks["segmentor_of_targets"].get_weights() for one in (other, model))
    assert all((a == b).all() for a, b in zip(theirs, own, strict=True))
    wider = made(segmentor_width=3, **settings)
    with pytest.raises(WrongUse, match="has no segmentor of targets like this model's"):
        wider.enter(wider.stage_list[0])


def test_volumes_have_segmentors_too():
    size = (8, 9, 10)
    model = made(size, generator="unet", generator_settings={}, segmentor_depth=None)
    found = model.segment("target", scans(size)["target"])
    assert found.shape == (3, *size)
    assert set(np.unique(found)) <= {0, 1, 2}
    with pytest.raises(ValueError, match="no segmentor of mask"):
        model.segment("mask", scans(size)["target"])


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"labels": 0}, "beside the background, not 0"),
        ({"segmentors": ["x"]}, "of scan, of target"),
    ],
)
def test_what_is_no_segmentor_is_refused(wrong, why):
    with pytest.raises(ValueError, match=why):
        made(**wrong)
