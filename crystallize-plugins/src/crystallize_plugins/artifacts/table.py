"""The records of many cells by column: read in bulk where they look alike, without making an outcome of any.

Cells that share the shape of their metrics have records of one layout, mostly many in a row, so that a column of all of
them is gathered by a few slices.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import DamagedStoreError
from crystallize.hooks import MetricValues
from crystallize_plugins.artifacts.cells import FAILED, LOSSY, PLAIN, SEED
from crystallize_plugins.artifacts.decoding import packed_numbers
from crystallize_plugins.artifacts.shapes import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize_plugins.artifacts.cells import CellReader
    from crystallize_plugins.artifacts.shapes import MetricsShape

__all__ = ["CellTable", "evenly", "take"]

_KEY = (*range(24, 28), *range(36, HEAD.size))
"""The bytes of a head that records of one layout share: the shape of the metrics, flags and sizes."""
_SIZES = struct.Struct("<III")
_REPLICATE, _CONDITION, _SEED, _DURATION, _WORKER = (0, "I"), (4, "I"), (8, "q"), (16, "d"), (32, "I")
"""Where numbers stand in a head, and their types."""

_FIRST_LOOK = 8
_ALONE = 64
"""How many records are read one by one where neighbours do not look alike, before trying again."""


class _Part(NamedTuple):
    """The records of one layout."""

    start: int
    """Position of the first one in the table."""
    end: int
    """Position behind the last one."""
    records: bytes
    size: int
    """Bytes of each."""
    flags: int
    rest: int
    """Bytes of what few cells have."""
    shape: MetricsShape | None
    """None where metrics have to be read one by one."""
    metrics: int
    """Where their values begin in a record."""

    def column(self, offset: int, code: str) -> list[Any]:
        """Give what stands at one place of every record."""
        width = struct.calcsize(f"<{code}")
        gathered = bytearray((self.end - self.start) * width)
        # A byte of all records at once.
        for place in range(width):
            gathered[place::width] = self.records[offset + place :: self.size]
        return [*map(bool, gathered)] if code == "?" else packed_numbers(code, memoryview(gathered)).tolist()


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
    replicates : list of int

    Raises
    ------
    StoreError
        The records are damaged.
    """

    def __init__(self, records: bytes, reader: CellReader) -> None:
        self.records = records
        self.reader = reader
        self.places: list[int] = []
        self._parts: list[_Part] = []
        self._known_values: dict[int, list[list[Any]]] = {}
        try:
            for key, places in _by_layout(records).items():
                self._add(key, places)
            self._names = [*map(reader.conditions.__getitem__, self._column(*_CONDITION))]
            self.workers = [*map(reader.workers.__getitem__, self._column(*_WORKER))]
        except (LookupError, struct.error) as error:
            raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error
        self.replicates = self._column(*_REPLICATE)
        self._starts = [part.start for part in self._parts]

    @cached_property
    def seeds(self) -> list[int | None]:
        """The seed of each cell; one that is None may be in the record's rest."""
        seeds: list[int | None] = []
        for part in self._parts:
            seeds += part.column(*_SEED) if part.flags & SEED else repeat(None, part.end - part.start)
        return seeds

    @cached_property
    def durations(self) -> list[float]:
        """The seconds that each cell took."""
        return self._column(*_DURATION)

    def index(self) -> dict[tuple[str, int], int]:
        """Give the position of each cell, in the order of arrival; of a cell that came twice, that of the later."""
        if len(self._parts) <= 1:
            return dict(zip(zip(self._names, self.replicates, strict=True), range(len(self.places)), strict=True))
        names, replicates = self._names, self.replicates
        order = sorted(range(len(self.places)), key=self.places.__getitem__)
        return {(names[position], replicates[position]): position for position in order}

    @cached_property
    def failed(self) -> set[int]:
        """The positions of the cells that failed."""
        return self._those(lambda part: bool(part.flags & FAILED))

    @cached_property
    def inexact(self) -> set[int]:
        """The positions of the cells of which something could not be stored exactly."""
        return self._those(lambda part: bool(part.flags & LOSSY))

    @cached_property
    def rare(self) -> set[int]:
        """The positions of the cells of which more may be known than columns hold."""
        return self._those(lambda part: bool(part.flags & FAILED or (part.rest and not part.flags & PLAIN)))

    @cached_property
    def seedless(self) -> set[int]:
        """The positions of the cells whose seed, if they have one, is in the record's rest."""
        return self._those(lambda part: bool(part.rest and not part.flags & SEED))

    def uniform(self, positions: Sequence[int]) -> bool:
        """Whether cells recorded the same metrics, with numbers of the same types."""
        if not positions:
            return True
        part = self._part(min(positions))
        return part.shape is not None and part is self._part(max(positions))

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
        if self.uniform(positions):
            assert part.shape is not None  # noqa: S101 - said by the line above
            rows = [position - part.start for position in positions] if part.start else positions
            return _joined(self._values(part), part.shape, evenly(rows), replicates)
        joined: dict[str, MetricValues] = {}
        for position, replicate in zip(positions, replicates, strict=True):
            for name, values in self._metrics_at(position).items():
                target = joined.get(name)
                if target is None:
                    target = joined[name] = MetricValues()
                target.extend(values)
                target.replicates.extend([replicate] * len(values))
        return joined

    def _add(self, key: bytes, places: list[int]) -> None:
        number, flags = int.from_bytes(key[:4], "little"), key[4]
        durations, packed, rest = _SIZES.unpack_from(key, 5)
        # Without a number they are in an encoding of their own.
        shape = self.reader.metrics[number] if number else None
        if shape is not None and shape.values.size != packed:
            raise LookupError(f"{packed} bytes are not the metrics of shape {number}")
        size = HEAD.size + durations + packed + rest
        first, count = places[0], len(places)
        if places[-1] - first == (count - 1) * size:
            records = self.records[first : first + count * size]
        else:
            records = b"".join([self.records[place : place + size] for place in places])
        start = len(self.places)
        self._parts.append(_Part(start, start + count, records, size, flags, rest, shape, HEAD.size + durations))
        self.places += places

    def _column(self, offset: int, code: str) -> list[Any]:
        return [*chain.from_iterable(part.column(offset, code) for part in self._parts)]

    def _values(self, part: _Part) -> list[list[Any]]:
        """Give a column for each value of the metrics."""
        known = self._known_values.get(part.start)
        if known is None:
            known = []
            offset = part.metrics
            for code in "" if part.shape is None else part.shape.values.format[1:]:
                known.append(part.column(offset, code))
                offset += struct.calcsize(f"<{code}")
            self._known_values[part.start] = known
        return known

    def _those(self, wanted: Callable[[_Part], bool]) -> set[int]:
        found: set[int] = set()
        for part in self._parts:
            if wanted(part):
                found.update(range(part.start, part.end))
        return found

    def _part(self, position: int) -> _Part:
        return self._parts[bisect_right(self._starts, position) - 1]

    def _metrics_at(self, position: int) -> Mapping[str, Sequence[Any]]:
        part = self._part(position)
        if part.shape is None:
            return self.reader.outcome(self.records, self.places[position]).metrics
        return part.shape.named([column[position - part.start] for column in self._values(part)])


