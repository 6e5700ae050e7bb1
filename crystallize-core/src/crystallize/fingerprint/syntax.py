"""The code of one function: its normal form, what it refers to outside itself, and which paths it only writes to.

The normal form is from the source where that is true to the function, else from its bytecode. A source file may have
been edited since it was imported. So source counts only if compiling it gives the very code that runs; otherwise the
code itself is taken apart. Comments, layout, line numbers, docstrings, annotations, decorators (what they do is in the
object that they made) and the function's own name never count.
"""

from __future__ import annotations

import ast
import dis
import functools
import importlib.util
import linecache
import marshal
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.fingerprint.hashing import new_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "References",
    "absolute_names",
    "bytecode",
    "module_syntax",
    "only_written",
    "references",
    "syntax",
    "tree",
    "written_function",
]

_Function = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_IGNORED = {"returns", "type_comment", "type_params"}
# Generator, coroutine and so on, and variable arguments: what changes how a call behaves.
_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
_SILENT = {"NOP", "CACHE", "EXTENDED_ARG", "RESUME"}


@functools.lru_cache(maxsize=4096)
def syntax(code: CodeType) -> bytes:
    """Return the normal form of a function's code.

    Parameters
    ----------
    code : code
        Of a function, a lambda or a method.

    Returns
    -------
    bytes
        A digest, equal for functions that differ in layout only; the values of defaults are not part of it.
    """
    node = written_function(code)
    if node is not None:
        try:
            parts = list(_dump(node.body if isinstance(node, ast.Lambda) else _body(node)))
        except RecursionError:
            return bytecode(code)
        return _digest([type(node).__name__.encode(), _arguments(node.args), *parts])
    return bytecode(code)


@functools.lru_cache(maxsize=128)
def module_syntax(text: str) -> bytes:
    """Return the normal form of a whole module's source, as a digest."""
    return _digest(_dump(_body(tree(text))))


@functools.lru_cache(maxsize=128)
def tree(text: str) -> ast.Module:
    """Parse source, once for each text."""
    return ast.parse(text)


def written_function(code: CodeType) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    """Find the one function in the source file that compiles to this code."""
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename))
    if not text:
        return None
    try:
        nodes, codes = _index(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    place = (code.co_firstlineno, code.co_name)
    found = nodes.get(place, ())
    return found[0] if len(found) == 1 and codes.get(place) == [code] else None


LineAndName = tuple[int, str]


@functools.lru_cache(maxsize=32)
def _index(text: str) -> tuple[dict[LineAndName, list[Any]], dict[LineAndName, list[CodeType]]]:
    module = tree(text)
    nodes: dict[LineAndName, list[Any]] = {}
    for node in ast.walk(module):
        if isinstance(node, _Function):
            decorators = getattr(node, "decorator_list", ())
            line = min([node.lineno, *(decorator.lineno for decorator in decorators)])
            nodes.setdefault((line, getattr(node, "name", "<lambda>")), []).append(node)
    codes: dict[LineAndName, list[CodeType]] = {}
    waiting = [compile(module, "<source>", "exec", dont_inherit=True)]
    while waiting:
        for const in waiting.pop().co_consts:
            if isinstance(const, CodeType):
                codes.setdefault((const.co_firstlineno, const.co_name), []).append(const)
                waiting.append(const)
    return nodes, codes


def _arguments(arguments: ast.arguments) -> bytes:
    """Names and kinds; the values of defaults are looked at in the running function."""
    groups = (arguments.posonlyargs, arguments.args, arguments.kwonlyargs)
    names = ["|".join(argument.arg for argument in group) for group in groups]
    names += [extra.arg if extra else "" for extra in (arguments.vararg, arguments.kwarg)]
    return repr(names).encode("utf-8", "surrogatepass")


def _body(node: Any) -> list[ast.stmt]:
    """The statements without the docstring."""
    body: list[ast.stmt] = node.body
    first = body[0] if body else None
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[documented:]


def _dump(node: Any, *, in_class: bool = False) -> Iterator[bytes]:
    """Write a syntax tree down, leaving out what is empty, so that later versions of Python add nothing."""
    if isinstance(node, ast.Constant):
        yield b"=%b" % _constant(node.value)
    elif isinstance(node, ast.AnnAssign) and not in_class:
        # In a class an annotation may be a field; elsewhere it is a remark.
        if node.value is not None:
            yield from _dump(ast.Assign(targets=[node.target], value=node.value))
    elif isinstance(node, ast.AST):
        yield b"(%b" % type(node).__name__.encode()
        for name, value in ast.iter_fields(node):
            if value is None or value == [] or name in _IGNORED or (name == "annotation" and isinstance(node, ast.arg)):
                continue
            yield b" %b:" % name.encode()
            documented = name == "body" and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            yield from _dump(_body(node) if documented else value, in_class=isinstance(node, ast.ClassDef))
        yield b")"
    elif isinstance(node, list):
        yield b"["
        for item in node:
            if not isinstance(item, ast.Pass):
                yield from _dump(item, in_class=in_class)
        yield b"]"
    else:
        yield b"=%b" % _constant(node)


def _constant(value: Any) -> bytes:
    try:
        return marshal.dumps(value, 0)
    except ValueError:
        return repr(value).encode("utf-8", "surrogatepass")


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = new_hash()
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


@functools.lru_cache(maxsize=4096)
def bytecode(code: CodeType) -> bytes:
    """Return the normal form of a code object: its instructions without lines, offsets and what only moves them.

    It holds for one version of Python; another version compiles to other instructions.
    """
    instructions = [step for step in dis.get_instructions(code) if step.opname not in _SILENT]
    # A jump to an instruction that is left out means the next one that is kept.
    kept = [step.offset for step in instructions]
    place = {offset: number for number, offset in enumerate(kept)}

    def position(offset: int) -> int:
        return place.get(offset, sum(1 for other in kept if other < offset))

    parts: list[Any] = [
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS),
        code.co_varnames[: code.co_argcount + code.co_kwonlyargcount],
    ]
    for step in instructions:
        if step.opcode in dis.hasconst:
            argument: Any = _const(step.argval)
        elif step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
            argument = position(step.argval)
        elif step.opcode in _NAMED:
            argument = step.argrepr
        else:
            argument = step.arg
        parts.append((step.opname, argument))
    parts += [
        (position(entry.start), position(entry.end), position(entry.target), entry.depth, entry.lasti)
        for entry in getattr(dis.Bytecode(code), "exception_entries", ())
    ]
    return _digest(repr(part).encode("utf-8", "surrogatepass") for part in parts)


