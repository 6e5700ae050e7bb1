"""Imports of modules that lie in the experiment's own folder, rewritten so that each folder gets its own.

Two folders may both have a `helpers.py`, and a step may import it when it runs, in a worker that has never seen the
folder. So such an import becomes a look at a global of the importing module, which holds the very module and travels
with the function that uses it. All other imports stay as they are.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LOAD", "LocalImport", "Rewriter", "local_module"]

LOAD = "__crystallize_load__"
"""The global through which a module's own statements load its neighbours, while it is executed."""

_HELD = "__crystallize_module_"


class LocalImport(NamedTuple):
    """A module of the folder that a function imports when it runs.

    Attributes
    ----------
    variable : str
        The global that has to hold it.
    module : str
        Its dotted name inside the folder.
    """

    variable: str
    module: str


def local_module(folder: Path, dotted: str) -> Path | None:
    """Give the file of a module that lies in a folder, or None.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    dotted : str
        A module's name as code there writes it. The standard library's names stay its own.

    Examples
    --------
    >>> from pathlib import Path
    >>> local_module(Path(), "json") is None
    True
    """
    if not dotted or dotted.partition(".")[0] in sys.stdlib_module_names:
        return None
    base = folder.joinpath(*dotted.split("."))
    for file in (base / "__init__.py", base.with_name(base.name + ".py")):
        if file.is_file():
            return file
    return None


class Rewriter(ast.NodeTransformer):
    """Rewrites the imports of one module.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    package : str
        The dotted name, inside the folder, of the package that the module is in; empty at the top.

    Attributes
    ----------
    late : list of LocalImport
        What the module's functions import when they run.
    """

    def __init__(self, folder: Path, package: str) -> None:
        self._folder = folder
        self._package = package
        self._depth = 0
        self.late: list[LocalImport] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Look into a function."""
        return self._inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Look into a coroutine."""
        return self._inside(node)

    def _inside(self, node: ast.AST) -> ast.AST:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        """Rewrite ``import a.b as c``, name by name."""
        made: list[ast.stmt] = []
        for alias in node.names:
            if local_module(self._folder, alias.name.partition(".")[0]) is None:
                made.append(ast.Import([alias]))
            elif alias.asname:
                made.append(_assign(alias.asname, self._module(alias.name)))
            else:
                top = alias.name.partition(".")[0]
                made.append(_assign(top, self._module(top)))
                if alias.name != top:
                    made.append(ast.Expr(self._module(alias.name)))
        return [ast.fix_missing_locations(ast.copy_location(one, node)) for one in made]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        """Rewrite ``from a import b as c``, relative or not."""
        base = self._absolute(node)
        if base is None:
            return node
        made: list[ast.stmt] = []
        for alias in node.names:
            if alias.name == "*":
                # Only at the top of a module, as Python has it.
                made.append(ast.Expr(_load(base, "*")))
                continue
            inner = f"{base}.{alias.name}" if base else alias.name
            if local_module(self._folder, inner) is not None:
                value: ast.expr = self._module(inner)
            elif not self._depth:
                value = _load(base, alias.name)
            else:
                value = ast.Attribute(self._module(base), alias.name, ast.Load())
            made.append(_assign(alias.asname or alias.name, value))
        return [ast.fix_missing_locations(ast.copy_location(one, node)) for one in made]

    def _absolute(self, node: ast.ImportFrom) -> str | None:
        """Give the dotted name, inside the folder, of what an import is from; None for anything else."""
        if not node.level:
            name = node.module or ""
            return name if local_module(self._folder, name.partition(".")[0]) else None
        parts = self._package.split(".") if self._package else []
        if node.level - 1 > len(parts):
            return None
        kept = parts[: len(parts) - (node.level - 1)]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def _module(self, dotted: str) -> ast.expr:
        if not self._depth:
            return _load(dotted)
        held = LocalImport(_HELD + dotted.replace(".", "__"), dotted)
        if held not in self.late:
            self.late.append(held)
        return ast.Name(held.variable, ast.Load())


def _load(*arguments: str) -> ast.expr:
    return ast.Call(ast.Name(LOAD, ast.Load()), [ast.Constant(argument) for argument in arguments], [])


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)
