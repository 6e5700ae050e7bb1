"""Things without content that no result depends on: which lock it is, or which logger, makes no difference."""

from __future__ import annotations

from logging import Filter, Handler, LoggerAdapter

from crystallize.fingerprint._project import is_library_module, module_of

__all__ = ["is_harmless"]

_NAMES = frozenset(
    {
        "_thread.lock",
        "_thread.RLock",
        "threading._RLock",
        "threading.Condition",
        "threading.Event",
        "threading.Semaphore",
        "threading.BoundedSemaphore",
        "threading.Barrier",
        "multiprocessing.synchronize.Lock",
        "multiprocessing.synchronize.RLock",
        "multiprocessing.synchronize.Condition",
        "multiprocessing.synchronize.Event",
        "multiprocessing.synchronize.Semaphore",
        "multiprocessing.synchronize.BoundedSemaphore",
        "multiprocessing.synchronize.Barrier",
        # A field of a structure of ctypes, which is told of in `_fields_`.
        "_ctypes.CField",
        # Loggers and consoles of other libraries.
        "loguru._logger.Logger",
        "rich.console.Console",
    }
)


def is_harmless(kind: type) -> bool:
    """Whether objects of a class need not be told apart, since no result depends on which of them code gets."""
    module = module_of(kind)
    if f"{module}.{kind.__qualname__}" in _NAMES:
        return True
    return issubclass(kind, (Filter, Handler, LoggerAdapter)) and is_library_module(module)
