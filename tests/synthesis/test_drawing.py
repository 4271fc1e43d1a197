"""Pairs that a model draws out of nothing, as files that a segmentation learns from."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ganatomy.artifacts import Artifact, build_model
from ganatomy.cache import prepare_table
from ganatomy.cli import cli
from ganatomy.errors import WrongUse
from ganatomy.registry import preset
from ganatomy.scans import Preprocessing
from ganatomy.tables import read_table
from synthesis.drawing import mask_facts
from synthesis.pix2pix import Pix2Pix
from synthesis.translator import Translator
from tests.synthesis.translators import CT, artifact

WIDTHS = ["width=2", "latent=3", "mask_width=2", "critic_width=2", "critic_depth=1"]
STEPS = ["size=[16, 16]", "training.steps.adversarial=4", "training.every=4", "batch_size=2"]


def run(*words: object):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of labels and MR, trained for four steps on six small volumes."""
    folder = tmp_path_factory.mktemp("pairs")
    away = np.indices((18, 20, 4)) - np.reshape([9, 10, 2], (3, 1, 1, 1))
    lines = ["scan,target,patient"]
    for number in range(6):
        near = np.hypot(away[0] - number / 3, away[1])
        labels = np.select([near < 3, near < 6], [2, 1]).astype(np.uint8)
        image = 100 * labels + 20 * np.random.default_rng(number).random(labels.shape)
        for role, pixels in {"scan": labels, "target": image.astype(np.float32)}.items():
            nib.save(nib.Nifti1Image(pixels, np.eye(4)), folder / f"{number}-{role}.nii")  # pyright: ignore
        lines.append(f"{number}-scan.nii,{number}-target.nii,{number}")
    (folder / "table.csv").write_text("\n".join(lines))
    words = ["fit", "hippocampus-pairs", "--data", folder / "table.csv", "--out", folder / "model"]
    done = run(*words, *[part for one in WIDTHS + STEPS for part in ("--set", one)])
    assert done.exit_code == 0, done.output
    trained = Translator.load(folder / "model")
    # After four steps all of a mask is of one value, which no reader takes for a mask.
    draw = np.random.default_rng(0)
    for weight in trained.artifact_.model.network("mask_generator").weights:
        if weight.path.endswith("kernel"):
            weight.assign(draw.normal(size=weight.shape))
    trained.save(folder / "model")
    return folder / "model"


def test_drawn_pairs_are_files_that_a_segmentation_reads(model, tmp_path):
    assert json.loads((model / "config.json").read_text())["masks"] == [0, 1, 2]
    out = tmp_path / "out"
    done = run("sample", model, "--count", 3, "--seed", 7, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.output.endswith(f"pairs: {out / 'pairs.csv'}\n")

    table = read_table([str(out / "pairs.csv")], Pix2Pix.roles)
    assert len(table) == 3
    for path in table.paths["target"]:
        mask = nib.load(path)  # pyright: ignore
        assert mask.get_data_dtype() == np.uint8
        assert set(np.unique(mask.dataobj)) <= {0, 1, 2}

    # A segmentation sees the image and the mask as the model drew them, the same side up.
    translator = Translator.load(model)
    settings = Preprocessing(**translator.preset.preprocessing)
    whole = settings.model_copy(update={"slices": None})
    scale = translator.values_
    window = (scale.low, scale.high)
    seen = whole.model_copy(update={"normalise": "window", "window": window})
    _, samples = prepare_table(table, seen, by_role={"target": whole}, grids=Pix2Pix.grids)
    codes = np.random.default_rng(7).standard_normal((3, 3), np.float32)
    masks, images = translator.artifact_.model.draw(codes)
    nearest = np.abs(masks[..., None] - np.array([-1, 0, 1])).argmin(-1) - 1
    np.testing.assert_array_equal(samples["target"].array, nearest)
    np.testing.assert_allclose(samples["scan"].array, images, atol=1e-4)


def test_the_same_seed_draws_the_same_and_more_begin_with_it(model, tmp_path):
    translator = Translator.load(model)
    few, more, other = (
        [np.concatenate([one.mask.pixels, one.image.pixels]) for one in translator.draw(*words)]
        for words in ((2, 1), (3, 1), (2, 2))
    )
    np.testing.assert_array_equal(few, more[:2])
    assert np.abs(np.array(few) - other).max() > 1e-3


def test_what_stands_in_a_folder_is_never_written_over(model, tmp_path):
    (tmp_path / "pairs.csv").write_text("mine")
    done = run("sample", model, "-n", 1, "--out", tmp_path)
    assert done.exit_code == 2
    assert "choose another --out" in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]
    assert (tmp_path / "pairs.csv").read_text() == "mine"


def test_pictures_are_drawn_as_pictures(tmp_path):
    sets = ["size=[16, 16]", "spacing=null", "slices=null", "normalise=range", "window=null"]
    recipe = preset("hippocampus-pairs").set([*WIDTHS, *sets])
    shape = (16, 16, 1)
    shades = {"low": 0.0, "high": 255.0, "exact": True, "units": "unknown", "modality": "unknown"}
    facts = {"target": shades, "masks": [0, 255]}
    out = Translator(Artifact(recipe, build_model(recipe, shape), shape, {}, facts)).draw_to(
        tmp_path / "out", 2
    )
    table = read_table([str(out)], Pix2Pix.roles)
    for scan, target in zip(*table.paths.values(), strict=True):
        with Image.open(scan) as image, Image.open(target) as mask:
            assert image.size == mask.size == (16, 16)
            assert mask.mode == "L"
            assert set(np.unique(mask)) <= {0, 255}


def test_values_of_masks_are_whole_numbers_and_few(tmp_path):
    def values(pixels: np.ndarray) -> list[int]:
        nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "mask.nii")  # pyright: ignore
        return mask_facts([tmp_path / "mask.nii"], Preprocessing())["masks"]

    some = np.zeros((8, 8, 8), np.float32)
    some[2:4, :, :3] = 4
    assert values(some) == [0, 4]
    assert values(some / 8) == []
    assert values(np.arange(512, dtype=np.float32).reshape(8, 8, 8)) == []


def test_a_model_that_cannot_draw_is_refused_in_one_line(quick_model, model, tmp_path):
    with pytest.raises(WrongUse, match="negative draws no masks; hippocampus-pairs does"):
        Translator(artifact(2, CT)).draw(1)
    for words, line in {
        (quick_model,): "does detect; sample is for models that",
        (model, "--scan", model): "does translate: sample takes no --scan",
    }.items():
        done = run("sample", *words, "-n", 1, "--out", tmp_path / "out")
        assert done.exit_code == 2
        assert line in done.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_masks_whose_values_nobody_knows_are_refused():
    recipe = preset("hippocampus-pairs").set([*WIDTHS, "size=[16, 16]"])
    shape = (16, 16, 1)
    made = Artifact(recipe, build_model(recipe, shape), shape, {}, {"target": CT})
    with pytest.raises(WrongUse, match="which whole numbers its masks held"):
        Translator(made).draw(1)
    made.facts["masks"] = [0, 1, 2]
    made.preset.preprocessing["normalise"] = "range"
    with pytest.raises(WrongUse, match="a range of its own"):
        Translator(made).draw(1)
