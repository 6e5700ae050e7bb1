"""The provenance tree: what happened, grouped the way the reader asks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from crystallize.results.provenance import ConditionLog

__all__ = ["LEVELS", "parse_format", "print_text", "tree_text"]

LEVELS = ("treatment", "replicate", "step", "action")
"""The levels that a tree can have."""

_BEFORE = "before the steps"
_UNKNOWN = "no record of steps"
_ACTIONS = ("reads", "writes", "metrics")
_LONGEST_VALUE = 60
_MOST_VALUES = 10


@dataclass(frozen=True, slots=True)
class _Row:
    """One step in one cell; what came before the first one has the number -1."""

    log: ConditionLog
    replicate: int
    number: int
    record: Mapping[str, Any]

    @property
    def seed(self) -> int | None:
        return self.log.columns.seeds[self.log.position(self.replicate)]


def parse_format(fmt: str) -> tuple[str, ...]:
    """Return the levels that a format names, or refuse it.

    Parameters
    ----------
    fmt : str
        Levels joined by ``>``.

    Raises
    ------
    ArgumentTypeError
        `fmt` is no text.
    ValidationError
        A level is unknown or there twice, ``action`` is not the last, or there is none.

    Examples
    --------
    >>> parse_format("replicate > treatment > action")
    ('replicate', 'treatment', 'action')
    """
    expected = f"expected levels out of {', '.join(LEVELS)}, joined by '>', each at most once, 'action' last"
    if not isinstance(fmt, str):
        raise ArgumentTypeError(f"the format of a tree must be text, not {type(fmt).__name__}; {expected}")
    levels = tuple(level.strip() for level in fmt.split(">"))
    for level in levels:
        if level not in LEVELS:
            raise ValidationError(f"{fmt!r} is no format of a tree: {level!r} is no level; {expected}")
        if levels.count(level) > 1:
            raise ValidationError(f"{fmt!r} is no format of a tree: {level!r} is there twice; {expected}")
    if "action" in levels[:-1]:
        raise ValidationError(f"{fmt!r} is no format of a tree: 'action' must be the last level; {expected}")
    return levels


def tree_text(logs: Mapping[str, ConditionLog], fmt: str) -> str:
    """Return the tree as text, one node a line."""
    levels = parse_format(fmt)
    rows = list(_rows(logs, levels))
    root = "run" if "replicate" in levels else f"run ({_seeds(rows)})"
    return "\n".join(map(printable, [root, *_children(rows, levels, levels)]))


def print_text(text: str) -> None:
    """Print to standard output, with what its encoding lacks replaced."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))  # noqa: T201 - printing is what the caller asked for


def _rows(logs: Mapping[str, ConditionLog], levels: Sequence[str]) -> Iterator[_Row]:
    looks_inside = "step" in levels or "action" in levels
    for log in logs.values():
        for replicate in log.replicates:
            steps = log.steps_of(replicate) if looks_inside else []
            if not steps:
                yield _Row(log, replicate, sys.maxsize, {"step": _UNKNOWN})
            elif "action" in levels:
                yield _Row(log, replicate, -1, {"step": _BEFORE, **log.before_of(replicate)})
            for number, record in enumerate(steps):
                yield _Row(log, replicate, number, record)


def _children(rows: Sequence[_Row], levels: Sequence[str], all_levels: Sequence[str]) -> Iterator[str]:
    if not levels:
        return
    level, *deeper = levels
    if level == "action":
        yield from _branches((line, []) for line in _actions(rows, named="step" not in all_levels))
        return
    groups: dict[Any, list[_Row]] = {}
    for row in rows:
        groups.setdefault(_key(row, level), []).append(row)
    keys = list(groups) if level == "treatment" else sorted(groups)
    yield from _branches(
        (_label(groups[key], level, deeper, all_levels), _children(groups[key], deeper, all_levels)) for key in keys
    )


