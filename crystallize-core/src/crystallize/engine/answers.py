"""Where the answer to `run_experiment_loop` is not what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import PluginHookError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.results.outcome import Cell

__all__ = ["check_answer", "not_given", "unasked"]

_HOOK = "run_experiment_loop"
_NAMED = 5


def check_answer(executor: str, answer: Any) -> None:
    """Refuse what cannot be iterated over.

    Raises
    ------
    PluginHookError
        It is neither an iterable nor an asynchronous one.
    """
    if not hasattr(answer, "__iter__") and not hasattr(answer, "__aiter__"):
        raise PluginHookError(
            f"{executor} answered {_HOOK} with {type(answer).__name__}: it must give an iterable or an async iterable "
            "of outcomes, or None to decline",
            hook=_HOOK,
        )


def unasked(executor: str, cell: Cell, *, twice: bool) -> PluginHookError:
    """Make the error about an outcome that nobody waits for."""
    what = " twice" if twice else ", which it was not asked to run"
    return PluginHookError(f"{executor} gave the outcome of {cell.key}{what}", hook=_HOOK)


def not_given(executor: str, missing: Sequence[Cell], *, of: int) -> PluginHookError:
    """Make the error about outcomes that never came."""
    names = ", ".join(cell.key for cell in missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
    return PluginHookError(f"{executor} gave no outcome for {len(missing)} of {of} cells: {names}", hook=_HOOK)
