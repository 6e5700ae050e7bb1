"""What is said when something goes wrong: how a worker ended, what cannot travel and where in the experiment it is."""

from __future__ import annotations

import io
import pickle
import signal
import types
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize import DataSource, PipelineStep
from crystallize.errors import CrystallizeError, SerializationError, WorkerCrashError, WorkerStartError
from crystallize_plugins.execution.processes.modules import absent_modules
from crystallize_plugins.execution.processes.pickling import Pickler, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystallize.hooks import Cell, ExperimentView, RunCell

__all__ = ["Culprit", "cannot_load", "cannot_travel", "crash_error", "exit_status", "find_culprit"]

_DEEPEST = 40
_MOST = 5000

_HINTS = {
    "SIGKILL": "something killed it: most often the system, because memory ran out",
    "SIGSEGV": "native code touched memory that is not its own",
    "SIGABRT": "native code aborted",
    "SIGBUS": "native code, or a file that shrank while it was mapped",
    "SIGILL": "native code that this processor cannot run",
    "SIGTERM": "it was asked to end",
}


def exit_status(code: int | None) -> tuple[str, str | None]:
    """Return how a process ended, and the signal's name if there was one.

    Parameters
    ----------
    code : int or None
        Exit code, negative for a signal; None where nobody knows.
    """
    if code is None:
        return "ended in an unknown way", None
    if code >= 0:
        return f"left with exit code {code}", None
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = _HINTS.get(name)
    return f"died with {name}{f' ({hint})' if hint else ''}", name


def crash_error(cell: Cell, code: int | None, *, worker: str, again: bool) -> WorkerCrashError:
    """Return the error of a cell that cost a worker its life, the first time or after others."""
    how, name = exit_status(code)
    return WorkerCrashError(
        f"the worker process {how} while it ran condition {cell.condition!r}, replicate {cell.replicate}"
        f"{f'; so did the one that tried it again, alone ({worker})' if again else ''}",
        exit_code=code if code is not None and code >= 0 else None,
        signal=name,
    )


def cannot_travel(experiment: ExperimentView, runner: RunCell, exc: Exception, *, fresh: bool) -> CrystallizeError:
    """Return the error of an experiment that cannot be pickled (`fresh`: for new interpreters), naming the object."""
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


def cannot_load(experiment: ExperimentView, kind: str, text: str, traceback_text: str) -> CrystallizeError:
    """Return the error of a worker that could not take up the experiment."""
    if kind == WorkerStartError.__name__:
        return WorkerStartError(text)  # It says itself what is wrong with the worker.
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
    experiment: ExperimentView, runner: RunCell | None, *, rebuild: bool, absent: frozenset[str] = frozenset()
) -> Culprit | None:
    # In the order in which people think of an experiment, so that what they gave is named, and not
    # where else it came to lie.
    for name in ("initial_ctx", "datasource", "pipeline", "treatments", "plugins", "outputs", "hypotheses"):
        found = find_culprit(getattr(experiment, name), f"experiment.{name}", rebuild=rebuild, absent=absent)
        if found is not None:
            return found
    return find_culprit(runner, "run_cell", rebuild=rebuild, absent=absent) if runner is not None else None


class Culprit(NamedTuple):
    """An object that cannot travel, and the way to it.

    Attributes
    ----------
    path : str
        Such as ``experiment.pipeline.steps[1].params['lock']``.
    kind : str
        The object's type.
    reason : str
        What pickling it says.
    """

    path: str
    kind: str
    reason: str


def find_culprit(
    value: object, path: str, *, rebuild: bool = False, absent: frozenset[str] = frozenset()
) -> Culprit | None:
    """Walk an object graph to the innermost part that cannot be pickled.

    Parameters
    ----------
    value : object
        Where to begin.
    path : str
        What to call it.
    rebuild : bool, default False
        Look for a part that can be pickled and not rebuilt.
    absent : set of str, default empty
        The modules whose definitions have to go by value.

    Returns
    -------
    Culprit or None
        None if `value` can travel.
    """
    return _Walk(_rebuilding if rebuild else partial(_pickling, absent)).search(value, path, 0)


def _pickling(absent: frozenset[str], value: object) -> str | None:
    try:
        Pickler(io.BytesIO(), lambda _: False, absent=absent).dump(value)
    except Exception as exc:  # noqa: BLE001 - user code: whatever it raises is the answer
        return f"{type(exc).__name__}: {exc}"
    return None


def _rebuilding(value: object) -> str | None:
    buffers: list[pickle.PickleBuffer] = []
    try:
        stream = dumps(value, buffers.append)
        pickle.loads(stream, buffers=buffers)
    except Exception as exc:  # noqa: BLE001 - see above
        return f"{type(exc).__name__}: {exc}"
    return None


class _Walk:
    def __init__(self, problem: Callable[[object], str | None]) -> None:
        self._problem = problem
        self._seen: set[int] = set()
        self._looked = 0

    def search(self, value: object, path: str, depth: int) -> Culprit | None:
        self._looked += 1
        if id(value) in self._seen or depth > _DEEPEST or self._looked > _MOST:
            return None
        self._seen.add(id(value))
        reason = self._problem(value)
        if reason is None:
            return None
        for place, child in _parts(value):
            found = self.search(child, path + place, depth + 1)
            if found is not None:
                return found
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        return Culprit(path, kind, reason)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in list(value.items()))
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((f" (member {item!r})", item) for item in value)
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, partial):
        yield from ((f".args[{index}]", item) for index, item in enumerate(value.args))
        yield from ((f".keywords[{key!r}]", item) for key, item in value.keywords.items())
        yield ".func", value.func
    elif isinstance(value, type):
        yield from ((f".{name}", item) for name, item in list(vars(value).items()) if name != "__dict__")
    elif not isinstance(value, types.ModuleType):
        yield from _parts_of_object(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f" (its closure variable {name!r})", cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for index, default in enumerate(function.__defaults__ or ()):
        yield f" (its default number {index + 1})", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f" (its default of {name!r})", default
    for name in _names_in(code):
        if name in function.__globals__:
            yield f" (the global {name!r} that it uses)", function.__globals__[name]


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _parts_of_object(value: object) -> Iterator[tuple[str, object]]:
    # `params` first: that is the name under which people know what they gave to a step.
    params = getattr(value, "params", None) if hasattr(type(value), "params") else None
    if isinstance(params, Mapping):
        yield from ((f".params[{key!r}]", item) for key, item in params.items())
    # Then the function of which a step or a data source was made: that, too, is what people wrote.
    declared = value.declared_as() if isinstance(value, (DataSource, PipelineStep)) else None
    if declared is not None:
        yield "", declared.function
    for name in _attribute_names(value):
        try:
            yield f".{_public(value, name)}", getattr(value, name)
        except AttributeError:
            continue


def _attribute_names(value: object) -> list[str]:
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots: Any = kind.__dict__.get("__slots__", ())
        names.extend([slots] if isinstance(slots, str) else slots)
    return names


def _public(value: object, name: str) -> str:
    bare = name.lstrip("_")
    return bare if bare != name and isinstance(getattr(type(value), bare, None), property) else name
