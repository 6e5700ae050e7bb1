"""Plain code and event loops, each driven from the other; what an executor gives, iterated over from either side.

An executor gives its outcomes as a plain or as an asynchronous iterator, one or several at a time. The caller of a run
is plain code or code in an event loop. A plain iterator that has nothing yet may give an empty list: that is when a run
in an event loop can be cancelled. When a run stops early, the exception that stops it is raised at the generator's
``yield``: it may go on to yield what is finished, and then lets the exception pass.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.engine.interrupts import loop_is_running
from crystallize.errors import TooManyFailuresError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator

    from crystallize.results.outcome import CellOutcome

__all__ = [
    "STOPS",
    "EventLoop",
    "HelperThread",
    "aclose",
    "alast_items",
    "as_async_iterator",
    "as_iterator",
    "awaited",
    "flat",
    "last_items",
    "run_without_loop",
]

T = TypeVar("T")

STOPS = (KeyboardInterrupt, TooManyFailuresError)
"""What ends a run whose executor is to give what it has."""

_GRACE = 1.0
_FINISHED: tuple[type[Any], ...] = (type(iter([])), type(iter(())))
_END = object()


def flat(item: Any) -> Iterable[CellOutcome]:
    """Return the outcomes in one item of an executor's iterator."""
    return item if isinstance(item, (list, tuple)) else (item,)


# -- an executor's answer -----------------------------------------------------------------------


def as_iterator(answer: Any) -> Iterator[Any]:
    """Return an iterator over what an executor has answered, for plain code.

    Parameters
    ----------
    answer : iterable, async iterable, or an awaitable of one
        What is asynchronous runs on an event loop of its own, which stands still while an item is being looked at.
    """
    if hasattr(answer, "__iter__"):
        return iter(answer)
    return _on_a_loop(answer)


def as_async_iterator(answer: Any, at_end: Callable[[], object]) -> AsyncIterator[Any]:
    """Return an asynchronous iterator over what an executor has answered, for code in an event loop.

    Parameters
    ----------
    answer : iterable or async iterable
        A plain one is asked for its items in a helper thread.
    at_end : callable
        Is called at the end in the helper thread, where there is one.
    """
    if hasattr(answer, "__aiter__"):
        return aiter(answer)
    return _in_a_thread(answer, at_end)


def _on_a_loop(answer: AsyncIterable[Any]) -> Iterator[Any]:
    loop = EventLoop()
    iterator = aiter(answer)
    arrived: list[CellOutcome] = []
    try:
        try:
            while loop.run(_anext_into(arrived, iterator)):
                yield arrived
        except STOPS as exc:
            # Ctrl-C in the middle of the loop is a cancellation inside it, which may have brought the last ones.
            yield arrived
            yield loop.run(_all_of(alast_items(iterator, exc)))
            raise
    finally:
        loop.run(aclose(iterator))
        loop.close()


async def _in_a_thread(answer: Iterable[Any], at_end: Callable[[], object]) -> AsyncIterator[Any]:
    import asyncio

    thread = HelperThread()
    iterator = iter(answer)
    arrived: list[CellOutcome] = []
    try:
        try:
            while await thread.call(_next_into, arrived, iterator):
                if arrived:
                    yield arrived
        except (*STOPS, asyncio.CancelledError) as exc:
            yield arrived
            yield await thread.call(list, last_items(iterator, exc))
            raise
    finally:
        await asyncio.shield(thread.call(_close, iterator, at_end))
        thread.close()


def last_items(iterator: Iterator[Any], exc: BaseException) -> Iterator[CellOutcome]:
    """Tell an executor that the run is stopped, and yield what it has at hand.

    Parameters
    ----------
    iterator : iterator
        A generator has `exc` raised at its ``yield``, or KeyboardInterrupt for what it does not know.
    exc : BaseException
        What stops the run.
    """
    throw = getattr(iterator, "throw", None)
    if throw is None:
        # What was handed over as a list has run; another iterator might go on running.
        for item in iterator if isinstance(iterator, _FINISHED) else ():
            yield from flat(item)
        return
    try:
        item = throw(exc if isinstance(exc, STOPS) else KeyboardInterrupt())
        while True:
            yield from flat(item)
            item = next(iterator)
    except (*STOPS, StopIteration):
        return


async def alast_items(iterator: AsyncIterator[Any], exc: BaseException) -> AsyncIterator[CellOutcome]:
    """Tell an asynchronous executor that the run is stopped, and yield what it has at hand; see `last_items`."""
    throw = getattr(iterator, "athrow", None)
    if throw is None or getattr(iterator, "ag_running", False) or getattr(iterator, "ag_frame", True) is None:
        return  # there is no telling it, or it has ended, or is about to
    try:
        item = await throw(exc if isinstance(exc, STOPS) else KeyboardInterrupt())
        while True:
            for outcome in flat(item):
                yield outcome
            item = await anext(iterator)
    except (*STOPS, StopAsyncIteration):
        return


# What the following two returned would be lost where the caller is interrupted meanwhile: they fill a list.


def _next_into(arrived: list[Any], iterator: Iterator[Any]) -> bool:
    arrived.clear()
    item = next(iterator, _END)
    if item is _END:
        return False
    arrived.extend(flat(item))
    return True


