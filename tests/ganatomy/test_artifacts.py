"""A model on disk: what is loaded is what was saved, and nothing else is run."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest

from ganatomy.artifacts import Artifact, ArtifactError, build_model, load, read_config, save
from ganatomy.registry import PresetError, preset, presets

SMALL = {
    "t1-to-t2-unit": [
        "width=2",
        "blocks=1",
        "critic_width=2",
        "critic_depth=1",
        "scales=1",
        "averages={shared_encoder: 0.9}",
    ],
    "brain-mr-rigid": ["width=2", "critic_width=2", "averages={generator: 0.9}"],
    "t1-to-t2-cycle": [
        "width=2",
        "generator_settings={blocks: 1}",
        "critic_width=2",
        "critic_depth=1",
        "averages={to_target: 0.9}",
        "optimizers={}",
    ],
    "t1-to-t2-mixed": [
        "width=2",
        "generator_settings={blocks: 1}",
        "critic_width=2",
        "critic_depth=1",
        "averages={to_target: 0.9}",
        "optimizers={}",
    ],
    "hippocampus-hole": ["width=2", "hole=[4,4,4]", "critic_width=2", "critic_depth=1"],
    "hippocampus-shape": [
        "width=2",
        "generator_settings={blocks: 1}",
        "critic_width=2",
        "critic_depth=1",
        "segmentor_width=2",
        "segmentor_depth=1",
        "averages={to_target: 0.9}",
        "optimizers={}",
    ],
    "stain-classified": [
        "width=2",
        "generator_settings={blocks: 1}",
        "critic_width=2",
        "critic_depth=1",
        "classifier_width=2",
        "averages={generator: 0.9}",
        "optimizers={}",
    ],
    "mr-to-uptake-blended": ["width=2", "critic_width=2", "critic_depth=1"],
    "labels-to-hippocampus-fine": ["width=2", "critic_width=2", "critic_depth=0"],
    "grey-to-fundus-code": ["width=2", "encoder_width=2", "critic_width=2", "critic_depth=1"],
    "hippocampus-pairs": [
        "width=2",
        "latent=3",
        "mask_width=2",
        "critic_width=2",
        "critic_depth=1",
        "averages={mask_generator: 0.9}",
    ],
    "missing-flair": ["width=2", "critic_width=2", "critic_depth=1"],
    "t1-to-t2": ["width=2", "critic_width=2", "critic_depth=1", "averages={generator: 0.9}"],
    "hippocampus-motion": ["width=2", "critic_width=2", "motion_width=2", "latent=3"],
    "hippocampus-deformable": [
        "width=2",
        "critic_width=2",
        "levels=2",
        "refinement=0",
        "averages={generator: 0.9}",
    ],
    "retina-deformable": [
        "width=2",
        "critic_width=2",
        "levels=2",
        "refinement=0",
        "averages={generator: 0.9}",
    ],
    "gan-density-chest-xray": [
        "latent=4",
        "width=2",
        "layer=block_1_out",
        "source=encoder",
        "encoding=izi",
        "averages={encoder: 0.9}",
    ],
    "density-chest-xray": ["width=2", "layer=bottom", "averages={localiser: 0.9}"],
    "vagan-chest-xray": ["width=2", "averages={map: 0.9}", "optimizers={}"],
    "planted-chest-xray": ["width=2", "averages={localiser: 0.9}"],
    "patch-posterior-chest-xray": ["patch=7", "latent=4", "width=2", "optimizers={}"],
    "bigan-chest-xray": ["latent=4", "width=2", "averages={critic: 0.9}"],
    "ganomaly-chest-xray": ["latent=4", "width=2", "averages={second: 0.9}"],
    "variance-autoencoder-chest-xray": ["latent=4", "width=2", "averages={decoder: 0.9}"],
    "caae": ["latent=4", "width=2", "averages={decoder: 0.9}", "optimizers={}"],
    "vae-chest-xray": ["latent=4", "width=2", "averages={encoder: 0.9}", "restoration_steps=3"],
    "vaegan-chest-xray": ["latent=4", "width=2", "features=last", "averages={encoder: 0.9}"],
    "cycle-brain-mr": [],
    "linear": ["components=2"],
    "fanogan": ["latent=4", "width=2", "averages={generator: 0.9}", "optimizers={}"],
    "anogan": ["latent=4", "width=2", "search_steps=3", "features=last", "optimizers={}"],
}
SHAPE = (8, 8, 1)
# By preset, that of the model which it asks for by name.
NAMED = {"cycle-brain-mr": "t1-to-t2-cycle"}


def made(name: str, seed: int = 3, **settings: object) -> Artifact:
    """An artifact whose averaged networks differ from the networks themselves."""
    size = [8] * preset(name).rank
    own = [f"{key}={value}" for key, value in settings.items()]
    recipe = preset(name).set([*SMALL[name], f"size={size}", *own])
    shape = (*size, recipe.preprocessing.get("channels", 1))
    model = build_model(recipe, shape, seed)
    draw = np.random.default_rng(seed)
    for network in (*model.networks.values(), *model.averages.values()):
        network.set_weights([w + draw.normal(0, 0.1, w.shape) ** 2 for w in network.get_weights()])
    arrays = {"calibration/scores": np.arange(3.0), "preprocessing/template": np.eye(8)}
    return Artifact(recipe, model, shape, arrays, {"seed": seed, "note": "plain"})


def images(count=5, shape=SHAPE):
    return np.random.default_rng(9).uniform(-1, 1, (count, *shape)).astype("float32")


def said(artifact: Artifact) -> list[np.ndarray]:
    """All that a model says of samples, or of pairs of them."""
    model, samples = artifact.model, images(shape=artifact.shape)
    if artifact.preset.task == "register":
        return list(vars(model.align(samples[:2], samples[2:4])).values())
    if artifact.preset.task == "translate":
        return [model.translate(samples)]
    return list(model.inspect(samples))


def test_every_model_there_is_is_saved_and_loaded():
    single = {p.model for p in presets().values() if not p.members}
    assert {preset(name).model for name in SMALL} == single


@pytest.mark.parametrize("name", SMALL)
def test_a_loaded_model_says_bitwise_what_the_saved_one_does(tmp_path, name):
    if name in NAMED:
        named = made(NAMED[name])
        values = {"low": 0.0, "high": 1.0, "exact": False, "units": "unknown", "modality": "MR"}
        named.facts["target"] = values
        save(named, tmp_path / "named")
        artifact = made(name, translate=tmp_path / "named")
    else:
        artifact = made(name)
    save(artifact, tmp_path / "model")
    loaded = load(tmp_path / "model")
    for one, other in zip(said(artifact), said(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.preset == artifact.preset
    assert loaded.shape == artifact.shape
    assert loaded.facts == artifact.facts
    assert set(loaded.arrays) == set(artifact.arrays)
    for key, array in artifact.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[key], array)


def test_a_room_has_its_arrays_without_its_name():
    assert set(made("linear").room("calibration")) == {"scores"}
    assert made("linear").room("nothing") == {}


def test_saving_again_replaces_and_leaves_nothing_half_done(tmp_path):
    save(made("linear", 1), tmp_path)
    save(made("linear", 2), tmp_path)
    expected = made("linear", 2).model.inspect(images()).reconstruction
    np.testing.assert_array_equal(load(tmp_path).model.inspect(images()).reconstruction, expected)
    assert not list(tmp_path.rglob("part-*"))


def test_weights_are_a_function_of_the_seed():
    one, again, other = (
        build_model(preset("fanogan").set([*SMALL["fanogan"], "size=[8,8]"]), SHAPE, seed)
        for seed in (1, 1, 2)
    )
    kernels = [m.networks["generator"].get_weights()[0] for m in (one, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_the_precision_is_the_presets_and_no_one_elses():
    half = preset("fanogan").set([*SMALL["fanogan"], "size=[8,8]", "dtype=mixed_bfloat16"])
    before = keras.config.dtype_policy().name
    model = build_model(half, SHAPE)
    kinds = {layer.compute_dtype for layer in model.networks["generator"].layers}
    assert "bfloat16" in kinds
    assert {v.dtype for v in model.networks["generator"].weights} >= {"float32"}
    assert keras.config.dtype_policy().name == before == "float32"
    with pytest.raises(ArtifactError, match="colour"):
        build_model(half.model_copy(update={"hyperparameters": {"colour": 1}}), SHAPE)
    assert keras.config.dtype_policy().name == before


# What is refused -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    save(made("linear"), tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_arrays_that_lack_one_are_named(folder):
    artifact = load(folder)
    artifact.arrays = {"calibration/scores": np.zeros(3)}
    room = artifact.room("calibration")
    assert list(room) == ["scores"]
    with pytest.raises(ArtifactError, match=r"arrays\.npz of the model lacks looks: train"):
        room["looks"]


def test_another_format_says_what_to_do(folder):
    edit(folder, format=0, versions={"ganatomy": "0.0.7"})
    with pytest.raises(ArtifactError, match=r"format 0.* reads 2: use ganatomy 0\.0\.7 or train"):
        load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '"x"', "\udcff", '{"format": 2}'])
def test_a_broken_configuration_is_said_to_be_one(folder, text):
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ArtifactError, match="not the configuration of a trained model"):
        read_config(folder)


def test_a_folder_without_configuration_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match=r"not a trained model \(no config.json\)"):
        load(tmp_path)
    with pytest.raises(ArtifactError, match="no such model folder"):
        load(tmp_path / "none")


def test_missing_weights_are_named(folder):
    (folder / "weights" / "projection.weights.h5").unlink()
    with pytest.raises(ArtifactError, match=r"weights/projection\.weights\.h5 is missing"):
        load(folder)


def test_damaged_weights_are_named(folder):
    file = folder / "weights" / "projection.weights.h5"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="not the weights of anogan"):
        load(folder)


def test_weights_of_another_shape_are_named(folder):
    edit(folder, shape=[16, 16, 1])
    with pytest.raises(ArtifactError, match=r"not the weights of anogan\.linear:Linear as"):
        load(folder)


def test_missing_arrays_are_named(folder):
    (folder / "arrays.npz").unlink()
    with pytest.raises(ArtifactError, match=r"arrays\.npz"):
        load(folder)


@pytest.mark.parametrize("path", ["os:system", "tests.ganatomy.test_artifacts:Trap", "x"])
def test_a_configuration_cannot_name_any_class(folder, path):
    config = json.loads((folder / "config.json").read_text())
    edit(folder, preset={**config["preset"], "model": path})
    with pytest.raises((ArtifactError, PresetError), match="no installed package offers"):
        load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"preset": {}},
        {"preset": {"task": "detect"}},
        {"preset": 3},
        {"shape": "wide"},
        {"shape": [0]},
        {"shape": None},
    ],
    ids=str,
)
def test_a_hostile_configuration_ends_in_one_line(folder, changes):
    edit(folder, **changes)
    with pytest.raises(ArtifactError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"shape": [10**6, 10**6, 1]}, "shape .* is no sample's in 2D"),
        ({"shape": [32, 32, 32, 1]}, "shape .* is no sample's in 2D"),
        ({"shape": [32, -32, -1]}, "shape .* is no sample's in 2D"),
        ({"shape": [8192, 8192, 1], "chunk": 64}, "chunk is 64; expected 32 or less"),
        ({"chunk": 10**12}, "chunk is 1000000000000; expected 4096 or less"),
        ({"width": 10**6}, "width is 1000000; expected 512 or less"),
        ({"components": 10**9}, "components is 1000000000; expected 4096 or less"),
        ({"memory": 2**40}, "memory is .*; expected 4096 or less"),
    ],
    ids=str,
)
def test_a_model_that_would_fill_the_memory_is_not_built(folder, changes, line):
    config = json.loads((folder / "config.json").read_text())
    shape = changes.pop("shape", config["shape"])
    config["preset"]["hyperparameters"] |= changes
    edit(folder, preset=config["preset"], shape=shape)
    with pytest.raises(ArtifactError, match=line):
        load(folder, built)


def test_every_preset_is_within_what_a_configuration_may_ask_for(folder):
    for own in presets().values():
        edit(folder, preset=own.model_dump(), shape=[*own.preprocessing.get("size", (64, 64)), 1])
        with pytest.raises(LookupError):
            load(folder, built)


def built(*_):
    raise LookupError


def test_a_hyperparameter_that_does_not_fit_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    config["preset"]["hyperparameters"]["colour"] = "red"
    edit(folder, preset=config["preset"])
    with pytest.raises(ArtifactError, match=r"a hyperparameter does not fit: .*colour"):
        load(folder)


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return (sys.exit, ("a pickle was run",))


def test_no_pickle_is_written_or_read(folder):
    with zipfile.ZipFile(folder / "arrays.npz") as stored:
        for name in stored.namelist():
            assert b"|O" not in stored.read(name)[:128]
    shutil.copy(folder / "arrays.npz", folder / "good.npz")
    np.savez(folder / "arrays.npz", trap=np.array([Trap()], dtype=object))
    with pytest.raises(ArtifactError, match=r"arrays\.npz"):
        load(folder)
    (folder / "arrays.npz").write_bytes(pickle.dumps([1]))
    with pytest.raises(ArtifactError, match=r"arrays\.npz"):
        load(folder)
