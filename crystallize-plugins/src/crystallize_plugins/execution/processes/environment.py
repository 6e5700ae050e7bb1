"""What a worker takes over from the coordinator beside the experiment: folder, variables, paths, logging, streams."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.output import logging_levels, warning_filters
from crystallize_plugins.execution.processes.streams import stream_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize_plugins.execution.processes.output import OutputCapture

__all__ = ["apply_environment", "current_environment"]


def current_environment(library_threads: int) -> dict[str, Any]:
    """Return that of this process as it is now, whenever the worker's was made.

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


def apply_environment(environment: Mapping[str, Any], output: OutputCapture) -> None:
    """Make it this process' own.

    Parameters
    ----------
    environment : mapping
        What `current_environment` returned in the coordinator.
    output : OutputCapture
        Gets the standard streams, warnings and logging of this process.
    """
    with contextlib.suppress(OSError):  # a folder that is gone by now
        os.chdir(environment["cwd"])
    _set_variables(environment["environ"])
    sys.path[:] = environment["sys_path"]
    sys.argv[:] = environment["argv"]
    output.install(environment["levels"], environment["filters"], environment["streams"])


def _set_variables(environ: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environ]:
        del os.environ[name]
    for name, value in environ.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
