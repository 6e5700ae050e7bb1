"""What a function's code refers to outside itself: globals, closure variables, imports."""

from __future__ import annotations

import dis
import functools
import importlib.util
from types import CodeType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["References", "absolute_names", "references"]

_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_FREE = {"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF", "LOAD_CLOSURE"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD"}
_SILENT = {"CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "PRECALL", "RESUME"}

Path = tuple[str, ...]


class References(NamedTuple):
    """What one code object, and those nested in it, refer to; each sorted and without repetition."""

    global_paths: tuple[Path, ...]
    """A global name, then the attributes that are read from it in a row: ``("helpers", "scale")``."""
    free_paths: tuple[Path, ...]
    """The same for closure variables."""
    imports: tuple[tuple[str, int, Path], ...]
    """Imports in the function's body: module, level, names."""
    names: frozenset[str]
    """All names and attributes that it uses."""


@functools.lru_cache(maxsize=4096)
def references(code: CodeType) -> References:
    """Find out what a code object refers to."""
    free: set[Path] = set()
    found: set[Path] = set()
    imports: set[tuple[str, int, Path]] = set()
    used: set[str] = set()
    waiting = [code]
    while waiting:
        each = waiting.pop()
        used.update(each.co_names)
        waiting.extend(const for const in each.co_consts if isinstance(const, CodeType))
        steps = [step for step in dis.get_instructions(each) if step.opname not in _SILENT]
        for at, step in enumerate(steps):
            if step.opname in _GLOBAL:
                found.add((str(step.argval), *_attributes(steps, at)))
            elif step.opname in _FREE:
                free.add((str(step.argval), *_attributes(steps, at)))
            elif step.opname == "IMPORT_NAME":
                level, names = steps[at - 2].argval, steps[at - 1].argval
                imports.add((str(step.argval), level if isinstance(level, int) else 0, tuple(names or ())))
    outside = set(code.co_freevars)
    return References(
        tuple(sorted(found)),
        tuple(sorted(path for path in free if path[0] in outside)),
        tuple(sorted(imports)),
        frozenset(used),
    )


def _attributes(steps: list[dis.Instruction], at: int) -> Iterator[str]:
    for step in steps[at + 1 :]:
        if step.opname not in _ATTRIBUTE:
            return
        yield str(step.argval)


def absolute_names(module: str, level: int, names: Path, package: str) -> list[str]:
    """Give the modules that an import statement may mean."""
    try:
        base = importlib.util.resolve_name("." * level + module, package) if level else module
    except ImportError:
        return []
    return [base, *(f"{base}.{name}" for name in names if name != "*")]
