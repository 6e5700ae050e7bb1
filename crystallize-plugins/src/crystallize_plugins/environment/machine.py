"""The interpreter, the machine, and the settings outside of the code that change numbers."""

from __future__ import annotations

import os
import platform
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import describe
from crystallize_plugins.environment.cores import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIABLES", "environment_facts", "library_threads"]

VARIABLES = (
    "OMP_NUM_THREADS", "OMP_DYNAMIC", "OMP_PROC_BIND", "OMP_SCHEDULE", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "BLIS_NUM_THREADS", "BLIS_ARCH_TYPE",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT", "NUMBA_CPU_NAME",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "PYTHONHASHSEED", "PYTHONOPTIMIZE", "PYTHONUTF8",
    "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "CUDNN_DETERMINISTIC", "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PYTORCH_ENABLE_MPS_FALLBACK", "TF_DETERMINISTIC_OPS",
    "TF_CUDNN_DETERMINISTIC", "TF_ENABLE_ONEDNN_OPTS", "XLA_FLAGS", "JAX_ENABLE_X64", "JAX_PLATFORMS",
    "JAX_DEFAULT_MATMUL_PRECISION", "TZ", "LANG", "LC_ALL", "LC_NUMERIC", "LC_COLLATE",
)  # fmt: skip
"""Variables of the environment that change what libraries compute; those that are set are recorded."""

_FLAGS = ("optimize", "hash_randomization", "isolated", "utf8_mode", "safe_path", "int_max_str_digits")
_TOLD_OF_LIBRARIES = ("user_api", "internal_api", "version", "num_threads", "threading_layer", "architecture")


def environment_facts(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Describe what runs the code.

    Parameters
    ----------
    environ : mapping of str to str, optional
        By default this process' environment.

    Returns
    -------
    dict
        ``python`` (its version), ``implementation``, ``build``, ``flags`` (of the interpreter), ``system``,
        ``release``, ``machine``, ``cpu``, ``cores`` (that this process may use), ``timezone``, ``variables`` (those
        of `VARIABLES` that are set). The parts that cannot change while a process lives are found out once.

    Examples
    --------
    >>> import sys
    >>> environment_facts({"OMP_NUM_THREADS": "1"})["variables"]
    {'OMP_NUM_THREADS': '1'}
    """
    environ = os.environ if environ is None else environ
    given = tuple([environ.get(name) for name in VARIABLES])
    return _facts(given, time.tzname)


def library_threads() -> list[dict[str, Any]]:
    """Describe the BLAS and OpenMP libraries that this process has loaded, and how many threads each may use.

    The last bits of a result may depend on it.
    """
    import threadpoolctl

    found = [{key: library[key] for key in _TOLD_OF_LIBRARIES if key in library} for library in _loaded(threadpoolctl)]
    # They are listed in the order in which they were loaded, which differs between processes.
    return sorted(found, key=lambda library: [str(library.get(key)) for key in _TOLD_OF_LIBRARIES])


def _loaded(threadpoolctl: Any) -> list[dict[str, Any]]:
    return list(threadpoolctl.threadpool_info())


@lru_cache(maxsize=8)
def _facts(variables: tuple[str | None, ...], timezone: tuple[str, str]) -> dict[str, Any]:
    """Return everything: the same object as long as nothing has changed, so that it is encoded once."""
    return {
        **_constant(),
        "timezone": "/".join(timezone),
        "variables": {
            name: str(describe(value)) for name, value in zip(VARIABLES, variables, strict=True) if value is not None
        },
    }


@lru_cache(maxsize=1)
def _constant() -> dict[str, Any]:
    system = platform.uname()
    return {
        "cores": usable_cores(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "build": " ".join(platform.python_build()) + f" [{platform.python_compiler()}]",
        "executable": sys.executable,
        "flags": {name: int(getattr(sys.flags, name)) for name in _FLAGS if hasattr(sys.flags, name)},
        "system": system.system,
        "release": system.release,
        "machine": system.machine,
        "cpu": _cpu(),
    }


def _cpu() -> str:
    """Name the processor: libraries choose their inner loops by it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Model", "Hardware"):
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
