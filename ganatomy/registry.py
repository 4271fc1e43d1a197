"""Models and presets by name, from every installed package.

A preset is a YAML file in a folder that a package names in the entry-point group
`ganatomy.presets`; a task's face (what scores, registers, translates) is a class named in
the group `ganatomy.tasks`. Nothing here imports a model before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    field_validator,
    model_validator,
)

from ganatomy.errors import WrongUse

# What a preset takes over from the one it is `like`, whole sections at a time.
SHARED = ("task", "rank", "roles", "labels", "preprocessing", "by_role", "postprocessing")


class PresetError(WrongUse):
    """What is wrong with a name, a preset or a setting, in one line."""


class Training(BaseModel):
    """How long and on what a preset trains.

    Attributes:
        batch_size: global; every replica takes its share.
        steps: by stage.
        every: steps between two reports, checkpoints and logged points.
        augment: settings of `ganatomy.batches.Augment`.
        holdout: share of the patients kept back to calibrate on.
        dtype: "float32" or "mixed_bfloat16".
        jit_compile: whether XLA compiles a step; never left to chance.
    """

    model_config = ConfigDict(extra="forbid")
    batch_size: int = Field(default=32, gt=0)
    steps: dict[str, NonNegativeInt] = {}
    every: int = Field(default=100, gt=0)
    augment: dict[str, Any] = {}
    holdout: float = Field(default=0.15, ge=0, lt=1)
    dtype: Literal["float32", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False


class Member(BaseModel):
    """One model of an ensemble.

    Attributes:
        preset: that it is trained from.
        seed: another one for each member that is to be trained anew from the same preset.
        set: settings of its own, by dotted path, as `Preset.set` takes them.
        name: of its folder and in tables; the preset's, with the seed where it has one.
    """

    model_config = ConfigDict(extra="forbid")
    preset: str
    seed: NonNegativeInt = 0
    set: dict[str, Any] = {}
    name: str = Field(default="", pattern=r"^[\w.\-]*$")

    @model_validator(mode="after")
    def _named(self) -> Member:
        self.name = self.name or self.preset + (f"-seed-{self.seed}" if self.seed else "")
        return self


class Preset(BaseModel):
    """A whole recipe: data, never code.

    It has a model, or members: an ensemble trains each from a preset of its own, with the
    ensemble's `training.holdout`, and takes nothing else of these sections.

    A file may say `like: NAME` and leave out the `SHARED` sections that are as in that preset of
    the same folder.

    Attributes:
        name: what the command line calls it (the file's stem).
        title: one line.
        task: "detect", ...
        model: import path `package.module:Class`; empty in an ensemble.
        members: of an ensemble: names of presets, or `Member`s.
        rank: 2 or 3.
        roles: what each role of the table holds.
        paper: the reference.
        cost: what it takes, on which machine.
        labels: which of its settings were chosen with labels in sight.
        preprocessing: settings of `ganatomy.scans.Preprocessing`, of every role that has none of
            its own.
        by_role: by role, its own settings over `preprocessing`; not of the first.
        postprocessing: settings of the task's own, e.g. how a residual becomes a score.
        hyperparameters: arguments of the model.
        training: settings of `Training`.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    title: str
    task: str
    model: str = ""
    members: list[Member] = []
    rank: Literal[2, 3]
    roles: dict[str, str]
    paper: str
    cost: str
    labels: str = "none"
    preprocessing: dict[str, Any] = {}
    by_role: dict[str, dict[str, Any]] = {}
    postprocessing: dict[str, Any] = {}
    hyperparameters: dict[str, Any] = {}
    training: Training = Training()

    @field_validator("members", mode="before")
    @classmethod
    def _by_name(cls, members: Any) -> Any:
        if not isinstance(members, list):
            return members
        return [{"preset": one} if isinstance(one, str) else one for one in members]

    @model_validator(mode="after")
    def _one_or_several(self) -> Preset:
        if bool(self.model) == bool(self.members):
            raise ValueError("a preset has a model, or members")
        names = [member.name for member in self.members]
        strangers = set(self.by_role) - set(list(self.roles)[1:])
        if strangers:
            raise ValueError(f"by_role names {min(strangers)}, which is no role after the first")
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"two members are called {min(twice)}: give one a name")
        return self

    def preprocessing_of(self, role: str) -> dict[str, Any]:
        """The settings that a role's scans are prepared by."""
        return {**self.preprocessing, **self.by_role.get(role, {})}

    def recipe(self) -> dict[str, Any]:
        """What decides how the model is trained: everything but the words about it, as JSON."""
        words = {"title", "paper", "cost", "labels", "roles"}
        # Runs of the time before this section go on.
        unsaid = set() if self.by_role else {"by_role"}
        return self.model_dump(mode="json", exclude=words | unsaid)

    def set(self, assignments: Sequence[str]) -> Preset:
        """A copy with `key=value` settings; values are YAML.

        A key is a dotted path (`training.steps.adversarial`, `by_role.target.window`) or starts
        at a setting of one of the sections (`batch_size`, `latent`,
        `term_weights.critic/penalty`). An ensemble's are `members` and `training.holdout`. Of a
        translation `loss.NAME` is the weight of its generator's term.

        Raises:
            PresetError: no such setting, or a value that does not fit.
        """
        tree = self.model_dump()
        sections = ("training", "hyperparameters", "preprocessing", "postprocessing")
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise PresetError(f"--set {assignment}: expected key=value")
            path = key.split(".")
            if path[0] == "loss" and len(path) == 2 and self.task == "translate":
                path = ["hyperparameters", "term_weights", f"generator/{path[1]}"]
            if path == ["members"] and self.members:
                pass
            elif path[0] == "by_role":
                known = ", ".join(sorted(self._settings("preprocessing")))
                if len(path) != 3 or path[2] not in self._settings("preprocessing"):
                    raise PresetError(f"--set {key}: expected by_role.ROLE.SETTING, of {known}")
            elif path[0] not in sections:
                homes = [s for s in sections if path[0] in self._settings(s)]
                if not homes:
                    known = sorted({name for s in sections for name in self._settings(s)})
                    known += ["members"] if self.members else []
                    raise PresetError(
                        f"--set {key}: {self.name} has no such setting; it has {', '.join(known)}"
                    )
                path = [homes[0], *path]
            elif len(path) < 2 or path[1] not in self._settings(path[0]):
                known = ", ".join(sorted(self._settings(path[0])))
                raise PresetError(f"--set {key}: no such setting; {path[0]} has {known}")
            node = tree
            for part in path[:-1]:
                node = node.setdefault(part, {})
                if not isinstance(node, dict):
                    raise PresetError(f"--set {key}: {part} holds a value, not settings")
            try:
                node[path[-1]] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise PresetError(f"--set {key}: the value is not YAML") from error
        try:
            return Preset(**tree)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise PresetError(f"--set {where}: {first['msg']}") from error

    def _settings(self, section: str) -> set[str]:
        """The settings that a section takes: those of its class, and those the preset holds."""
        present = getattr(self, section)
        if self.members:
            return {"holdout"} if section == "training" else set()
        if section == "training":
            return set(Training.model_fields)
        if section == "preprocessing":
            from ganatomy.scans import Preprocessing

            return set(Preprocessing.model_fields)
        if section == "hyperparameters":
            return set(present) | settings_of(model_class(self.model))
        return set(present) | set(getattr(face(self.task), "settings", ()))


