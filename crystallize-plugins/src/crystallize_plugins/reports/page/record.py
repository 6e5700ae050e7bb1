"""The result itself within the page, for programs: the JSON of `Result.to_json`, abridged where it is very large."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from crystallize.hooks import BASELINE, Verdict
from crystallize.hooks.tools import as_number, dump_json, mean, standard_error, to_plain
from crystallize_plugins.reports.page.elements import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize import Result

__all__ = ["embedded_record"]

_MOST_VALUES = 20_000
_BY_CELL = frozenset({
    "seeds", "durations", "workers", "ctx_changes", "before_steps", "artifacts", "artifacts_of_failed_cells",
    "attempts", "plugin_failures", "unread",
})  # fmt: skip
_MOST_ERRORS = 200
_MOST_VERDICTS = 1000


def embedded_record(result: Result, room: int) -> Markup:
    """Return the script element that holds the result, which no browser runs.

    Parameters
    ----------
    result : Result
    room : int
        How many characters it may have.
    """
    if _at_least(result) <= _MOST_VALUES:
        whole = result.to_dict()
        if _values(whole, _MOST_VALUES + 1) <= _MOST_VALUES:
            # A stored run gives its facts in another order than the run itself did.
            whole["provenance"] = dict(sorted(whole["provenance"].items()))
            element = _element(whole)
            if len(element) <= room:
                return element
    element = _element(_abridged(result))
    return element if len(element) <= room else _element({"abridged": _words(result)})


def _element(record: Any) -> Markup:
    # What could end the element, or begin a comment in it, is written in the way that JSON has for any character.
    text = dump_json(record, indent=None)
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(f'<script type="application/json" id="crystallize-result">{text}</script>')


def _at_least(result: Result) -> int:
    """Return how many values there are at the least, with a look at one cell of each condition."""
    verdicts = sum(len(tested.verdicts) for tested in result.metrics.hypotheses)
    count = verdicts * len(dataclasses.fields(Verdict))
    for name, log in result.logs.items():
        # Seed, duration and worker of each cell; name, duration and cache hit of each of its steps.
        count += 3 * len(log.replicates)
        succeeded = next((replicate for replicate in log.replicates if replicate not in log.failed), None)
        if succeeded is not None:
            count += 3 * log.succeeded * len(result.provenance["ctx_changes"][name][succeeded])
    return count


def _values(value: Any, most: int) -> int:
    """Count the values in nested dictionaries and lists, up to `most`."""
    if isinstance(value, (dict, list)):
        count = 0
        for item in value.values() if isinstance(value, dict) else value:
            count += _values(item, most - count)
            if count >= most:
                break
        return count
    return 1


def _abridged(result: Result) -> dict[str, Any]:
    metrics = result.metrics
    conditions = {BASELINE: metrics.baseline, **metrics.treatments}
    summaries = {
        name: {metric: _summary(condition.values(metric)) for metric in condition.names}
        for name, condition in conditions.items()
    }
    provenance = {name: value for name, value in result.provenance.items() if name not in _BY_CELL}
    code, git = provenance.get("code", {}), provenance.get("git", {})
    return {
        "abridged": _words(result),
        "metrics": {"baseline": summaries.pop(BASELINE), "treatments": summaries},
        "hypotheses": [
            {
                "name": tested.name,
                "verdicts": [dict(verdict) for verdict in tested.verdicts[: _MOST_VERDICTS // len(metrics.hypotheses)]],
                "comparisons": tested.comparisons,
                "correction": tested.correction,
                "state": tested.state,
                "reason": tested.reason,
            }
            for tested in metrics.hypotheses
        ],
        "errors": {key: str(error) for key, error in list(result.errors.items())[:_MOST_ERRORS]},
        "provenance": to_plain({**provenance, "code": _without(code, "sources"), "git": _without(git, "diff")}),
    }


def _without(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != name}


def _words(result: Result) -> str:
    folder = result.provenance.get("run", {}).get("folder")
    where = f"the run is stored in {folder}" if folder else "Result.to_json() gives it"
    return (
        f"more than {_MOST_VALUES} values, or more text than a page of 2 MB has room for: summaries stand for metrics; "
        f"what belongs to single cells, verdicts and errors beyond {_MOST_VERDICTS} and {_MOST_ERRORS}, and source "
        f"code are left out; {where}"
    )


def _summary(values: Sequence[Any]) -> dict[str, Any]:
    numbers = [found for found in map(as_number, values) if found is not None and abs(found) < float("inf")]
    if not numbers:
        return {"n": len(values), "finite": 0}
    spread = standard_error(numbers) * len(numbers) ** 0.5
    return {
        "n": len(values), "finite": len(numbers), "mean": mean(numbers), "sd": spread, "min": min(numbers),
        "max": max(numbers),
    }  # fmt: skip
