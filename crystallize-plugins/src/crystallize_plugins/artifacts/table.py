"""The records of many cells by column: read in bulk where they look alike, without making an outcome of any.

Cells that share the shape of their metrics have records of one layout, mostly many in a row, so that one call of
`struct` reads all of them.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import StoreError
from crystallize.results import MetricValues
from crystallize_plugins.artifacts.cells import FAILED, HEAD, LOSSY, PLAIN, SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize_plugins.artifacts.cells import CellReader
    from crystallize_plugins.artifacts.shapes import MetricsShape

__all__ = ["CellTable"]

_KEY = (*range(24, 28), *range(36, HEAD.size))
"""The bytes of a head that records of one layout share: the shape of the metrics, flags and sizes."""
_SIZES = struct.Struct("<III")
_FIRST_LOOK = 8
_ALONE = 64
"""How many records are read one by one where neighbours do not look alike, before trying again."""


class _Layout(NamedTuple):
    """What is known of all records of one layout."""

    flags: int
    shape: MetricsShape | None
    """None where metrics have to be read one by one."""
    rest: int
    form: struct.Struct


class _Part(NamedTuple):
    """The records of one layout."""

    start: int
    """Position of the first one in the table."""
    end: int
    """Position behind the last one."""
    layout: _Layout
    values: Sequence[tuple[Any, ...]]
    """A column for each value of their metrics."""


class CellTable:
    """Cells by column; a cell is meant by its position.

    Parameters
    ----------
    records : bytes
        Records one after the other, in the order in which they were stored.
    reader : CellReader

    Attributes
    ----------
    records : bytes
    reader : CellReader
    places : list of int
        Where each record begins.
    conditions, replicates, seeds, durations, traces, workers : list
        Conditions, shapes of traces and workers by number; a seed that is None may be in the record's rest.

    Raises
    ------
    StoreError
        The records are damaged.
    """

    def __init__(self, records: bytes, reader: CellReader) -> None:
        self.records = records
        self.reader = reader
        self.places: list[int] = []
        self.conditions: list[int] = []
        self.replicates: list[int] = []
        self.seeds: list[int | None] = []
        self.durations: list[float] = []
        self.traces: list[int] = []
        self.workers: list[int] = []
        self._parts: list[_Part] = []
        try:
            for key, places in _by_layout(records).items():
                self._add(_layout(key, reader), places)
            self._names = [*map(reader.conditions.__getitem__, self.conditions)]
            _check_known(self.workers, reader.workers)
        except (LookupError, struct.error) as error:
            raise StoreError(f"the record of a cell is damaged: {error}") from error
        self._starts = [part.start for part in self._parts]

    def index(self) -> dict[tuple[str, int], int]:
        """Give the position of each cell, in the order of arrival; of a cell that came twice, that of the later."""
        if len(self._parts) <= 1:
            return dict(zip(zip(self._names, self.replicates, strict=True), range(len(self.places)), strict=True))
        names, replicates = self._names, self.replicates
        order = sorted(range(len(self.places)), key=self.places.__getitem__)
        return {(names[position], replicates[position]): position for position in order}

    def failed(self) -> set[int]:
        """Give the positions of the cells that failed."""
        return self._those(lambda layout: bool(layout.flags & FAILED))

    def inexact(self) -> set[int]:
        """Give the positions of the cells of which something could not be stored exactly."""
        return self._those(lambda layout: bool(layout.flags & LOSSY))

    def rare(self) -> set[int]:
        """Give the positions of the cells of which more may be known than columns hold."""
        return self._those(lambda layout: bool(layout.flags & FAILED or (layout.rest and not layout.flags & PLAIN)))

    def seedless(self) -> set[int]:
        """Give the positions of the cells whose seed, if they have one, is in the record's rest."""
        return self._those(lambda layout: bool(layout.rest and not layout.flags & SEED))

    def metrics(self, positions: Sequence[int], replicates: Sequence[int]) -> dict[str, MetricValues]:
        """Bring the metrics of some cells together.

        Parameters
        ----------
        positions : sequence of int
            Cells that succeeded, in replicate order.
        replicates : sequence of int
            Theirs.
        """
        if not positions:
            return {}
        part = self._part(min(positions))
        if part is self._part(max(positions)) and part.layout.shape is not None:
            return _joined(part, part.layout.shape, [position - part.start for position in positions], replicates)
        joined: dict[str, MetricValues] = {}
        for position, replicate in zip(positions, replicates, strict=True):
            for name, values in self._metrics_at(position).items():
                target = joined.get(name)
                if target is None:
                    target = joined[name] = MetricValues()
                target.extend(values)
                target.replicates.extend([replicate] * len(values))
        return joined

    def _add(self, layout: _Layout, places: list[int]) -> None:
        unpack = layout.form.unpack_from
        records = self.records
        if places[-1] - places[0] == (len(places) - 1) * layout.form.size:
            rows = layout.form.iter_unpack(memoryview(records)[places[0] : places[-1] + layout.form.size])
            columns = [*zip(*rows, strict=True)]
        else:
            columns = [*zip(*[unpack(records, place) for place in places], strict=True)]
        replicates, conditions, seeds, durations, traces, workers, *values = columns
        self._parts.append(_Part(len(self.places), len(self.places) + len(places), layout, values))
        self.places += places
        self.replicates += replicates
        self.conditions += conditions
        self.seeds += seeds if layout.flags & SEED else repeat(None, len(places))
        self.durations += durations
        self.traces += traces
        self.workers += workers

    def _those(self, wanted: Callable[[_Layout], bool]) -> set[int]:
        found: set[int] = set()
        for part in self._parts:
            if wanted(part.layout):
                found.update(range(part.start, part.end))
        return found

    def _part(self, position: int) -> _Part:
        return self._parts[bisect_right(self._starts, position) - 1]

    def _metrics_at(self, position: int) -> Mapping[str, Sequence[Any]]:
        part = self._part(position)
        if part.layout.shape is None:
            return self.reader.outcome(self.records, self.places[position]).metrics
        return part.layout.shape.named([column[position - part.start] for column in part.values])


