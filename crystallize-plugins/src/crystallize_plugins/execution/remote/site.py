"""`Site`: where cells run on another host. The engine that brings batches of cells there may be any."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import (
    ValidationError,
    WorkerCrashError,
    WorkerMismatchError,
    WorkerStartError,
)
from crystallize.hooks import compare_lock
from crystallize.hooks.tools import check_count, check_flag
from crystallize_plugins.environment.cores import usable_cores
from crystallize_plugins.environment.packages import installed_packages
from crystallize_plugins.execution.library_threads import environment_with_limits, threads_for_each
from crystallize_plugins.execution.processes.diagnostics import exit_status
from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.spawn import handle_for
from crystallize_plugins.execution.processes.worker_pool import interpreter_command
from crystallize_plugins.execution.remote.parcel import opened, python_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from multiprocessing.connection import Connection

    from crystallize.hooks import Cell, Event, RunCell
    from crystallize_plugins.execution.remote.parcel import Parcel

__all__ = ["News", "Site", "differences", "drift", "host_name", "packed"]

_LOOK_EVERY = 0.05
"""Seconds after which `stop` is asked again."""
_HELD_BACK = 1.0
"""Seconds for which the outcome of a cell waits for the others of its batch."""
_TO_CLOSE = 30.0
"""Seconds that the workers of a site have to close what they opened."""
_SAME = ("crystallize-core", "crystallize-plugins", "cloudpickle")

News = tuple[Any, ...]


def host_name() -> str:
    """Return the name of this machine."""
    import platform

    return platform.node() or "unknown"


class Site:
    """Worker processes on this host for a run that is coordinated on another one.

    Cells run in children of a process of the site's own, which has the code of the parcel: nothing that the engine's
    process has imported counts, and nothing stays when the site is closed. A cell that brings its worker down is named
    and tried once more, alone; time-outs of plain functions are kept; what cells print, log, warn of and emit is in the
    bytes that `Ledger.take` reads.

    Attributes
    ----------
    name : str
        What its workers are called, before the slash.
    drift : tuple of str
        Libraries that are here in another version than in the coordinator, as sentences.

    Examples
    --------
    In the engine's worker::

        site = Site.open(parcel, processes=4)
        try:
            data = site.run(cells)
        finally:
            last = site.close()
    """

    def __init__(self, backend: _Process | _InProcess, name: str, drift: Sequence[str]) -> None:
        self._backend = backend
        self.name = name
        self.drift = tuple(drift)

    @classmethod
    def open(cls, parcel: Parcel, *, processes: int = 1, isolate: bool = True, name: str | None = None) -> Site:
        """Open a site for a run, and prove that it has what the run has.

        Parameters
        ----------
        parcel : Parcel
        processes : int, default 1
            How many cells run at the same time.
        isolate : bool, default True
            False runs cells in the calling process, one at a time: without protection from crashes, time-outs of plain
            functions, or output that comes back; modules that the process has imported already are those that run.
        name : str, optional
            By default ``"site-<host>"``.

        Raises
        ------
        WorkerMismatchError
            Python, Crystallize, a plugin or the code of the run is another here.
        WorkerStartError
            The run cannot be loaded, or no process can be started.
        ValidationError
            `processes` is smaller than 1; or files were shipped and `isolate` is False.
        """
        check_count(processes, what="processes")
        check_flag(isolate, what="isolate")
        called = name or f"site-{host_name()}"
        _refuse(called, differences(parcel))
        backend = _Process(parcel, called, processes) if isolate else _InProcess(parcel, called)
        try:
            _refuse(called, backend.differences)
        except WorkerMismatchError:
            backend.kill()
            raise
        return cls(backend, called, drift(parcel))

    def run(
        self,
        cells: Sequence[Cell],
        emit: Callable[[bytes], object] | None = None,
        stop: Callable[[], bool | Collection[Cell]] | None = None,
    ) -> bytes:
        """Run cells, and return what `Ledger.take` reads.

        Several threads may call it at the same time.

        Parameters
        ----------
        cells : sequence of Cell
            What `Ledger.batch` gave.
        emit : callable of bytes, optional
            Gets, in the calling thread, what is not to wait for the end of the batch, for `Ledger.take` as well: what
            cells print, log and emit, and outcomes of batches that take longer than a second.
        stop : callable, optional
            Asked every 0.05 s: True ends everything that runs on this site at once; cells that it returns are asked to
            stop at their next report (`Ledger.stopping`).

        Raises
        ------
        WorkerCrashError
            The process of the site ended, or was ended. What had not come is lost (`Ledger.lost`).
        WorkerStartError
            Its workers cannot be started.
        """
        return self._backend.run(cells, emit, stop)

    def close(self) -> bytes:
        """Have workers close what they opened, and return what they report, for `Ledger.take`."""
        return self._backend.close()

    def kill(self) -> None:
        """End everything at once."""
        self._backend.kill()


def differences(parcel: Parcel) -> list[str]:
    """Return what of this machine forbids to run a parcel, as sentences: Python, Crystallize, plugins."""
    facts = parcel.facts
    found = []
    if facts["python"] != python_version():
        found.append(f"Python is {python_version()}, and {facts['python']} in the program that runs the experiment")
    for name in _SAME:
        wanted, here = _bare(facts["packages"].get(name, "")), _installed(name)
        if wanted and wanted != here:
            found.append(f"{name} is {here or 'not installed'}, and {wanted} in the program that runs the experiment")
    travelling = [entry for entry in facts["lock"] if entry["class"].rpartition(":")[2] in facts["travels"]]
    kinds = ("missing", "version", "files", "entry_point")
    found.extend(each.text for each in compare_lock(travelling, detail=True) if each.kind in kinds)
    return found


def drift(parcel: Parcel) -> list[str]:
    """Return what libraries are here in another version than in the coordinator, as sentences."""
    here = {name: _bare(text) for name, text in installed_packages().items()}
    return [
        f"{name} is {here[name]}, and {_bare(wanted)} in the program that runs the experiment"
        for name, wanted in parcel.facts["packages"].items()
        if name in here and here[name] != _bare(wanted)
    ]


def _refuse(name: str, found: Sequence[str]) -> None:
    if found:
        raise WorkerMismatchError(
            f"{name} cannot run cells of this run: {'; '.join(found)}. Install there what the program that runs the "
            "experiment has, and start it again",
            worker=name,
            differences=found,
        )


def _bare(version: str) -> str:
    return version.partition(" ")[0]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def packed(name: str, news: Sequence[News]) -> bytes:
    """Return news as the bytes that `Ledger.take` reads."""
    return pickle.dumps((name, host_name(), list(news)), 5)


class _Batch:
    """Cells that one call of `Site.run` waits for."""

    def __init__(self) -> None:
        self.news: list[News] = []
        self.done = False


class _Process:
    """The site's own process, as the engine's process knows it."""

    def __init__(self, parcel: Parcel, name: str, processes: int) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._batches: dict[int, _Batch] = {}
        self._numbers = count()
        self._late: list[News] = []
        self._over = ""
        self._failure: Exception | None = None
        self._ready: list[str] | None = None
        self._closed = False
        self._folder = tempfile.mkdtemp(prefix="crystallize-")
        self._link, self._process = self._start(parcel, processes)
        threading.Thread(target=self._listen, name="crystallize-site", daemon=True).start()
        with contextlib.suppress(OSError):  # it ended at once: the line tells
            self._link.send_bytes(parcel.content)
        self.differences = self._once_ready()

    def _once_ready(self) -> list[str]:
        """Wait until the run is loaded; return what differs."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready is not None or self._over)
            if self._ready is not None:
                return self._ready
        self.kill()
        raise self._error()

    def _start(self, parcel: Parcel, processes: int) -> tuple[Connection, subprocess.Popen[bytes]]:
        threads = threads_for_each(cores=usable_cores(), workers=processes)
        ours, theirs = Pipe()
        command = interpreter_command("from crystallize_plugins.execution.remote.site_process import main; main()")
        fds = [] if sys.platform == "win32" else [theirs.fileno()]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=fds, env=environment_with_limits(os.environ, threads)
            )
        except OSError as exc:
            raise WorkerStartError(f"the process of {self._name} could not be started: {exc}") from exc
        needs = {
            "link": handle_for(process, theirs),
            "folder": self._folder,
            "name": self._name,
            "processes": processes,
            "library_threads": threads,
            "parts": dict(parcel.facts["parts"]),
        }
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(needs).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        theirs.close()
        return ours, process

    # -- what it says -----------------------------------------------------------------------------

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                news = pickle.loads(self._link.recv_bytes())
                with self._changed:
                    for each in news:
                        self._take(*each)
                    self._changed.notify_all()
        how, _ = exit_status(self._process.wait())
        with self._changed:
            self._over = how
            self._changed.notify_all()

    def _take(self, kind: str, *rest: Any) -> None:
        if kind == "ready":
            self._ready = rest[0]
        elif kind == "broken":
            self._failure = WorkerStartError(f"{self._name} cannot run cells of this run: {rest[0]}: {rest[1]}")
        elif kind in ("outcomes", "outcome", "done"):
            batch = self._batches.get(rest[0])
            if batch is not None:
                batch.done = batch.done or kind == "done"
                batch.news.extend([] if kind == "done" else [(kind, *rest[1:])])
        else:
            batch = next(iter(self._batches.values()), None)
            (self._late if batch is None else batch.news).append((kind, *rest))

    def _error(self) -> Exception:
        return self._failure or WorkerCrashError(f"the process of {self._name} {self._over or 'was ended'}")

    # -- what it is told --------------------------------------------------------------------------

    def run(
        self,
        cells: Sequence[Cell],
        emit: Callable[[bytes], object] | None,
        stop: Callable[[], bool | Collection[Cell]] | None,
    ) -> bytes:
        number, batch = next(self._numbers), _Batch()
        with self._changed:
            batch.news, self._late = self._late, []
            self._batches[number] = batch
        held: list[News] = []
        since = time.monotonic()
        try:
            self._say("cells", number, list(cells))
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: batch.news or batch.done or self._over, _LOOK_EVERY)
                    news, batch.news = batch.news, []
                    done = batch.done
                    over = bool(self._over)
                held.extend(news)
                if done or any(each[0] == "interrupted" for each in news):
                    return packed(self._name, held)
                if over:
                    raise self._error()
                if emit is not None and held:
                    live = [each for each in held if each[0] not in ("outcomes", "outcome")]
                    if time.monotonic() - since > _HELD_BACK:
                        live, held, since = held, [], time.monotonic()
                    else:
                        held = [each for each in held if each[0] in ("outcomes", "outcome")]
                    if live:
                        emit(packed(self._name, live))
                self._ask(stop)
        finally:
            with self._changed:
                self._batches.pop(number, None)

    def _ask(self, stop: Callable[[], bool | Collection[Cell]] | None) -> None:
        asked = False if stop is None else stop()
        if asked is True:
            self.kill()
            raise WorkerCrashError(f"the process of {self._name} was ended: the run is being stopped")
        if asked:
            self._say("stop", list(asked))

    def _say(self, *order: Any) -> None:
        with contextlib.suppress(OSError), self._changed:  # an end is noticed when the line is read
            self._link.send_bytes(pickle.dumps(order, 5))

    def close(self) -> bytes:
        if self._closed or self._over:
            self.kill()
            return packed(self._name, [])
        self._closed = True
        self._say("close")
        with self._changed:
            self._changed.wait_for(lambda: self._over, _TO_CLOSE)
            news, self._late = self._late, []
        self.kill()
        return packed(self._name, news)

    def kill(self) -> None:
        self._closed = True
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        shutil.rmtree(self._folder, ignore_errors=True)


