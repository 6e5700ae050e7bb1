"""Overriding a test of the kit is possible, and needs a reason that can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_overrides", "deviates"]

FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")
_REASON = "crystallize_reason"


def deviates(reason: str) -> Callable[[FunctionT], FunctionT]:
    """State why a test of a conformance kit is overridden.

    Parameters
    ----------
    reason : str
        A sentence for whoever wonders which promises the plugin does not keep.

    Returns
    -------
    callable
        A decorator for the overriding test.

    Raises
    ------
    ValueError
        There is no reason.

    Examples
    --------
    >>> from crystallize.testing import PluginConformance, deviates
    >>> class TestLive(PluginConformance):
    ...     @deviates("the display belongs to the coordinating process, and never travels")
    ...     def test_it_works_in_worker_processes(self, plugin):
    ...         assert plugin.needs_terminal
    """
    if not isinstance(reason, str) or len(reason.split()) < 2:  # type: ignore[redundant-expr]  # noqa: PLR2004
        raise ValueError(f"deviates({reason!r}): state the reason in a few words")

    def mark(function: FunctionT) -> FunctionT:
        setattr(function, _REASON, reason)
        return function

    return mark


def check_overrides(cls: type) -> None:
    """Refuse a class that overrides a test of its base without a reason.

    Raises
    ------
    TypeError
        The message names the test.
    """
    for name, member in vars(cls).items():
        inherited = any(name in vars(base) for base in cls.__mro__[1:])
        if name.startswith("test_") and inherited and not getattr(member, _REASON, ""):
            raise TypeError(
                f"{cls.__name__}.{name} overrides a test of the conformance kit without a reason: "
                'mark it with @deviates("why")'
            )
