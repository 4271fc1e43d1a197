"""Deformable registration: what is trained, what comes out, and what it means in mm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ganatomy.errors import WrongUse
from ganatomy.gradients import gradient
from registration.deformable import SIMILARITIES, Deformable
from registration.fields import compose, jacobian_determinant, warp
from registration.segmentor import chances, unmarked
from registration.transforms import moved
from registration.velocity_network import coarse_grid, enlarged, velocity_network
from registration.warp import resample
from tests.registration.aligners import batch_of

SHAPES = {2: (13, 10, 1), 3: (9, 8, 11, 1)}


def made(rank: int = 3, **settings: Any) -> Deformable:
    return Deformable(SHAPES[rank], **{"width": 2, "critic_width": 2, **settings})


def bumpy(model: Deformable, size: float = 1.0) -> np.ndarray:
    """A smooth velocity on the coarse grid."""
    from scipy.ndimage import gaussian_filter

    coarse = coarse_grid(model.grid)
    draw = np.random.default_rng(1).normal(size=(1, *coarse, len(coarse)))
    smooth = gaussian_filter(draw, (0, *[1.5] * len(coarse), 0))
    return (size * smooth / np.abs(smooth).max()).astype("float32")


def test_a_pyramid_adds_what_each_level_still_finds():
    model, one = made(3, levels=2), made(3)
    assert set(model.networks) == {"generator", "generator_1", "discriminator"}
    one.networks["generator"].set_weights(model.networks["generator"].get_weights())
    batch = batch_of(model)
    coarse = model.networks["generator_1"].get_layer("flow").get_layer("output")
    coarse.kernel.assign(0 * coarse.kernel)
    same = model.velocity(batch["fixed"], batch["moving"])
    expected = one.velocity(batch["fixed"], batch["moving"])
    np.testing.assert_allclose(same, expected, atol=1e-5)
    # A voxel of the coarse level's velocity is two of the finest's.
    fine = model.networks["generator"].get_layer("flow").get_layer("output")
    fine.kernel.assign(0 * fine.kernel)
    coarse.bias.assign([0.5, 0.0, 0.0])
    found = np.asarray(model.velocity(batch["fixed"], batch["moving"]))
    np.testing.assert_allclose(found[..., 0], 1.0, atol=1e-6)
    np.testing.assert_allclose(found[..., 1:], 0.0, atol=1e-6)


def test_a_shift_moves_scan_and_labels_by_the_same_whole_voxels():
    model = made(3, shift=2.0, labels=2)
    batch = batch_of(model, labels=2)
    batch["shift"] = np.array([[1.0, 0.5, 0.0], [0.5, 0.5, 0.8]], "float32")
    place = model.placing.place(batch)
    image = np.asarray(model.placing.placed(batch["moving"], place, value=-1.0))
    labels = batch["moving_labels"]
    labels = np.asarray(model.placing.placed(labels, place, interpolation="nearest", value=0.0))
    np.testing.assert_array_equal(image[0, :-2, :, 2:], batch["moving"][0, 2:, :, :-2])
    np.testing.assert_array_equal(labels[0, :-2, :, 2:], batch["moving_labels"][0, 2:, :, :-2])
    np.testing.assert_array_equal(labels[1, ..., :-1, :], batch["moving_labels"][1, ..., 1:, :])
    assert (image[0, -2:] == -1).all()
    assert (labels[0, -2:] == 0).all()
    assert not {"shift", "tilt"} & set(made(3).noise)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_tilt_turns_the_moving_scan_and_its_warped_image_is_interpolated_once(rank):
    model = made(rank, shift=2.0, tilt=20.0)
    batch = batch_of(model)
    played = model.play(batch)
    assert not np.allclose(played["moving"], batch["moving"], atol=0.1)
    place = np.asarray(played["place"]["matrix"])
    turns = place[:, :-1, :-1]
    eye = np.broadcast_to(np.eye(rank), turns.shape)
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), eye, atol=1e-5)
    # The field first, then the placing, as two maps of points would send them.
    field = np.asarray(model.field(played["flow"])) * model.placing.spacing
    middle = (np.array(model.grid) - 1) / 2
    points = (np.moveaxis(np.indices(model.grid), 0, -1) - middle) * model.placing.spacing + field
    points = np.einsum("b...i,bji->b...j", points, turns)
    points = points + place[:, :-1, -1].reshape(len(turns), *[1] * rank, rank)
    voxels = points / model.placing.spacing + middle
    expected = resample(batch["moving"], voxels.astype("float32"), border="constant", value=-1.0)
    np.testing.assert_allclose(played["moved"], expected, atol=1e-3)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_bending_is_as_large_as_said_and_comes_between_the_field_and_the_placing(rank):
    model = made(rank, tilt=20.0, bending=2.0)
    batch = batch_of(model)
    batch["bent"] = np.ones_like(batch["bent"])
    played = model.play(batch)
    bend, spacing = played["place"]["bend"], model.placing.spacing
    length = np.linalg.norm(np.asarray(bend) * spacing, axis=-1).mean(tuple(range(1, rank + 1)))
    assert (length > 1.0).all()
    assert (length <= 2.0).all()
    assert np.asarray(jacobian_determinant(bend)).min() > 0
    whole = compose(model.field(played["flow"]), bend)
    place = {"matrix": played["place"]["matrix"]}
    expected = model.placing.placed(batch["moving"], place, whole, value=-1.0)
    np.testing.assert_allclose(played["moved"], expected, atol=1e-5)
    # Without a field it is the bending alone.
    expected = model.placing.placed(batch["moving"], place, bend, value=-1.0)
    np.testing.assert_allclose(played["moving"], expected, atol=1e-5)
    assert not {"bend", "bent"} & set(made(rank, tilt=20.0).noise)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_step_trains_both_players(rank):
    model = made(rank, labels=2, term_weights={"generator/cycle": 0.1})
    before = {n: [w.numpy() for w in net.trainable_variables] for n, net in model.networks.items()}
    data = {name: array[:, None] for name, array in batch_of(model, labels=2).items()}
    model.enter(model.stage_list[0])
    logs = model.train_step(data)
    assert set(logs) >= {
        "discriminator/adversarial",
        "discriminator/apart",
        "discriminator/rank",
        "generator/ncc",
        "generator/adversarial",
        "generator/cycle",
        "generator/dice",
        "generator/smoothness",
    }
    assert all(np.isfinite(value).all() for value in logs.values())
    for name, network in model.networks.items():
        pairs = zip(before[name], network.trainable_variables, strict=True)
        assert any(not np.array_equal(a, b.numpy()) for a, b in pairs)


@pytest.mark.parametrize("shape", [(13, 10, 2), (4, 31, 1), (9, 8, 11, 1), (6, 5, 17, 1)])
def test_an_untrained_network_takes_any_sides_and_hardly_moves(shape):
    network = velocity_network(shape, width=2)
    pair = np.random.default_rng(2).uniform(-1, 1, (2, *shape[:-1], 2 * shape[-1]))
    velocity = np.asarray(network(pair.astype("float32"), training=False))
    assert velocity.shape == (2, *coarse_grid(shape[:-1]), len(shape) - 1)
    assert 0 < np.abs(velocity).max() < 0.2


def test_the_coarse_grid_is_where_it_is_said_to_be():
    place = np.moveaxis(np.indices((4, 3)), 0, -1)[None] * 2.0 + 0.5
    found = np.asarray(enlarged(place.astype("float32"), (7, 6)))[0]
    expected = np.clip(np.moveaxis(np.indices((7, 6)), 0, -1), 0.5, [6.5, 4.5])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("steps", [7, 0])
def test_the_transform_in_mm_is_what_warped_the_samples(rank, steps):
    model = made(rank, steps=steps)
    model.networks["generator"].get_layer("flow").get_layer("output").bias.assign([0.4] * rank)
    draw = np.random.default_rng(3)
    fixed, moving = draw.uniform(-1, 1, (2, 1, *model.shape)).astype("float32")
    found = model.align(fixed, moving)
    grids = [np.eye(rank + 1), np.eye(rank + 1)]
    grids[0][:-1] = draw.normal(size=(rank, rank + 1)) * 0.3 + 1.5 * np.eye(rank, rank + 1)
    grids[1][:-1] = draw.normal(size=(rank, rank + 1)) * 0.3 + 2.0 * np.eye(rank, rank + 1)
    transform = model.transform(found, 0, *grids)
    again = moved(moving[0], grids[1], transform, model.grid, grids[0], value=-1.0)
    np.testing.assert_allclose(again, found.moved[0], atol=2e-4)
    assert np.abs(found.moved - moving).max() > 0.1


def test_a_flow_has_its_inverse_and_does_not_fold():
    model = Deformable((20, 18, 16, 1), width=2, critic_width=2)
    velocity = bumpy(model, 2.0)
    there, back = (model.field(model.flow(sign * velocity)) for sign in (1, -1))
    assert np.asarray(jacobian_determinant(there)).min() > 0
    assert np.abs(there).max() > 2
    inner = (0, *[slice(5, -5)] * 3)
    miss = np.asarray(there + warp(back, there, border="edge"))[inner]
    assert np.abs(miss).mean() < 0.1


def test_nothing_is_painted():
    """What comes out holds no intensity that the moving image does not."""
    model = made(3)
    model.networks["generator"].get_layer("flow").get_layer("output").bias.assign([0.7] * 3)
    moving = np.full((1, *model.shape), 0.25, "float32")
    fixed = np.random.default_rng(4).uniform(-1, 1, moving.shape).astype("float32")
    seen = model.align(fixed, moving).moved
    assert seen.min() >= -1
    assert seen.max() <= 0.25 + 1e-6
    assert np.allclose(seen[0, :-4, :-4, :-4], 0.25)


def test_copies_are_bent_by_as_much_as_is_said():
    model = Deformable((24, 24, 24, 1), width=2, critic_width=2)
    batch = batch_of(model, 3)
    ramp = np.linspace(-0.9, 0.9, 24, dtype="float32")[:, None, None, None]
    batch["fixed"] = np.broadcast_to(ramp, (3, *model.shape)).copy()
    batch["grain"] *= 0
    batch["copy"][:] = 0.5  # no change of contrast
    close, far = (np.asarray(copy)[:, 7:-7, 7:-7, 7:-7] for copy in model.copies(batch))
    fixed = batch["fixed"][:, 7:-7, 7:-7, 7:-7]
    voxel = ramp[1, 0, 0, 0] - ramp[0, 0, 0, 0]
    # The mean shift along one axis of three is a part of the whole.
    assert 0.05 < np.abs(close - fixed).mean() / voxel < 0.5
    assert np.abs(far - fixed).mean() > 4 * np.abs(close - fixed).mean()


@pytest.mark.parametrize("rank", [2, 3])
def test_what_is_ranked_below_the_warped_image_lies_aside_in_mm_and_is_interpolated_once(rank):
    shape = (24,) * rank + (1,)
    spacing = (1.0, 2.0, 4.0)[:rank]
    model = Deformable(shape, spacing, width=2, critic_width=2)
    batch = batch_of(model, 1)
    batch["way"][:], batch["aside"][:] = 0.0, 1 / 3
    for axis in range(rank):
        way = batch["way"] * 0
        way[:, axis] = -3.0
        ramp = np.linspace(-0.9, 0.9, 24, dtype="float32")
        ramp = np.moveaxis(ramp.reshape(1, 24, *[1] * rank), 1, 1 + axis)
        moving = np.broadcast_to(ramp, (1, *shape)).copy()
        flow = 0.5 * np.ones((1, *coarse_grid(model.grid), rank), "float32")  # one voxel each
        played, batch["moving"] = {"flow": flow}, moving
        found = np.asarray(model.displaced({**batch, "way": way}, played))
        # 8 mm to the front, and the flow's voxel to the back.
        steps = 1 - 8 / spacing[axis]
        inner = (0, *[slice(9, -9)] * rank)
        expected = moving[inner] + steps * 1.8 / 23
        np.testing.assert_allclose(found[inner], expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(SIMILARITIES))
def test_each_similarity_has_a_gradient_to_the_velocity(name):
    model = made(3, similarities=[name])
    batch = batch_of(model)

    def value(velocity):
        flow = model.flow(velocity)
        return model.content_terms(batch["fixed"], model.warped(batch["moving"], flow), flow)[
            name
        ]()

    start = np.repeat(bumpy(model, 0.3), 2, axis=0)
    assert np.asarray(value(start)).shape == (2,)
    slope = np.asarray(gradient(value, start))
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0


def test_descent_after_the_network_makes_the_pair_more_alike():
    from scipy.ndimage import gaussian_filter

    image = gaussian_filter(np.random.default_rng(5).normal(size=(24, 24)), 2)
    image = (image / np.abs(image).max())[None, ..., None].astype("float32")
    other = np.roll(image, 1, axis=1)
    plain, refined = (
        Deformable((24, 24, 1), width=2, critic_width=2, steps=3, refinement=n) for n in (0, 20)
    )
    refined.networks["generator"].set_weights(plain.networks["generator"].get_weights())
    before, after = (
        float(SIMILARITIES["ncc"](image, model.align(image, other).moved)[0])
        for model in (plain, refined)
    )
    assert after < 0.5 * before


def test_a_segmentor_learns_the_labels_and_brings_them_together_where_a_pair_has_none():
    import keras

    weights = {"generator/ncc": 0.0, "generator/dice": 1.0, "generator/smoothness": 0.01}
    shape = (24, 24, 1)
    settings = {"width": 2, "critic_width": 2, "labels": 1, "segmentor": 2, "refinement": 30}
    model = Deformable(shape, **settings, term_weights=weights)
    image = np.full((1, *shape), -1.0, "float32")
    image[:, 8:16, 8:16] = 1.0
    other = np.roll(image, 2, axis=1)
    batch = batch_of(model, labels=1) | {"fixed": image, "moving": other}
    batch |= {"fixed_labels": image > 0, "moving_labels": other > 0}
    # Sure of what is bright.
    sure = keras.Sequential([keras.Input(shape), keras.layers.Conv2D(2, 1)])
    sure.layers[0].set_weights([np.array([-20.0, 20.0]).reshape(1, 1, 1, 2), np.zeros(2)])
    unsure, terms = model.networks["segmentor"], model.segmentor_terms
    lost = [float(terms(batch, {})[name]()[0]) for name in ("cross_entropy", "dice")]
    model.networks["segmentor"] = sure
    found = [float(terms(batch, {})[name]()[0]) for name in ("cross_entropy", "dice")]
    assert all(new < 1e-3 < old for new, old in zip(found, lost, strict=True))
    seen = np.asarray(model.seen(image))
    np.testing.assert_allclose(seen[..., 1], image[..., 0], atol=1e-5)
    assert [stage.name for stage in model.stage_list] == ["segmentation", "adversarial"]
    assert unsure.output_shape == (None, 24, 24, 2)
    moved = model.align(image, other).moved
    missed = [np.abs(image - x).mean() for x in (other, moved)]
    assert missed[1] < 0.2 * missed[0]


def test_a_descent_may_weigh_its_terms_by_itself():
    weights = {"generator/ncc": 1.0, "generator/smoothness": 0.01}
    shape = (24, 24, 1)
    image = np.full((1, *shape), -1.0, "float32")
    image[:, 8:16, 8:16] = 1.0
    other = np.roll(image, 2, axis=1)

    def miss(**settings):
        model = Deformable(
            shape, width=2, critic_width=2, refinement=30, term_weights=weights, **settings
        )
        return np.abs(image - model.align(image, other).moved).mean()

    still = miss(refinement_weights={"ncc": 0.0})
    assert miss() < 0.5 * still
    # What holds the field still does so in the descent alone.
    assert miss(refinement_weights={"smoothness": 1000.0}) > 0.8 * still
    with pytest.raises(ValueError, match="refinement_weights are of folding, ncc, smoothness"):
        made(2, refinement_weights={"dice": 1.0})


def test_a_segmentor_looks_once_at_either_scan_of_a_pair(monkeypatch):
    model = made(2, labels=2, segmentor=2, refinement=1)
    looked, network = [], model.network

    def counted(name):
        if name == "segmentor":
            looked.append(name)
        return network(name)

    monkeypatch.setattr(model, "network", counted)
    batch = batch_of(model)
    model.examine(batch["fixed"], batch["moving"])
    assert looked == ["segmentor"] * 2
    # The descent goes by the chances that the generator sees as channels.
    found = unmarked(model.seen(batch["fixed"]), model.shape[-1])
    expected = chances(network("segmentor"), batch["fixed"])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_supervision_without_labels_says_what_is_missing():
    model = made(2, labels=2)
    data = {name: array[:, None] for name, array in batch_of(model).items()}
    model.enter(model.stage_list[0])
    with pytest.raises(WrongUse, match="fixed_labels and moving_labels"):
        model.train_step(data)


def test_vessels_are_missed_by_as_much_as_their_masks_lie_apart():
    model = made(2, term_weights={"generator/vessels": 1.0})
    batch = batch_of(model)
    mask = np.zeros((2, *model.shape), "float32")
    mask[:, 4:8, 3:7] = 2.0  # whatever the number
    batch |= {"fixed_labels": mask, "moving_labels": mask}
    still = np.zeros((2, *coarse_grid(model.grid), 2), "float32")
    np.testing.assert_allclose(model.missed_vessels(batch, {"flow": still}), 0.0, atol=1e-5)
    batch["moving_labels"] = np.roll(mask, 2, axis=1)
    np.testing.assert_allclose(model.missed_vessels(batch, {"flow": still}), 0.5, atol=1e-4)
    # One voxel of the coarse grid is two of the image: the flow that brings them together.
    back = still + np.array([1.0, 0.0], "float32")
    np.testing.assert_allclose(model.missed_vessels(batch, {"flow": back}), 0.0, atol=1e-4)

    def missed(flow: Any) -> Any:
        return model.missed_vessels(batch, {"flow": flow})

    assert np.abs(np.asarray(gradient(missed, still))).max() > 0
    data = {name: array[:, None] for name, array in batch.items() if "labels" not in name}
    model.enter(model.stage_list[0])
    with pytest.raises(WrongUse, match="vessels are weighed: give --data the roles"):
        model.train_step(data)


def test_the_perceptual_term_sees_volumes_and_trains_nothing_else():
    shape, plain = (16, 16, 8, 1), made(3)
    weights = {"generator/perceptual": 1.0}
    model = Deformable(shape, width=2, critic_width=2, term_weights=weights)
    small = Deformable(shape, width=2, critic_width=2)
    assert len(model.variables) == len(small.variables)
    assert "_features" not in vars(plain)
    batch = batch_of(model)
    flow = np.zeros((2, 8, 8, 4, 3), "float32")
    played = {"flow": flow, "moving": batch["moving"], "moved": batch["moving"]}
    value = np.asarray(model.generator_terms(batch, played)["perceptual"]())
    assert value.shape == (2,)
    assert (value > 0).all()
    played["moved"] = batch["fixed"]
    same = np.asarray(model.generator_terms(batch, played)["perceptual"]())
    np.testing.assert_allclose(same, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarities": ["likeness"]}, "similarities are ncc"),
        ({"segmentor": 2}, "a segmentor learns labels"),
        ({"spacing": [1.0]}, "spacing has 1 numbers for 3 axes"),
        ({"adversary": "wasserstein", "spectral": False}, "bounded slope"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        made(3, **settings)
