"""What failed: a line for each failure, and a traceback of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.errors import PipelineExecutionError
from crystallize.hooks.tools import counted, one_line
from crystallize_plugins.reports.page.elements import Markup, element, section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize import Result

__all__ = ["failures_section"]

_MOST = 200
_MOST_KINDS = 20
_LONGEST = 300
_LONGEST_TRACEBACK = 8000
_LAST_OF_LOG = 2000


def failures_section(result: Result) -> Markup:
    """Return the section of what failed, what plugins failed at, and what treatments set in vain."""
    kinds: dict[tuple[str, str], list[PipelineExecutionError]] = {}
    others: list[str] = []
    for key, error in result.errors.items():
        if isinstance(error, PipelineExecutionError):
            kinds.setdefault((error.step_name, error.error_type), []).append(error)
        else:
            others.append(f"{key}: {error}")
    others += [f"plugin {failure.plugin}, {failure.hook}: {failure.error}" for failure in result.plugin_errors]
    others += [
        f"treatment {condition.name} sets {', '.join(condition.unread)}, which nothing has read"
        for condition in result.conditions
        if condition.unread
    ]
    room = _MOST
    parts = []
    for (step, error_type), errors in list(kinds.items())[:_MOST_KINDS]:
        parts.append(_kind(step, error_type, errors, room))
        room = max(0, room - len(errors))
    if len(kinds) > _MOST_KINDS:
        parts.append(element("p", f"… and {counted(len(kinds) - _MOST_KINDS, 'kind')} more, stored with the run."))
    if others:
        parts.append(_listed([one_line(text, _LONGEST) for text in others], _MOST))
    if not parts:
        parts.append(element("p", "Nothing failed.", class_="note"))
    return section("Failures", *parts)


def _kind(step: str, error_type: str, errors: Sequence[PipelineExecutionError], room: int) -> Markup:
    first = errors[0]
    lines = [one_line(str(error), _LONGEST) for error in errors]
    log = first.log.rstrip()[-_LAST_OF_LOG:]
    return element(
        "article",
        element("h3", f"{error_type or 'An error'} in {step}: {counted(len(errors), 'cell')}"),
        _listed(lines, room),
        element(
            "details",
            element("summary", f"The traceback of {first.condition}, replicate {first.replicate}"),
            _code(_middle_out(first.traceback_text.rstrip() or str(first)), "Traceback"),
            [element("p", "It had printed and logged:"), _code(log, "Log")] if log else None,
        ),
        class_="failures",
    )


def _listed(lines: Sequence[str], room: int) -> Markup:
    left = len(lines) - min(len(lines), room)
    rows = [element("li", line) for line in lines[:room]]
    if left:
        rows.append(element("li", f"… and {left} more: crystallize show lists them all"))
    return element("ul", *rows, class_="lines")


def _code(text: str, label: str) -> Markup:
    return element("pre", element("code", text), tabindex="0", role="region", aria_label=label)


def _middle_out(text: str) -> str:
    """Leave out the middle of what is too long: a traceback is read from its ends."""
    half = _LONGEST_TRACEBACK // 2
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    return f"{text[:half]}\n[… {len(text) - _LONGEST_TRACEBACK} characters left out]\n{text[-half:]}"
