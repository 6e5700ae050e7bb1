"""Several results of one experiment as one, its hypotheses judged anew."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, chain, count, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from crystallize.design.hypotheses import Hypothesis
from crystallize.engine.judge import judge
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.names import check_distinct, counted
from crystallize.results.columns import CellColumns, MetricColumn, MetricColumns
from crystallize.results.export import to_plain
from crystallize.results.metrics import metrics_of
from crystallize.results.result import Result, result_of_columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.results.provenance import ConditionRecord

__all__ = ["combine"]

_SHOWN = 3


def combine(*results: Result, hypotheses: Sequence[Hypothesis] = ()) -> Result:
    """Return the cells of several results of one experiment as one result.

    So runs of one experiment under several seeds, on several machines say, are looked at as a whole. A replicate is the
    same in two results where number and seed are; a number that comes again with another seed is counted on.

    Parameters
    ----------
    *results : Result
        Of the same experiment; stored and opened ones, too. A cell, which is a condition in one replicate, is in one of
        them.
    hypotheses : sequence of Hypothesis, default ()
        Judged on all replicates. Verdicts of the parts say nothing of the whole, and are left out.

    Returns
    -------
    Result
        Its conditions are in the order in which they come first. ``provenance["run"]`` has what the runs share, and
        None for the rest; ``provenance["combined"]`` has the ``run`` of each. Other facts are there where all parts
        have the same.

    Raises
    ------
    TypeError
        Something is no result, or no hypothesis.
    ValueError
        There is no result; a cell is there twice; the results are of different experiments, by their names, the code of
        functions that they share, or their data; a condition was another one; or of a replicate one condition ran with
        one seed and another with another one, so that its cells cannot be paired.

    Examples
    --------
    >>> from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result
    >>> parts = [
    ...     build_result(
    ...         conditions=[ConditionRecord("baseline")],
    ...         outcomes=[CellOutcome(Cell("baseline", replicate), {"loss": [0.5 + replicate]})],
    ...         replicates=2,
    ...         facts={},
    ...     )
    ...     for replicate in (1, 0)
    ... ]
    >>> combine(*parts).metrics.baseline.metrics["loss"]
    [0.5, 1.5]
    """
    _check(results, hypotheses)
    parts: dict[str, list[CellColumns]] = {}
    for result, numbers in zip(results, _numbers(results), strict=True):
        for name, log in result.logs.items():
            parts.setdefault(name, []).append(_renumbered(log.columns, numbers) if numbers else log.columns)
    columns = {name: _joined(name, several) for name, several in parts.items()}
    ran = {replicate for each in columns.values() for replicate in each.replicates}
    replicates = max(len(ran), *(result.provenance["replicates_requested"] for result in results))
    metrics = metrics_of(columns)
    absent = [name for name in metrics.treatments if not columns[name].succeeded]
    tested, errors = judge(
        hypotheses,
        metrics.baseline.unpacked(),
        {name: part.unpacked() for name, part in metrics.treatments.items() if name not in absent},
        absent=absent,
        replicates=replicates,
    )
    records = _records(results)
    return result_of_columns(
        columns,
        conditions=records,
        replicates=replicates,
        facts=_facts(results, records),
        errors={**_errors_beside_cells(results), **errors},
        plugin_errors=[failure for result in results for failure in result.plugin_errors],
        hypotheses=tested,
        metrics=metrics,
    )


# -------------------------------------------------------------------------------- what is refused


def _check(results: Sequence[Result], hypotheses: Sequence[Hypothesis]) -> None:
    for what, kind, values in (("results", Result, results), ("hypotheses", Hypothesis, hypotheses)):
        for value in values:
            if not isinstance(value, kind):
                raise ArgumentTypeError(f"combine() takes {what}, not {type(value).__name__}")
    if not results:
        raise ValidationError("combine() needs at least one result")
    check_distinct([hypothesis.name for hypothesis in hypotheses], what="hypothesis")
    names = dict.fromkeys(result.facts.get("run", {}).get("experiment") for result in results)
    if len(names) > 1:
        raise ValidationError(f"results of different experiments cannot be combined: {', '.join(map(repr, names))}")
    code: dict[str, str] = {}
    data: Any = None
    for result in results:
        for name, function in result.facts.get("code", {}).get("functions", {}).items():
            if code.setdefault(name, function["digest"]) != function["digest"]:
                raise ValidationError(f"the results cannot be combined: the code of {name} was not the same")
        identity = result.facts.get("data", {}).get("identity")
        data = data or identity
        if identity not in (None, data):
            raise ValidationError("the results cannot be combined: their data were not the same")


def _numbers(results: Sequence[Result]) -> list[dict[int, int]]:
    """Return for each result the replicates that get another number, as an earlier result has theirs with another seed.

    Raises
    ------
    ValidationError
        The two have no condition in common: what is to be compared must share its seeds.
    """
    having: dict[int, tuple[int | None, set[str]]] = {}
    numbered: dict[tuple[int, int | None], int] = {}
    following = count(1 + max((_highest(result) for result in results), default=0))
    found: list[dict[int, int]] = []
    for result in results:
        here: dict[int, tuple[int | None, set[str]]] = {}
        for name, log in result.logs.items():
            for replicate, seed in zip(log.columns.replicates, log.columns.seeds, strict=True):
                here.setdefault(replicate, (seed, set()))[1].add(name)
        others: dict[int, int] = {}
        for replicate, (seed, conditions) in sorted(here.items()):
            known, ran = having.setdefault(replicate, (seed, set()))
            if seed is None or known is None or seed == known:
                ran |= conditions
                continue
            if (replicate, seed) not in numbered and not ran & conditions:
                raise ValidationError(
                    f"the results cannot be combined: replicate {replicate} had seeds {known} and {seed}, "
                    "and what is compared must share one. Let the parts have the same: SeedPlugin(seed=...)"
                )
            if (replicate, seed) not in numbered:
                numbered[replicate, seed] = next(following)
            others[replicate] = numbered[replicate, seed]
        found.append(others)
    return found


def _highest(result: Result) -> int:
    return max((log.columns.replicates[-1] for log in result.logs.values() if len(log.columns.replicates)), default=0)


def _records(results: Sequence[Result]) -> list[ConditionRecord]:
    """Return the conditions, of which what is unread was read in none of the results."""
    found: dict[str, ConditionRecord] = {}
    for result in results:
        for record in result.conditions:
            known = found.setdefault(record.name, record)
            if to_plain((known.context, _steps(known))) != to_plain((record.context, _steps(record))):
                raise ValidationError(
                    f"the results cannot be combined: condition {record.name!r} had other parameters or steps in one"
                )
            unread = tuple(key for key in known.unread if key in record.unread)
            found[record.name] = replace(known, unread=unread)
    return [*found.values()]


def _steps(record: ConditionRecord) -> list[Any]:
    return [(step.name, step.params, step.injected) for step in record.steps]


# -------------------------------------------------------------------------------- the whole of the parts


def _renumbered(columns: CellColumns, numbers: Mapping[int, int]) -> CellColumns:
    """Return cells with other numbers of their replicates; not in replicate order."""

    def number(replicate: int) -> int:
        return numbers.get(replicate, replicate)

    def metric(name: str) -> MetricColumn:
        column = columns.metrics[name]
        return column._replace(replicates=[*map(number, column.replicates)])

    return replace(
        columns,
        replicates=[*map(number, columns.replicates)],
        metrics=MetricColumns(columns.metrics, metric),
        artifacts=[(number(replicate), record) for replicate, record in columns.artifacts],
        rare=[
            replace(outcome, cell=outcome.cell._replace(replicate=number(outcome.cell.replicate)))
            for outcome in columns.rare
        ],
    )


def _joined(condition: str, parts: Sequence[CellColumns]) -> CellColumns:
    """Return the cells of a condition in replicate order."""
    # In the order in which metrics would have come in one run.
    parts = sorted((part for part in parts if len(part.replicates)), key=lambda part: part.replicates[0])
    if not parts:
        return CellColumns()
    order, replicates = _sorted(parts)
    if len(parts) == 1 and replicates == list(parts[0].replicates):
        return parts[0]
    twice = [each for each, after in pairwise(replicates) if each == after]
    if twice:
        raise ValidationError(
            f"a cell must be in one result alone: of condition {condition!r} {counted(len(twice), 'replicate')} "
            f"came twice: {', '.join(map(str, twice[:_SHOWN]))}{', …' * (len(twice) > _SHOWN)}"
        )

    def column(name: str) -> list[Any]:
        values = [*chain.from_iterable(getattr(part, name) for part in parts)]
        return [values[position] for position in order]

    def metric(name: str) -> MetricColumn:
        found = [part.metrics[name] for part in parts if name in part.metrics]
        order, replicates = _sorted(found)
        values = [*chain.from_iterable(each.values for each in found)]
        tags: dict[int, Mapping[str, Any]] = {}
        for each, begun in zip(found, accumulate((len(each.values) for each in found), initial=0), strict=False):
            tags.update((begun + position, tagged) for position, tagged in each.tags.items())
        places = {before: after for after, before in enumerate(order) if before in tags}
        return MetricColumn(
            [values[position] for position in order],
            replicates,
            {places[position]: tagged for position, tagged in tags.items()},
        )

    return CellColumns(
        replicates,
        column("seeds"),
        column("durations"),
        column("workers"),
        column("traces"),
        MetricColumns(dict.fromkeys(chain.from_iterable(part.metrics for part in parts)), metric),
        sum(part.succeeded for part in parts),
        sorted(chain.from_iterable(part.artifacts for part in parts), key=itemgetter(0)),
        sorted(chain.from_iterable(part.rare for part in parts), key=lambda outcome: outcome.cell.replicate),
    )


def _sorted(parts: Sequence[CellColumns] | Sequence[MetricColumn]) -> tuple[list[int], list[int]]:
    """Return the positions of all entries in replicate order, and the replicates in that order."""
    replicates = [*chain.from_iterable(part.replicates for part in parts)]
    order = sorted(range(len(replicates)), key=replicates.__getitem__)
    return order, [replicates[position] for position in order]


def _facts(results: Sequence[Result], records: Sequence[ConditionRecord]) -> dict[str, Any]:
    """Return the facts that the results share, and the runs that they are of."""
    first, *others = (result.facts for result in results)
    shared = {
        name: value
        for name, value in first.items()
        if all(name in other and to_plain(other[name]) == to_plain(value) for other in others)
    }
    runs = [facts.get("run", {}) for facts in (first, *others)]
    shared["run"] = {
        name: value if all(run.get(name) == value for run in runs) else None for name, value in runs[0].items()
    }
    shared["unread"] = {record.name: list(record.unread) for record in records if record.unread}
    return {**shared, "combined": runs}


def _errors_beside_cells(results: Sequence[Result]) -> dict[str, BaseException]:
    """Return the errors that are of no cell, and of no hypothesis, which are judged anew."""
    found: dict[str, BaseException] = {}
    for result in results:
        cells = {outcome.cell.key for log in result.logs.values() for outcome in log.columns.rare}
        for key, error in result.errors.items():
            if key not in cells and not key.startswith("hypothesis:"):
                found[key if key not in found else f"{key} ({len(found) + 1})"] = error
    return found
