"""Motions of one image: made like those that registration found, drawn by codes."""

from __future__ import annotations

from typing import Any

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from ganatomy.artifacts import Artifact, build_model
from ganatomy.cli import cli
from ganatomy.registry import preset
from registration.aligner import Alignment
from registration.motion import Motion, motion_generator
from registration.registrar import Registrar
from registration.velocity_network import coarse_grid, interpolated
from tests.registration.aligners import artifact, batch_of
from tests.registration.placing import place, turn

SHAPES = {2: (13, 10, 1), 3: (9, 8, 11, 1)}


def made(rank: int = 3, **settings: Any) -> Motion:
    sizes = {"width": 2, "critic_width": 2, "motion_width": 2, "latent": 3}
    return Motion(SHAPES[rank], **{**sizes, **settings})


@pytest.mark.parametrize("rank", [2, 3])
def test_flows_are_made_of_the_grid_that_registration_finds_them_on(rank):
    model = made(rank)
    played = model.play_motion(batch_of(model))
    coarse = coarse_grid(model.grid)
    assert played["found"].shape == played["made"].shape == (2, *coarse, rank)
    assert played["image"].shape == (2, *coarse, 1)
    for terms in (model.critic_terms, model.motion_terms):
        for value in terms(batch_of(model), played).values():
            one: Any = value() if callable(value) else value
            assert np.shape(one) == (2,)


def test_the_motions_to_be_like_are_those_of_the_whole_pyramid():
    model = made(2, levels=2)
    batch = batch_of(model)
    found = model.flow(model.velocity(batch["fixed"], batch["moving"]))
    np.testing.assert_allclose(model.play_motion(batch)["found"], found, atol=1e-6)


def test_the_second_stage_moves_the_makers_of_motion_alone():
    model = made(2)
    assert [stage.name for stage in model.stage_list] == ["adversarial", "motion"]
    names = ("generator", "discriminator", "motion", "critic")
    before = {name: model.networks[name].get_weights() for name in names}
    model.enter(model.stage_list[1])
    data = {name: array[:, None] for name, array in batch_of(model).items()}
    logs = model.train_step(data)
    assert set(logs) == {
        *("critic/adversarial", "motion/adversarial", "motion/folding", "motion/variety")
    }
    moved = {
        name: any(
            not np.array_equal(a, b)
            for a, b in zip(before[name], model.networks[name].get_weights(), strict=True)
        )
        for name in names
    }
    assert moved == {"generator": False, "discriminator": False, "motion": True, "critic": True}


def test_other_codes_and_other_images_give_other_motions_and_equal_ones_the_same():
    model = made(3)
    image, other = np.random.default_rng(1).uniform(-1, 1, (2, 1, *model.shape))
    found = model.motions(image, 3, seed=5)
    assert found.shape == (3, *coarse_grid(model.grid), 3)
    np.testing.assert_array_equal(found[:2], model.motions(image, 2, seed=5))
    assert np.abs(found[0] - found[1]).max() > 1e-4
    assert np.abs(found - model.motions(other, 3, seed=5)).max() > 1e-4
    assert np.abs(found - model.motions(image, 3, seed=6)).max() > 1e-4


def test_a_motion_is_a_transform_without_folds_that_moves_the_scan():
    model = made(3)
    image = np.random.default_rng(1).uniform(-1, 1, (1, *model.shape))
    found = model.motions(image, 1)
    # What is untrained is as rough as noise, and of a size by chance; interpolation undoes a
    # motion that rough as closely as this only where it is small.
    found *= 0.1 / np.abs(found).max()
    alignment = Alignment(found, image, np.zeros(1))
    grid = np.diag([2.0, 2.0, 3.0, 1.0])
    transform = model.transform(alignment, 0, grid, grid)
    points = np.random.default_rng(2).uniform(4, 12, (20, 3))
    assert np.abs(transform.map(points) - points).max() > 1e-2
    assert transform.jacobian_determinant(model.grid, grid).min() > 0
    np.testing.assert_allclose(transform.points(transform.map(points)), points, atol=0.05)