def _check_known(numbers: Sequence[int], known: Mapping[int, Any]) -> None:
    unknown = set(numbers).difference(known)
    if unknown:
        raise LookupError(f"there is no worker {min(unknown)}")


def _layout(key: bytes, reader: CellReader) -> _Layout:
    number, flags = int.from_bytes(key[:4], "little"), key[4]
    durations, packed, rest = _SIZES.unpack_from(key, 5)
    # Without a number they are in an encoding of their own.
    shape = reader.metrics[number] if number else None
    values = f"{packed}x" if shape is None else shape.values.format[1:]
    form = struct.Struct(f"<IIqd4xII13x{durations}x{values}{rest}x")
    if form.size != HEAD.size + durations + packed + rest:
        raise LookupError(f"{packed} bytes are not the metrics of shape {number}")
    return _Layout(flags, shape, rest, form)


def _by_layout(records: bytes) -> dict[bytes, list[int]]:
    """Give where records begin, by what all records of a layout have in common."""
    found: dict[bytes, list[int]] = {}
    place = alone = 0
    end = len(records)
    while place < end:
        key = records[place + 24 : place + 28] + records[place + 36 : place + HEAD.size]
        size = HEAD.size + sum(_SIZES.unpack_from(key, 5))
        if place + size > end:
            raise LookupError("it is cut off")
        places = found.setdefault(key, [])
        if alone:
            alone -= 1
            count = 1
        else:
            count = _alike(records, place, size, key)
            alone = 0 if count >= _FIRST_LOOK else _ALONE
        places.extend(range(place, place + count * size, size))
        place += count * size
    return found


def _alike(records: bytes, place: int, size: int, key: bytes) -> int:
    """Count the records from `place` on that have one layout, looking ever further."""
    most = (len(records) - place) // size
    look = min(_FIRST_LOOK, most)
    while True:
        alike = look
        # A byte of the key in all records at once; behind a record of another layout it means nothing.
        for offset, byte in zip(_KEY, key, strict=True):
            column = records[place + offset : place + offset + (alike - 1) * size + 1 : size]
            alike -= len(column.lstrip(bytes((byte,))))
        if alike < look or look == most:
            return alike
        look = min(look * 8, most)


def _joined(
    part: _Part, shape: MetricsShape, rows: Sequence[int], replicates: Sequence[int]
) -> dict[str, MetricValues]:
    columns: list[list[Any]] = [[*map(column.__getitem__, rows)] for column in part.values]
    if shape.casts is not None:
        columns = [[*map(cast, column)] for cast, column in zip(shape.casts, columns, strict=True)]
    joined = {}
    place = 0
    for name, count in zip(shape.names, shape.counts, strict=True):
        if count == 1:
            joined[name] = MetricValues(columns[place], replicates)
        else:
            values = chain.from_iterable(zip(*columns[place : place + count], strict=True))
            joined[name] = MetricValues(values, [each for each in replicates for _ in range(count)])
        place += count
    return joined
