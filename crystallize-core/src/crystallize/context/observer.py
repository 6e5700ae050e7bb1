"""Who is told of the use of a context: the step cache, which notes it, and the guard of neutral plugins, which refuses.

A context asks its observer before it does anything, where it has one. There is one slot for it, since the two never
meet: a step that is watched is no plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from crystallize.errors import ContextMutationError

if TYPE_CHECKING:
    from crystallize.context.records import Event

__all__ = ["Observer", "ReadOnly"]


class Observer:
    """What a context, its metrics and its artifacts tell of their use; a method that raises refuses it."""

    __slots__ = ()

    def reads_key(self, key: object) -> None:
        """Take note that a key is looked at."""

    def reads_keys(self) -> None:
        """Take note that somebody looks at which keys there are."""

    def reads_metrics(self) -> None:
        """Take note that somebody looks at what was recorded."""

    def reads_artifacts(self) -> None:
        """Take note that somebody looks at which files were written."""

    def reads_rng(self) -> None:
        """Take note that the step's generator of random numbers is asked for."""

    def writes_key(self, key: str) -> None:
        """Take note that a key is about to be written."""

    def writes_metric(self, name: str) -> None:
        """Take note that a metric is about to be recorded."""

    def writes_artifact(self, file_name: str) -> None:
        """Take note that a file is about to be written."""

    def sets_rng_factory(self) -> None:
        """Take note that somebody is about to say where ``ctx.rng`` comes from."""

    def sent(self, event: Event, *, stop: bool) -> None:
        """Take note of an event that was sent, and of whether whoever got it wants the cell to stop."""


class ReadOnly(Observer):
    """The guard of the context that a neutral plugin sees: it changes nothing."""

    __slots__ = ()

    def reads_rng(self) -> None:
        """Refuse: drawing from the step's generator would change its numbers."""
        raise ContextMutationError(
            "a neutral plugin cannot use ctx.rng, since that would change the numbers of the step: use a generator of "
            "the plugin's own, or set neutral = False on its class"
        )

    def writes_key(self, key: str) -> None:
        """Refuse."""
        _refuse(f"write the context key {key!r}")

    def writes_metric(self, name: str) -> None:
        """Refuse."""
        _refuse(f"record the metric {name!r}")

    def writes_artifact(self, file_name: str) -> None:
        """Refuse."""
        _refuse(f"write the artifact {file_name!r}")

    def sets_rng_factory(self) -> None:
        """Refuse."""
        raise ContextMutationError("a neutral plugin cannot supply ctx.rng: set neutral = False on its class")


def _refuse(what: str) -> NoReturn:
    raise ContextMutationError(f"a neutral plugin cannot {what}: set neutral = False on the plugin's class")