def test_variety_falls_where_codes_tell_flows_apart():
    model, batch = made(2), batch_of(made(2))
    flow = model.play_motion(batch)["made"]
    dull = float(np.mean(model.sameness(batch, flow)))
    last = model.networks["motion"].get_layer("velocity").get_layer("output")
    last.kernel.assign(last.kernel * 10)
    assert float(np.mean(model.sameness(batch, model.play_motion(batch)["made"]))) < 0.5 * dull


def test_a_code_is_laid_out_from_edge_to_edge():
    few = np.arange(4, dtype="float32").reshape(1, 4, 1) * np.ones((1, 1, 4), "float32")
    wide = np.asarray(interpolated(few[..., None], [np.linspace(0, 3, 7)] * 2))
    np.testing.assert_allclose(wide[0, :, 2, 0], np.linspace(0, 3, 7), atol=1e-6)
    network = motion_generator((9, 12, 1), 3, 2)
    assert network.output_shape == (None, 5, 6, 2)


@pytest.fixture
def scan(tmp_path):
    """A file of an oblique volume with a bright body."""
    grid = place(turn((5, -8, 12)) * (1.2, 1.3, 1.5), (13, 15, 12), (-8.0, 5.0, 40.0))
    away = (np.indices((13, 15, 12)) - np.array([6, 7, 5.5]).reshape(3, 1, 1, 1)) / 4
    body = 500 * np.exp(-np.square(away).sum(0)).astype(np.float32)
    nibabel.Nifti1Image(body, grid).to_filename(tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_sample_writes_the_moved_scan_and_a_field_that_others_read(scan, tmp_path):
    import SimpleITK as sitk

    size = [12, 12, 12]
    sizes = ["width=2", "critic_width=2", "motion_width=2", "latent=3", f"size={size}"]
    recipe = preset("hippocampus-motion").set(sizes)
    model = build_model(recipe, (*size, 1), 1)
    last = model.networks["motion"].get_layer("velocity").get_layer("output")
    last.kernel.assign(last.kernel * 5)
    Registrar(Artifact(recipe, model, (*size, 1))).save(tmp_path / "model")
    words = ["sample", tmp_path / "model", "-n", 2, "--scan", scan, "--out", tmp_path / "out"]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0001", "0002"]
    image = sitk.ReadImage(str(scan), sitk.sitkFloat64)
    for number in ("0001", "0002"):
        folder = tmp_path / "out" / number
        (file,) = folder.glob("*field*.nii.gz")
        field = sitk.DisplacementFieldTransform(sitk.ReadImage(str(file), sitk.sitkVectorFloat64))
        expected = sitk.GetArrayFromImage(sitk.Resample(image, image, field, sitk.sitkLinear))
        moved = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "moved.nii.gz")))
        inner = (slice(2, -2),) * 3
        np.testing.assert_allclose(moved[inner], expected[inner], atol=2.0)
        assert np.abs(moved - sitk.GetArrayFromImage(image)).max() > 5
    again = CliRunner().invoke(cli, [str(word) for word in words])
    assert again.exit_code == 2
    assert "choose another --out" in again.output


def test_motions_on_a_sheared_grid_are_refused_in_one_line(scan, tmp_path):
    image = nibabel.load(scan)
    grid = np.array(image.affine)
    grid[:3, 1] += 0.3 * grid[:3, 0]
    nibabel.Nifti1Image(image.get_fdata(dtype=np.float32), grid).to_filename(scan)
    size = [12, 12, 12]
    sizes = ["width=2", "critic_width=2", "motion_width=2", "latent=3", f"size={size}"]
    recipe = preset("hippocampus-motion").set(sizes)
    model = build_model(recipe, (*size, 1), 1)
    Registrar(Artifact(recipe, model, (*size, 1))).save(tmp_path / "model")
    words = ["sample", tmp_path / "model", "-n", 1, "--scan", scan, "--out", tmp_path / "out"]
    done = CliRunner().invoke(cli, [str(word) for word in words])
    assert done.exit_code == 2
    assert "has a sheared grid" in done.output
    assert len(done.output.splitlines()) == 1


def test_a_model_that_makes_no_motions_says_so(scan):
    from ganatomy.errors import WrongUse

    with pytest.raises(WrongUse, match="by-mass makes no motions"):
        next(Registrar(artifact()).sample(scan, 1))
