"""The rules between the rooms, read from the sources."""

from __future__ import annotations

import ast
import collections
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITES = ("anogan", "registration", "synthesis")
PACKAGES = ("ganatomy", *(name for name in SUITES if (ROOT / name).is_dir()))
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
# Where tensorflow may be imported; suites only where they compile a loop or a warp.
TENSORFLOW = {
    "ganatomy/game.py",
    "ganatomy/gradients.py",
    "ganatomy/batches.py",
    "ganatomy/replicas.py",
    "ganatomy/training.py",
    "ganatomy/quiet.py",  # to keep its driver notes out of the terminal
    "registration/sampling.py",
    "registration/warp.py",
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, wherever in the file."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def rooms(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_suites_never_import_each_other_and_the_core_imports_none(path):
    home = relative(path).partition("/")[0]
    assert not rooms(path) & (set(SUITES) - {home})


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_tensorflow_stays_where_it_belongs(path):
    if relative(path) not in TENSORFLOW:
        assert "tensorflow" not in rooms(path)
        assert not {name for name in imported(path) if name.startswith("keras.src")}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_is_short(path):
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_files_are_named_after_an_idea(path):
    assert not {"helper", "helpers", "utils", "util", "common", "misc", "manager"} & set(
        path.stem.split("_")
    )


def documented(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether it has a docstring, or takes one over by `__doc__ = ...`."""
    taken = {
        target.id
        for statement in node.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    return bool(ast.get_docstring(node)) or "__doc__" in taken


def undocumented(path: Path) -> list[str]:
    """Public classes and functions at the top of a file that do not say what they are."""
    module = tree(path)
    return [
        *(["the file"] if module.body and not ast.get_docstring(module) else []),
        *(
            node.name
            for node in module.body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef))
            and not node.name.startswith("_")
            and not documented(node)
        ),
    ]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_what_is_public_says_what_it_is(path):
    assert undocumented(path) == []


def shared_and_annotated(function: ast.FunctionDef) -> set[str]:
    """Names annotated where a branch or loop sets them, and set outside of it too."""

    def stored(*nodes: ast.AST) -> collections.Counter[str]:
        names = [n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)]
        return collections.Counter(n.id for n in names if isinstance(n.ctx, ast.Store))

    whole, found = stored(function), set()
    blocks = [
        block
        for node in ast.walk(function)
        if isinstance(node, (ast.If, ast.For, ast.While))
        for block in (node.body, node.orelse)
    ]
    for block in blocks:
        for node in (n for statement in block for n in ast.walk(statement)):
            if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
                found |= {node.target.id} & set(whole - stored(*block))
    return found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_users_tf_function_takes_every_function(path):
    # AutoGraph makes a function of each block: "annotated name can't be nonlocal".
    functions = [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)]
    assert not set().union(*map(shared_and_annotated, functions))


def test_the_sources_are_found():
    assert {"ganatomy/game.py", "anogan/anogan.py"} <= {relative(path) for path in FILES}


LIGHT = """
import sys
import ganatomy, ganatomy.registry, ganatomy.tables, ganatomy.scans, ganatomy.decoding
import ganatomy.cache, ganatomy.report, ganatomy.measures, anogan, registration, ganatomy.cli
from ganatomy.registry import presets
assert "fanogan" in presets()
heavy = {"tensorflow", "keras", "mlflow"} & set(sys.modules)
assert not heavy, heavy
"""


def test_what_does_not_train_does_not_start_tensorflow():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_folder_mlflow_does_not_shadow_the_package():
    done = subprocess.run(
        [sys.executable, "-c", "import mlflow; print(mlflow.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "site-packages" in done.stdout, done.stderr[-2000:]
    assert not list((ROOT / "mlflow").rglob("__init__.py"))


SKIPPED = """
import pytest

@pytest.mark.skipif(True, reason="chromium is not installed")
def test_a():
    pass

def test_b():
    pytest.skip("curl is not installed")

@pytest.mark.gpu
def test_c():
    pytest.skip("no GPU")

@pytest.mark.xfail
def test_d():
    assert False
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    # What a marker skips ends before the test begins: an error.
    [("", "3 skipped, 1 xfailed"), ("1", "1 failed, 1 skipped, 1 xfailed, 1 error")],
)
def test_a_skip_is_a_failure_where_programs_are_required(tmp_path, required, outcome):
    (tmp_path / "test_it.py").write_text(SKIPPED)
    options = f"-q -p tests.conftest -p no:cacheprovider -o addopts= -c {os.devnull} -W ignore"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split(), "--rootdir", tmp_path, tmp_path],
        cwd=ROOT,
        env={**os.environ, "GANATOMY_REQUIRE_PROGRAMS": required},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert ("chromium is not installed" in done.stdout) == bool(required)