async def _anext_into(arrived: list[Any], iterator: AsyncIterator[Any]) -> bool:
    arrived.clear()
    try:
        arrived.extend(flat(await anext(iterator)))
    except StopAsyncIteration:
        return False
    return True


async def _all_of(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


def _close(iterator: Any, at_end: Callable[[], object]) -> None:
    close = getattr(iterator, "close", None)
    try:
        if close is not None:
            close()
    finally:
        at_end()


async def aclose(iterator: Any) -> None:
    """Close an asynchronous iterator, where that can be done."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()


async def awaited(awaitable: Any) -> Any:
    """Await something, and return what that gives."""
    return await awaitable


# -- an event loop's code called from a thread, and the other way round -------------------------


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that awaits nothing that is not ready, without an event loop.

    A step's own coroutine never comes here: whoever runs a cell hands it to an `EventLoop`.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a cell that was to run without an event loop waited for something; please report this")


class HelperThread:
    """A thread that makes one call after the other, while the event loop of whoever waits goes on.

    All calls see a copy of the context in which the thread was made.

    Examples
    --------
    >>> import asyncio
    >>> from contextlib import closing
    >>> async def main():
    ...     with closing(HelperThread()) as thread:
    ...         return await thread.call(sum, [1, 2])
    >>> asyncio.run(main())
    3
    """

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._context = contextvars.copy_context()
        self._pool = ThreadPoolExecutor(1, "crystallize-helper")

    def close(self) -> None:
        """End the thread, once it is idle."""
        self._pool.shutdown(wait=False)

    async def call(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread, and return what it returns.

        Whoever is cancelled meanwhile waits for its end all the same, since nothing can end it: a second cancellation
        is taken at its word.
        """
        import asyncio

        future = asyncio.get_running_loop().run_in_executor(self._pool, self._called, fn, *args)
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise
        return _opened(future.result())  # type: ignore[no-any-return]

    def _called(self, fn: Callable[..., Any], *args: Any) -> Any:
        # Not as a future's exception: StopIteration could not be told of, and Ctrl-C would end the thread.
        try:
            return self._context.run(fn, *args)
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            return _Raised(exc)


class EventLoop:
    """An event loop, made at its first use and kept, for coroutines that plain code has to wait for.

    Where the calling thread runs a loop already, a helper thread runs this one.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._helper: threading.Thread | None = None
        self._abandoned = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return what it returns, or raise what it raises."""
        import asyncio
        from concurrent.futures import CancelledError as Cancelled

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        if self._helper is None and not loop_is_running():
            loop = self._loop
            try:
                return _opened(self._run_here(loop, _captured(coroutine)))
            finally:
                if self._loop is not loop:  # closed meanwhile, in a thread that its executor left behind
                    loop.close()
        if self._helper is None:
            self._helper = threading.Thread(target=self._serve, args=(self._loop,), daemon=True)
            self._helper.start()
        future = asyncio.run_coroutine_threadsafe(_captured(coroutine), self._loop)
        try:
            return _opened(future.result())
        except Cancelled as exc:
            # Said in the words of coroutines: to whoever waits for a thread it is an ordinary exception.
            raise asyncio.CancelledError from exc
        except BaseException:
            self._abandoned = not future.done()
            future.cancel()
            raise

    def call_in_helper(self, fn: Callable[[], None]) -> None:
        """Call a function in the helper thread, where there is one; what that thread made is closed there."""
        if self._helper is not None and not self._abandoned:

            async def called() -> None:
                fn()

            self.run(called())

    @staticmethod
    def _run_here(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        task = loop.create_task(coroutine)
        try:
            return loop.run_until_complete(task)
        except BaseException:
            # Ctrl-C leaves the loop in the middle: let the task clean up before the loop is gone. Where it is done, the
            # loop has still to be told so, or it would stop at once the next time.
            task.cancel()
            with contextlib.suppress(BaseException):
                loop.run_until_complete(task)
            raise

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        loop.run_forever()

    def close(self) -> None:
        """End what still runs in the loop, and the loop."""
        loop, helper = self._loop, self._helper
        self._loop = self._helper = None
        if loop is None:
            return
        if helper is not None:
            import asyncio
            from concurrent.futures import TimeoutError as StillBusy

            ended = asyncio.run_coroutine_threadsafe(_end_tasks(), loop)
            try:
                # Whoever pressed Ctrl-C does not wait for code that blocks the loop.
                ended.result(_GRACE if self._abandoned else None)
            except StillBusy:
                return
            loop.call_soon_threadsafe(loop.stop)
            helper.join()
        elif loop.is_running():
            return  # in a thread that its executor left behind
        elif not loop_is_running():
            loop.run_until_complete(_end_tasks())
        loop.close()


class _Raised:
    """What was raised where it could not pass: it would have ended an event loop or a thread."""

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc


async def _captured(coroutine: Coroutine[Any, Any, T]) -> T | _Raised:
    try:
        return await coroutine
    except (KeyboardInterrupt, SystemExit) as exc:
        return _Raised(exc)


def _opened(value: T | _Raised) -> T:
    if isinstance(value, _Raised):
        raise value.exc
    return value


async def _end_tasks() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    others = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