def settings_of(model: type) -> set[str]:
    """The names of a model's constructor arguments, those of its bases included."""
    import inspect

    names: set[str] = set()
    for base in model.__mro__:
        if base.__module__.startswith(("keras", "builtins")):
            break
        if "__init__" in vars(base):
            signature = inspect.signature(vars(base)["__init__"])
            names |= {
                p.name
                for p in signature.parameters.values()
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
            }
    return names - {"name", "shape"}


@cache
def presets() -> dict[str, Preset]:
    """Every preset of every installed package, by name.

    Raises:
        PresetError: two packages use one name, or a file is not a preset.
    """
    found: dict[str, Preset] = {}
    homes: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group="ganatomy.presets"):
        texts = {
            file.name.removesuffix(".yaml"): file.read_text()
            for file in sorted(files(entry.value).iterdir(), key=lambda f: f.name)
            if file.name.endswith(".yaml")
        }
        for name in texts:
            if name in found:
                raise PresetError(
                    f"two packages have a preset {name!r}: {homes[name]} and {entry.value}"
                )
            try:
                found[name] = Preset(name=name, **_recipe(name, texts))
            except (ValidationError, TypeError, KeyError, yaml.YAMLError) as error:
                raise PresetError(f"{entry.value}/{name}.yaml is not a preset: {error}") from error
            homes[name] = entry.value
    return found


