"""Which paths code only writes to: what lies there is what it makes, and not what it goes by."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

from crystallize.fingerprint._syntax import written_function

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["only_written"]

_WRITES = frozenset({"mkdir", "rmdir", "touch", "unlink", "write_bytes", "write_text"})
_LEADS_ON = frozenset({"absolute", "joinpath", "resolve", "with_name", "with_stem", "with_suffix"})


@functools.lru_cache(maxsize=4096)
def only_written(code: CodeType) -> frozenset[str]:
    """Return the names whose every use in a function writes to the path that they stand for.

    Such a use is ``log.open("a")``, ``open(log, "w")``, ``(folder / "result.txt").write_text(text)`` or
    ``folder.mkdir()``: logs, and folders for what comes out. Anything else may read, and ends the matter.

    Parameters
    ----------
    code : code
        Of a function; without its source nothing is known.
    """
    function = written_function(code)
    if function is None:
        return frozenset()
    nodes = list(ast.walk(function))
    uses = [node.id for node in nodes if isinstance(node, ast.Name)]
    writes = [name for node in nodes if isinstance(node, ast.Call) for name in _written_by(node)]
    return frozenset(name for name in writes if writes.count(name) == uses.count(name))


def _written_by(call: ast.Call) -> Iterator[str]:
    """Yield the name of the path that a call writes to, once."""
    target: ast.AST | None = None
    if isinstance(call.func, ast.Attribute):
        if call.func.attr in _WRITES or (call.func.attr == "open" and _is_write_mode(call, 0)):
            target = call.func.value
    elif isinstance(call.func, ast.Name) and call.func.id == "open" and call.args and _is_write_mode(call, 1):
        target = call.args[0]
    while target is not None and not isinstance(target, ast.Name):
        target = _leads_from(target)
    if target is not None:
        yield target.id


def _leads_from(node: ast.AST) -> ast.AST | None:
    """Return the path from which an expression leads to another one below or beside it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return node.left
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LEADS_ON:
        return node.func.value
    return None


def _is_write_mode(call: ast.Call, position: int) -> bool:
    """Say whether a call of ``open`` says that it writes, and does not read."""
    given = [word.value for word in call.keywords if word.arg == "mode"] or call.args[position : position + 1]
    mode = given[0] if given else None
    if not isinstance(mode, ast.Constant) or not isinstance(mode.value, str):
        return False
    return mode.value[:1] in ("w", "a", "x") and "+" not in mode.value