_NAMED = {*dis.hasname, *dis.haslocal, *dis.hasfree, *dis.hascompare}


def _const(value: Any) -> Any:
    if isinstance(value, CodeType):
        return bytecode(value)
    if isinstance(value, frozenset):
        return ("frozenset", sorted(repr(_const(item)) for item in value))
    if isinstance(value, tuple):
        return tuple(_const(item) for item in value)
    return _constant(value)


_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_FREE = {"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF", "LOAD_CLOSURE"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD"}
_NO_USE = {"CACHE", "EXTENDED_ARG", "NOP", "PUSH_NULL", "PRECALL", "RESUME"}

Names = tuple[str, ...]


class References(NamedTuple):
    """What one code object, and those nested in it, refer to; each sorted and without repetition."""

    global_paths: tuple[Names, ...]
    """A global name, then the attributes that are read from it in a row: ``("helpers", "scale")``."""
    free_paths: tuple[Names, ...]
    """The same for closure variables."""
    imports: tuple[tuple[str, int, Names], ...]
    """Imports in the function's body: module, level, names."""
    names: frozenset[str]
    """All names and attributes that it uses."""


@functools.lru_cache(maxsize=4096)
def references(code: CodeType) -> References:
    """Find out what a code object refers to."""
    free: set[Names] = set()
    found: set[Names] = set()
    imports: set[tuple[str, int, Names]] = set()
    used: set[str] = set()
    waiting = [code]
    while waiting:
        each = waiting.pop()
        used.update(each.co_names)
        waiting.extend(const for const in each.co_consts if isinstance(const, CodeType))
        steps = [step for step in dis.get_instructions(each) if step.opname not in _NO_USE]
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


def absolute_names(module: str, level: int, names: Names, package: str) -> list[str]:
    """Return the modules that an import statement may mean."""
    try:
        base = importlib.util.resolve_name("." * level + module, package) if level else module
    except ImportError:
        return []
    return [base, *(f"{base}.{name}" for name in names if name != "*")]


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
    """Return whether a call of ``open`` says that it writes, and does not read."""
    modes = [word.value for word in call.keywords if word.arg == "mode"] or call.args[position : position + 1]
    mode = modes[0] if modes else None
    if not isinstance(mode, ast.Constant) or not isinstance(mode.value, str):
        return False
    return mode.value[:1] in ("w", "a", "x") and "+" not in mode.value
