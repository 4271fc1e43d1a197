"""One way without pairs: what keeps a translation to its scan, and networks in the loop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

from ganatomy import losses
from ganatomy.cache import prepare_table
from ganatomy.errors import WrongUse
from ganatomy.registry import preset
from ganatomy.scans import Preprocessing
from ganatomy.tables import read_table
from ganatomy.training import train
from synthesis.cyclegan import CycleGAN
from synthesis.unpaired import UnpairedGAN
from tests.feeding import feed

SMALL = {
    "width": 2,
    "generator_settings": {"blocks": 1},
    "critic_width": 2,
    "critic_depth": 1,
    "pool": 3,
}
SHAPE = (16, 8, 3)


def made(shape=SHAPE, **settings) -> UnpairedGAN:
    keras.utils.set_random_seed(0)
    return UnpairedGAN(shape, **{**SMALL, **settings})


def scans(shape=SHAPE) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = np.zeros((4, *shape[:-1], 1), "float32")
    labels[1, :8], labels[2, 0, 0], labels[3, ..., :4, :] = 1, 1, 2
    return {
        "scan": draw.uniform(-1, 1, (4, *shape)).astype("float32"),
        "target": draw.uniform(-1, 1, (3, *shape)).astype("float32"),
        "scan_labels": labels,
    }


def test_a_translation_is_held_against_its_scan_and_its_class(eager):
    model = made(classes=3, classifier_width=2)
    arrays = scans()
    batch = {name: keras.ops.convert_to_tensor(array[:3]) for name, array in arrays.items()}
    # A corner of one voxel is less than a tenth.
    assert np.asarray(model.classes_of(arrays["scan_labels"])).tolist() == [0, 1, 0, 2]
    played = model.play(batch)
    terms = model.generator_terms(batch, played)
    gap = np.abs(np.asarray(played["generated"]) - arrays["scan"][:3]).mean((1, 2, 3))
    np.testing.assert_allclose(terms["self_regularisation"](), gap, rtol=1e-5)
    assert model.weight("generator/self_regularisation") == 10.0
    chances = np.asarray(model.classify(played["generated"]))
    told = -np.log(chances[[0, 1, 2], [0, 1, 0]])
    np.testing.assert_allclose(terms["classification"](), told, rtol=1e-4)
    assert set(model.classifier_terms(batch, played)) == {"made"}
    before = {name: network.get_weights() for name, network in model.networks.items()}
    train(model, feed(model, 2, **arrays), {"adversarial": 1}, every=1)
    for name, network in model.networks.items():
        after = network.get_weights()
        assert any((a != b).any() for a, b in zip(before[name], after, strict=True)), name
    assert int(model.pool_of_targets.count) == 2


def test_there_is_a_classifier_where_classes_are_asked_for():
    plain = made()
    assert set(plain.networks) == {"generator", "discriminator"}
    with pytest.raises(ValueError, match="classes are 2 or more"):
        made(classes=1)
    model, arrays = made(classes=2, classifier_width=2), scans()
    unlabelled = {name: arrays[name][:3] for name in ("scan", "target")}
    terms = model.generator_terms(unlabelled, model.play(unlabelled))
    with pytest.raises(WrongUse, match="give --data the role scan_labels"):
        terms["classification"]()


def test_a_segmentor_learns_from_translations_by_the_labels_of_scans(eager):
    weights = {"generator/shape": -0.5}
    model, arrays = made(labels=2, segmentor_width=2, term_weights=weights), scans()
    batch = {name: keras.ops.convert_to_tensor(array[:3]) for name, array in arrays.items()}
    played = model.play(batch)
    generated, labels = played["generated"], batch["scan_labels"]
    logits = model.networks["segmentor"](generated, training=True)
    missed = np.asarray(losses.shape(logits, labels, form="both"))
    terms = model.generator_terms(batch, played)
    np.testing.assert_allclose(terms["shape"](), missed, rtol=1e-5)
    np.testing.assert_allclose(model.segmentor_terms(batch, played)["made"](), missed, rtol=1e-5)
    assert set(model.segmentor_terms(batch, played)) == {"made"}
    assert set(model.segmentor_terms(batch | {"target_labels": labels}, played)) == {"made", "real"}
    # Below 0: the generator gains by what the segmentor misses.
    assert model.weight("generator/shape") == -0.5
    before = model.networks["segmentor"].get_weights()
    train(model, feed(model, 2, **arrays), {"adversarial": 1}, every=1)
    after = model.networks["segmentor"].get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    found = np.asarray(model.segment(arrays["target"]))
    assert found.shape == arrays["target"].shape[:-1]
    assert set(np.unique(found)) <= {0, 1, 2}


def test_there_is_a_segmentor_where_labels_are_asked_for():
    assert "segmentor" not in made(classes=2, classifier_width=2).networks
    with pytest.raises(ValueError, match="labels is how many there are"):
        made(labels=0)
    model, arrays = made(labels=2, segmentor_width=2), scans()
    unlabelled = {name: arrays[name][:3] for name in ("scan", "target")}
    terms = model.generator_terms(unlabelled, model.play(unlabelled))
    with pytest.raises(WrongUse, match="a segmentor learns labels: give --data the role scan_lab"):
        terms["shape"]()


def test_a_volume_of_other_channels_is_not_compared_with_its_scan():
    shape = (8, 9, 10, 1)
    model = made(shape, target_channels=2, generator="unet", generator_settings={})
    assert model.translate(scans(shape)["scan"]).shape == (4, 8, 9, 10, 2)
    assert model.weight("generator/self_regularisation") == 0.0


def test_the_folders_of_a_challenge_of_stains_are_a_table(tmp_path):
    """MITOS-ATYPIA 14: one scanner's frames in A03/frames/x20, the other's in H03/frames/x20."""
    draw = np.random.default_rng(0)
    for scanner, numbers in {"A": ("03", "04"), "H": ("05", "07", "08")}.items():
        for number in numbers:
            folder = tmp_path / f"{scanner}{number}/frames/x20"
            folder.mkdir(parents=True)
            frame = draw.integers(0, 256, (96, 80, 3), np.uint8)
            Image.fromarray(frame).save(folder / f"{scanner}{number}_00A.tiff")
    globs = [
        f"{role}={tmp_path}/{s}*/frames/x20/*.tiff" for role, s in (("scan", "A"), ("target", "H"))
    ]
    table = read_table(globs, CycleGAN.roles)
    settings = Preprocessing(**preset("stain-cycle").preprocessing)
    found = prepare_table(table, settings)[1]
    # Tiles of 64 over 96 by 80 pixels, each scanner's frames in a stream of their own.
    assert {role: part.array.shape for role, part in found.items()} == {
        "scan": (2 * 4, 64, 64, 3),
        "target": (3 * 4, 64, 64, 3),
    }
    scan = np.asarray(Image.open(tmp_path / "A03/frames/x20/A03_00A.tiff"), np.float32)
    np.testing.assert_allclose(found["scan"].array[0], scan[:64, :64] / 127.5 - 1, atol=1e-3)
