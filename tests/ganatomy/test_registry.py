"""Presets: found by name, set from the command line, and whole for every name there is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from ganatomy.registry import (
    Preset,
    PresetError,
    face,
    members,
    model_class,
    preset,
    presets,
    roles_of,
    settings_of,
)

NAMES = sorted(presets())
SINGLE = [name for name in NAMES if not preset(name).members]


# Walked for every name ---------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(SINGLE)))
def test_an_ensemble_is_of_presets_that_suit_each_other(name):
    found = preset(name)
    assert min(map(len, (found.title, found.paper, found.cost)))
    assert len(members(found)) == len(found.members)
    assert set(found.roles) == set(roles_of(found))


@pytest.mark.parametrize("name", SINGLE)
def test_a_preset_is_whole(name):
    from ganatomy.batches import Augment
    from ganatomy.scans import Preprocessing

    found = preset(name)
    assert found.name == name
    for text in (found.title, found.paper, found.cost):
        assert text
        assert "\n" not in text.strip()
    settings = Preprocessing(**found.preprocessing)
    assert settings.rank == found.rank
    Augment(**found.training.augment)
    kind = model_class(found.model)
    assert kind.task == found.task
    assert set(found.roles) == set(kind.roles)
    assert set(found.hyperparameters) <= settings_of(kind)
    assert set(found.postprocessing) <= set(face(found.task).settings)


@pytest.mark.parametrize("name", SINGLE)
def test_a_presets_settings_build_its_model_and_name_its_stages(name):
    from ganatomy.artifacts import build_model
    from ganatomy.scans import Preprocessing

    found = preset(name)
    # As wide as published takes minutes on a small machine; the other settings are the preset's.
    narrow = {k: 4 for k in ("width", "latent") if k in found.hyperparameters}
    grid = Preprocessing(**found.preprocessing)
    small = found.model_copy(update={"hyperparameters": {**found.hyperparameters, **narrow}})
    model = build_model(small, (*grid.size, grid.channels))
    assert set(found.training.steps) == {stage.name for stage in model.stage_list}
    # A model that another one is named to has none of its own.
    assert model.networks or "translate" in found.hyperparameters
    # Every term that has a weight and every optimizer's settings belong to a player.
    players = {p.name for stage in model.stage_list for p in stage.players}
    assert {term.partition("/")[0] for term in model._term_weights} <= players


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_survives_being_written_and_read(name):
    found = preset(name)
    assert Preset(**found.model_dump(mode="json")) == found
    assert Preset(**yaml.safe_load(yaml.safe_dump(found.model_dump(mode="json")))) == found


# Names ---------------------------------------------------------------------------------------


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(PresetError, match=r"no model or preset 'fanogen'; near it: .*fanogan"):
        preset("fanogen")
    with pytest.raises(PresetError, match=r"near it: .*linear"):
        preset("zzzzzz")


def test_a_model_that_no_preset_names_is_not_imported():
    for path in ("os:system", "anogan.detector:Detector", "subprocess:Popen"):
        with pytest.raises(PresetError, match="no installed package offers the model"):
            model_class(path)
    assert "antigravity" not in sys.modules


def test_an_unknown_task_is_an_error():
    with pytest.raises(PresetError, match="no installed package does the task 'colour'"):
        face("colour")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package with one preset on the path, entry point and all."""

    def package(home: str, name: str, text: str) -> Path:
        folder = tmp_path / home
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / f"{name}.yaml").write_text(text)
        info = tmp_path / f"{home}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {home}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ganatomy.presets]\n{home} = {home}\n")
        return folder

    monkeypatch.syspath_prepend(tmp_path)
    presets.cache_clear()
    yield package
    sys.modules.pop("theirs", None)
    presets.cache_clear()


def as_yaml(**changes) -> str:
    tree = preset("linear").model_dump(mode="json", exclude={"name"})
    return yaml.safe_dump({**tree, **changes})


