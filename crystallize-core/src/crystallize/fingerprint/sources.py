"""The text of code: what was written, beside the digest of what it means."""

from __future__ import annotations

import ast
import functools
import linecache
import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Literal, NamedTuple

from crystallize.fingerprint.graph import Walk
from crystallize.fingerprint.project import is_library_function, module_file, module_of
from crystallize.fingerprint.syntax import tree, written_function
from crystallize.fingerprint.values import describe_value

__all__ = ["CodePart", "code_parts"]


class CodePart(NamedTuple):
    """A function, class, module or value of the project that code refers to."""

    digest: str
    """As `CodeRecord.parts` has it."""
    kind: Literal["function", "class", "module", "value"]
    text: str | None
    """The source as it was written; None for a value, and for code whose source is not at hand, or no longer true to
    what runs."""
    file: str | None
    line: int | None
    """Where `text` begins."""
    value: Any
    """What a value's name stands for; None for anything else."""


def code_parts(*roots: Any) -> dict[str, CodePart]:
    """Return everything of the project that code consists of, with its source.

    Parameters
    ----------
    *roots : object
        Functions, classes, or objects that hold some.

    Returns
    -------
    dict of str to CodePart
        By qualified name, sorted. A method or an inner function of something that is in it as well is left out.

    Examples
    --------
    >>> code_parts(len)
    {}
    """
    walk = Walk(describe_value)
    walk.start(roots, "")
    for root in roots:
        if isinstance(root, FunctionType) and not is_library_function(root):
            # Of several lambdas in a file, the name is the first one's.
            name = f"{root.__module__}.{root.__qualname__}"
            if walk.objects.get(name, root) is not root:
                walk.name(f"{name} (line {root.__code__.co_firstlineno})", walk.ref(root), root)
    found = {name: _part(walk.graph.digest(ref).hex(), walk.objects[name]) for name, ref in walk.named.items()}
    return {name: found[name] for name in sorted(found) if not _is_inside(name, found)}


def _is_inside(name: str, found: dict[str, CodePart]) -> bool:
    """Return whether the text of a part is a piece of another's."""
    if found[name].kind != "function":
        return False
    outer = name
    while "." in outer:
        outer = outer.rpartition(".")[0].removesuffix(".<locals>")
        if outer in found and found[outer].text is not None and found[outer].kind in ("class", "function"):
            return True
    return False


def _part(digest: str, stands_for: Any) -> CodePart:
    if isinstance(stands_for, FunctionType):
        code = stands_for.__code__
        return CodePart(digest, "function", *_text_of_function(code.co_filename, code), None)
    if isinstance(stands_for, type):
        return CodePart(digest, "class", *_text_of_class(stands_for), None)
    if isinstance(stands_for, Path):
        try:
            return CodePart(digest, "module", stands_for.read_text(encoding="utf-8"), str(stands_for), 1, None)
        except (OSError, ValueError):
            return CodePart(digest, "module", None, str(stands_for), None, None)
    return CodePart(digest, "value", None, None, None, stands_for)


@functools.lru_cache(maxsize=4096)
def _text_of_function(file: str, code: CodeType) -> tuple[str | None, str, int | None]:
    # By file too: what is written alike in two places is one code.
    node = written_function(code)
    return (None, file, None) if node is None else (_lines(file, node), file, _first_line(node))


def _text_of_class(kind: type) -> tuple[str | None, str | None, int | None]:
    file = module_file(sys.modules.get(module_of(kind)))
    functions = [value for value in vars(kind).values() if isinstance(value, FunctionType)]
    file = next((each.__code__.co_filename for each in functions if each.__module__ == module_of(kind)), file)
    if file is None:
        return None, None, None
    node = _written_class(file, kind.__qualname__)
    # The file may have been edited since: it counts if each method that was written in it is still there as it runs.
    own = [each for each in functions if each.__code__.co_filename == file]
    if node is None or any(written_function(each.__code__) is None for each in own):
        return None, file, None
    return _lines(file, node), file, _first_line(node)


def _written_class(file: str, qualname: str) -> ast.ClassDef | None:
    linecache.checkcache(file)
    try:
        found: list[Any] = [tree("".join(linecache.getlines(file)))]
    except (SyntaxError, ValueError, RecursionError):
        return None
    for name in (part for part in qualname.split(".") if part != "<locals>"):
        scopes = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for scope in found for node in _inside(scope) if isinstance(node, scopes) and node.name == name]
    classes = [node for node in found if isinstance(node, ast.ClassDef)]
    return classes[0] if len(classes) == 1 else None


def _inside(scope: Any) -> list[Any]:
    """Return the statements of a scope, those in branches included, not those of inner functions and classes."""
    statements, waiting = [], list(scope.body)
    while waiting:
        node = waiting.pop(0)
        statements.append(node)
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for name in ("body", "orelse", "finalbody", "handlers"):
                waiting += getattr(node, name, [])
    return statements


def _first_line(node: Any) -> int:
    first: int = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    return first


def _lines(file: str, node: Any) -> str:
    return "".join(linecache.getlines(file)[_first_line(node) - 1 : node.end_lineno])
