"""From whatever was raised to the record of a failed cell."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

from crystallize.context import process
from crystallize.errors import PipelineExecutionError, PluginHookError
from crystallize.results.outcome import Cell, PluginFailure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Container, Iterator
    from types import TracebackType

    from crystallize.plugins.manager import HookCall
    from crystallize.results.result import Result

_LOGGER = logging.getLogger("crystallize")
_OURS = ("crystallize.engine.", "crystallize.pipelines.", "crystallize.datasources.")

__all__ = [
    "attach_result",
    "caught",
    "ends_the_run",
    "execution_error",
    "free_frames",
    "free_key",
    "hook_error",
    "is_cancellation",
    "plugin_failure",
    "running_task",
    "say_how_to_go_on",
    "text_of",
]


@contextlib.contextmanager
def caught(keep: Callable[[BaseException], object]) -> Iterator[None]:
    """Hand what user code raises within the block to `keep`, of whatever class it is; Ctrl-C alone passes."""
    forks = process.forks
    try:
        yield
    except BaseException as exc:  # results are never lost to what somebody's code raises
        process.leave_if_forked(forks, exc)
        if isinstance(exc, KeyboardInterrupt):
            raise
        keep(exc)
    else:
        process.leave_if_forked(forks)


def execution_error(exc: BaseException, *, step: str, cell: Cell) -> PipelineExecutionError:
    """Say which cell failed, where and why, keeping the original and its traceback's text."""
    return PipelineExecutionError(
        f"{step} failed in condition {cell.condition!r}, replicate {cell.replicate}: {_told(exc)}{_advice(exc)}",
        step_name=step,
        condition=cell.condition,
        replicate=cell.replicate,
        error_type=type(exc).__name__,
        traceback_text=_traceback(exc),
        original_exception=exc,
        stops_run=getattr(exc, "stops_run", False),
    )


def hook_error(exc: BaseException, call: HookCall, hook: str) -> PluginHookError:
    """Say which plugin raised in which hook; `exc` is its cause."""
    info = call.info
    error = PluginHookError(
        f"plugin {info.name!r} ({_origin(call)}) raised in {hook}: {_told(exc)}",
        plugin=info.name,
        distribution=info.distribution,
        version=info.version,
        hook=hook,
    )
    error.__cause__ = exc
    error.stops_run = call.on_error == "stop_run"  # type: ignore[attr-defined]
    return error


def plugin_failure(exc: BaseException, call: HookCall, hook: str, cell: Cell | None) -> PluginFailure:
    """Make the record of an error that is kept as data."""
    info = call.info
    return PluginFailure(
        plugin=info.name,
        distribution=info.distribution,
        version=info.version,
        hook=hook,
        cell=cell,
        error=_told(exc),
        traceback=_traceback(exc),
    )


def _told(exc: BaseException) -> str:
    text = text_of(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _advice(exc: BaseException) -> str:
    """Say what to do about an array that cannot be written to: NumPy does not know why."""
    if not isinstance(exc, (ValueError, TypeError)) or "read-only" not in text_of(exc):
        return ""
    return " (arrays that several cells are given are handed out read-only: change a copy of it, array.copy())"


def running_task() -> asyncio.Task[Any] | None:
    """Return the task that is being run in this thread, None where there is none."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()  # type: ignore[no-any-return]


def is_cancellation(exc: BaseException) -> bool:
    """Return whether it is that of something awaited."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(exc, asyncio.CancelledError)


def ends_the_run(exc: BaseException, *, alone: bool, task: asyncio.Task[Any] | None = None) -> bool:
    """Return whether what escaped from a cell ends the whole run: Ctrl-C, or the end of the task in which it ran.

    Anything else that user code raises is its cell's failure, whatever class it has: time-out libraries, test runners
    and ``sys.exit`` raise what is no `Exception`, and so does a step that awaited something which was cancelled.

    Parameters
    ----------
    exc : BaseException
    alone : bool
        Whether nobody else can cancel or close what was awaited: the cell had an event loop of its own, or none.
    task : asyncio.Task, optional
        Which task began the cell, where it is not alone.
    """
    if isinstance(exc, KeyboardInterrupt):
        return True
    if alone:
        return False
    if isinstance(exc, GeneratorExit):
        # A coroutine that is dropped is closed from outside of its task.
        return task is None or running_task() is not task
    if not is_cancellation(exc):
        return False
    # Python 3.10 cannot tell, and there the run is cancelled.
    cancelling = getattr(task, "cancelling", None)
    return cancelling is None or bool(cancelling())


def free_frames(exc: BaseException) -> None:
    """Let go of the data that the frames of a recorded error hold: a hundred failed cells would keep it all.

    To be called once the engine's own frame has ended too: those of the steps lead back to it.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [exc]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        traceback.clear_frames(current.__traceback__)
        todo += [current.__cause__, current.__context__, *getattr(current, "exceptions", ())]


def _origin(call: HookCall) -> str:
    info = call.info
    return f"{info.distribution} {info.version}" if info.distribution else "not installed as a distribution"


def text_of(exc: BaseException) -> str:
    """Return an exception's text, also where making it raises."""
    try:
        return str(exc)
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001 - user code: its failure must not hide what it failed to say
        return f"<its text cannot be made: {type(broken).__name__}>"


def _traceback(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(exc), exc, _users_part(exc.__traceback__)))
    except KeyboardInterrupt:
        raise
    except BaseException as broken:  # noqa: BLE001 - formatting calls the exception's own code
        frames = "".join(traceback.format_tb(exc.__traceback__))
        return f"{frames}{type(exc).__name__}: <its traceback cannot be made: {type(broken).__name__}>\n"


def _users_part(found: TracebackType | None) -> TracebackType | None:
    """Skip the engine's own frames on the way to the user's code, where there is any."""
    inner = found
    while inner is not None and inner.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        inner = inner.tb_next
    return inner or found


def attach_result(exc: BaseException, result: Result) -> None:
    """Put what was collected on what is raised."""
    try:
        exc.result = result  # type: ignore[attr-defined]
    except AttributeError:
        _LOGGER.debug("%s takes no attributes: the partial result is in the store alone", type(exc).__name__)


def say_how_to_go_on(interrupt: KeyboardInterrupt, text: str) -> None:
    """Have an interrupt that nobody handles end its traceback with a line that says how to go on."""
    told = [str(interrupt)] if interrupt.args else []
    interrupt.args = ("; ".join([*told, text]),)


def free_key(key: str, taken: Container[str]) -> str:
    """Return `key`, numbered from the second of its name on: a result keeps each error under one of its own."""
    if key not in taken:
        return key
    number = 2
    while f"{key}_{number}" in taken:
        number += 1
    return f"{key}_{number}"
