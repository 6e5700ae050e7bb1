"""`pack`: an experiment as it is sent to other machines, with the code of the project and the files that it reads."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks.tools import fresh_id
from crystallize_plugins.environment.packages import installed_packages
from crystallize_plugins.execution.processes.diagnostics import cannot_travel
from crystallize_plugins.execution.processes.output import logging_levels, warning_filters
from crystallize_plugins.execution.processes.payload import pickled_for_interpreters
from crystallize_plugins.execution.processes.streams import stream_settings
from crystallize_plugins.execution.remote.code import project_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.hooks import ExperimentView, RunCell

__all__ = ["MOST_BYTES", "Parcel", "check_patterns", "opened", "pack", "python_version", "shipped_files"]

MOST_BYTES = 512 * 1024 * 1024
"""How much the files that `ship` names may hold together, and the project's code."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a `Site` is opened with; it pickles, and may be kept in a file.

    Attributes
    ----------
    id : str
        Unique to this parcel.
    experiment : str
        The experiment's name, for messages.
    code : str
        A digest of the shipped code and files, and of what the cells are: the same as long as these are.
    facts : dict
        What a machine has to agree with: ``python``, ``packages``, ``lock``, ``parts``.
    content : bytes
        Everything else.
    """

    id: str
    experiment: str
    code: str
    facts: Mapping[str, Any]
    content: bytes


def pack(experiment: ExperimentView, run_cell: RunCell, *, ship: Sequence[str] = ()) -> Parcel:
    """Pack a run for other machines.

    The modules of the project travel as files, whole packages at a time; what has no file (a script, a notebook,
    lambdas) by value; what is installed stays, and is expected there in the same version. Plugins without hooks that
    run in workers stay too.

    Parameters
    ----------
    experiment : ExperimentView
        What `run_experiment_loop` was given.
    run_cell : RunCell
        The same.
    ship : sequence of str, default empty
        Patterns such as ``"data/*.csv"``, relative to this process' working folder: files that match are found at
        the same relative paths by the steps. 512 MB at most.

    Returns
    -------
    Parcel

    Raises
    ------
    ArgumentTypeError
        `ship` is one text, or holds anything else.
    ValidationError
        A pattern leads out of the working folder or matches nothing, the files are too large, or a module was edited
        after this process had imported it.
    SerializationError
        Something of the experiment cannot travel; it is named.

    Examples
    --------
    In ``run_experiment_loop`` of an executor::

        parcel = pack(experiment, run_cell, ship=["data/*.csv"])
    """
    there = run_cell.elsewhere()
    identities = experiment.cell_identities()
    files = {"code": project_files(MOST_BYTES), "ship": shipped_files(ship)}
    try:
        modules, stream = pickled_for_interpreters(there)
    except Exception as exc:
        raise cannot_travel(there.experiment, there, exc, fresh=True) from exc
    parts = {} if identities is None else dict(identities.common_parts)
    settings = {
        "argv": list(sys.argv),
        "levels": logging_levels(),
        "filters": warning_filters(),
        "streams": stream_settings(),
    }
    content = {"files": files, "settings": settings, "modules": pickle.dumps(modules, 5), "stream": stream}
    return Parcel(
        fresh_id(),
        experiment.name or "experiment",
        _digest(files, parts),
        {
            "python": python_version(),
            "packages": installed_packages(),
            "lock": there.experiment.lock(),
            "travels": [type(plugin).__qualname__ for plugin in there.experiment.plugins],
            "parts": parts,
        },
        pickle.dumps(content, 5),
    )


def python_version() -> str:
    """Return what pickled code depends on: implementation and minor version."""
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


def shipped_files(patterns: Sequence[str]) -> dict[str, bytes]:
    """Return the content of the files that patterns name, by their relative paths.

    Raises
    ------
    ArgumentTypeError, ValidationError
        See `pack`.
    """
    here = Path.cwd()
    found: dict[str, bytes] = {}
    total = 0
    for pattern in check_patterns(patterns):
        matched = [path for path in sorted(here.glob(pattern)) if path.is_file()]
        if not matched:
            raise ValidationError(f"ship: {pattern!r} matches no file in {here}")
        for path in matched:
            total += path.stat().st_size
            if total > MOST_BYTES:
                raise ValidationError(
                    f"ship: the files are larger than {MOST_BYTES // 2**20} MB with {path.relative_to(here)}: put them "
                    "where every machine can read them, and give the steps that path"
                )
            found[path.relative_to(here).as_posix()] = path.read_bytes()
    return found


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns for `pack`, checked.

    Raises
    ------
    ArgumentTypeError, ValidationError
    """
    if isinstance(patterns, str):
        raise ArgumentTypeError(f"ship takes a list of patterns, not one text: ship=[{patterns!r}]")
    checked = tuple(patterns)
    for pattern in checked:
        if not isinstance(pattern, str):
            raise ArgumentTypeError(f"ship takes texts such as 'data/*.csv', not {pattern!r:.80}")
        parts = Path(pattern).parts
        if os.path.isabs(pattern) or ".." in parts or not parts:  # noqa: PTH117 - on every system alike
            raise ValidationError(f"ship: {pattern!r} has to be a path inside the working folder")
    return checked


def _digest(files: Mapping[str, Mapping[str, bytes]], parts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(parts.items())).encode())
    for kind, several in files.items():
        for name, content in sorted(several.items()):
            digest.update(f"{kind}\0{name}\0{hashlib.sha256(content).hexdigest()}\0".encode())
    return digest.hexdigest()


def opened(parcel: Parcel) -> dict[str, Any]:
    """Return what `pack` has put into a parcel: ``files``, ``settings``, ``modules``, ``stream``."""
    found: dict[str, Any] = pickle.load(io.BytesIO(parcel.content))
    return found