def _branches(nodes: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    nodes = list(nodes)
    for position, (label, below) in enumerate(nodes):
        last = position == len(nodes) - 1
        yield ("└── " if last else "├── ") + label
        for line in below:
            yield ("    " if last else "│   ") + line


def _key(row: _Row, level: str) -> Any:
    if level == "treatment":
        return row.log.record.name
    if level == "replicate":
        return row.replicate
    # A step may be in the pipeline twice, and conditions share the numbers.
    return row.number, row.record["step"]


def _label(rows: Sequence[_Row], level: str, deeper: Sequence[str], all_levels: Sequence[str]) -> str:
    row = rows[0]
    if level == "step":
        return _step_label(rows, timed="replicate" in all_levels)
    cells = {(each.log.record.name, each.replicate) for each in rows}
    failed = {(each.log.record.name, each.replicate) for each in rows if each.replicate in each.log.failed}
    pruned = {(each.log.record.name, each.replicate) for each in rows if each.replicate in each.log.pruned}
    note = ""
    for what, some, errors in (("FAILED", failed, row.log.failed), ("PRUNED", pruned, row.log.pruned)):
        if some:
            note += f"  {what}: {_failure(row, errors) if len(cells) == 1 else f'{len(some)} of {len(cells)} cells'}"
    if level == "replicate":
        about = "" if "treatment" in deeper else ("" if "treatment" not in all_levels else _worked(row)) + _tried(row)
        return f"replicate {row.replicate} ({_seeds(rows)}){about}{note}"
    if "replicate" in deeper:
        return f"{row.log.record.name}{'' if len(failed) == 1 else note}"
    about = _tried(row) if len({each.replicate for each in rows}) == 1 else ""
    return f"{row.log.record.name}{_worked(row) if 'replicate' in all_levels else ''}{about}{note}"


def _tried(row: _Row) -> str:
    """Return which attempts came before, as text."""
    attempts = row.log.attempts.get(row.replicate, ())
    if not attempts:
        return ""
    before = ", ".join(f"{attempt.error_type} in {attempt.step}" for attempt in attempts)
    return f"  attempt {len(attempts) + 1}, after {_one_line(before, 200)}"


def _worked(row: _Row) -> str:
    """Return how long a cell took, and who ran it where that was not the program itself."""
    position = row.log.position(row.replicate)
    worker = row.log.columns.workers[position]
    return f"  {_time(row.log.columns.durations[position])}{'' if worker == 'main' else f' in {worker}'}"


def _time(seconds: float) -> str:
    """Return a duration with three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _step_label(rows: Sequence[_Row], *, timed: bool) -> str:
    record = rows[0].record
    settings = {tuple((name, _shown(value)) for name, value in row.record.get("params", {}).items()) for row in rows}
    # Conditions may differ in parameters; then the step as such has none to show.
    params = ", ".join(f"{name}={value}" for name, value in settings.pop()) if len(settings) == 1 else "…"
    hits = sum(bool(row.record.get("cache_hit")) for row in rows)
    cached = "" if not hits else "  cached" if hits == len(rows) else f"  cached in {hits} of {len(rows)}"
    # Over several cells there is no one duration, and of the step that failed none is known.
    duration = record.get("duration") if timed and len(rows) == 1 else None
    return (
        f"{record['step']}{f'({params})' if params else ''}{cached}{'' if duration is None else f'  {_time(duration)}'}"
    )


def _actions(rows: Sequence[_Row], *, named: bool) -> Iterator[str]:
    """Yield what the steps did; over several cells, every value that occurred."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for action in _ACTIONS:
            for key, value in row.record.get(action, {}).items():
                step = row.record["step"] if named else ""
                values = found.setdefault((step, action, key), [])
                if action == "metrics":
                    values.extend(map(_shown, value))
                elif _shown(value) not in values:
                    values.append(_shown(value))
    for (step, action, key), values in found.items():
        verb = "records" if action == "metrics" else action
        yield f"{step + ': ' if step else ''}{verb} {key} = {_listed(values)}"


def _listed(values: Sequence[str]) -> str:
    if not values:
        return "nothing that was kept"
    more = f", … {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
    return ", ".join(values[:_MOST_VALUES]) + more


def _seeds(rows: Iterable[_Row]) -> str:
    seeds = list(dict.fromkeys(row.seed for row in rows if row.seed is not None))
    if not seeds:
        return "no seed"
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _failure(row: _Row, errors: Mapping[int, Exception]) -> str:
    return _one_line(str(errors[row.replicate]), 200)


def _shown(value: Any) -> str:
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a number of NumPy
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - user code: a value without a text has its place in the tree all the same
        text = f"<{type(value).__name__}>"
    return _one_line(text, _LONGEST_VALUE)


def _one_line(text: str, longest: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
