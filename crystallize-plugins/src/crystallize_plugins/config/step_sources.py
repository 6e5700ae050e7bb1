"""What a folder's steps.py declares of its steps, read from the text: no module is imported."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DescribedStep", "declared_steps"]

_DECORATOR = "pipeline_step"


class DescribedStep(NamedTuple):
    """A step, as far as the text says it.

    Attributes
    ----------
    name : str
        As config.yaml calls it.
    cacheable : bool, default False
        Whether it is declared with ``cacheable=True``.
    line : int or None
        Where steps.py defines it; None where it does not.
    """

    name: str
    cacheable: bool = False
    line: int | None = None


def declared_steps(file: Path) -> dict[str, DescribedStep]:
    """Return the functions and classes of a steps.py by name; nothing where it cannot be read."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return {}  # what is wrong with it is said where it is loaded
    found: dict[str, DescribedStep] = {}
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = DescribedStep(node.name, any(map(_asks, node.decorator_list)), node.lineno)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = DescribedStep(node.name, any(map(_says, node.body)), node.lineno)
    return found


def _asks(decorator: ast.expr) -> bool:
    """Whether a decorator is ``@pipeline_step(cacheable=True)``."""
    if not isinstance(decorator, ast.Call) or ast.unparse(decorator.func).rpartition(".")[2] != _DECORATOR:
        return False
    first = next(iter(decorator.args), None)
    named = next((keyword.value for keyword in decorator.keywords if keyword.arg == "cacheable"), first)
    return isinstance(named, ast.Constant) and named.value is True


def _says(statement: ast.stmt) -> bool:
    """Whether a statement of a class is ``cacheable = True``."""
    if isinstance(statement, ast.Assign):
        names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        names = [statement.target.id]
    else:
        return False
    return "cacheable" in names and isinstance(statement.value, ast.Constant) and statement.value.value is True
