"""Where an experiment was made, so that its runs can be done again; and catching one that is about to run."""

from __future__ import annotations

import copy
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.results.metrics import BASELINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystallize.design import Treatment
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.request import Request
    from crystallize.hooks import RunInfo
    from crystallize.results.outcome import Cell

__all__ = ["CallSite", "call_site", "catching_runs", "definition_of", "note_run", "run_part"]

_OURS = ("crystallize", "crystallize_plugins", "crystallize_cli")


class CallSite(NamedTuple):
    """Where the program calls Crystallize."""

    module: str
    file: str | None
    line: int
    function: str


def call_site() -> CallSite | None:
    """Return the place at which the program calls Crystallize.

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

            return _site(caller if is_library_file(file) else frame)
        frame = frame.f_back
    return _site(caller)


def _site(frame: Any) -> CallSite:
    names = frame.f_globals
    file = names.get("__file__")
    return CallSite(
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
    site = experiment._call_site
    module = None if site is None else sys.modules.get(site.module)
    # A copy at once: the program may go on meanwhile.
    names = [] if module is None else list(vars(module).items())
    spec = getattr(module, "__spec__", None)
    return {
        "file": site and site.file,
        "module": site and site.module,
        "line": site and site.line,
        "function": site and site.function,
        "variables": sorted(name for name, value in names if value is experiment),
        "imported_as": None if spec is None or site is None or spec.name == site.module else spec.name,
        "config": experiment.config,
        "overrides": list(experiment.config_overrides),
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


def run_part(
    experiment: Experiment,
    cells: Sequence[Cell],
    *,
    plugins: Sequence[Any],
    treatments: Sequence[Treatment],
    replicates: int,
) -> RunInfo:
    """Run some cells of an experiment afresh, with other plugins; the experiment is left as it is.

    An error that stopped the run after something was stored is not raised.

    Parameters
    ----------
    experiment : Experiment
    cells : sequence of Cell
    plugins : sequence of object
        Instances.
    treatments : sequence of Treatment
    replicates : int
        How many the run is said to have.

    Raises
    ------
    CrystallizeError
        The experiment is not in order, or a plugin stops the run before anything of it is stored.
    """
    from crystallize.experiments.request import Request

    again = copy.copy(experiment)
    again.plugins = list(plugins)
    again.strategy, again.max_failures, again.fail_fast = "rerun", None, False
    again._programs, again._context_before, again._active = ((), {}), None, None
    baseline = any(cell.condition == BASELINE for cell in cells)
    run = again._run_of(Request(treatments, (), replicates, "rerun"), baseline=baseline)
    try:
        run.execute(cells)
    except Exception as error:
        if getattr(error, "result", None) is None:
            raise
    return run.view.run
