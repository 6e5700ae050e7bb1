"""What runs in a Dask worker: a `Site` for each run, and batches of cells on it, as long as they are wanted."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.remote import Site
from crystallize_plugins.execution.remote.site import host_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crystallize.hooks import Cell

__all__ = ["ask_to_stop", "begin", "close_site", "kill_site", "run_batch"]

_LARGEST_MESSAGE = 256 * 1024
"""Bytes that go by way of the scheduler, which keeps them for a while; more waits for the end of the batch."""

_LOOK_EVERY = 1.0
"""Seconds."""

_sites: dict[str, Site] = {}
_asked: dict[str, set[Cell]] = {}
_opening = threading.Lock()


def begin(content: bytes, *, isolate: bool) -> tuple[str, str, tuple[str, ...]]:
    """Open the site of a run on this worker; return its name, the host, and the libraries that differ.

    Raises
    ------
    WorkerMismatchError, WorkerStartError
        See `Site.open`.
    """
    from distributed import get_worker

    worker = get_worker()
    parcel = pickle.loads(content)
    name = f"dask-{host_name()}/{worker.address.rpartition(':')[2]}"
    with _opening:
        site = _sites.get(parcel.id)
        if site is None:
            processes = worker.state.nthreads if isolate else 1
            site = _sites[parcel.id] = Site.open(parcel, processes=processes, isolate=isolate, name=name)
            _asked[parcel.id] = set()
            watched = worker, parcel.id, worker.get_current_task()
            threading.Thread(target=_end_with_client, args=watched, name="crystallize-client", daemon=True).start()
    return name, host_name(), site.drift


def _end_with_client(worker: Any, parcel: str, key: str) -> None:
    """End the site of a run when its client is gone: the scheduler has then forgotten the task that opened it."""
    while parcel in _sites and key in worker.state.tasks:
        time.sleep(_LOOK_EVERY)
    kill_site(parcel)


def run_batch(parcel: str, cells: Sequence[Cell], topic: str, key: str) -> list[bytes] | None:
    """Run cells; return what `Ledger.take` reads, or None where the site is gone and no cell was begun.

    What is not to wait for the end goes out as an event of the scheduler.

    It looks at the state of its own task: one that was cancelled, or whose client is gone, ends what runs here.
    """
    from distributed import get_worker

    worker = get_worker()
    site, asked = _sites.get(parcel), _asked.get(parcel)
    if site is None or asked is None:
        return None
    late: list[bytes] = []

    def send(data: bytes) -> None:
        if len(data) > _LARGEST_MESSAGE:
            late.append(data)
        else:
            worker.log_event(topic, data)

    def stop() -> bool | Collection[Cell]:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled" or worker.status.name not in ("running", "paused"):
            _forget(parcel)
            return True
        return asked.intersection(cells)

    worker.log_event(topic, key)
    try:
        return [*late, site.run(cells, send, stop)]
    except Exception:
        # Its process is gone: whoever comes next opens another.
        _forget(parcel)
        raise


async def ask_to_stop(parcel: str, cells: Sequence[Cell]) -> None:
    """Have cells learn, at their next report, that they are to stop; waited for by nobody."""
    asked = _asked.get(parcel)
    if asked is not None:
        asked.update(cells)


async def close_site(parcel: str) -> bytes | None:
    """Close the site of a run; return what it reports."""
    site = _forget(parcel)
    return None if site is None else await asyncio.to_thread(site.close)


def kill_site(parcel: str) -> None:
    """End the site of a run at once."""
    site = _forget(parcel)
    if site is not None:
        site.kill()


def _forget(parcel: str) -> Any:
    with contextlib.suppress(KeyError):
        del _asked[parcel]
    return _sites.pop(parcel, None)
