"""The code of one experiment folder: modules that no other folder and no other load shares.

Two folders may both have a `helpers.py`, and a step may import it when it runs, in a worker that has never seen the
folder. So an import of a module in the experiment's own folder is rewritten: it becomes a look at a global of the
importing module, which holds the very module and travels with the function that uses it. Other imports stay as they
are.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import itertools
import linecache
import re
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks.declarations import MARK, has_library_name, offer, withdraw
from crystallize_plugins.config.problems import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize_plugins.config.problems import Problems

__all__ = ["LOAD", "PREFIX", "FolderCode", "LocalImport", "Rewriter", "local_module"]


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
    """Return the file of a module that lies in a folder, or None.

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
        """Return the dotted name, inside the folder, of what an import is from; None for anything else."""
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


PREFIX = "crystallize_folder_"
"""What the names of the packages begin with that stand for folders."""


class FolderCode:
    """Loads the modules of one folder, once each, from their text as it is now.

    They are registered under a package name of their own, and say that they come from where their own code would import
    them: see `crystallize.folders`. A fresh process, which could not import them, gets them by value.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    shown : str
        What to call it in messages.
    problems : Problems
        Takes what is wrong with the code.
    """

    def __init__(self, folder: Path, shown: str, problems: Problems) -> None:
        self._folder = folder
        self._shown = shown
        self._problems = problems
        self.package = _free_name(PREFIX + re.sub(r"\W", "_", folder.name))
        self._failed: set[str] = set()
        self._register(types.ModuleType(self.package, f"The code in {shown}."), None)

    def module(self, name: str) -> types.ModuleType | None:
        """Return a module of the folder, such as `steps`.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        module or None
            None where it is not there, or cannot be imported, which is noted once.
        """
        if name in self._failed:
            return None
        known = sys.modules.get(f"{self.package}.{name}")
        if known is not None or local_module(self._folder, name) is None:
            return known
        try:
            return self._load(name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the folder's code raises is the answer
            self._failed.add(name)
            self._note(name, error)
            return None

    def failed(self, name: str) -> bool:
        """Whether a module is there and could not be imported."""
        return name in self._failed

    def file(self, name: str) -> Path | None:
        """Return the file of a module, or None."""
        return local_module(self._folder, name)

    def owns(self, value: object) -> bool:
        """Whether a function or class is defined in this folder."""
        module = getattr(value, "__module__", None)
        if not isinstance(module, str):
            return False
        return module.startswith(f"{self.package}.") or f"{self.package}.{module}" in sys.modules

    def discard(self) -> None:
        """Forget everything, where nothing came of the load."""
        for name in [name for name in sys.modules if name == self.package or name.startswith(f"{self.package}.")]:
            self._remove(name)

    def _remove(self, name: str) -> None:
        del sys.modules[name]
        withdraw(self.package, name.removeprefix(f"{self.package}."))

    def _register(self, module: types.ModuleType, file: Path | None) -> None:
        package = file is None or file.name == "__init__.py"
        # Whoever sends code to other processes sees that they could not import this.
        vars(module)[MARK] = self.package
        module.__package__ = module.__name__ if package else module.__name__.rpartition(".")[0]
        if file is not None:
            module.__file__ = str(file)
        spec = importlib.machinery.ModuleSpec(module.__name__, None, is_package=package)
        module.__spec__ = spec
        if package:
            module.__path__ = []
        sys.modules[module.__name__] = module

    def _load(self, dotted: str) -> types.ModuleType:
        """Return a module of the folder, with the packages that it is in."""
        name = f"{self.package}.{dotted}"
        if name in sys.modules:
            return sys.modules[name]
        parent, _, last = dotted.rpartition(".")
        holder = self._load(parent) if parent else sys.modules[self.package]
        file = local_module(self._folder, dotted)
        if file is None:
            if (self._folder / Path(*dotted.split("."))).is_dir():
                raise ModuleNotFoundError(f"the folder {dotted!r} is no package: it has no __init__.py", name=dotted)
            raise ModuleNotFoundError(f"No module named {dotted!r} in {self._shown}", name=dotted)
        module = types.ModuleType(name)
        self._register(module, file)
        public = name if has_library_name(dotted) else dotted
        if public is dotted:
            offer(self.package, dotted)
        try:
            self._execute(module, file, dotted, public)
        except BaseException:
            self._remove(name)
            raise
        setattr(holder, last, module)
        return module

    def _execute(self, module: types.ModuleType, file: Path, dotted: str, public: str) -> None:
        source = importlib.util.decode_source(file.read_bytes())
        # What a traceback shows, and what the identity of a function is read from, is the text of now.
        linecache.checkcache(str(file))
        tree = ast.parse(source, str(file))
        rewriter = Rewriter(self._folder, dotted if file.name == "__init__.py" else dotted.rpartition(".")[0])
        code = compile(rewriter.visit(tree), str(file), "exec", dont_inherit=True)
        names = vars(module)

        def load(wanted: str, name: str | None = None) -> Any:
            found = self._found(wanted)
            if name == "*":
                public = getattr(found, "__all__", [name for name in vars(found) if not name.startswith("_")])
                names.update({name: getattr(found, name) for name in public})
            elif name is not None and not hasattr(found, name):
                raise ImportError(f"cannot import name {name!r} from {wanted!r} in {self._shown}", name=wanted)
            return found if name is None or name == "*" else getattr(found, name)

        names[LOAD] = load
        # A function may be called before its module is complete.
        names.update({late.variable: _Later(self._found, late.module) for late in rewriter.late})
        own = module.__name__
        module.__name__ = public  # what it defines says that it comes from there
        try:
            exec(code, names)  # noqa: S102 - running the folder's code is what loading it means
        finally:
            module.__name__ = own
            del names[LOAD]
        for late in rewriter.late:
            names[late.variable] = self._late(late.module)

    def _found(self, dotted: str) -> types.ModuleType:
        return self._load(dotted) if dotted else sys.modules[self.package]

    def _late(self, dotted: str) -> object:
        """Load what a function will import, so that it is there in every worker; an error is that of the function."""
        try:
            return self._found(dotted)
        except Exception as error:  # noqa: BLE001 - whatever the module raises is raised where it is used
            return _Unimportable(dotted, f"{type(error).__name__}: {error}")

    def _note(self, name: str, error: BaseException) -> None:
        """Say where in the folder's code an error comes from."""
        file = f"{name}.py"
        place = Place(f"{self._shown}/{file}")
        if isinstance(error, SyntaxError) and error.filename:
            place = self._place(Path(error.filename), error.lineno or 1, error.offset or 1) or place
            what = f"{type(error).__name__}: {error.msg}"
        else:
            for frame, line in traceback.walk_tb(error.__traceback__):
                place = self._place(Path(frame.f_code.co_filename), line, 1) or place
            what = f"{type(error).__name__}: {error}"
        advice = f"Fix it; `python {file}` in that folder shows the whole traceback"
        if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith(PREFIX):
            advice = f"Install what provides {error.name!r}, or put {error.name.partition('.')[0]}.py into the folder"
        self._problems.add(place, f"{file} cannot be imported: {what}", advice, cause=error)

    def _place(self, file: Path, line: int, column: int) -> Place | None:
        try:
            inside = file.relative_to(self._folder)
        except ValueError:
            return None
        return Place(f"{self._shown}/{inside.as_posix()}", line, max(1, column))


def _free_name(wanted: str) -> str:
    """Return a name that no loaded package has: the wanted one, unless its folder is loaded again."""
    if wanted not in sys.modules:
        return wanted
    return next(name for number in itertools.count(2) if (name := f"{wanted}_{number}") not in sys.modules)


class _Later:
    """Stands for a module that a function imports, as long as the importing module is being loaded."""

    def __init__(self, load: Callable[[str], types.ModuleType], module: str) -> None:
        self.__dict__["_wanted"] = (load, module)

    def __getattr__(self, name: str) -> Any:
        load, module = self.__dict__["_wanted"]
        return getattr(load(module), name)


class _Unimportable:
    """Stands for a module of the folder that a function imports and that could not be imported."""

    def __init__(self, module: str, reason: str) -> None:
        self.__dict__["_said"] = (module, reason)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_said":
            raise AttributeError(name)
        module, reason = self._said
        raise ImportError(f"{module} could not be imported when the experiment was loaded: {reason}", name=module)
