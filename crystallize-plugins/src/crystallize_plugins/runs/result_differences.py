"""The results of two runs side by side: metrics bit by bit, files by hash, errors by type, hypotheses."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from crystallize.hooks import Verdict
from crystallize_plugins.runs.differences import Difference
from crystallize_plugins.runs.value_differences import same_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize import Result
    from crystallize.hooks import ConditionLog, MetricValues

__all__ = ["results"]

_BASELINE = "baseline"


def results(first: Result, second: Result) -> Iterator[Difference]:
    """Compare what two runs gave, as far as both have it: conditions that only one has are parameters."""
    both = [record.name for record in first.conditions if record.name in first.logs and record.name in second.logs]
    for condition in both:
        yield from _cells(condition, first, second)
        ours, theirs = _metrics(first, condition), _metrics(second, condition)
        for name in (*ours, *(name for name in theirs if name not in ours)):
            yield from _metric(f"{condition} / {name}", ours.get(name), theirs.get(name))
    yield from _files(set(both), first, second)
    yield from _errors(first, second)
    yield from _hypotheses(first, second)


def _cells(condition: str, first: Result, second: Result) -> Iterator[Difference]:
    ours, theirs = first.logs[condition], second.logs[condition]
    ran, others = set(ours.replicates), set(theirs.replicates)
    if ran - others:
        yield Difference("results", f"{condition} / replicates", "removed", _listed(ran - others))
    if others - ran:
        yield Difference("results", f"{condition} / replicates", "added", None, _listed(others - ran))
    states = [(replicate, _failure(ours, replicate), _failure(theirs, replicate)) for replicate in sorted(ran & others)]
    differing = [state for state in states if state[1] != state[2]]
    if differing:
        replicate, before, after = differing[0]
        detail = f"replicate {replicate}" + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
        yield Difference("results", f"{condition} / failures", "changed", before or "ok", after or "ok", detail)


def _failure(log: ConditionLog, replicate: int) -> str | None:
    error = log.failed.get(replicate) or log.pruned.get(replicate)
    return None if error is None else f"{error.error_type} in {error.step_name}"


def _metrics(result: Result, condition: str) -> Mapping[str, MetricValues]:
    found = result.metrics.baseline if condition == _BASELINE else result.metrics.treatments.get(condition)
    return {} if found is None else found.metrics


def _metric(name: str, ours: MetricValues | None, theirs: MetricValues | None) -> Iterator[Difference]:
    if ours is None or theirs is None:
        there = ours if theirs is None else theirs
        kind = "removed" if theirs is None else "added"
        yield Difference("results", name, kind, detail=f"{len(there or ())} values")  # type: ignore[arg-type]
        return
    if list(ours.replicates) == list(theirs.replicates) and same_value(list(ours), list(theirs)):
        return
    first, second = _by_replicate(ours), _by_replicate(theirs)
    shared = sorted(first.keys() & second.keys())
    differing = [replicate for replicate in shared if not same_value(first[replicate], second[replicate])]
    if not differing:
        return  # the replicates that only one has were named
    replicate = differing[0]
    averages = _averages(_mean(ours), _mean(theirs))
    yield Difference(
        "results",
        name,
        "changed",
        _single(first[replicate]),
        _single(second[replicate]),
        f"replicate {replicate}, the first of {len(differing)} of {len(shared)} that differ{averages}",
    )


def _by_replicate(values: MetricValues) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for replicate, value in zip(values.replicates, values, strict=True):
        found.setdefault(replicate, []).append(value)
    return found


def _averages(first: float | None, second: float | None) -> str:
    if first is None or second is None:
        return ""
    shown = [f"{mean:.6g}" for mean in (first, second)]
    before, after = shown if shown[0] != shown[1] else map(repr, (first, second))
    return f"; mean {before} → {after}"


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float))]
    return statistics.fmean(numbers) if numbers and len(numbers) == len(values) else None


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def _files(conditions: set[str], first: Result, second: Result) -> Iterator[Difference]:
    ours, theirs = _hashes(first), _hashes(second)
    for key in (*ours, *(key for key in theirs if key not in ours)):
        condition, step, name = key
        if condition not in conditions:
            continue
        shown = f"{condition} / {step} / {name}"
        if key not in theirs:
            yield Difference("results", shown, "removed", detail=f"{len(ours[key])} files")
        elif key not in ours:
            yield Difference("results", shown, "added", detail=f"{len(theirs[key])} files")
        else:
            shared = sorted(ours[key].keys() & theirs[key].keys())
            differing = [replicate for replicate in shared if ours[key][replicate] != theirs[key][replicate]]
            if differing:
                replicate = differing[0]
                before, after = (hashes[replicate][:12] for hashes in (ours[key], theirs[key]))
                detail = f"replicate {replicate}, the first of {len(differing)} of {len(shared)} that differ"
                yield Difference("results", shown, "changed", before, after, detail)


def _hashes(result: Result) -> dict[tuple[str, str, str], dict[int, str]]:
    found: dict[tuple[str, str, str], dict[int, str]] = {}
    for condition, replicate, record in result.artifact_records():
        found.setdefault((condition, record.step, record.name), {})[replicate] = record.sha256
    return found


def _errors(first: Result, second: Result) -> Iterator[Difference]:
    """Compare errors beside those of cells."""
    ours, theirs = (
        {key: f"{type(error).__name__}: {error}" for key, error in result.errors.items() if not _is_cell(error)}
        for result in (first, second)
    )
    for key in (*ours, *(key for key in theirs if key not in ours)):
        if ours.get(key) != theirs.get(key):
            kind = "removed" if key not in theirs else "added" if key not in ours else "changed"
            yield Difference("results", f"error {key}", kind, ours.get(key), theirs.get(key))  # type: ignore[arg-type]


def _is_cell(error: BaseException) -> bool:
    return hasattr(error, "replicate") and hasattr(error, "condition")


def _hypotheses(first: Result, second: Result) -> Iterator[Difference]:
    ours, theirs = ({tested.name: tested for tested in result.metrics.hypotheses} for result in (first, second))
    for name in (*ours, *(name for name in theirs if name not in ours)):
        if name not in theirs or name not in ours:
            yield Difference("results", f"hypothesis {name!r}", "removed" if name in ours else "added")
            continue
        findings = [tested.results for tested in (ours[name], theirs[name])]
        for treatment in (*findings[0], *(each for each in findings[1] if each not in findings[0])):
            about = f"hypothesis {name!r} for {treatment}"
            before, after = (_by_metric(finding.get(treatment)) for finding in findings)
            for metric in (*before, *(each for each in after if each not in before)):
                yield from _finding(f"{about}, {metric}" if metric else about, before.get(metric), after.get(metric))


def _by_metric(output: Any) -> Mapping[str, Any]:
    """Return verdicts by metric, and anything else whole under an empty name."""
    if isinstance(output, dict) and output and all(isinstance(each, Verdict) for each in output.values()):
        return output
    return {"": output}


def _finding(name: str, before: Any, after: Any) -> Iterator[Difference]:
    if same_value(before, after):
        return
    detail = ""
    if isinstance(before, Verdict) and isinstance(after, Verdict):
        fields = [field for field in before if not same_value(before[field], after[field])]
        detail = f"{', '.join(fields)} {'differs' if len(fields) == 1 else 'differ'}"
    yield Difference("results", name, "changed", before, after, detail)


def _listed(replicates: set[int]) -> str:
    ordered = sorted(replicates)
    return ", ".join(map(str, ordered[:10])) + (f", … {len(ordered) - 10} more" if len(ordered) > 10 else "")  # noqa: PLR2004
