"""The tables of a result by column: recorded values, and verdicts; of plain Python, for whatever library."""

from __future__ import annotations

import dataclasses
import math
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.design.verdicts import Verdict
from crystallize.results.export import dump_json, to_plain
from crystallize.results.samples import as_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from crystallize.results.metrics import HypothesisResult
    from crystallize.results.provenance import ConditionLog

__all__ = ["VERDICTS", "MetricPart", "as_floats", "metric_columns", "metric_parts", "metric_types", "verdict_columns"]

_TUPLES: dict[str, Any] = {"metrics": list[str], "warnings": list[str], "ci": list[float], "n": list[int]}
_WORDS = ("verifier", "treatment", "method", "alternative", "estimand", "effect_name", "state", "reason", "details")

VERDICTS: dict[str, Any] = {
    "hypothesis": str,
    **{field.name: _TUPLES.get(field.name, float) for field in dataclasses.fields(Verdict)},
    **dict.fromkeys(_WORDS, str),
    "pairs_lost": int,
    "holds": bool,
    "ci_low": float,
    "ci_high": float,
    "n_baseline": int,
    "n_treatment": int,
}
"""The columns of the table of verdicts."""

_EXACT = 2**53
"""Up to here each integer is a float, too."""
_LARGEST = 2**63


class MetricPart(NamedTuple):
    """The values that one condition recorded of one metric.

    Attributes
    ----------
    condition, metric : str
    replicates, seeds : sequence
        Of the cell that each value is of.
    indices : sequence of int
        Which of the values of this metric it is that the cell recorded, counted from 0.
    values : sequence
        As they were recorded.
    """

    condition: str
    metric: str
    replicates: Sequence[int]
    seeds: Sequence[int | None]
    indices: Sequence[int]
    values: Sequence[Any]


def metric_parts(logs: Mapping[str, ConditionLog]) -> Iterator[MetricPart]:
    """Yield all recorded values, one condition and metric after the other, each in replicate order.

    Parameters
    ----------
    logs : mapping of str to ConditionLog
        Those of a result, ``result.logs``.
    """
    for condition, log in logs.items():
        cells = log.columns
        for metric, column in cells.metrics.items():
            replicates, seeds = column.replicates, cells.seeds
            if replicates == cells.replicates:  # one value of each cell
                indices = array("q", bytes(8 * len(replicates)))
            else:
                by_cell = dict(zip(cells.replicates, seeds, strict=True))
                seeds, indices = [by_cell[each] for each in replicates], _counted(replicates)
            yield MetricPart(condition, metric, replicates, seeds, indices, column.values)


def _counted(replicates: Iterable[int]) -> array[int]:
    """Return the position of each value among those of its replicate."""
    indices = array("q")
    last, index = None, 0
    for replicate in replicates:
        index = index + 1 if replicate == last else 0
        last = replicate
        indices.append(index)
    return indices


def metric_types(logs: Mapping[str, ConditionLog]) -> dict[str, type]:
    """Return the columns of the table of recorded values with their types.

    Seeds are integers, unless one of them does not fit into 64 bits: then they are texts.
    """
    seeds = (seed for log in logs.values() for seed in log.columns.seeds)
    fit = all(seed is None or -_LARGEST <= seed < _LARGEST for seed in seeds)
    return {
        "condition": str,
        "replicate": int,
        "seed": int if fit else str,
        "metric": str,
        "index": int,
        "value": float,
        "text": str,
    }


