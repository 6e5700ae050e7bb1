"""What a worker takes over from the coordinator beside the experiment: its folder, environment, paths, filters."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.relay import logging_levels, warning_filters
from crystallize_plugins.execution.processes.streams import stream_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize_plugins.execution.processes.relay import Relay

__all__ = ["surroundings", "take_over"]


def surroundings(library_threads: int) -> dict[str, Any]:
    """Give those of this process as they are now, whenever the worker's was made.

    Parameters
    ----------
    library_threads : int
        How many threads BLAS and OpenMP may use in a worker.
    """
    return {
        "cwd": str(Path.cwd()),
        "environ": environment_with_limits(os.environ, library_threads),
        "sys_path": [path or str(Path.cwd()) for path in sys.path],
        "argv": list(sys.argv),
        "levels": logging_levels(),
        "filters": warning_filters(),
        "streams": stream_settings(),
    }


def take_over(given: Mapping[str, Any], relay: Relay) -> None:
    """Make them this process' own, as far as they are given: a fork has the rest.

    Parameters
    ----------
    given : mapping
        Of what `surroundings` gave, what is different here.
    relay : Relay
        Gets the standard streams, warnings and logging of this process.
    """
    if "cwd" in given:
        with contextlib.suppress(OSError):  # a folder that is gone by now
            os.chdir(given["cwd"])
    if "environ" in given:
        _set_environment(given["environ"])
    if "sys_path" in given:
        sys.path[:] = given["sys_path"]
    if "argv" in given:
        sys.argv[:] = given["argv"]
    relay.install(given.get("levels"), given.get("filters"), given.get("streams"))


def _set_environment(environ: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environ]:
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
