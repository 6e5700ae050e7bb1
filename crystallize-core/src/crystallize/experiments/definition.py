"""Where an experiment was made, so that its runs can be done again; and catching one that is about to run."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.setup import Request

__all__ = ["Place", "catching_runs", "definition_of", "note_run", "place_of_caller"]

_OURS = ("crystallize", "crystallize_plugins", "crystallize_cli")


class Place(NamedTuple):
    """A place in the program."""

    module: str
    file: str | None
    line: int
    function: str


def place_of_caller() -> Place | None:
    """Give the place at which the program calls Crystallize.

    It is the statement at the top level of a file that leads here, where there is one: who loads that file makes the
    same again, whatever functions the statement calls. Otherwise it is the function that calls.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
        frame = frame.f_back
    if frame is None:
        return None
    caller = frame
    programs = str(Path(sys.executable).parent)
    while frame is not None:
        file = frame.f_code.co_filename
        if frame.f_code.co_name == "<module>" and not file.startswith(programs):
            from crystallize.fingerprint.project import is_library_file

            return _place(caller if is_library_file(file) else frame)
        frame = frame.f_back
    return _place(caller)


def _place(frame: Any) -> Place:
    names = frame.f_globals
    file = names.get("__file__")
    return Place(
        str(names.get("__name__", "")),
        str(Path(file).absolute()) if isinstance(file, str) else None,
        frame.f_lineno,
        frame.f_code.co_name,
    )


def definition_of(experiment: Experiment) -> dict[str, Any]:
    """Say how an experiment can be found again in a later process.

    Parameters
    ----------
    experiment : Experiment

    Returns
    -------
    dict
        ``file`` and ``module`` that were being loaded or run when it was made, the ``line`` and ``function`` there,
        the ``variables`` at the top level of that module that hold it now, ``imported_as``, the name by which the
        module can be imported where that is another (``python -m package.module`` runs it as ``__main__``), and
        ``config``, the folder that it was read from, with its ``overrides``, where that is so.
    """
    place = experiment._place
    module = None if place is None else sys.modules.get(place.module)
    # A copy at once: the program may go on meanwhile.
    names = [] if module is None else list(vars(module).items())
    spec = getattr(module, "__spec__", None)
    return {
        "file": place and place.file,
        "module": place and place.module,
        "line": place and place.line,
        "function": place and place.function,
        "variables": sorted(name for name, value in names if value is experiment),
        "imported_as": None if spec is None or place is None or spec.name == place.module else spec.name,
        "config": experiment._config,
        "overrides": list(experiment._overrides),
    }


_catch: ContextVar[Callable[[Experiment, Request], None] | None] = ContextVar("crystallize_catch", default=None)


@contextmanager
def catching_runs(catch: Callable[[Experiment, Request], None]) -> Iterator[None]:
    """Have a function called in place of every run that begins inside: it may raise to stop what would run.

    Who loads a script to get at its experiment must not run it: scripts often run theirs at the top level.

    Parameters
    ----------
    catch : callable of (Experiment, Request)
        Called before anything of the run has happened. If it returns, the run goes on.
    """
    token = _catch.set(catch)
    try:
        yield
    finally:
        _catch.reset(token)


def note_run(experiment: Experiment, request: Request) -> None:
    """Tell whoever catches runs that one is about to begin."""
    catch = _catch.get()
    if catch is not None:
        catch(experiment, request)
