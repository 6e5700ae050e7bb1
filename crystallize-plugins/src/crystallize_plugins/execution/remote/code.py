"""The code of the project as files: which modules those are, whether they are what this process runs, writing them."""

from __future__ import annotations

import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize.hooks.declarations import MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["project_files", "write_files"]

_LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", "node_modules"})


def project_files(most: int) -> dict[str, bytes]:
    """Return the files of the modules that were imported and belong to nothing installed, by their relative paths.

    Parameters
    ----------
    most : int
        Bytes that they may have together.

    Raises
    ------
    ValidationError
        They have more, or a module was edited after it was imported.
    """
    found: dict[str, bytes] = {}
    total = 0
    for folder, unit in sorted(_project_modules()):
        for path in _files_of(folder / unit):
            total += path.stat().st_size
            if total > most:
                raise ValidationError(
                    f"the code in {folder / unit} cannot be sent along: with it, the project's code is larger than "
                    f"{most // 2**20} MB. Keep data out of packages, or install the package on every machine"
                )
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def _project_modules() -> set[tuple[Path, Path]]:
    """Return a folder of the path, and in it the file or the outermost package of each module that is not installed."""
    folders = {Path(entry or ".").resolve() for entry in sys.path} - _of_installations()
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or getattr(module, MARK, None):
            continue
        place = Path(file).resolve()
        depth = name.count(".") + (1 if hasattr(module, "__path__") else 0)
        if depth >= len(place.parents) or place.parents[depth] not in folders or _is_of_python(place.parents[depth]):
            continue
        _check_unchanged(module)
        folder = place.parents[depth]
        parts = place.relative_to(folder).parts
        # A folder without `__init__.py` may hold anything: of such a package, the modules that were imported.
        packages = (Path(*parts[:number]) for number in range(1, len(parts)))
        unit = next((each for each in packages if (folder / each / "__init__.py").is_file()), Path(*parts))
        found.add((folder, unit))
    return found


def _of_installations() -> set[Path]:
    """Return the folders that editable installations have put on the path."""
    found = set()
    for entry in sys.path:
        if Path(entry).name not in ("site-packages", "dist-packages"):
            continue
        for file in Path(entry).glob("*.pth"):
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                if line.strip() and not line.startswith(("#", "import ", "import\t")):
                    found.add((Path(entry) / line.strip()).resolve())
    return found


def _is_of_python(folder: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(folder.parts):
        return True
    # Not all that lies below `sys.prefix`: an environment may be the project's own folder.
    standard = Path(types.__file__).resolve().parent
    return folder == standard or standard in folder.parents


def _files_of(unit: Path) -> Iterator[Path]:
    if unit.is_file():
        yield unit
        return
    for path in sorted(unit.rglob("*")):
        if path.is_file() and path.suffix != ".pyc" and not _LEFT_OUT & set(path.relative_to(unit).parts):
            yield path


def _check_unchanged(module: types.ModuleType) -> None:
    """Refuse a module of which the file defines other functions by now than this process has.

    Raises
    ------
    ValidationError
    """
    file = str(module.__file__)
    loaded = [code for code in _codes_of(module) if code.co_filename == file]
    loader = getattr(module.__spec__, "loader", None)
    if not loaded or type(loader) is not SourceFileLoader:  # others may make something else of the file
        return
    try:
        whole = compile(Path(file).read_bytes(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        known: set[types.CodeType] = set()
    else:
        known = set(_nested(whole))
    for code in loaded:
        if code not in known:
            raise ValidationError(
                f"the module {module.__name__!r} ({file}) was edited after this process had imported it: other "
                f"machines would run another {code.co_name}() than this one. Start the program again"
            )


def _codes_of(module: types.ModuleType) -> Iterator[types.CodeType]:
    for value in list(vars(module).values()):
        yield from _codes_in(value, module.__name__)
        if isinstance(value, type) and value.__module__ == module.__name__:
            for member in list(vars(value).values()):
                yield from _codes_in(getattr(member, "__func__", member), module.__name__)


def _codes_in(value: Any, module: str) -> Iterator[types.CodeType]:
    function = getattr(value, "__wrapped__", value)
    if isinstance(function, types.FunctionType) and function.__module__ == module:
        yield function.__code__


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a folder.

    Parameters
    ----------
    folder : Path
    files : dict of str to bytes
        By relative path.
    """
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
