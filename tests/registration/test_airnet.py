"""AIR-net: pairs, residuals and the geometry of what it predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keras import ops

from ganatomy.game import Noise
from registration.airnet import AirNet
from registration.aligner import Alignment
from registration.matrices import AFFINE, RIGID, affine_matrix, rigid_matrix
from registration.motion_network import FitMotion, motion_network, nodes_of
from registration.transforms import Affine

SHAPES = {2: (12, 10, 1), 3: (8, 9, 7, 1)}
SPACING = {2: (3.0, 4.0), 3: (6.0, 5.0, 8.0)}


def model(rank: int = 3, motion: Any = "rigid", **settings: Any) -> AirNet:
    sizes: dict[str, Any] = {"width": 2, "critic_width": 2, "reach": 8.0, **settings}
    return AirNet(shape=SHAPES[rank], spacing=SPACING[rank], motion=motion, **sizes)


def batch_of(made: AirNet, samples: int = 3) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    shape = (samples, *made.shape)
    batch = {role: draw.uniform(-1, 1, shape).astype("float32") for role in ("fixed", "moving")}
    for name, noise in made.noise.items():
        assert isinstance(noise, Noise)
        of = draw.standard_normal if noise.kind == "normal" else draw.random
        batch[name] = of((samples, *noise.shape)).astype("float32")
    return {name: ops.convert_to_tensor(array) for name, array in batch.items()}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("motion", ["rigid", "affine"])
def test_before_training_nothing_moves_in_two_and_three_dimensions(rank, motion):
    made = model(rank, motion)
    pair = np.random.default_rng(1).uniform(-1, 1, (2, 2, *SHAPES[rank])).astype("float32")
    found = made.align(*pair)
    assert found.score.shape == (2,)
    assert found.moved.shape == pair[1].shape
    whole: Any = made.transform(found, 0, np.eye(rank + 1), np.eye(rank + 1))
    np.testing.assert_allclose(whole.matrix, np.eye(rank + 1), atol=0.1)


@pytest.mark.parametrize("rank", [2, 3])
def test_the_fit_gives_back_the_motion_that_vectors_were_made_of(rank):
    draw = np.random.default_rng(0)
    nodes = draw.uniform(-40, 40, (30, rank))
    for counts, make in ((RIGID, rigid_matrix), (AFFINE, affine_matrix)):
        count = counts[rank]
        units = [2e-3] * (count - rank) + [2.0] * rank
        asked = (draw.uniform(-1, 1, (2, count)) * units).astype("float32")
        matrix = np.asarray(make(asked, np.zeros(rank, "float32")))
        sent = nodes @ matrix[:, :rank, :rank].swapaxes(1, 2) + matrix[:, None, :rank, rank]
        weights = draw.uniform(0.5, 1, (2, 30)).astype("float32")
        vectors = (sent - nodes).astype("float32")
        vectors[0, 0] = 1e3  # what counts nothing may say anything
        weights[0, 0] = 0
        found = np.asarray(FitMotion(nodes, count)(vectors, weights))
        np.testing.assert_allclose(found, asked, atol=0.06 * np.max(units), rtol=0.1)


def test_nodes_lie_on_the_grid_in_mm():
    grid = model().grid
    nodes = nodes_of(motion_network(SHAPES[3], grid, 6, 2))
    corner = grid[:-1, -1] - np.diag(grid)[:-1] / 2
    assert (np.abs(nodes) < -corner).all()
    np.testing.assert_allclose(nodes.mean(axis=0), 0, atol=1e-4)


def test_pairs_are_resampled_by_what_is_left_and_judged_where_all_show_something():
    made = model(placing=0.0, contrast=0.0, cut=0.0)
    batch = batch_of(made)
    played = made.play(batch)
    # The generator stands near the identity: what is left is the whole perturbation. Only at the
    # border of the scan may a hair's breadth decide between something and nothing.
    apart = np.abs(np.asarray(played["moved"]) - np.asarray(played["start"]))
    assert (apart > 0.05).mean() < 0.005
    ahead = np.asarray(played["goal"]) @ np.asarray(played["left"])
    np.testing.assert_allclose(ahead, np.broadcast_to(np.eye(4), ahead.shape), atol=0.05)
    outside = np.asarray(ops.all(played["true"] == -1.0, axis=-1))
    assert 0 < outside.mean() < 0.9
    for name in ("moved", "start"):
        assert (np.asarray(played[name])[outside] == -1).all()


def test_the_supervised_distance_is_the_error_that_was_drawn():
    made = model()
    batch = batch_of(made)
    terms = made.generator_terms(batch, made.play(batch))
    expected = 8.0 * np.asarray(batch["error"])
    np.testing.assert_allclose(np.asarray(terms["distance"]), expected, atol=0.1)
    judged: Any = made.discriminator_terms(batch, made.play(batch))
    for value in judged.values():
        one: Any = value() if callable(value) else value
        assert np.shape(one) == (3,)


def test_what_is_hidden_is_hidden_from_both_players_and_only_at_the_ends():
    made = model(placing=0.0, contrast=0.0, cut=0.3, reach=0.001)
    batch = batch_of(made)
    hidden = np.zeros((3, 2, 2, 3), "float32")
    hidden[:, 1, 0, 0] = 1.0  # the moving scan loses 0.3 of its first axis, from below
    batch["cut"] = ops.convert_to_tensor(hidden)
    seen: list[Any] = []
    generator = made.networks["generator"]

    def looks(pair, **how):
        seen.append(pair)
        return generator(pair, **how)

    networks: dict[str, Any] = made.networks
    networks["generator"] = looks
    true: Any = np.asarray(made.play(batch)["true"])
    pair: Any = np.asarray(seen[0])
    fixed, moving = pair[..., :1], pair[..., 1:]
    # Eight places from 0 to 1: three lie below 0.3.
    assert (moving[:, :3] == -1).all()
    assert (moving[:, 4:-1] != -1).mean() > 0.9
    assert (fixed[:, 1:3] != -1).mean() > 0.9
    assert (true[:, :3] == -1).all()


@pytest.fixture(scope="module")
def airnet() -> AirNet:
    return model()


@settings(deadline=None, max_examples=40)
@example(cut=0.5, drawn=[1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
@given(st.floats(0, 0.5), st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6))
def test_a_view_is_a_box_that_lacks_no_more_than_cut_at_either_end(airnet, cut, drawn):
    shares: Any = np.array(drawn, "float32").reshape(1, 2, 3)
    airnet.cut = cut
    view = np.asarray(airnet._view(shares))[0, ..., 0] > 0
    whole = np.ones_like(view)
    for axis, side in enumerate(view.shape):
        shown = np.flatnonzero(view.any(tuple({0, 1, 2} - {axis})))
        assert (np.diff(shown) == 1).all()
        line = np.isin(np.arange(side), shown)
        whole &= line.reshape([-1 if n == axis else 1 for n in range(3)])
        if not shown.size:  # some axis lacks all, and with it nothing is shown along any
            continue
        for hidden, share in zip((shown[0], side - 1 - shown[-1]), shares[0, :, axis], strict=True):
            exact = cut * share * (side - 1)
            assert exact - 1e-3 <= hidden <= exact + 1 + 1e-3
    if not view.any():  # only where the cuts of both ends of an axis meet
        sides = np.array(view.shape)
        assert (cut * shares[0].sum(0) * (sides - 1) > sides - 2 - 2e-3).any()
    np.testing.assert_array_equal(view, whole)
    airnet.cut = 0.0
    assert np.asarray(airnet._view(shares)).all()


def test_without_a_cut_both_players_see_the_same_whatever_is_drawn():
    on, off = model(cut=0.4), model(cut=0.0)
    batch = batch_of(on)
    least, most = ({**batch, "cut": ops.full((3, 2, 2, 3), share)} for share in (0.0, 1.0))
    plain, cut, other, uncut = (made.play(drawn) for made in (on, off) for drawn in (least, most))
    for name in ("true", "moved", "start"):
        np.testing.assert_array_equal(np.asarray(other[name]), np.asarray(uncut[name]))
        dark, whole = (np.mean(np.asarray(one[name]) == -1) for one in (cut, plain))
        assert dark > whole + 0.1
    np.testing.assert_array_equal(np.asarray(other["vectors"]), np.asarray(uncut["vectors"]))
    assert np.abs(np.asarray(plain["vectors"]) - np.asarray(cut["vectors"])).max() > 0
    # What the generator is asked to undo has nothing to do with what is hidden.
    np.testing.assert_array_equal(np.asarray(plain["goal"]), np.asarray(cut["goal"]))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_bending_leaves_the_goal_and_the_generator_as_they_are(rank):
    straight, bent = model(rank, "affine"), model(rank, "affine", bending=6.0)
    batch = batch_of(bent)
    plain, other = straight.play(batch), bent.play(batch)
    np.testing.assert_array_equal(np.asarray(plain["goal"]), np.asarray(other["goal"]))
    assert np.abs(np.asarray(plain["true"]) - np.asarray(other["true"])).mean() > 0.02
    assert set(bent.noise) - set(straight.noise) == {"bend", "bent"}


def test_the_transform_is_between_the_scans_where_their_grids_lie():
    made = model()
    turn = Affine.rigid([0.2, -0.1, 0.1, 2.0, -3.0, 1.0], [0.0] * 3).matrix
    alignment = Alignment(turn[:3].reshape(1, 12), np.zeros((1, *SHAPES[3])), np.zeros(1))
    # A scan turned and shifted as a whole; its grid has the network's spacing.
    place = Affine.rigid([0.3, 0.1, -0.4, 50.0, 20.0, -90.0], [0.0] * 3).matrix
    middle = (np.array(SHAPES[3][:3]) - 1) / 2
    grid = place @ made.grid
    found: Any = made.transform(alignment, 0, grid, grid)
    np.testing.assert_allclose(found.matrix, place @ turn @ np.linalg.inv(place), atol=1e-5)
    centre = (grid @ [*middle, 1])[:3]
    goal = centre + place[:3, :3] @ [2.0, -3.0, 1.0]
    np.testing.assert_allclose(found.map(centre), goal, atol=1e-5)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected 3 positive numbers"):
        AirNet(shape=SHAPES[3], spacing=(1.0, 1.0))
    with pytest.raises(ValueError, match="expected 'rigid' or 'affine'"):
        model(motion="elastic")
