"""From the path of a Python file to the experiment that it defines."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import keyword
import sys
import traceback
from typing import TYPE_CHECKING

from crystallize.errors import ConfigurationError, CrystallizeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType
    from typing import Any

    from crystallize import Experiment

__all__ = ["FILE_MODULE", "experiments_in", "load_experiment", "load_file"]

FILE_MODULE = "crystallize_experiment_"
"""What the name of a module begins with whose file's name means another module."""


def load_experiment(path: Path) -> Experiment:
    """Give the experiment that a Python file defines.

    Parameters
    ----------
    path : Path
        A Python file with exactly one `Experiment` at module level, or with one named ``experiment``.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigurationError
        There is no such file, it cannot be imported, or it is unclear which experiment is meant.

    Examples
    --------
    >>> from pathlib import Path
    >>> load_experiment(Path("absent.py"))
    Traceback (most recent call last):
    ...
    crystallize.errors.ConfigurationError: there is no file absent.py
    """
    namespace = vars(load_file(path))
    found = experiments_in(namespace)
    if "experiment" in found:
        return found["experiment"]
    different = {id(value): value for value in found.values()}
    if len(different) == 1:
        return next(iter(different.values()))
    if found:
        raise ConfigurationError(
            f"{path} defines {len(different)} experiments ({', '.join(sorted(found))}). "
            "Give the one to run the name `experiment`."
        )
    what = f"{path} defines no experiment"
    if "experiment" in namespace:
        what = f"in {path}, `experiment` is of type {type(namespace['experiment']).__name__!r}, not an Experiment"
    raise ConfigurationError(f"{what}. Assign one at the top level of the file: experiment = Experiment(...).")


def experiments_in(namespace: Mapping[str, Any]) -> dict[str, Experiment]:
    """Give the experiments at the top level of a module, by the names of the variables."""
    from crystallize import Experiment

    return {name: value for name, value in list(namespace.items()) if isinstance(value, Experiment)}


def load_file(path: Path, *, until: type[BaseException] | tuple[type[BaseException], ...] = ()) -> ModuleType:
    """Import a Python file as a module of its own, with its folder on the import path.

    The file is not ``__main__``: what it guards with ``if __name__ == "__main__":`` does not run. Its
    functions and classes travel to worker processes by value, so that the workers need not find it.

    Parameters
    ----------
    path : Path
        The file.
    until : exception type or tuple of them, default ()
        What ends the import early without being an error: the module is as far as it got.

    Returns
    -------
    ModuleType

    Raises
    ------
    ConfigurationError
        There is no such file, or importing it raised.
    """
    if not path.is_file():
        raise ConfigurationError(
            f"{path} is a folder; give a Python file" if path.is_dir() else f"there is no file {path}"
        )
    if path.suffix != ".py":
        raise ConfigurationError(f"{path} is not a Python file (its name does not end in .py)")
    file = path.resolve()
    name = _module_name(file)
    loader = importlib.machinery.SourceFileLoader(name, str(file))
    spec = importlib.machinery.ModuleSpec(name, loader, origin=str(file))
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    _make_importable(file.parent)
    sys.modules[name] = module
    try:
        # Compiled here and not by the loader, which may take a cached file of the same second for up to date.
        exec(loader.source_to_code(file.read_bytes(), str(file)), vars(module))  # noqa: S102 - what it is for
    except until:
        pass
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(_what_failed(path, file, error)) from error
    _let_it_travel(module)
    return module


def _make_importable(folder: Path) -> None:
    """Let the modules beside the file be imported, in worker processes too.

    They come before what is installed, but after the standard library: a file called ``random.py`` must not take the
    place of the module that NumPy imports.
    """
    if str(folder) in sys.path:
        return
    installed = (index for index, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages")))
    sys.path.insert(next(installed, len(sys.path)), str(folder))


def _module_name(path: Path) -> str:
    """Give the module the file's name, unless that name means something else already."""
    stem = path.stem
    if stem.isidentifier() and not keyword.iskeyword(stem) and stem not in sys.modules:
        spec = importlib.util.find_spec(stem)
        if spec is None or spec.origin == str(path):
            return stem
    return FILE_MODULE + "".join(letter if letter.isalnum() else "_" for letter in stem)


def _let_it_travel(module: ModuleType) -> None:
    """Have what the file defines pickled by value."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _what_failed(path: Path, file: Path, error: BaseException) -> str:
    """Say where the user's file went wrong: by line for our own errors, which say the rest, else by traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(file):
        trace = trace.tb_next
    if isinstance(error, CrystallizeError) and trace is not None:
        lines = [line for frame, line in traceback.walk_tb(trace) if frame.f_code.co_filename == str(file)]
        return f"{path}, line {lines[-1]}: {error}"
    return f"{path} could not be imported:\n" + "".join(traceback.format_exception(type(error), error, trace)).rstrip()
