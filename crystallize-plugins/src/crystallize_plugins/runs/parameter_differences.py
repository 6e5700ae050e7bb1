"""What two runs were asked for, side by side: seed, replicates, conditions, contexts, steps and their settings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from crystallize_plugins.artifacts.database.typed_json import encode
from crystallize_plugins.runs.differences import Difference
from crystallize_plugins.runs.value_differences import mappings, same_value, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.hooks import ConditionRecord
    from crystallize_plugins.runs.compared_run import ComparedRun

__all__ = ["parameters"]


def parameters(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Compare what the runs were asked for: seed, replicates, conditions, their contexts, steps and settings."""
    about = [run.facts.get("run", {}) for run in (first, second)]
    for name in ("experiment", "kind", "seed"):
        yield from values("parameters", name, about[0].get(name), about[1].get(name))
    asked = [run.result.provenance["replicates_requested"] for run in (first, second)]
    yield from values("parameters", "replicates", *asked)
    ours, theirs = ({record.name: record for record in run.result.conditions} for run in (first, second))
    for name in (*ours, *(name for name in theirs if name not in ours)):
        if name not in theirs:
            yield Difference("parameters", f"condition {name!r}", "removed")
        elif name not in ours:
            yield Difference("parameters", f"condition {name!r}", "added")
    both = [name for name in ours if name in theirs]
    yield from _steps(first, second)
    yield from _shared(both, [list(_condition(ours[name], theirs[name])) for name in both])
    for name in both:
        yield from _exact_treatment(name, first, second)


def _steps(first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    orders = [
        [step.name for step in run.result.conditions[0].steps] if run.result.conditions else []
        for run in (first, second)
    ]
    if all(orders) and orders[0] != orders[1]:
        yield Difference("parameters", "steps", "changed", ", ".join(orders[0]), ", ".join(orders[1]))


def _condition(ours: ConditionRecord, theirs: ConditionRecord) -> Iterator[Difference]:
    yield from mappings("parameters", "context ", dict(ours.context), dict(theirs.context))
    steps, others = _numbered(ours), _numbered(theirs)
    for key, params in steps.items():
        if key in others:
            yield from mappings("parameters", f"step {key[2]} {key[0]}: ", params, others[key])


def _numbered(record: ConditionRecord) -> dict[tuple[str, int, int], dict[str, Any]]:
    """Return the parameters of each step, by its name, how often that came before, and its position."""
    met: Counter[str] = Counter()
    found = {}
    for position, step in enumerate(record.steps, 1):
        found[step.name, met[step.name], position] = dict(step.params)
        met[step.name] += 1
    return found


def _shared(conditions: Sequence[str], found: Sequence[Sequence[Difference]]) -> Iterator[Difference]:
    """Say once what differs in every condition, and in which condition the rest does."""
    counted: Counter[tuple[str, str]] = Counter()
    keyed = [[(each.name, encode((each.kind, each.first, each.second)).text) for each in some] for some in found]
    for keys in keyed:
        counted.update(keys)
    said = set()
    for condition, some, keys in zip(conditions, found, keyed, strict=True):
        for each, key in zip(some, keys, strict=True):
            if counted[key] == len(conditions):
                if key not in said:
                    said.add(key)
                    yield each
            else:
                yield Difference(each.part, f"{condition}: {each.name}", each.kind, each.first, each.second)


def _exact_treatment(name: str, first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Find what descriptions hide: arrays of one shape, long texts and lists."""
    ours, theirs = first.treatments.get(name), second.treatments.get(name)
    if ours is None or theirs is None:
        return
    records = [next(record for record in run.result.conditions if record.name == name) for run in (first, second)]
    for key in sorted(ours.values.keys() & theirs.values.keys()):
        described = [record.context.get(key) for record in records]
        if same_value(*described) and not same_value(ours.values[key], theirs.values[key]):
            yield Difference("parameters", f"{name}: context {key}", "changed", detail="other content of the same form")
