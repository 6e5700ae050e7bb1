"""What the code keeps to, beyond what linters know: one contract, one guard for Ctrl-C, no disguises, plain words."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ROOT.glob("crystallize-*/src") for path in folder.rglob("*.py"))
OTHERS = [path for path in SOURCES if "crystallize-core" not in path.parts]
PUBLISHED = re.compile(r"crystallize(\.(hooks|errors|testing)(\.[a-z]\w*)*)?")
# Where the public names are resolved when they are first used.
LAZY = [ROOT / "crystallize-core" / "src" / "crystallize" / name for name in ("__init__.py", "_lazy.py")]
DISTRIBUTIONS = re.compile(r"crystallize(_plugins|_cli)?\b")
# Words of a language that was ours alone; as words of a name, whatever stands before and after.
WORDS = {
    "aside", "answers", "basis", "bench", "circle", "crew", "earlier", "given", "handover", "nursery", "obituary",
    "patient", "staff", "surroundings", "takeover", "turns", "zygote",
}  # fmt: skip
WORD = re.compile(r"[A-Z]?[a-z]+")


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path):
    return path.relative_to(ROOT).as_posix()


def imported(path):
    """Give ``(module, name)`` of all that a module imports, by statement or by the text of a module's name."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            module = node.args[0]
            if isinstance(module, ast.Constant) and isinstance(module.value, str):
                yield module.value, ""


@pytest.mark.parametrize("path", OTHERS, ids=shown)
def test_of_the_core_only_what_is_published_is_imported(path):
    home = next(part for part in path.parts if part in {"crystallize_plugins", "crystallize_cli"})
    for module, name in imported(path):
        if DISTRIBUTIONS.match(module) and module.partition(".")[0] != home:
            if module.partition(".")[0] == "crystallize":
                assert PUBLISHED.fullmatch(module), f"{module} is no part of the contract"
            assert "._" not in f".{module}.{name}".replace(".__", "."), f"{module}.{name} is private to another"


@pytest.mark.parametrize("path", [path for path in SOURCES if path not in OTHERS and path not in LAZY], ids=shown)
def test_the_core_imports_nothing_of_its_own_past_the_linter(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            assert not re.match(r"""f?["']crystallize\b""", ast.unparse(node.args[0])), f"line {node.lineno}"


def test_the_modules_of_plugins_and_commands_have_public_names():
    assert [shown(path) for path in OTHERS if path.stem[0] == "_" and path.stem[:2] != "__"] == []


def test_no_object_changes_its_class():
    found = [shown(path) for path in SOURCES if re.search(r"\.__class__ =[^=]", path.read_text(encoding="utf-8"))]
    assert found == []


def test_one_module_of_the_core_handles_ctrl_c():
    sets = re.compile(r"\bsignal\(\s*(_?signal\.|_)?SIGINT\b")
    found = [shown(path) for path in SOURCES if sets.search(path.read_text(encoding="utf-8"))]
    assert found == ["crystallize-core/src/crystallize/engine/interrupts.py"]


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_names_are_of_ordinary_words(path):
    defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = {path.stem, *(node.name for node in ast.walk(tree_of(path)) if isinstance(node, defined))}
    assert {name for name in names if WORDS.intersection(map(str.lower, WORD.findall(name)))} == set()
