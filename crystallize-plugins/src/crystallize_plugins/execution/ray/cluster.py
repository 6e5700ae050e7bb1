"""The Ray that a run uses: the one that the program is connected to, one that was named, or one of our own."""

from __future__ import annotations

import logging
import math
import os
import threading
from typing import Any

from crystallize.errors import MissingExtraError, ValidationError, WorkerStartError
from crystallize_plugins.environment.cores import usable_cores

__all__ = ["Cluster", "import_ray"]


def import_ray() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import ray
    except ImportError as exc:
        raise MissingExtraError("RayExecution needs Ray: pip install 'crystallize-plugins[ray]'") from exc
    return ray


class Cluster:
    """A connection to Ray, for the time of a run. A process has one at most, so that runs at the same time share it.

    Parameters
    ----------
    address : str, optional
        Where the cluster's head is; by default what ``RAY_ADDRESS`` says.
    cpus : float, optional
        How many a Ray of our own offers. By default, as many as there are cores that this process may use.
    """

    _lock = threading.Lock()
    _runs = 0
    """Those that use a connection which we have made."""

    def __init__(self, address: str | None, cpus: float | None) -> None:
        ray = import_ray()
        address = address or os.environ.get("RAY_ADDRESS")
        if (address or "").startswith("ray://"):
            raise ValidationError(
                f"the Ray client {address!r} cannot stream what cells say: run the program on a machine of the "
                "cluster, as `ray job submit` does, with address='auto'"
            )
        with Cluster._lock:
            self._ours = Cluster._runs > 0 or not ray.is_initialized()
            if not ray.is_initialized():
                self._connect(ray, address, cpus)
            else:
                connected = ray.get_runtime_context().gcs_address
                if address not in (None, "auto", connected):
                    raise ValidationError(
                        f"this program is connected to the Ray cluster {connected!r} already, and not to {address!r}: "
                        "leave the address out, or call ray.shutdown() before"
                    )
            Cluster._runs += self._ours

    def _connect(self, ray: Any, address: str | None, cpus: float | None) -> None:
        own = {"num_cpus": math.ceil(cpus or usable_cores()), "include_dashboard": False}
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
                **({} if address else own),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as exc:
            raise WorkerStartError(
                f"there is no Ray cluster at {address or 'this machine'!r} ({type(exc).__name__}: {exc}): give the "
                "address that `ray start --head` prints, or 'auto' on a machine of the cluster"
            ) from exc

    def close(self) -> None:
        """Leave a Ray of the user's as it is; end our own connection, and with it our own Ray."""
        with Cluster._lock:
            if not self._ours:
                return
            self._ours = False
            Cluster._runs -= 1
            if not Cluster._runs:
                import_ray().shutdown()
