"""Event loops for those who have none: coroutines driven from plain code, in a notebook too."""

from __future__ import annotations

# The functions of `signal` look every number up in an enumeration, which takes ten times as long.
import _signal  # type: ignore[import-not-found]
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from types import FrameType

__all__ = ["Interrupts", "LoopHost", "loop_is_running", "send_none"]

T = TypeVar("T")
_PATIENCE = 1.0
_SIGINT = int(signal.SIGINT)


def send_none(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that awaits nothing that is not ready: no event loop is made.

    A step's own coroutine never comes here: whoever drives a cell hands it to a `LoopHost`.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("a cell that was to run without an event loop waited for something; please report this")


def loop_is_running() -> bool:
    """Whether the calling thread is inside an event loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


class LoopHost:
    """One event loop, made at its first use and kept, for coroutines that plain code has to wait for.

    Where the calling thread runs a loop already, a helper thread hosts ours.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._helper: threading.Thread | None = None
        self._abandoned = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and give what it returns, or raise what it raises."""
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

    def call(self, fn: Callable[[], None]) -> None:
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

            ended = asyncio.run_coroutine_threadsafe(_wind_up(), loop)
            try:
                # Whoever pressed Ctrl-C does not wait for code that blocks the loop.
                ended.result(_PATIENCE if self._abandoned else None)
            except StillBusy:
                return
            loop.call_soon_threadsafe(loop.stop)
            helper.join()
        elif loop.is_running():
            return  # in a thread that its executor left behind
        elif not loop_is_running():
            loop.run_until_complete(_wind_up())
        loop.close()


class _Raised:
    """What would end an event loop, and leave whoever waits for the result waiting."""

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


async def _wind_up() -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    others = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


class Interrupts:
    """Ctrl-C at a moment that suits: not in the middle of taking an outcome in; a context manager.

    Attributes
    ----------
    held : bool
        Whether it has to wait; a second one does not.
    noted : bool
        Whether it waits.
    usual : callable
        What Ctrl-C would have called.
    """

    __slots__ = ("_before", "_frame", "held", "noted", "usual")

    def __init__(self) -> None:
        self.held = False
        self.noted = False
        self._before: Any = None
        self._frame: FrameType | None = None
        self.usual: Callable[[int, FrameType | None], Any] = signal.default_int_handler

    def __enter__(self) -> None:
        """Receive Ctrl-C from here on, in the main thread: no other hears of it.

        Inside a running event loop that is blocked meanwhile, it interrupts at once: `asyncio.run` would turn it into
        a cancellation, which waits until the loop gets its turn again.
        """
        self._before = None
        if threading.current_thread() is not threading.main_thread():
            return
        usual = signal.default_int_handler if loop_is_running() else _signal.getsignal(_SIGINT)
        if not callable(usual):
            return
        with contextlib.suppress(ValueError):  # an interpreter that is not the main one
            self._before = _signal.signal(_SIGINT, self._heard)
            self.usual = usual

    def __exit__(self, *exc_info: object) -> None:
        self.held = False
        if self._before is not None:
            _signal.signal(_SIGINT, self._before)
            if self.noted:
                self.let_through()

    def let_through(self) -> None:
        """Do what Ctrl-C would have done."""
        self.noted = False
        self.usual(_SIGINT, self._frame)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.held and not self.noted:
            self.noted, self._frame = True, frame
        else:
            self.usual(number, frame)