class _InProcess:
    """Cells in the engine's own process, one at a time."""

    def __init__(self, parcel: Parcel, name: str) -> None:
        from crystallize_plugins.execution.remote.site_process import differing_parts, load

        content = opened(parcel)
        if content["files"]["ship"]:
            raise ValidationError("ship needs isolate=True: the engine's own process keeps its working folder")
        self._name = name
        self._folder = tempfile.mkdtemp(prefix="crystallize-")
        self._one_at_a_time = threading.Lock()
        # The program's own is put in its place while the run is loaded, and the engine's back afterwards.
        main = sys.modules["__main__"]
        try:
            self._run_cell: RunCell = load(content, Path(self._folder))
        except Exception as exc:
            raise WorkerStartError(f"{name} cannot run cells of this run: {type(exc).__name__}: {exc}") from exc
        finally:
            sys.modules["__main__"] = main
        self.differences = differing_parts(parcel.facts["parts"], self._run_cell)

    def run(
        self,
        cells: Sequence[Cell],
        emit: Callable[[bytes], object] | None,
        stop: Callable[[], bool | Collection[Cell]] | None,
    ) -> bytes:
        news: list[News] = []

        def asked() -> bool | Collection[Cell]:
            return False if stop is None else stop()

        def send(event: Event) -> bool:
            if self._run_cell.hears_cells:
                told = ("event", dumps(event))
                if emit is None:
                    news.append(told)
                else:
                    emit(packed(self._name, [told]))
            now = asked()
            return now is True or (now is not False and event.cell in now)

        with self._one_at_a_time:
            for cell in cells:
                if asked() is True:
                    raise WorkerCrashError(f"{self._name} was stopped")
                try:
                    outcome = self._run_cell(cell, send)
                except KeyboardInterrupt as exc:
                    news.append(("interrupted", str(exc)))
                    break
                outcome.worker = f"{self._name}/main"
                news.append(("outcome", tuple(cell), dumps(outcome), dumps(None)))
        return packed(self._name, news)

    def close(self) -> bytes:
        with self._one_at_a_time:
            report = self._run_cell.stop()
        self.kill()
        return packed(self._name, [("report", dumps(report))])

    def kill(self) -> None:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(Path(self._folder) / "code"))
        shutil.rmtree(self._folder, ignore_errors=True)
