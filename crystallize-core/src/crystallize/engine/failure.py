"""From whatever was raised to the record of a failed cell."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

from crystallize.errors import PipelineExecutionError, PluginHookError
from crystallize.results.outcome import Cell, PluginFailure

if TYPE_CHECKING:
    from collections.abc import Container
    from types import TracebackType

    from crystallize.hooks.manager import HookCall
    from crystallize.results import Result

_LOGGER = logging.getLogger("crystallize")
_OURS = ("crystallize.engine.", "crystallize.pipelines.", "crystallize.datasources.")

__all__ = [
    "attach_result",
    "ended_itself",
    "execution_error",
    "free_frames",
    "free_key",
    "hook_error",
    "plugin_failure",
    "text_of",
]


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


def ended_itself(exc: BaseException, *, alone: bool) -> bool:
    """Whether what escaped from a step is its own failure, although it is no `Exception`.

    That is a cancellation that nobody asked this cell for: the step awaited something that was cancelled.
    Anything else (Ctrl-C, what test runners raise, the end of a coroutine) means the whole run.

    Parameters
    ----------
    exc : BaseException
    alone : bool
        Whether the step ran on an event loop that nobody else can cancel.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(exc, asyncio.CancelledError):
        return False
    if alone:
        return True
    # Python 3.10 cannot tell, and there the run is cancelled.
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is not None and not cancelling()


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
    """Give an exception's text, also where making it raises."""
    try:
        return str(exc)
    except Exception as broken:  # noqa: BLE001 - user code: its failure must not hide what it failed to say
        return f"<its text cannot be made: {type(broken).__name__}>"


def _traceback(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(exc), exc, _users_part(exc.__traceback__)))
    except Exception as broken:  # noqa: BLE001 - formatting calls the exception's own code
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


def free_key(key: str, taken: Container[str]) -> str:
    """Give `key`, numbered from the second of its name on: a result keeps each error under one of its own."""
    if key not in taken:
        return key
    number = 2
    while f"{key}_{number}" in taken:
        number += 1
    return f"{key}_{number}"
