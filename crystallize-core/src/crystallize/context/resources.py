"""Resources: objects that a worker makes once and keeps, such as a database client."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crystallize.errors import ArgumentTypeError
from crystallize.names import fresh_id
from crystallize.signatures import is_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.context.frozen import FrozenContext

__all__ = ["ResourceFactory", "ResourcePool", "resource_factory"]

R = TypeVar("R")


class ResourceFactory(Generic[R]):
    """A promise to make a resource in each worker; made by `resource_factory`."""

    __slots__ = ("close", "fn", "key")

    def __init__(
        self,
        fn: Callable[[FrozenContext], R],
        key: str | None = None,
        close: Callable[[R], object] | None = None,
    ) -> None:
        self.fn = fn
        self.close = close
        # Travels with the factory, so that every copy of it stands for one resource, and two
        # factories of equal code stand for two.
        self.key = key if key is not None else fresh_id()

    def __call__(self, ctx: FrozenContext) -> R:
        """Make a new resource; the caller owns it."""
        resource = self.fn(ctx)
        if inspect.iscoroutine(resource):
            resource.close()
            raise _async_refused(self.fn)
        return resource

    def __fingerprint__(self) -> object:
        """Return what the resource is made by; which copy of it is meant makes no difference."""
        return self.fn

    def __repr__(self) -> str:
        return f"resource_factory({_name(self.fn)})"


def resource_factory(
    fn: Callable[[FrozenContext], R],
    *,
    key: str | None = None,
    close: Callable[[R], object] | None = None,
) -> ResourceFactory[R]:
    """Declare a resource that every worker makes once, at its first use, and keeps for the run.

    Parameters
    ----------
    fn : callable of FrozenContext
        Makes the resource: any callable, also a lambda, a closure, a partial or an object.
    key : str, optional
        Factories with one key share one resource. By default every factory has its own.
    close : callable of the resource, optional
        Called in the worker that made the resource, at the end of the run.

    Returns
    -------
    ResourceFactory
        To be put into ``initial_ctx``; ``ctx[k]``, ``ctx.get(k)`` and an injected parameter give the
        resource itself.

    Raises
    ------
    ArgumentTypeError
        If `fn` or `close` is not callable or is an async function, or `key` is no text.

    Examples
    --------
    >>> import sqlite3
    >>> from crystallize import standalone_context
    >>> database = resource_factory(lambda ctx: sqlite3.connect(":memory:"), close=sqlite3.Connection.close)
    >>> ctx = standalone_context({"db": database})
    >>> ctx["db"].execute("select 40 + 2").fetchone()
    (42,)
    """
    if not callable(fn):
        raise ArgumentTypeError(f"resource_factory needs a callable of ctx, not {type(fn).__name__}")
    if is_async(fn):
        raise _async_refused(fn)
    if close is not None and not callable(close):
        raise ArgumentTypeError(f"close of resource_factory must be callable, not {type(close).__name__}")
    if is_async(close):
        raise ArgumentTypeError(
            f"close of resource_factory is an async function, {_name(close)}: resources are closed outside the event "
            "loop; close it in a plain function"
        )
    if key is not None and not isinstance(key, str):
        raise ArgumentTypeError(f"key of resource_factory must be text, not {type(key).__name__}")
    return ResourceFactory(fn, key, close)


class ResourcePool:
    """The resources that one process holds: each worker thread has its own."""

    def __init__(self) -> None:
        self._made: dict[int, dict[str, tuple[ResourceFactory[Any], Any]]] = {}
        self._lock = threading.Lock()

    def get(self, factory: ResourceFactory[R], ctx: FrozenContext) -> R:
        """Return this thread's resource of `factory`, made now if it is the first use."""
        mine = self._made.get(threading.get_ident())
        if mine is None:
            with self._lock:
                mine = self._made.setdefault(threading.get_ident(), {})
        entry = mine.get(factory.key)
        if entry is None:
            entry = mine[factory.key] = (factory, factory(ctx))
        return entry[1]

    def close_thread(self) -> list[tuple[str, BaseException]]:
        """Close what this thread made; give what went wrong as pairs of factory and error."""
        with self._lock:
            mine = self._made.pop(threading.get_ident(), {})
        return _close(mine)

    def close_all(self) -> list[tuple[str, BaseException]]:
        """Close whatever is still open, in the calling thread."""
        with self._lock:
            everything, self._made = self._made, {}
        return [problem for made in everything.values() for problem in _close(made)]


def _close(made: dict[str, tuple[ResourceFactory[Any], Any]]) -> list[tuple[str, BaseException]]:
    problems: list[tuple[str, BaseException]] = []
    # The last made is closed first: it may use an earlier one.
    for factory, resource in reversed(made.values()):
        if factory.close is None:
            continue
        try:
            factory.close(resource)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - the others are to be closed too; reported by the caller
            problems.append((repr(factory), exc))
    return problems


def _async_refused(fn: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"resource_factory got an async function, {_name(fn)}: a resource is made outside the event loop; "
        "make it in a plain function"
    )


def _name(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or type(fn).__name__
