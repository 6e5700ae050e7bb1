"""How many threads BLAS and OpenMP may use in one of several worker processes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["environment_with_limits", "limit_library_threads", "loaded_libraries", "threads_for_each"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def threads_for_each(*, cores: int, workers: int) -> int:
    """Return each worker's share of the cores, at least one."""
    return max(1, cores // workers)


def environment_with_limits(environ: Mapping[str, str], limit: int) -> dict[str, str]:
    """Return a worker's environment, for libraries that it loads later; a smaller number that is set stays.

    Parameters
    ----------
    environ : mapping
        The coordinator's.
    limit : int
        Threads for each library.
    """
    limited = dict(environ)
    for name in VARIABLES:
        given = limited.get(name, "")
        limited[name] = str(min(int(given), limit)) if given.isdigit() and int(given) > 0 else str(limit)
    return limited


def loaded_libraries() -> list[Any]:
    """Return the controllers of the libraries that this process has loaded.

    They are looked for when modules were imported since the last time; a fork has what its parent found.
    """
    modules = len(sys.modules)
    if _found.modules != modules:
        import threadpoolctl

        _found.controllers = threadpoolctl.ThreadpoolController().lib_controllers
        _found.modules = len(sys.modules)
    return _found.controllers


class _Found:
    modules = 0
    controllers: list[Any]


_found = _Found()


def limit_library_threads(limit: int, *, raises: bool = False) -> None:
    """Limit the libraries that this process has loaded already.

    Libraries that have the right number are left alone: OpenBLAS starts its threads anew when it is told a number
    after a fork, and they spin for a while.

    Parameters
    ----------
    limit : int
        Threads for each; a smaller number that the environment asks for stays.
    raises : bool, default False
        Whether a library that has fewer gets more.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    wanted = min(limit, int(given)) if given.isdigit() and int(given) > 0 else limit
    for library in loaded_libraries():
        if library.num_threads > wanted or (raises and library.num_threads < wanted):
            library.set_num_threads(wanted)
