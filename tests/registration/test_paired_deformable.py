"""Deformable registration of pairs that lie on each other: the deformation to undo is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ganatomy import registry
from ganatomy.gradients import gradient
from registration import copies
from registration.paired_deformable import PairedDeformable
from registration.velocity_network import COARSE, coarse_grid
from tests.registration.aligners import batch_of

SHAPES = {2: (13, 10, 1), 3: (9, 8, 11, 1)}
SPACING = {2: (2.0, 3.0), 3: (2.0, 3.0, 1.5)}


def made(rank: int, **settings: Any) -> PairedDeformable:
    settings = {"spacing": SPACING[rank], "shift": 12.0, "width": 2, "critic_width": 2, **settings}
    return PairedDeformable(SHAPES[rank], **settings)


def no_flow(model: PairedDeformable, batch: dict[str, np.ndarray]) -> np.ndarray:
    coarse = coarse_grid(model.grid)
    return np.zeros((len(batch["fixed"]), *coarse, len(coarse)), "float32")


@pytest.mark.parametrize("rank", [2, 3])
def test_what_is_left_of_a_known_shift_is_its_length_in_mm_until_it_is_undone(rank):
    model = made(rank)
    batch = batch_of(model)
    batch["shift"][:] = [0.75, *[0.5] * (rank - 1)]  # three voxels of 2 mm along the first axis
    played = {"place": model.placing.place(batch), "flow": no_flow(model, batch)}
    np.testing.assert_allclose(model.astray(batch, played), 6.0, rtol=1e-4)
    played["flow"][..., 0] = -3 / COARSE
    np.testing.assert_allclose(model.astray(batch, played), 0.0, atol=2e-3)


def test_a_bend_is_undone_by_the_flow_of_its_velocity_backwards():
    model = PairedDeformable((40, 36, 1), spacing=SPACING[2], bending=4.0, width=2, critic_width=2)
    batch = batch_of(model)
    batch["bent"][:] = 1.0
    place = model.placing.place(batch)
    left = model.astray(batch, {"place": place, "flow": no_flow(model, batch)})
    back = copies.bent(-batch["bend"], 4.0 * batch["bent"][:, 0], model.grid, model.spacing)
    undone = model.astray(batch, {"place": place, "flow": back})
    np.testing.assert_allclose(left, 4.0, rtol=0.3)
    assert float(np.max(undone / left)) < 0.1


def test_the_background_hardly_counts():
    model = made(2)
    batch = batch_of(model)
    batch["fixed"][:, :, :5], batch["fixed"][:, :, 5:] = -1.0, 1.0
    flow = no_flow(model, batch)
    flow[:, :, : flow.shape[2] // 3] = 5.0  # where nothing is shown
    batch["shift"][:] = 0.5
    played = {"place": model.placing.place(batch), "flow": flow}
    assert float(np.max(model.astray(batch, played))) < 2.0


def test_the_moving_scan_has_other_shades_in_every_place_it_is_seen():
    model = made(2)
    batch = batch_of(model)
    batch["moving"] = batch["fixed"]
    batch["shift"][:], batch["aside"][:], batch["way"][:] = 0.5, 0.0, 0.0
    played = model.play(batch)
    shaded = copies.shaded(batch["moving"], batch)
    np.testing.assert_allclose(played["moving"], shaded, atol=1e-6)
    assert float(np.abs(np.asarray(shaded) - batch["fixed"]).max()) > 0.05
    played["flow"] = no_flow(model, batch)
    np.testing.assert_allclose(model.displaced(batch, played), shaded, atol=1e-5)


def test_its_gradient_leads_to_where_the_scan_lies():
    model = made(2)
    batch = batch_of(model)
    batch["shift"][:] = [0.75, 0.5]
    place, start = model.placing.place(batch), no_flow(model, batch)
    slope = gradient(lambda flow: model.astray(batch, {"place": place, "flow": flow}), start)
    back = np.asarray(start - 0.5 / np.abs(np.asarray(slope)).max() * np.asarray(slope))
    assert (back[..., 0] <= 0).all()
    assert (back[..., 0] < 0).mean() > 0.9
    left = [np.mean(model.astray(batch, {"place": place, "flow": at})) for at in (start, back)]
    assert left[1] < left[0]


def test_pairs_that_nothing_moves_are_refused():
    with pytest.raises(ValueError, match="shift, tilt or bending"):
        made(3, shift=0.0)


def test_the_preset_pairs_each_photograph_with_itself():
    assert registry.roles_of(registry.preset("retina-deformable"))["moving"] == "joined"
