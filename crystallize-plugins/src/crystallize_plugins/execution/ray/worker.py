"""What runs in a Ray worker: an actor with a `Site` of one run."""

from __future__ import annotations

import os
import pickle
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import ray

from crystallize_plugins.execution.library_threads import VARIABLES
from crystallize_plugins.execution.remote import Site
from crystallize_plugins.execution.remote.site import host_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.hooks import Cell

__all__ = ["RaySite"]


class RaySite:
    """One cell at a time, in a process of the run's own; an actor, which Ray ends with the run's driver."""

    def __init__(self) -> None:
        self._asked: set[Cell] = set()

    def open(self, content: bytes, threads: int, *, isolate: bool) -> tuple[str, str, tuple[str, ...]]:
        """Open the site; return its name, the host, and the libraries that differ.

        Raises
        ------
        WorkerMismatchError, WorkerStartError
            See `Site.open`.
        """
        for name in VARIABLES:  # the other cores are other actors'
            os.environ.setdefault(name, str(threads))
        name = f"ray-{host_name()}/{os.getpid()}"
        self._site = Site.open(pickle.loads(content), isolate=isolate, name=name)
        return name, host_name(), self._site.drift

    @ray.method(concurrency_group="cells", num_returns="streaming")
    def run(self, cells: Sequence[Cell]) -> Iterator[bytes]:
        """Run cells; yield nothing first, to say that they are begun, and then what `Ledger.take` reads."""
        yield b""
        said: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(self._site.run, cells, said.put, lambda: self._asked.intersection(cells))
            done.add_done_callback(lambda _: said.put(None))
            while (data := said.get()) is not None:  # no `yield from`: Ray sends into it, which an iterator cannot take
                yield data
        yield done.result()

    @ray.method(concurrency_group="asked")
    def ask_to_stop(self, cells: Sequence[Cell]) -> None:
        """Have cells learn, at their next report, that they are to stop."""
        self._asked.update(cells)

    def close(self) -> bytes:
        """Close the site; return what it reports."""
        return self._site.close()
