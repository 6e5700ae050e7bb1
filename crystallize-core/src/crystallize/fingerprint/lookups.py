"""What code gets at by a name while it runs: modules, globals, environment variables, text that is executed.

Where the name is written in the code, it says what is meant, and that is followed. Where it is not, nobody knows: then
the expression itself is given, to be named as untracked.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Lookup",
    "builtin_name",
    "is_known",
    "known_name",
    "known_under",
    "lookups",
    "named_module",
    "needs_a_look",
]

# The functions that take such a name: what is named, the place of the argument and its keyword.
_TAKING: dict[str, tuple[str, int, str]] = {
    "builtins.__import__": ("import", 0, "name"),
    "builtins.compile": ("code", 0, "source"),
    "builtins.eval": ("code", 0, "source"),
    "builtins.exec": ("code", 0, "source"),
    "ctypes.CDLL": ("file", 0, "name"),
    "hydra._internal.instantiate._instantiate2.instantiate": ("import", 0, "config"),
    "hydra.utils.get_class": ("import", 0, "path"),
    "hydra.utils.get_method": ("import", 0, "path"),
    "hydra.utils.get_object": ("import", 0, "path"),
    "hydra.utils.instantiate": ("import", 0, "config"),
    "importlib.__import__": ("import", 0, "name"),
    "importlib.import_module": ("import", 0, "name"),
    "importlib.machinery.SourceFileLoader": ("file", 1, "path"),
    "importlib.util.find_spec": ("import", 0, "name"),
    "importlib.util.spec_from_file_location": ("file", 1, "location"),
    "os.environ.__contains__": ("variable", 0, "key"),
    "os.environ.__getitem__": ("variable", 0, "key"),
    "os.environ.get": ("variable", 0, "key"),
    "os.environ.pop": ("variable", 0, "key"),
    "os.environ.setdefault": ("variable", 0, "key"),
    "os.getenv": ("variable", 0, "key"),
    "pkgutil.resolve_name": ("import", 0, "name"),
    "pydoc.locate": ("import", 0, "path"),
    "runpy.run_module": ("import", 0, "mod_name"),
    "runpy.run_path": ("file", 0, "path_name"),
    "sys.modules.__getitem__": ("import", 0, "key"),
    "sys.modules.get": ("import", 0, "key"),
    "sys.path.append": ("path", 0, "object"),
    "sys.path.insert": ("path", 1, "object"),
}
_OPAQUE = {
    "importlib.metadata.entry_points",
    "importlib_metadata.entry_points",
    "os.environb",
    "os.getenvb",
    "pkg_resources.iter_entry_points",
    "pkgutil.iter_modules",
    "pkgutil.walk_packages",
    "site.addsitedir",
    "zipimport.zipimporter",
}
_HOLDERS = {"os.environ", "sys.modules", "sys.path"}
_WRITING = {"os.environ.update", "sys.modules.update", "sys.modules.pop", "sys.modules.setdefault", "sys.path.remove"}
_KNOWN = {*(name for name in _TAKING if not name.startswith("sys.")), *_OPAQUE, *_HOLDERS, "builtins.globals"}
# Where the interpreter defines what other modules hand out.
_FROZEN = {"_frozen_importlib", "_frozen_importlib_external", "importlib._bootstrap", "importlib._bootstrap_external"}
_BY_LAST = {name.rpartition(".")[2]: name for name in (*_KNOWN - {"os.environ.get", "os.environ.pop"},)}
# Attributes that lead from a function or a frame to all names of its module.
_TO_GLOBALS = {"f_globals", "__globals__", "__builtins__"}
_MODULES = {name.partition(".")[0] for name in _KNOWN}
_SUSPICIOUS = frozenset({*_TO_GLOBALS, *_MODULES, *(name.rpartition(".")[2] for name in _KNOWN), "getattr"})
_LONGEST = 80
# How code puts paths together.
_PATHS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(("str", "os.fspath", "fspath", "os.path.realpath", "os.path.abspath"), lambda *parts: parts[0]),
    **dict.fromkeys(("Path", "pathlib.Path", "os.path.join"), os.path.join),
    "os.path.dirname": lambda *parts: os.path.dirname(parts[0]),  # noqa: PTH120 - a text
}


class Lookup(NamedTuple):
    """One place at which code gets at something by a name."""

    kind: Literal["import", "file", "variable", "global", "own", "attribute", "code", "path", "unknown"]
    """What is named: a module; a file of code; an environment variable; a global; all globals; an attribute of a
    module; text that is executed; a folder where modules are looked for from then on. Of ``"unknown"`` the name is the
    expression."""
    name: str
    of: str = ""
    """Of an attribute: the module, as it is written. Of an import: the package to which a relative name refers."""


def known_name(value: Any) -> str | None:
    """Return the name of a function or table that such lookups go by; None for anything else."""
    kind = type(value)
    if kind is FunctionType or kind is BuiltinFunctionType or kind is type:
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if module in _FROZEN and isinstance(name, str):
            return _BY_LAST.get(name)
        full = f"{module}.{name}"
        return full if full in _KNOWN else None
    if kind is MethodType and value.__self__ is os.environ:
        return f"os.environ.{value.__func__.__name__}"
    if kind is dict or kind is list:
        return "sys.modules" if value is sys.modules else "sys.path" if value is sys.path else None
    if kind is type(os.environ):
        return "os.environ" if value is os.environ else "os.environb"
    return None


def named_module(value: Any, attributes: tuple[str, ...]) -> str | None:
    """Return the name of what attributes lead to: of something that is known, or of a module and what is in it."""
    for at, attribute in enumerate(attributes):
        known = known_name(value)
        if known is not None:
            return ".".join((known, *attributes[at:]))
        if not isinstance(value, ModuleType):
            return None
        if attribute not in vars(value):
            full = ".".join((value.__name__, *attributes[at:]))
            return full if full in _KNOWN else None
        full = f"{value.__name__}.{attribute}"
        if full in _KNOWN:
            return ".".join((value.__name__, *attributes[at:]))
        value = vars(value)[attribute]
    return value.__name__ if isinstance(value, ModuleType) else known_name(value)


def lookups(
    tree: ast.AST,
    resolve: Callable[[tuple[str, ...]], str | None],
    constant: Callable[[tuple[str, ...]], str | None],
    *,
    whole: bool = False,
) -> list[Lookup]:
    """Find the places in code at which it gets at something by a name.

    Parameters
    ----------
    tree : ast.AST
        Of a function, or of a whole module.
    resolve : callable
        Gives the name of what a name and the attributes that are read from it stand for, outside the code; or None.
    constant : callable
        The same, for a text that they stand for.
    whole : bool
        Whether it is a whole module, whose names others can use.
    """
    finder = _Finder(tree, resolve, constant, whole=whole)
    # Neither decorators nor defaults: what they made is looked at instead.
    body: Any = getattr(tree, "body", ())
    for statement in body if isinstance(body, list) else [body]:
        finder.visit(statement)
    return list(dict.fromkeys(finder.found))


def known_under(value: Any, attributes: tuple[str, ...]) -> str | None:
    """Return the name of the function or table of lookups that attributes lead to, as `known_name` does."""
    return _settled_name(named_module(value, attributes))


class _Finder(ast.NodeVisitor):
    def __init__(
        self,
        tree: ast.AST,
        resolve: Callable[[tuple[str, ...]], str | None],
        constant: Callable[[tuple[str, ...]], str | None],
        *,
        whole: bool,
    ) -> None:
        self.found: list[Lookup] = []
        self._resolve = resolve
        self._constant = constant
        self._bound = set(_bound(tree))
        self._aliases: dict[str, str] = {}
        self._aliasing: set[ast.AST] = set()
        self._once = dict(_assigned_once(tree)) if whole else {}
        inside = {id(node) for scope in ast.walk(tree) if _is_function(scope) for node in ast.walk(scope)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._aliases[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._aliases[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        for _ in range(2):  # an alias of an alias
            for node in ast.walk(tree):
                if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                    target, name = node.targets[0].id, self._name(node.value)
                    # What a module calls by another name, others can call so.
                    if name in _KNOWN - {"builtins.globals"} and not (whole and id(node) not in inside):
                        self._aliases[target] = str(name)
                        self._aliasing.add(node)

    # -- names ------------------------------------------------------------------------------------

    def _name(self, node: ast.AST) -> str | None:
        """Return the name of what an expression stands for, or None."""
        path = _path(node)
        if path is None:
            if isinstance(node, ast.Call) and self._name(node.func) == "builtins.getattr" and len(node.args) > 1:
                base, attribute = self._name(node.args[0]), self._text(node.args[1])
                return None if base is None or attribute is None else _settled(f"{base}.{attribute}")
            return None
        if path[0] in self._aliases:
            return _settled(".".join((self._aliases[path[0]], *path[1:])))
        return None if path[0] in self._bound else self._resolve(path)

    def _text(self, node: ast.AST | None) -> str | None:
        """Return the text that an expression stands for, where the code says it."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._text(node.left), self._text(node.right)
            return None if left is None or right is None else left + right
        if isinstance(node, ast.JoinedStr):
            parts = [self._text(each) for each in node.values]
            return None if None in parts else "".join(map(str, parts))
        if isinstance(node, ast.FormattedValue):
            return self._text(node.value) if node.conversion == -1 and node.format_spec is None else None
        path = _path(node) if node is not None else None
        if path is not None and len(path) == 1 and path[0] in self._once:
            assigned = self._once.pop(path[0])  # it may name itself
            text = self._text(assigned)
            self._once[path[0]] = assigned
            return text
        found = None
        if path is not None and path[0] not in self._bound and path[0] not in self._aliases:
            found = self._constant(path)
        return self._place(node) if found is None else found

    def _place(self, node: ast.AST | None) -> str | None:
        """Return the path that an expression puts together, such as ``str(Path(__file__).parent / "lib")``."""
        put_together: Callable[..., str] | None = None
        operands: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            put_together, operands = os.path.join, [node.left, node.right]
        elif isinstance(node, ast.Attribute) and node.attr == "parent":
            put_together, operands = os.path.dirname, [node.value]
        elif isinstance(node, ast.Call) and not node.keywords:
            put_together, operands = _PATHS.get(ast.unparse(node.func)), node.args
            if isinstance(node.func, ast.Attribute) and node.func.attr in ("resolve", "absolute"):
                put_together, operands = os.path.abspath, [node.func.value]
        texts = [text for each in operands if (text := self._text(each)) is not None]
        return put_together(*texts) if put_together is not None and texts and len(texts) == len(operands) else None

    @staticmethod
    def _argument(node: ast.Call, at: int, keyword: str) -> ast.AST | None:
        if len(node.args) > at and not any(isinstance(each, ast.Starred) for each in node.args[: at + 1]):
            return node.args[at]
        return next((each.value for each in node.keywords if each.arg == keyword), None)

    def _note(self, kind: Any, name: str | None, node: ast.AST, of: str = "") -> None:
        self.found.append(self._unknown(node) if name is None else Lookup(kind, name, of))

    @staticmethod
    def _unknown(node: ast.AST) -> Lookup:
        text = ast.unparse(node)
        return Lookup("unknown", text if len(text) <= _LONGEST else text[:_LONGEST] + "…")

    # -- what is met ------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        name = self._name(node.func)
        taking = _TAKING.get(name or "")
        if taking is not None:
            self._taking(node, *taking)
        elif name == "builtins.globals":
            self._note("own", "", node)
        elif name == "builtins.getattr" and len(node.args) > 1:
            self._attribute(node)
        elif isinstance(node.func, ast.Attribute) and self._is_globals(node.func.value):
            if node.func.attr in ("get", "__getitem__", "pop", "setdefault"):
                self._global(node.args[0] if node.args else None)
            elif node.func.attr != "update":
                self._note("own", "", node)
        elif name not in _WRITING:
            self.visit(node.func)
        for each in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.visit(each)

    def _taking(self, node: ast.Call, kind: str, at: int, keyword: str) -> None:
        argument = self._argument(node, at, keyword)
        if kind == "code" and isinstance(argument, ast.Call) and self._name(argument.func) == "builtins.compile":
            return  # which text that is, is said there
        package = self._argument(node, 1, "package") if kind == "import" and len(node.args) < 3 else None  # noqa: PLR2004 - `__import__` takes more
        self._note(kind, self._text(argument), node, self._text(package) or "")

    def _attribute(self, node: ast.Call) -> None:
        module, attribute = _path(node.args[0]), self._text(node.args[1])
        if is_known(self._name(node)):
            self.found.append(self._unknown(node))
        elif module is not None and attribute is not None and self._is_outside(module):
            self._note("attribute", attribute, node, ".".join(module))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = self._name(node.value)
        if self._is_globals(node.value):
            if isinstance(node.ctx, ast.Load):
                self._global(node.slice)
        elif name in ("os.environ", "sys.modules"):
            if isinstance(node.ctx, ast.Load):
                self._note("variable" if name == "os.environ" else "import", self._text(node.slice), node)
        else:
            self.visit(node.value)
        self.visit(node.slice)

    def visit_Compare(self, node: ast.Compare) -> None:
        before = node.left
        self.visit(before)
        for operation, each in zip(node.ops, node.comparators, strict=True):
            name = self._name(each)
            if isinstance(operation, (ast.In, ast.NotIn)) and name == "os.environ":
                self._note("variable", self._text(before), node)
            elif isinstance(operation, (ast.In, ast.NotIn)) and self._is_globals(each):
                self._global(before)
            elif not (isinstance(operation, (ast.In, ast.NotIn)) and name == "sys.modules"):
                self.visit(each)
            before = each

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Subscript) and self._name(node.target.value) == "os.environ":
            self._note("variable", self._text(node.target.slice), node)
        elif self._name(node.target) == "sys.path":
            self.found.append(self._unknown(node))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if node not in self._aliasing:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self._name(node)
        if isinstance(node.ctx, ast.Load) and (_settled_name(name) is not None or node.attr in _TO_GLOBALS):
            self.found.append(self._unknown(node))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        name = _settled_name(self._name(node)) if isinstance(node.ctx, ast.Load) else None
        if name == "builtins.globals":
            self._note("own", "", node)
        elif name is not None:
            self.found.append(self._unknown(node))

    def _is_globals(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and self._name(node.func) == "builtins.globals"

    def _global(self, node: ast.AST | None) -> None:
        name = self._text(node)
        self.found.append(Lookup("own", "") if name is None else Lookup("global", name))

    def _is_outside(self, path: tuple[str, ...]) -> bool:
        return path[0] not in self._aliases and path[0] not in self._bound


def _path(node: ast.AST) -> tuple[str, ...] | None:
    """Return a name and the attributes that are read from it in a row; None for any other expression."""
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else None


def _settled(name: str) -> str:
    """Return the usual name of what a module of the project hands on, such as ``helpers.environ``."""
    if name in _KNOWN or name.partition(".")[0] in _MODULES:
        return name
    first, *rest = name.split(".")
    for at, part in enumerate(rest):
        if part in ("environ", "import_module", "getenv"):
            return ".".join((_BY_LAST[part], *rest[at + 1 :]))
    return ".".join((first, *rest))


def _settled_name(name: str | None) -> str | None:
    """Return the name of something that is known, or of a part of it."""
    if name is None or name in _KNOWN:
        return name
    return next((holder for holder in _HOLDERS if name.startswith(f"{holder}.")), None)


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names that code binds itself, other than by imports."""
    outside: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            outside.update(node.names)
    for node in ast.walk(tree):
        name: str | None = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)):
            name = None if node is tree else node.name
        if name is not None and name not in outside:
            yield name


def _assigned_once(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a module assigns in one place, and what it assigns."""
    stored = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    for node in getattr(tree, "body", ()):
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(target, ast.Name) and stored.count(target.id) == 1:
            yield target.id, node.value


def builtin_name(path: tuple[str, ...]) -> str | None:
    """Return the name of a built-in function that a name stands for, where nothing else has that name."""
    return f"builtins.{path[0]}" if len(path) == 1 and hasattr(builtins, path[0]) else None


def is_known(name: str | None) -> bool:
    """Return whether a name is that of a function or table of lookups."""
    return _settled_name(name) is not None


def needs_a_look(names: Iterable[str]) -> bool:
    """Return whether code that uses such names and attributes may get at something by a name."""
    return not _SUSPICIOUS.isdisjoint(names)