def evenly(positions: Sequence[int]) -> slice | Sequence[int]:
    """Give a slice in place of positions that are evenly spaced, as those of a condition mostly are."""
    if len(positions) > 1:
        first, step, last = positions[0], positions[1] - positions[0], positions[-1]
        if step > 0 and last - first == (len(positions) - 1) * step and positions == [*range(first, last + 1, step)]:
            return slice(first, last + 1, step)
    return positions


def take(column: list[Any], chosen: slice | Sequence[int]) -> list[Any]:
    """Give some entries of a column."""
    return column[chosen] if isinstance(chosen, slice) else [*map(column.__getitem__, chosen)]


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
    values: Sequence[list[Any]], shape: MetricsShape, rows: slice | Sequence[int], replicates: Sequence[int]
) -> dict[str, MetricValues]:
    columns = [take(column, rows) for column in values]
    if shape.casts is not None:
        columns = [[*map(cast, column)] for cast, column in zip(shape.casts, columns, strict=True)]
    joined = {}
    place = 0
    for name, count in zip(shape.names, shape.counts, strict=True):
        if count == 1:
            joined[name] = MetricValues(columns[place], replicates)
        else:
            each = chain.from_iterable(zip(*columns[place : place + count], strict=True))
            joined[name] = MetricValues(each, [replicate for replicate in replicates for _ in range(count)])
        place += count
    return joined