def test_somebody_elses_package_adds_a_preset(install):
    install("theirs", "mine-64", as_yaml(title="Mine"))
    presets.cache_clear()
    assert preset("mine-64").title == "Mine"
    assert set(NAMES) < set(presets())


def test_two_packages_with_one_name_are_both_named(install):
    install("theirs", "linear", as_yaml())
    presets.cache_clear()
    with pytest.raises(PresetError, match="two packages have a preset 'linear'") as caught:
        presets()
    assert "theirs" in str(caught.value)
    assert "anogan.presets" in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "title: x", "{", "title: [", as_yaml(colour="red")])
def test_a_file_that_is_no_preset_is_named(install, text):
    install("theirs", "odd", text)
    presets.cache_clear()
    with pytest.raises(PresetError, match=r"theirs/odd\.yaml is not a preset"):
        presets()


# --set ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "where", "value"),
    [
        ("batch_size=8", lambda p: p.training.batch_size, 8),
        ("training.batch_size=8", lambda p: p.training.batch_size, 8),
        ("training.steps.encoder=5", lambda p: p.training.steps["encoder"], 5),
        ("steps.encoder=5", lambda p: p.training.steps["encoder"], 5),
        ("latent=7", lambda p: p.hyperparameters["latent"], 7),
        ("kappa=0.5", lambda p: p.hyperparameters["kappa"], 0.5),
        ("clip=null", lambda p: p.hyperparameters["clip"], None),
        (
            "term_weights.critic/penalty=2.5",
            lambda p: p.hyperparameters["term_weights"],
            {"critic/penalty": 2.5},
        ),
        (
            "optimizers.critic.learning_rate=0.001",
            lambda p: p.hyperparameters["optimizers"]["critic"],
            {"learning_rate": 0.001},
        ),
        ("size=[16, 16]", lambda p: p.preprocessing["size"], [16, 16]),
        ("border=0.2", lambda p: p.postprocessing["border"], 0.2),
        ("augment={flip: [1]}", lambda p: p.training.augment, {"flip": [1]}),
    ],
)
def test_a_setting_is_found_where_it_belongs(assignment, where, value):
    assert where(preset("fanogan").set([assignment])) == value


def test_a_loss_of_a_translation_is_weighed_by_its_name():
    found = preset("t1-to-t2").set(["loss.perceptual=10", "loss.l1=[[0, 1], [9, 0]]"])
    weights = {"generator/perceptual": 10, "generator/l1": [[0, 1], [9, 0]]}
    assert found.hyperparameters["term_weights"] == weights
    with pytest.raises(PresetError, match="fanogan has no such setting"):
        preset("fanogan").set(["loss.l1=1"])


def test_set_leaves_the_preset_itself_alone():
    before = preset("fanogan").model_dump()
    changed = preset("fanogan").set(["training.steps.encoder=5", "latent=7", "size=[8,8]"])
    assert preset("fanogan").model_dump() == before
    assert changed.name == "fanogan"


def test_the_last_of_two_settings_counts():
    assert preset("fanogan").set(["latent=7", "latent=9"]).hyperparameters["latent"] == 9


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("latent", "--set latent: expected key=value"),
        ("colour=red", "--set colour: fanogan has no such setting; it has"),
        ("training.colour=red", "--set training.colour: no such setting; training has"),
        ("training=3", "--set training: no such setting; training has"),
        ("batch_size=0", "--set training.batch_size: "),
        ("batch_size=many", "--set training.batch_size: "),
        ("latent=[1", "--set latent: the value is not YAML"),
        ("latent.more=1", "--set latent.more: latent holds a value, not settings"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(assignment, message):
    with pytest.raises(PresetError) as caught:
        preset("fanogan").set([assignment])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_models_settings_are_those_of_all_its_bases():
    kind = model_class("anogan.fanogan:FAnoGAN")
    assert {"kappa", "latent", "clip", "term_weights", "averages"} <= settings_of(kind)
    assert "shape" not in settings_of(kind)