def metric_columns(logs: Mapping[str, ConditionLog], most: int | None = None) -> Iterator[dict[str, Sequence[Any]]]:
    """Yield the table of recorded values, whole or in pieces.

    Parameters
    ----------
    logs : mapping of str to ConditionLog
    most : int, optional
        Rows of a piece; by default there is a single piece, without rows where nothing was recorded.

    Yields
    ------
    dict of str to sequence
        The columns that `metric_types` names. ``value`` is None where ``text`` says all, ``text`` None where ``value``
        does.
    """
    types = metric_types(logs)
    gathered = _Rows(types)
    for part in metric_parts(logs):
        size = len(part.values)
        start = 0
        while start < size:
            end = size if most is None else min(size, start + most - len(gathered))
            gathered.add(part, start, end)
            start = end
            if len(gathered) == most:
                yield gathered.columns()
                gathered = _Rows(types)
    if len(gathered) or most is None:
        yield gathered.columns()


class _Rows:
    """Columns that grow, packed where they are numbers."""

    def __init__(self, types: Mapping[str, type]) -> None:
        self._types = types
        self._texts: dict[str, list[str | None]] = {"condition": [], "metric": [], "text": []}
        self._numbers = {"replicate": array("q"), "index": array("q")}
        self._seeds: list[Any] = []
        self._values = array("d")
        self._absent: list[int] = []

    def __len__(self) -> int:
        return len(self._values)

    def add(self, part: MetricPart, start: int, end: int) -> None:
        begun = len(self)
        piece = slice(start, end)
        values, absent, texts = as_floats(part.values[piece])
        self._values.extend(values)
        self._absent += [begun + position for position in absent]
        for name, told in (("condition", [part.condition]), ("metric", [part.metric]), ("text", [None])):
            self._texts[name] += told * len(values)
        for position, text in texts.items():
            self._texts["text"][begun + position] = text
        self._numbers["replicate"].extend(part.replicates[piece])
        self._numbers["index"].extend(part.indices[piece])
        seeds = part.seeds[piece]
        self._seeds += seeds if self._types["seed"] is int else [None if seed is None else str(seed) for seed in seeds]

    def columns(self) -> dict[str, Sequence[Any]]:
        values: Sequence[Any] = self._values
        if self._absent:
            values = [*values]
            for position in self._absent:
                values[position] = None
        found: dict[str, Sequence[Any]] = {**self._texts, **self._numbers, "seed": self._seeds, "value": values}
        return {name: found[name] for name in self._types}


def as_floats(values: Sequence[Any]) -> tuple[array[float], list[int], dict[int, str]]:
    """Return values as floats, and what floats do not say.

    Returns
    -------
    numbers : array of float
        NaN for what is no number.
    absent : list of int
        Where that is.
    texts : dict of int to str
        By position what a float cannot hold: text as it is, anything else as JSON, integers beyond 2^53 that are not
        exact as their digits.
    """
    kinds = {float} if isinstance(values, array) and values.typecode == "d" else {*map(type, values)}
    if kinds <= {float}:
        return array("d", values), [], {}
    numbers, absent, texts = array("d"), [], {}
    for position, value in enumerate(values):
        number = as_number(value)
        if number is None:
            absent.append(position)
            texts[position] = str.__str__(value) if isinstance(value, str) else dump_json(value, indent=None)
        elif value.__class__ is not float and not -_EXACT < number < _EXACT:
            exact = to_plain(value)
            if exact != number:
                texts[position] = str(exact)
        numbers.append(math.nan if number is None else number)
    return numbers, absent, texts


def verdict_columns(hypotheses: Iterable[HypothesisResult]) -> dict[str, list[Any]]:
    """Return the table of verdicts: the columns that `VERDICTS` lists, with tuples as lists and details as JSON."""
    columns: dict[str, list[Any]] = {name: [] for name in VERDICTS}
    for tested in hypotheses:
        for verdict in tested.verdicts:
            row: dict[str, Any] = {**verdict, "hypothesis": tested.name}
            row.update((name, list(verdict[name])) for name in _TUPLES)
            row["details"] = dump_json(verdict.details, indent=None)
            row["ci_low"], row["ci_high"] = verdict.ci
            row["n_baseline"], row["n_treatment"] = verdict.n
            for name, column in columns.items():
                column.append(row[name])
    return columns
