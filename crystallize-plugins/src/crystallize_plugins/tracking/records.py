"""What a tracker is told of a run, as plain records, and the file through which they reach the helper.

The file takes what comes as fast as a disk does, however slow the tracker is, and costs no memory.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import tempfile
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crystallize.hooks import CellOutcome, ConditionRecord

__all__ = ["CellRecord", "ConditionParams", "RunRecord", "Spool", "cell_record", "read_spool", "treatment_params"]

_LENGTH = struct.Struct("<Q")


class RunRecord(NamedTuple):
    """A run, as a tracker needs to know it."""

    id: str
    experiment: str
    name: str
    """``"v3"``, or the beginning of the id where the run is not stored."""
    seed: int | None
    replicates: int
    started: float
    """Seconds since the epoch."""


class ConditionParams(NamedTuple):
    """A condition, and the values that its treatment sets, described."""

    name: str
    params: dict[str, Any]


class CellRecord(NamedTuple):
    """A cell that has run."""

    condition: str
    replicate: int
    failed: bool
    started: float
    metrics: dict[str, list[float | None]]
    """None stands for what is no number."""
    files: list[tuple[str, str, str | bytes]]
    """Step, name, and the path, or the content where the run is not stored."""


def cell_record(outcome: CellOutcome, files: Iterable[tuple[str, str, str | bytes]]) -> CellRecord:
    """Return what a tracker is told of an outcome.

    Parameters
    ----------
    outcome : CellOutcome
    files : iterable of tuple
        As in the record.
    """
    metrics = {name: [_number(value) for value in values] for name, values in outcome.metrics.items()}
    return CellRecord(*outcome.cell, not outcome.ok, outcome.started, metrics, [] if outcome.error else list(files))


def treatment_params(record: ConditionRecord, baseline: ConditionRecord, keys: Sequence[str] | None) -> dict[str, Any]:
    """Return what a treatment sets, described, so that secrets are masked.

    Parameters
    ----------
    record, baseline : ConditionRecord
        The condition's, and that of the baseline.
    keys : sequence of str or None
        The keys that the treatment sets; None where it is a function: then what the baseline has not, or otherwise.
    """
    found = record.context
    if keys is None:
        return {key: value for key, value in found.items() if baseline.context.get(key, found) != value}
    return {key: found[key] for key in keys if key in found}


class Spool:
    """A temporary file that records are added to, and that a helper reads.

    Attributes
    ----------
    path : str
    """

    def __init__(self) -> None:
        descriptor, self.path = tempfile.mkstemp(prefix="crystallize-")
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def add(self, record: object) -> None:
        """Write a record.

        Raises
        ------
        OSError
            The disk is full.
        """
        data = pickle.dumps(record)
        rest = memoryview(_LENGTH.pack(len(data)) + data)
        while rest:
            rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Remove it."""
        self._file.close()
        with contextlib.suppress(OSError):
            Path(self.path).unlink()


def read_spool(path: str) -> Iterator[Any]:
    """Yield the records of a spool as they are there, and None whenever there are no more yet; it removes the file.

    Parameters
    ----------
    path : str
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a text
        with contextlib.suppress(OSError):  # where an open file cannot be removed, the spool does it at the end
            Path(path).unlink()
        while True:
            begin = file.tell()
            head = file.read(_LENGTH.size)
            size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
            data = file.read(size)
            if not data or len(data) < size:
                file.seek(begin)
                yield None
            else:
                yield pickle.loads(data)  # noqa: S301 - from the program that started us


def _number(value: Any) -> float | None:
    if isinstance(value, float):
        return float(value)
    if not isinstance(value, Real):
        return None
    try:
        return float(value)
    except (ArithmeticError, TypeError, ValueError):
        return None
