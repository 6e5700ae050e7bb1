"""What of the hook contract goes away, and how plugins that use it are told."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import PluginDeprecationWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["DEPRECATIONS", "Deprecation", "deprecated_uses", "warn_of_deprecations"]


@dataclass(frozen=True, slots=True)
class Deprecation:
    """A hook, or an argument of one, that a later version of the contract does not have.

    Attributes
    ----------
    hook : str
    argument : str or None
        None where the whole hook goes away.
    since : str
        The version of the contract that deprecated it.
    removed_in : str
        The version that will not have it any more.
    instead : str
        What to use: the end of the sentence "use ...".
    """

    hook: str
    argument: str | None
    since: str
    removed_in: str
    instead: str

    def __str__(self) -> str:
        what = f"hook {self.hook}" if self.argument is None else f"argument {self.argument!r} of the hook {self.hook}"
        return (
            f"the {what} is deprecated since version {self.since} of the hook contract, and version {self.removed_in} "
            f"will not have it: use {self.instead}"
        )


DEPRECATIONS: tuple[Deprecation, ...] = ()
"""Everything that is deprecated now."""


def deprecated_uses(hook: str, arguments: Iterable[str]) -> list[Deprecation]:
    """Return what an implementation of a hook uses that is deprecated.

    Parameters
    ----------
    hook : str
    arguments : iterable of str
        Those that it names.
    """
    named = {None, *arguments}
    return [each for each in DEPRECATIONS if each.hook == hook and each.argument in named]


def warn_of_deprecations(function: Callable[..., Any], who: str, hook: str, arguments: Iterable[str]) -> None:
    """Warn of what an implementation uses that is deprecated, at the line of the plugin's own file that begins it.

    Parameters
    ----------
    function : callable
        The implementation.
    who : str
        What the plugin is called.
    hook, arguments
        As for `deprecated_uses`.

    Warns
    -----
    PluginDeprecationWarning
    """
    for use in deprecated_uses(hook, arguments):
        code = inspect.unwrap(getattr(function, "__func__", function)).__code__
        warnings.warn_explicit(
            f"{who}: {use}",
            PluginDeprecationWarning,
            code.co_filename,
            code.co_firstlineno,
            module=function.__module__,
        )
