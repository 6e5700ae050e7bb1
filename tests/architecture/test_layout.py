"""How the code is laid out: sizes, public names, who imports whom."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "crystallize-core" / "src"
SOURCES = sorted(path for folder in ROOT.glob("crystallize-*/src") for path in folder.rglob("*.py"))
MODULES = [path for path in SOURCES if path.name not in {"__init__.py", "__main__.py"} and path.name[0] != "_"]


def module_name(path):
    parts = path.relative_to(next(folder for folder in path.parents if folder.name == "src")).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shown(path):
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_imports_point_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_module_says_its_job_first(path):
    text = ast.get_docstring(tree_of(path))
    assert text
    assert text.partition("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_lists_what_it_defines_for_others(path):
    public = set()
    for node in tree_of(path).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name[0] != "_":
            public.add(node.name)
    module = importlib.import_module(module_name(path))
    listed = getattr(module, "__all__", [])
    assert public - set(listed) == set(), "public by name, but not in __all__"
    assert len(listed) == len(set(listed))
    assert [name for name in listed if not hasattr(module, name)] == []


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=shown)
def test_a_package_gives_every_name_that_it_lists(path):
    module = importlib.import_module(module_name(path))
    listed = list(getattr(module, "__all__", []))
    assert len(listed) == len(set(listed))
    assert [name for name in listed if not hasattr(module, name)] == []


PUBLISHED = (
    "crystallize",
    "crystallize.errors",
    "crystallize.hooks",
    "crystallize.hooks.declarations",
    "crystallize.hooks.tools",
    "crystallize.testing",
)


@pytest.mark.parametrize("path", [path for path in SOURCES if CORE not in path.parents], ids=shown)
def test_plugins_and_commands_import_what_the_core_publishes(path):
    text = path.read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    for match in re.finditer(
        r">>> (?:from|import) (crystallize[\w.]*)|import_module\(f?[\"'](crystallize[\w.]*)", text
    ):
        imported |= set(filter(None, match.groups()))
    of_core = {name for name in imported if name.partition(".")[0] == "crystallize"}
    assert of_core - set(PUBLISHED) == set()


@functools.cache
def private_names(path):
    """Give the underscored attributes that a module uses, and those that its distribution defines."""
    used, defined = {}, set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            if isinstance(node.ctx, ast.Load):
                used[node.attr] = f"{shown(path)}:{node.lineno}: {ast.unparse(node)}"
            else:
                defined.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            defined.add(node.value)
    return used, defined


@pytest.mark.parametrize("name", ["crystallize-plugins", "crystallize-cli"])
def test_no_distribution_uses_a_private_name_of_the_core(name):
    found = [private_names(path) for path in SOURCES if ROOT / name in path.parents]
    own = set().union(*(defined for _, defined in found))
    of_core = set().union(*(private_names(path)[1] for path in SOURCES if CORE in path.parents))
    records = {"_make", "_replace", "_asdict", "_fields"}  # what every named tuple has
    taken = [where for used, _ in found for name, where in used.items() if name in of_core - own - records]
    assert taken == []


@pytest.mark.parametrize("path", [path for path in SOURCES if CORE in path.parents], ids=shown)
def test_the_core_imports_only_the_standard_library_and_its_two_dependencies(path):
    allowed = {*sys.stdlib_module_names, "crystallize", "pluggy", "importlib_metadata"}
    if path.parts[-2:] == ("testing", "fixtures.py"):
        allowed.add("pytest")  # Imported by pytest alone, where a conftest.py asks for it: the extra `testing`.
    tree = tree_of(path)
    for_checkers = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    imported = set()
    for node in ast.walk(tree):
        if id(node) not in for_checkers:
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").partition(".")[0])
    assert imported - allowed == set()


def test_only_what_has_no_other_home_lies_at_the_top():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    tops = {line.partition("/")[0] for line in listed.stdout.splitlines()}
    assert tops <= {
        ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
        "crystallize-cli", "crystallize-core", "crystallize-plugins", "docs", "pyproject.toml", "tests",
    }  # fmt: skip


@pytest.mark.skipif(not shutil.which("make"), reason="this system has no make")
@pytest.mark.parametrize("variable", ["SMOKE", "LIBRARIES"])
def test_the_parts_of_the_suite_that_other_environments_run_are_there(variable):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8") + f"\nshow:\n\t@echo $({variable})\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["make", "-s", "-f", "-", "show"],
        cwd=ROOT,
        env=environment,
        input=makefile,
        capture_output=True,
        text=True,
        check=False,
    )
    paths = done.stdout.split()
    assert paths, done.stderr
    assert [path for path in paths if not (ROOT / path).exists()] == []