def _recipe(name: str, texts: dict[str, str]) -> dict[str, Any]:
    """A preset's own settings over the shared sections of the one it is `like`, in its folder."""
    own = yaml.safe_load(texts[name])
    if "like" not in own:
        return own
    base = yaml.safe_load(texts[own.pop("like")])
    return {**{section: base[section] for section in SHARED if section in base}, **own}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        PresetError: there is none; the nearest names are listed.
    """
    import difflib

    known = presets()
    if name not in known:
        near = difflib.get_close_matches(name, known, 3, 0.4) or sorted(known)
        raise PresetError(f"no model or preset {name!r}; near it: {', '.join(near)}")
    return known[name]


# What members must have in common, so that one scan is read, sliced and asked for once.
ALIKE = ("rank", "channels", "voi", "orientation", "plane", "overlap")
# And what tiles lie by, so that all members have the same.
TILED = ("size", "spacing", "margin", "slices", "mask", "mask_erosion", "bias_field")


def members(ensemble: Preset) -> dict[str, Preset]:
    """The presets of an ensemble's members by name, their settings made.

    Raises:
        PresetError: one is no preset, an ensemble itself, or of another task or kind of scans.
    """
    from ganatomy.scans import Preprocessing

    found: dict[str, Preset] = {}
    kinds = {}
    for member in ensemble.members:
        base = preset(member.preset)
        if base.members:
            raise PresetError(f"{ensemble.name}: {base.name} is an ensemble, and no member of one")
        # JSON is YAML.
        own = base.set([f"{key}={json.dumps(value)}" for key, value in member.set.items()])
        training = own.training.model_copy(update={"holdout": ensemble.training.holdout})
        own = found[member.name] = own.model_copy(update={"training": training})
        try:
            seen = Preprocessing(**own.preprocessing)
        except ValidationError as error:
            line = error.errors()[0]["msg"]
            raise PresetError(f"{member.name}: preprocessing: {line}") from error
        alike = ALIKE if seen.overlap is None else (*ALIKE, *TILED)
        kinds[member.name] = {name: getattr(seen, name) for name in alike} | {
            "task": own.task,
            "roles": dict(roles_of(own)),
        }
    (first, kind), *others = kinds.items()
    for name, other in others:
        for key, value in other.items():
            if value != kind[key]:
                raise PresetError(
                    f"{ensemble.name}: {key} is {kind[key]!r} for {first}, {value!r} for {name}"
                )
    if (ensemble.task, ensemble.rank) != (kind["task"], kind["rank"]):
        raise PresetError(f"{ensemble.name}: its task and rank are not those of its members")
    return found


def roles_of(recipe: Preset) -> Mapping[str, str]:
    """The roles of a preset's model, "joined" or "independent"; of an ensemble, its members'."""
    if recipe.members:
        return roles_of(next(iter(members(recipe).values())))
    model: Any = model_class(recipe.model)
    return model.roles


def model_class(path: str) -> type:
    """The class of a model, by the import path of an installed preset.

    A configuration file cannot name any class: only what an installed package offers as a
    preset's model is imported.
    """
    if not path or path not in {known.model for known in presets().values()}:
        raise PresetError(f"no installed package offers the model {path!r}")
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def face(task: str) -> Any:
    """The class that does a task with a trained model, e.g. AnomalyScorer for "detect"."""
    for entry in importlib.metadata.entry_points(group="ganatomy.tasks", name=task):
        return entry.load()
    raise PresetError(f"no installed package does the task {task!r}")
