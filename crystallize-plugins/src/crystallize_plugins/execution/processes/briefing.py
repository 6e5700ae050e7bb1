"""What is said when an experiment cannot travel, or workers cannot take it up."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from crystallize.errors import CrystallizeError, SerializationError, WorkerStartError
from crystallize_plugins.execution.processes.locate import find_culprit
from crystallize_plugins.execution.processes.modules import absent_modules

if TYPE_CHECKING:
    from crystallize.engine.runner import CellRunner
    from crystallize.hooks import ExperimentView
    from crystallize_plugins.execution.processes.locate import Culprit

__all__ = ["cannot_travel", "cannot_work"]


def cannot_travel(experiment: ExperimentView, runner: CellRunner, exc: Exception, *, fresh: bool) -> CrystallizeError:
    """Name the object that cannot be pickled, and where in the experiment it sits; `fresh`: for new interpreters."""
    with absent_modules() if fresh else nullcontext(frozenset[str]()) as absent:
        culprit = _search(experiment, runner, rebuild=False, absent=absent)
    if culprit is None:
        return SerializationError(
            f"the experiment cannot be sent to worker processes ({type(exc).__name__}: {exc}); "
            "use ParallelExecution(executor_type='thread')"
        )
    return SerializationError(
        f"{culprit.path} cannot be sent to worker processes: {culprit.kind} objects cannot be pickled "
        f"({culprit.reason}). Make it in the worker, with resource_factory in initial_ctx, "
        "or use ParallelExecution(executor_type='thread')",
        path=culprit.path,
    )


def cannot_work(experiment: ExperimentView, kind: str, text: str, traceback_text: str) -> CrystallizeError:
    """Say why a worker could not take up the experiment."""
    culprit = _search(experiment, None, rebuild=True)
    where = "" if culprit is None else f"{culprit.path} ({culprit.kind}) can be pickled but not unpickled; "
    hint = (
        "it can be imported here and not there: install it, or put its folder on sys.path or PYTHONPATH"
        if kind in ("ModuleNotFoundError", "ImportError")
        else "whatever the experiment holds has to be rebuilt in each worker"
    )
    return WorkerStartError(
        f"a worker process could not load the experiment: {kind}: {text}; {where}{hint}.\n"
        f"In the worker:\n{traceback_text.rstrip()}"
    )


def _search(
    experiment: ExperimentView, runner: CellRunner | None, *, rebuild: bool, absent: frozenset[str] = frozenset()
) -> Culprit | None:
    # In the order in which people think of an experiment, so that what they gave is named, and not
    # where else it came to lie.
    for name in ("initial_ctx", "datasource", "pipeline", "treatments", "plugins", "outputs", "hypotheses"):
        found = find_culprit(getattr(experiment, name), f"experiment.{name}", rebuild=rebuild, absent=absent)
        if found is not None:
            return found
    return find_culprit(runner, "run_cell", rebuild=rebuild, absent=absent) if runner is not None else None
