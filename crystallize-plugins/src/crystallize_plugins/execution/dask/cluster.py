"""The scheduler that a run uses: one that was named, or one in this process whose workers are programs of their own."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from crystallize.errors import MissingExtraError, WorkerStartError
from crystallize_plugins.environment.cores import usable_cores

__all__ = ["Cluster", "import_distributed"]

_TO_CONNECT = 10
"""Seconds."""


def import_distributed() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import distributed
    except ImportError as exc:
        raise MissingExtraError("DaskExecution needs Dask: pip install 'crystallize-plugins[dask]'") from exc
    return distributed


class Cluster:
    """A connection to a scheduler, for the time of a run.

    Parameters
    ----------
    address : str, optional
        Where the scheduler is, or the path of the file in which it says so.
    client : distributed.Client, optional
        Used, and left open.
    workers : int, optional
        How many workers a cluster of this machine has, where there is neither an address nor a client.

    Attributes
    ----------
    client : distributed.Client
    """

    def __init__(self, address: str | None, client: Any, workers: int | None) -> None:
        self._distributed = import_distributed()
        self._own_client = client is None
        self._scheduler: Any = None
        self._programs: list[subprocess.Popen[bytes]] = []
        self._folder: str | None = None
        self._left = 0
        if client is None and address is None:
            address = self._begin(workers or usable_cores())
        self.client = self._connected(address) if client is None else client

    def _connected(self, address: str | None) -> Any:
        assert address is not None  # noqa: S101 - without one, there is a cluster of our own
        where = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
        try:
            return self._distributed.Client(**where, set_as_default=False, timeout=_TO_CONNECT)
        except (OSError, ValueError) as exc:
            self.close()
            raise WorkerStartError(
                f"there is no Dask scheduler at {address!r} ({type(exc).__name__}: {exc}): give the address that "
                "`dask scheduler` prints, or the file of its --scheduler-file"
            ) from exc

    # -- a cluster of our own ---------------------------------------------------------------------

    def _begin(self, workers: int) -> str:
        # Of the local cluster the scheduler alone: its workers would import the main module again.
        # Without an address it serves HTTP on port 8787 all the same, and warns where that is taken.
        self._scheduler = self._distributed.LocalCluster(
            n_workers=0, processes=True, dashboard_address="127.0.0.1:0", silence_logs=logging.ERROR
        )
        self._folder = tempfile.mkdtemp(prefix="crystallize-dask-")
        self._left = 3 * workers
        self._programs = [self._start_worker() for _ in range(workers)]
        return str(self._scheduler.scheduler_address)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", self._scheduler.scheduler_address]
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder)]
        environment = {**os.environ, "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error"}
        return subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is the coordinator's to answer
        )

    def look_after(self) -> None:
        """Start another worker for each of this machine that has died.

        Raises
        ------
        WorkerStartError
            They die again and again.
        """
        for number, program in enumerate(self._programs):
            if program.poll() is not None:
                self._left -= 1
                if self._left < 0:
                    raise WorkerStartError(
                        f"the Dask workers of this machine end again and again; the last left with exit code "
                        f"{program.returncode}: python -m distributed.cli.dask_worker "
                        f"{self._scheduler.scheduler_address} says why"
                    )
                self._programs[number] = self._start_worker()

    def close(self) -> None:
        """Leave a cluster of the user's as it is; end our own."""
        client = getattr(self, "client", None)
        if self._own_client and client is not None:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.close(timeout=2)
        for program in self._programs:
            program.kill()
        for program in self._programs:
            program.wait()
        self._programs = []
        if self._scheduler is not None:
            with contextlib.suppress(Exception):
                self._scheduler.close(timeout=2)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
